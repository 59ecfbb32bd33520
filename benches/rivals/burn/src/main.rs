//! burn's side of the comparison, on its backend Flex: the perceptrons and the convolutional network.

mod models;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use models::{Cnn, Mlp, Model};
use rival_orders::{Dropout, From, Options, Predict, Result, Rival, Step, Values};

fn main() -> Result<()> {
    rival_orders::run::<Burn>()
}

struct Burn;

impl Rival for Burn {
    const READY: (&'static str, &'static str) = ("burn", "0.22.1");

    fn start(options: &Options, from: From, dropout: Dropout) -> Result<Step> {
        let device = Device::flex().autodiff();
        let weights = match from {
            From::Files => rival_orders::read(&options.weights())?,
            From::Nothing => Vec::new(),
        };
        let batches = match from {
            From::Files => batches(options, &device)?,
            From::Nothing => vec![zeros(&options.workload, &device)],
        };
        match options.workload.as_str() {
            "mlp" => Ok(training(Mlp::small(&weights, dropout, &device), batches, device)),
            "mlp-large" => Ok(training(Mlp::large(&weights, &device), batches, device)),
            "cnn" => Ok(training(Cnn::new(&weights, dropout, &device), batches, device)),
            other => Err(format!("burn does not run {other}").into()),
        }
    }

    fn infer(options: &Options, batch: usize) -> Result<Predict> {
        let device = Device::flex();
        let weights = rival_orders::read(&options.weights())?;
        let normal = Distribution::Normal(0.0, 1.0);
        match options.workload.as_str() {
            "mlp" => {
                let x = Tensor::random([batch, 784], normal, &device);
                Ok(prediction(
                    Mlp::small(&weights, Dropout::Never, &device),
                    x,
                    device,
                ))
            }
            "cnn" => {
                let x = Tensor::random([batch, 28 * 28], normal, &device);
                Ok(prediction(Cnn::new(&weights, Dropout::Never, &device), x, device))
            }
            other => Err(format!("predictions of {other} are not compared").into()),
        }
    }
}

/// Rows of a batch flattened, and classes.
type Batch = (Tensor<2>, Tensor<1, Int>);

fn training<M: Model + Module + 'static>(model: M, batches: Vec<Batch>, device: Device) -> Step {
    let mut adam = AdamConfig::new().with_epsilon(1e-8).init();
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut model = Some(model);
    Box::new(move |k| {
        let (x, y) = &batches[k % batches.len()];
        let trained = model.take().ok_or("an earlier step failed")?;
        let loss = loss.forward(trained.scores(x.clone()), y.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &trained);
        model = Some(adam.step(1e-3, trained, gradients));
        device.sync().map_err(|error| format!("{error:?}"))?;
        Ok(f64::from(loss.into_scalar::<f32>()))
    })
}

fn prediction<M: Model + 'static>(model: M, x: Tensor<2>, device: Device) -> Predict {
    Box::new(move || {
        model.scores(x.clone());
        device.sync().map_err(|error| format!("{error:?}").into())
    })
}

fn batches(options: &Options, device: &Device) -> Result<Vec<Batch>> {
    let pairs = options.batches()?.into_iter();
    pairs
        .map(|(x, y)| match (x.values, y.values) {
            (Values::Floats(x), Values::Ints(y)) => {
                let (n, width) = (y.len(), x.len() / y.len());
                let x = Tensor::from_data(TensorData::new(x, [n, width]), device);
                Ok((x, Tensor::from_data(TensorData::new(y, [n]), device)))
            }
            _ => Err("expected floats with a class for each row".into()),
        })
        .collect()
}

/// A batch of zeros of a workload.
fn zeros(workload: &str, device: &Device) -> Batch {
    let n = if workload == "mlp-large" { 256 } else { 64 };
    (Tensor::zeros([n, 784], device), Tensor::zeros([n], device))
}

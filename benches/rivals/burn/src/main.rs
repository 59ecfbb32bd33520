//! burn's side of the comparison, on its backend Flex.

mod models;
mod resnet;
mod sequences;
mod weights;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig,
    momentum::MomentumConfig,
};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use models::{Cnn, Mlp, Model, Rows, Tokens};
use resnet::ResNet20;
use rival_orders::{Dropout, From, Options, Predict, Result, Rival, Step, Values};
use sequences::{Classifier, Gpt};
use weights::Weights;

fn main() -> Result<()> {
    rival_orders::run::<Burn>()
}

struct Burn;

impl Rival for Burn {
    const READY: (&'static str, &'static str) = ("burn", "0.22.1");

    fn start(options: &Options, from: From, dropout: Dropout) -> Result<Step> {
        let stored = match from {
            From::Files => rival_orders::read(&options.weights())?,
            From::Nothing => Vec::new(),
        };
        let weights = Weights {
            stored,
            device: Device::flex().autodiff(),
        };
        match options.workload.as_str() {
            "mlp" => training(Mlp::small(&weights, dropout), options, from, weights.device),
            "mlp-large" => training(Mlp::large(&weights), options, from, weights.device),
            "cnn" => training(Cnn::new(&weights, dropout), options, from, weights.device),
            "resnet20" => training(ResNet20::new(&weights), options, from, weights.device),
            "lstm" => training(Classifier::new(&weights), options, from, weights.device),
            "gpt" => training(Gpt::of_characters(&weights), options, from, weights.device),
            "gpt2" => training(Gpt::two(&weights), options, from, weights.device),
            other => Err(format!("burn does not run {other}").into()),
        }
    }

    fn infer(options: &Options, batch: usize) -> Result<Predict> {
        let weights = Weights {
            stored: rival_orders::read(&options.weights())?,
            device: Device::flex(),
        };
        let x = Tensor::random([batch, 784], Distribution::Normal(0.0, 1.0), &weights.device);
        match options.workload.as_str() {
            "mlp" => Ok(prediction(
                Mlp::small(&weights, Dropout::Never),
                x,
                weights.device,
            )),
            "cnn" => Ok(prediction(Cnn::new(&weights, Dropout::Never), x, weights.device)),
            other => Err(format!("predictions of {other} are not compared").into()),
        }
    }
}

/// The optimizer of a workload, and its rate.
fn optimizer(workload: &str) -> (ModuleOptimizer, f64) {
    let decoupled = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01);
    match workload {
        "resnet20" => {
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            let sgd = SgdConfig::new()
                .with_momentum(Some(momentum))
                .with_weight_decay(Some(WeightDecayConfig::new(1e-4)));
            (sgd.init(), 0.1)
        }
        "gpt" => (decoupled.init(), 1e-3),
        "gpt2" => (decoupled.init(), 1e-4),
        _ => (AdamConfig::new().with_epsilon(1e-8).init(), 1e-3),
    }
}

fn training<M>(model: M, options: &Options, from: From, device: Device) -> Result<Step>
where
    M: Model<Input: Input> + Module + 'static,
{
    let batches = match from {
        From::Files => batches::<M::Input>(options, &device)?,
        From::Nothing => vec![zeros(&options.workload, &device)],
    };
    let (mut optimizer, rate) = optimizer(&options.workload);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut model = Some(model);
    Ok(Box::new(move |k| {
        let (x, y) = &batches[k % batches.len()];
        let trained = model.take().ok_or("an earlier step failed")?;
        let loss = loss.forward(trained.scores(x.clone()), y.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &trained);
        model = Some(optimizer.step(rate, trained, gradients));
        device.sync().map_err(|error| format!("{error:?}"))?;
        Ok(f64::from(loss.into_scalar::<f32>()))
    }))
}

fn prediction<M: Model<Input = Rows> + 'static>(model: M, x: Rows, device: Device) -> Predict {
    Box::new(move || {
        model.scores(x.clone());
        device.sync().map_err(|error| format!("{error:?}").into())
    })
}

/// What models take: rows of a batch flattened.
trait Input: Sized {
    /// Of the numbers of a file, so many in a row.
    fn of(values: Values, shape: [usize; 2], device: &Device) -> Result<Self>;

    /// Of zeros.
    fn zeros(shape: [usize; 2], device: &Device) -> Self;
}

impl Input for Rows {
    fn of(values: Values, shape: [usize; 2], device: &Device) -> Result<Self> {
        match values {
            Values::Floats(x) => Ok(Tensor::from_data(TensorData::new(x, shape), device)),
            Values::Ints(_) => Err("expected floats".into()),
        }
    }

    fn zeros(shape: [usize; 2], device: &Device) -> Self {
        Tensor::zeros(shape, device)
    }
}

impl Input for Tokens {
    fn of(values: Values, shape: [usize; 2], device: &Device) -> Result<Self> {
        match values {
            Values::Ints(x) => Ok(Tensor::from_data(TensorData::new(x, shape), device)),
            Values::Floats(_) => Err("expected tokens".into()),
        }
    }

    fn zeros(shape: [usize; 2], device: &Device) -> Self {
        Tensor::zeros(shape, device)
    }
}

/// A batch and the classes of its rows, or of its positions.
type Batch<X> = (X, Tensor<1, Int>);

fn batches<X: Input>(options: &Options, device: &Device) -> Result<Vec<Batch<X>>> {
    let pairs = options.batches()?.into_iter();
    pairs
        .map(|(x, y)| {
            let Values::Ints(classes) = y.values else {
                return Err("expected classes".into());
            };
            let rows = [x.shape[0], x.shape[1..].iter().product()];
            let n = classes.len();
            let classes = Tensor::from_data(TensorData::new(classes, [n]), device);
            Ok((X::of(x.values, rows, device)?, classes))
        })
        .collect()
}

/// A batch of zeros of a workload.
fn zeros<X: Input>(workload: &str, device: &Device) -> Batch<X> {
    let (rows, width, n) = match workload {
        "mlp-large" => (256, 784, 256),
        "resnet20" => (32, 3 * 32 * 32, 32),
        "lstm" => (32, 64 * 64, 32),
        "gpt" => (12, 64, 12 * 64),
        "gpt2" => (4, 64, 4 * 64),
        _ => (64, 784, 64),
    };
    (X::zeros([rows, width], device), Tensor::zeros([n], device))
}

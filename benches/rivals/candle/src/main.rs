//! candle's side of the comparison.

mod models;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap, loss::cross_entropy};
use models::Model;
use rival_orders::{Dropout, From, Options, Predict, Result, Rival, Step, Values};

fn main() -> Result<()> {
    rival_orders::run::<Candle>()
}

struct Candle;

impl Rival for Candle {
    const READY: (&'static str, &'static str) = ("candle", "0.11.1");

    fn start(options: &Options, from: From, dropout: Dropout) -> Result<Step> {
        let (map, model) = model(options, from, dropout)?;
        let batches = match from {
            From::Files => batches(options)?,
            From::Nothing => vec![zeros(&options.workload)?],
        };
        let settings = ParamsAdamW {
            lr: 1e-3,
            weight_decay: if options.workload == "gpt" { 0.01 } else { 0.0 },
            ..ParamsAdamW::default()
        };
        let mut adam = AdamW::new(variables(&map), settings)?;
        Ok(Box::new(move |k| {
            let (x, y) = &batches[k % batches.len()];
            let loss = cross_entropy(&model.scores(x, true)?, y)?;
            adam.backward_step(&loss)?;
            Ok(f64::from(loss.to_scalar::<f32>()?))
        }))
    }

    fn infer(options: &Options, batch: usize) -> Result<Predict> {
        let (_, model) = model(options, From::Files, Dropout::Never)?;
        let shape: &[usize] = match options.workload.as_str() {
            "cnn" => &[batch, 1, 28, 28],
            _ => &[batch, 784],
        };
        let x = Tensor::randn(0f32, 1.0, shape, &Device::Cpu)?;
        Ok(Box::new(move || {
            model.scores(&x, false)?;
            Ok(())
        }))
    }
}

/// A model and its variables, with the weights of the comparison where they are asked for.
fn model(options: &Options, from: From, dropout: Dropout) -> Result<(VarMap, Box<dyn Model>)> {
    let mut map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let model = models::model(&options.workload, dropout, builder)?;
    if from == From::Files {
        map.load(options.weights())?;
    }
    Ok((map, model))
}

/// All variables, in the order of their names.
fn variables(map: &VarMap) -> Vec<Var> {
    let variables = map
        .data()
        .lock()
        .expect("no thread has failed with the lock held");
    let mut named: Vec<_> = variables.iter().collect();
    named.sort_by_key(|(name, _)| name.as_str());
    named.into_iter().map(|(_, variable)| variable.clone()).collect()
}

fn batches(options: &Options) -> Result<Vec<(Tensor, Tensor)>> {
    let tensor = |tensor: rival_orders::Tensor| -> Result<Tensor> {
        Ok(match tensor.values {
            Values::Floats(values) => Tensor::from_vec(values, tensor.shape, &Device::Cpu)?,
            Values::Ints(values) => {
                let values: Vec<u32> = values
                    .into_iter()
                    .map(u32::try_from)
                    .collect::<std::result::Result<_, _>>()?;
                Tensor::from_vec(values, tensor.shape, &Device::Cpu)?
            }
        })
    };
    let pairs = options.batches()?.into_iter();
    pairs
        .map(|(x, y)| Ok((tensor(x)?, tensor(y)?.flatten_all()?)))
        .collect()
}

/// A batch of zeros of a workload.
fn zeros(workload: &str) -> Result<(Tensor, Tensor)> {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu);
    let (x, n) = match workload {
        "mlp-large" => (zeros(&[256, 784], DType::F32)?, 256),
        "cnn" => (zeros(&[64, 1, 28, 28], DType::F32)?, 64),
        "lstm" => (zeros(&[32, 64, 64], DType::F32)?, 32),
        "gpt" => (zeros(&[12, 64], DType::U32)?, 12 * 64),
        _ => (zeros(&[64, 784], DType::F32)?, 64),
    };
    Ok((x, zeros(&[n], DType::U32)?))
}

//! dfdx's side of the comparison: the perceptrons. Its convolutions, pools and flattening ask for a nightly compiler, and it has no
//! recurrent layer.

mod models;

use dfdx::losses::cross_entropy_with_logits_loss;
use dfdx::optim::{Adam, AdamConfig, Optimizer};
use dfdx::prelude::*;
use models::{Filler, MlpLarge, MlpSmall, Network, Numbers};
use rival_orders::{From as Begin, Options, Predict, Result, Rival, Step, Values};

fn main() -> Result<()> {
    rival_orders::run::<Dfdx>()
}

struct Dfdx;

impl Rival for Dfdx {
    const READY: (&'static str, &'static str) = ("dfdx", "0.13.0");

    fn start(options: &Options, from: Begin, dropout: rival_orders::Dropout) -> Result<Step> {
        match options.workload.as_str() {
            "mlp" => training::<MlpSmall>(options, from, dropout),
            "mlp-large" => training::<MlpLarge>(options, from, dropout),
            other => Err(format!("dfdx does not run {other}").into()),
        }
    }

    fn infer(options: &Options, batch: usize) -> Result<Predict> {
        match options.workload.as_str() {
            "mlp" => prediction::<MlpSmall>(options, batch),
            other => Err(format!("predictions of {other} are not compared").into()),
        }
    }
}

/// Rows of a batch flattened, and for each a one at its class.
type Batch = (Numbers<Pixels>, Numbers<Scores>);

/// The shapes of both.
type Pixels = (usize, Const<784>);
type Scores = (usize, Const<10>);

fn training<N: Network>(options: &Options, from: Begin, dropout: rival_orders::Dropout) -> Result<Step> {
    let device = Cpu::default();
    let weights = match from {
        Begin::Files => rival_orders::read(&options.weights())?,
        Begin::Nothing => Vec::new(),
    };
    let batches = match from {
        Begin::Files => batches(options, &device)?,
        Begin::Nothing => vec![zeros(&options.workload, &device)],
    };
    let mut network = N::new(&Filler::new(&weights, &device))?;
    let settings = AdamConfig {
        lr: 1e-3,
        ..AdamConfig::default()
    };
    let mut adam = Adam::new(&network, settings);
    let mut gradients = Some(network.alloc_grads());
    Ok(Box::new(move |k| {
        let (x, y) = &batches[k % batches.len()];
        let kept = gradients.take().ok_or("an earlier step failed")?;
        let scores = network.scores(x.clone().traced(kept), dropout);
        let loss = cross_entropy_with_logits_loss(scores, y.clone());
        let value = f64::from(loss.array());
        let mut fresh = loss.backward();
        adam.update(&mut network, &fresh)
            .map_err(|error| format!("{error:?}"))?;
        network.zero_grads(&mut fresh);
        gradients = Some(fresh);
        Ok(value)
    }))
}

fn prediction<N: Network>(options: &Options, batch: usize) -> Result<Predict> {
    let device = Cpu::default();
    let weights = rival_orders::read(&options.weights())?;
    let network = N::new(&Filler::new(&weights, &device))?;
    let x: Numbers<Pixels> = device.sample_normal_like(&(batch, Const));
    Ok(Box::new(move || {
        network.scores(x.clone(), rival_orders::Dropout::Never);
        Ok(())
    }))
}

fn batches(options: &Options, device: &Cpu) -> Result<Vec<Batch>> {
    let pairs = options.batches()?.into_iter();
    pairs
        .map(|(x, y)| match (x.values, y.values) {
            (Values::Floats(x), Values::Ints(y)) => {
                let mut ones = vec![0.0; 10 * y.len()];
                for (row, class) in ones.chunks_exact_mut(10).zip(&y) {
                    row[usize::try_from(*class)?] = 1.0;
                }
                let x = device.tensor_from_vec(x, (y.len(), Const));
                Ok((x, device.tensor_from_vec(ones, (y.len(), Const))))
            }
            _ => Err("expected floats with a class for each row".into()),
        })
        .collect()
}

/// A batch of zeros of a workload, all of the first class.
fn zeros(workload: &str, device: &Cpu) -> Batch {
    let n = if workload == "mlp-large" { 256 } else { 64 };
    let ones = (0..10 * n).map(|k| if k % 10 == 0 { 1.0 } else { 0.0 }).collect();
    (
        device.zeros_like(&(n, Const)),
        device.tensor_from_vec(ones, (n, Const)),
    )
}

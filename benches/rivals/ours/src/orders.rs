//! Orders that come in on standard input, one a line, and answers in JSON on standard output, one a line:
//!
//! | order | answer |
//! |---|---|
//! | (at the start) | `{"ready": …}` with the device, the instruction path and the precision |
//! | `losses N` | the losses of the first N steps from the initial weights, nothing dropped |
//! | `train S` | milliseconds of each step taken in S seconds, one at least |
//! | `infer B S` | the same of predictions of a batch of B |
//! | `peak` | megabytes that the process has held at most |
//!
//! A wrong order ends the process with an error: orders come from a program.

use std::path::Path;
use std::time::Instant;

use ndarray::{Array2, Array4};
use serde_json::{Value, json};
use tapeless::prelude::*;

use crate::models::cnn::Cnn;
use crate::models::mlp::Mlp;
use crate::models::{Dropout, Setup, Training, Workload};
use crate::once::peak_rss_mb;
use crate::{Result, export};

/// Serves until the input ends.
pub fn serve(workload: &'static Workload, setup: Setup, data: &Path) -> Result<()> {
    println!("{}", ready(&setup));
    let mut worker = Worker {
        workload,
        setup,
        data,
        training: None,
        inference: None,
        n_steps: 0,
    };
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["losses", n] => worker.losses(n.parse()?)?,
            ["train", seconds] => worker.train(seconds.parse()?)?,
            ["infer", batch, seconds] => worker.infer(batch.parse()?, seconds.parse()?)?,
            ["peak"] => json!({ "peak_rss_mb": peak_rss_mb()? }),
            _ => return Err(format!("not an order: {line}").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

fn ready(setup: &Setup) -> Value {
    json!({
        "ready": "tapeless",
        "version": env!("CARGO_PKG_VERSION"),
        "device": setup.device.to_string(),
        "path": setup.device.isa().serving(setup.precision).name(),
        "precision": setup.precision.to_string(),
    })
}

/// A prediction of one batch.
type Inference = Box<dyn FnMut() -> Result<()>>;

struct Worker<'a> {
    workload: &'static Workload,
    setup: Setup,
    data: &'a Path,
    training: Option<Box<dyn Training>>,
    /// The size of a batch, and its prediction.
    inference: Option<(usize, Inference)>,
    n_steps: usize,
}

impl Worker<'_> {
    /// A training with the initial weights of the comparison.
    fn start(&self, dropout: Dropout) -> Result<Box<dyn Training>> {
        let setup = Setup {
            dropout,
            ..self.setup.clone()
        };
        let mut training = (self.workload.start)(&setup)?;
        training.load(&export::weights(self.workload, self.data))?;
        Ok(training)
    }

    fn losses(&self, n: usize) -> Result<Value> {
        let mut training = self.start(Dropout::Never)?;
        let losses = (0..n)
            .map(|step| training.step(step))
            .collect::<tapeless::Result<Vec<f64>>>()?;
        Ok(json!({ "losses": losses }))
    }

    fn train(&mut self, seconds: f64) -> Result<Value> {
        let mut training = match self.training.take() {
            Some(training) => training,
            None => self.start(Dropout::AsDefined)?,
        };
        let mut loss = f64::NAN;
        let times = timed(seconds, || {
            loss = training.step(self.n_steps)?;
            self.n_steps += 1;
            Ok(())
        })?;
        self.training = Some(training);
        Ok(json!({ "ms": times, "loss": loss }))
    }

    fn infer(&mut self, batch: usize, seconds: f64) -> Result<Value> {
        let (_, predict) = match &mut self.inference {
            Some(inference) if inference.0 == batch => inference,
            _ => self
                .inference
                .insert((batch, inference(self.workload, &self.setup, self.data, batch)?)),
        };
        let times = timed(seconds, predict)?;
        Ok(json!({ "ms": times }))
    }
}

/// Predictions in a workspace that is kept.
fn inference(workload: &Workload, setup: &Setup, data: &Path, batch: usize) -> Result<Inference> {
    let weights = export::weights(workload, data);
    match workload.name {
        "mlp" => {
            let mut model: Mlp = setup.model()?;
            model.load(&weights)?;
            let mut work = model.logits_workspace(batch)?;
            let x = Array2::from_shape_fn((batch, 784), |(b, i)| (0.3 * (7 * b + i) as f32).sin());
            Ok(Box::new(move || {
                model.logits_in(&mut work, &x, 0.0)?;
                Ok(())
            }))
        }
        "cnn" => {
            let mut model: Cnn = setup.model()?;
            model.load(&weights)?;
            let mut work = model.logits_workspace(batch)?;
            let pixel = |(b, _, i, j)| (0.3 * (7 * b + 3 * i + j) as f32).sin();
            let x = Array4::from_shape_fn((batch, 1, 28, 28), pixel);
            Ok(Box::new(move || {
                model.logits_in(&mut work, &x, 0.0, 0.0)?;
                Ok(())
            }))
        }
        name => Err(format!("predictions of `{name}` are not compared").into()),
    }
}

/// Milliseconds of every call in so many seconds, of one at least.
fn timed(seconds: f64, mut call: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || begin.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        call()?;
        times.push(1e3 * begin.elapsed().as_secs_f64());
    }
    Ok(times)
}

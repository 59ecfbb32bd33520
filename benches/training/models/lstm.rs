//! An LSTM of width 256 over 64 steps of 64 numbers, whose last state is classified; batch 32, Adam.

use tapeless::prelude::*;

use super::{Run, Setup, Training, Workload, batch};

/// LSTM 64-256, linear 256-10.
#[model]
pub struct Classifier {
    rnn: Lstm<64, 256>,
    fc: Linear<256, 10>,
}

#[model]
impl Classifier {
    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 64, 64>, y: Tensor<u8, B>) -> Scalar {
        let (_, last, _) = self.rnn(x);
        cross_entropy(self.fc(last.squeeze(0)), y)
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "lstm",
    about: "64-256 over 64 steps, last state to 10 classes, Adam",
    batch: 32,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: Classifier = setup.model()?;
    let work = model.loss_workspace(WORKLOAD.batch)?;
    let batch = |k| {
        let n = WORKLOAD.batch;
        (batch::normal((n, 64, 64), k), batch::classes(n, 10, k))
    };
    Ok(Run::start(
        (model, work),
        Adam::new(1e-3),
        batch,
        setup,
        |model, work, adam, (x, y), _| model.train_step(work, adam, x, y),
    ))
}

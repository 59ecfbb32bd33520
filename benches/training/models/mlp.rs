//! A small perceptron: 784-128-10, dropout 0.2, batch 64, Adam.

use tapeless::prelude::*;

use super::{Run, Setup, Training, Workload, batch};

/// 784-128-10.
#[model]
pub struct Mlp {
    fc1: Linear<784, 128>,
    fc2: Linear<_, 10>,
}

#[model]
impl Mlp {
    /// Class scores of a batch.
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>, dropout: f32) -> Tensor<B, 10> {
        self.fc2(self.fc1(x).relu().dropout(dropout))
    }

    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, y: Tensor<u8, B>, dropout: f32) -> Scalar {
        cross_entropy(self.logits(x, dropout), y)
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "mlp",
    about: "784-128-10, dropout 0.2, Adam",
    batch: 64,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: Mlp = setup.model()?;
    let work = model.loss_workspace(WORKLOAD.batch)?;
    let batch = |k| {
        let n = WORKLOAD.batch;
        (batch::normal((n, 784), k), batch::classes(n, 10, k))
    };
    Ok(Run::start(
        (model, work),
        Adam::new(1e-3),
        batch,
        setup,
        |model, work, adam, (x, y), dropout| model.train_step(work, adam, x, y, dropout.rate(0.2)),
    ))
}

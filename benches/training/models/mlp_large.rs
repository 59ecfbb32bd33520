//! A large perceptron: 784-1024-1024-10, batch 256, Adam.

use tapeless::prelude::*;

use super::{Run, Setup, Training, Workload, batch};

/// 784-1024-1024-10.
#[model]
pub struct MlpLarge {
    fc1: Linear<784, 1024>,
    fc2: Linear<_, 1024>,
    fc3: Linear<_, 10>,
}

#[model]
impl MlpLarge {
    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, y: Tensor<u8, B>) -> Scalar {
        let hidden = self.fc2(self.fc1(x).relu()).relu();
        cross_entropy(self.fc3(hidden), y)
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "mlp-large",
    about: "784-1024-1024-10, Adam",
    batch: 256,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: MlpLarge = setup.model()?;
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
        |model, work, adam, (x, y), _| model.train_step(work, adam, x, y),
    ))
}

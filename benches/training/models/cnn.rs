//! The convolutional network of PyTorch's MNIST example: two 3x3 convolutions, pooling, two linear layers, batch 64, Adam.

use tapeless::prelude::*;

use super::{Run, Setup, Training, Workload, batch};

/// conv 32, conv 64, pool, 9216-128-10.
#[model]
pub struct Cnn {
    conv1: Conv2d<1, 32, 3>,
    conv2: Conv2d<32, 64, 3>,
    fc1: Linear<_, 128>,
    fc2: Linear<128, 10>,
}

#[model]
impl Cnn {
    /// Class scores of a batch.
    pub fn logits<B: Dim>(&self, x: Tensor<B, 1, 28, 28>, dropout1: f32, dropout2: f32) -> Tensor<B, 10> {
        let x = self.conv2(self.conv1(x).relu()).relu().max_pool2d(2);
        let x = self.fc1(x.dropout(dropout1).flatten()).relu();
        self.fc2(x.dropout(dropout2))
    }

    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(
        &self,
        x: Tensor<B, 1, 28, 28>,
        y: Tensor<u8, B>,
        dropout1: f32,
        dropout2: f32,
    ) -> Scalar {
        cross_entropy(self.logits(x, dropout1, dropout2), y)
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "cnn",
    about: "conv 32, conv 64, pool, 9216-128-10, dropout 0.25 and 0.5, Adam",
    batch: 64,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: Cnn = setup.model()?;
    let work = model.loss_workspace(WORKLOAD.batch)?;
    let batch = |k| {
        let n = WORKLOAD.batch;
        (batch::normal((n, 1, 28, 28), k), batch::classes(n, 10, k))
    };
    Ok(Run::start(
        (model, work),
        Adam::new(1e-3),
        batch,
        setup,
        |model, work, adam, (x, y), dropout| {
            model.train_step(work, adam, x, y, dropout.rate(0.25), dropout.rate(0.5))
        },
    ))
}

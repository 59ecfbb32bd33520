//! ResNet-20 for images of 3 x 32 x 32, batch 32, momentum and weight decay.
//!
//! Its stages are those of the crate `tapeless_models`. Unlike the network of that name there, shortcuts between stages are
//! strided 1 x 1 convolutions (option B of the paper), as in the comparison's other frameworks.

use tapeless::prelude::*;
use tapeless_models::{BasicBlock, Stage};

use super::{Run, Setup, Training, Workload, batch};

/// A 3 x 3 convolution, three stages of three blocks with 16, 32 and 64 channels, the mean, a linear layer.
#[model]
pub struct ResNet20 {
    #[layer(padding = 1, bias = false, init = kaiming_normal)]
    conv1: Conv2d<3, 16, 3>,
    bn1: BatchNorm2d<16>,
    layer1: [BasicBlock<16>; 3],
    layer2: Stage<16, 32, 2>,
    layer3: Stage<32, 64, 2>,
    fc: Linear<64, 10>,
}

#[model]
impl ResNet20 {
    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 3, 32, 32>, y: Tensor<u8, B>) -> Scalar {
        let mut x = self.bn1(self.conv1(x)).relu();
        for block in &self.layer1 {
            x = block(x);
        }
        let features = self.layer3(self.layer2(x)).global_avg_pool2d();
        cross_entropy(self.fc(features), y)
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "resnet20",
    about: "3x32x32, 16/32/64 channels, SGD with momentum and weight decay",
    batch: 32,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: ResNet20 = setup.model()?;
    let work = model.loss_workspace(WORKLOAD.batch)?;
    let batch = |k| {
        let n = WORKLOAD.batch;
        (batch::normal((n, 3, 32, 32), k), batch::classes(n, 10, k))
    };
    Ok(Run::start(
        (model, work),
        Sgd::new(0.1).momentum(0.9).weight_decay(1e-4),
        batch,
        setup,
        |model, work, sgd, (x, y), _| model.train_step(work, sgd, x, y),
    ))
}

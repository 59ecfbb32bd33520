// The network of the example `mnist_cnn`.
use ndarray::{Array1, Array4};
use tapeless::prelude::*;

const WIDTH: usize = 128;

#[model]
pub struct Cnn {
    conv1: Conv2d<1, 32, 3>,
    conv2: Conv2d<32, 64, 3>,
    fc1: Linear<_, WIDTH>,
    fc2: Linear<_, 10>,
}

#[model]
impl Cnn {
    /// Class scores.
    pub fn logits<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, 10> {
        let x = self.conv2(self.conv1(image).relu()).relu().max_pool2d(2);
        let x = self.fc1(x.dropout(0.25).flatten()).relu();
        self.fc2(x.dropout(0.5))
    }

    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

/// A step of training.
pub fn step(image: &Array4<f32>, label: &Array1<u8>) -> Result<f64> {
    let mut model = Cnn::new(&Device::cpu(), 42)?;
    let mut work = model.loss_workspace(64)?;
    model.train_step(&mut work, &mut Adam::default(), image, label)
}

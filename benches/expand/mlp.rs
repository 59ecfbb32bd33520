// The perceptron of the README.
use ndarray::{Array1, Array4};
use tapeless::prelude::*;

const WIDTH: usize = 128;

#[model]
pub struct Mnist {
    fc1: Linear<784, WIDTH>,
    fc2: Linear<_, 10>,
}

#[model]
impl Mnist {
    /// Class scores.
    pub fn logits<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, 10> {
        let hidden = self.fc1(image.flatten()).relu();
        self.fc2(hidden.dropout(0.2))
    }

    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

/// A step of training.
pub fn step(image: &Array4<f32>, label: &Array1<u8>) -> Result<f64> {
    let mut model = Mnist::new(&Device::cpu(), 42)?;
    let mut work = model.loss_workspace(64)?;
    model.train_step(&mut work, &mut Adam::default(), image, label)
}

//! Several mistakes are all reported, and methods exist all the same.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc1: Linear<784, 128>,
    fc2: Linear<64, 10>,
}

#[model]
impl Net {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc2(self.fc1(x))
    }

    pub fn other<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 128> {
        self.fc1(x).rellu()
    }

    pub fn third<B: Dim>(&self, a: Tensor<B, 3>, b: Tensor<B, 4>) -> Tensor<B, 3> {
        a + b
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1).map(|net| net.logits(&ndarray::Array2::<f32>::zeros((1, 784))));
}

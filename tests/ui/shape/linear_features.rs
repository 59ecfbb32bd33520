//! A layer gets as many features as it says.

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
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1).map(|net| net.logits(&ndarray::Array2::<f32>::zeros((1, 784))));
}

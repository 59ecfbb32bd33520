//! A size that nothing determines.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc1: Linear<_, 128>,
    fc2: Linear<784, 10>,
}

#[model]
impl Net {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc2(x)
    }
}

fn main() {
}

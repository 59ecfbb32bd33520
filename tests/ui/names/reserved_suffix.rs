//! Suffixes that the macro generates are reserved.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc1: Linear<784, 128>,
    fc2: Linear<128, 10>,
}

#[model]
impl Net {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>) -> Scalar {
        self.fc2(self.fc1(x)).sum()
    }

    pub fn loss_grad<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc2(self.fc1(x))
    }
}

fn main() {
}

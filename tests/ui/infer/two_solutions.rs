//! A size that two functions determine differently.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc: Linear<_, 10>,
}

#[model]
impl Net {
    pub fn a<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 10> {
        self.fc(x)
    }

    pub fn b<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 10> {
        self.fc(x)
    }
}

fn main() {
}

//! A kernel fits into its padded input.

use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv2d<1, 8, 7>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 1, 5, 5>) -> Tensor<B, 8, 1, 1> {
        self.conv(x)
    }
}

fn main() {
}

//! The declared result of a convolution is what its arithmetic gives.

use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv2d<1, 8, 3>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 1, 28, 28>) -> Tensor<B, 8, 28, 28> {
        self.conv(x)
    }
}

fn main() {
}

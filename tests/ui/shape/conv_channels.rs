//! A convolution gets as many channels as it says.

use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv2d<3, 8, 3>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 1, 28, 28>) -> Tensor<B, 8, 26, 26> {
        self.conv(x)
    }
}

fn main() {
}

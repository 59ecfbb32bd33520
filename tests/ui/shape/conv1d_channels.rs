//! A convolution of sequences has as many input channels as its input.

use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv1d<4, 8, 3>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 20, 4>) -> Tensor<B, 8, 18> {
        self.conv(x)
    }
}

fn main() {
}

//! A convolution of sequences takes no images.

use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv1d<3, 8, 3>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 3, 20, 20>) -> Tensor<B, 8, 18> {
        self.conv(x)
    }
}

fn main() {
}

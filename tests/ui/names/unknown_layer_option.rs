//! A layer option that does not exist.

use tapeless::prelude::*;

#[model]
pub struct Net {
    #[layer(strides = 2)]
    conv: Conv2d<1, 8, 3>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 1, 9, 9>) -> Tensor<B, 8, 4, 4> {
        self.conv(x)
    }
}

fn main() {
}

//! Groups divide the channels.

use tapeless::prelude::*;

#[model]
pub struct Net {
    #[layer(groups = 2)]
    conv: Conv2d<3, 8, 3>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 3, 8, 8>) -> Tensor<B, 8, 6, 6> {
        self.conv(x)
    }
}

fn main() {
}

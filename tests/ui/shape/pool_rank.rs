//! Pooling takes images.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 28>) -> Tensor<B, 14> {
        x.max_pool2d(2)
    }
}

fn main() {
}

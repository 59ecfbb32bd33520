//! A mask is a bool tensor.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> {
        select(x, x, x)
    }
}

fn main() {
}

//! A reshape keeps the number of elements.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 12>) -> Tensor<B, 5> {
        x.reshape(B, 5)
    }
}

fn main() {
}

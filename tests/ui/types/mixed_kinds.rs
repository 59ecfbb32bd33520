//! Floats and integers do not mix silently.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B>, y: Tensor<u8, B>) -> Tensor<B> {
        x + y
    }
}

fn main() {
}

//! Joined tensors agree in all other axes.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, a: Tensor<B, 3, 4>, b: Tensor<B, 5, 4>) -> Tensor<B, 3, 8> {
        concat((a, b), axis = 2)
    }
}

fn main() {
}

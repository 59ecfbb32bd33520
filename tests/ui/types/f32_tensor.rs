//! Precision is chosen when the model is made.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<f32, B>) -> Tensor<B> {
        x
    }
}

fn main() {
}

//! Two dynamic dimensions are not known to be equal.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn logits<B: Dim, T: Dim, S: Dim>(&self, a: Tensor<B, T>, b: Tensor<B, S>) -> Tensor<B, T> {
        a + b
    }
}

fn main() {
}

//! The inner sizes of a product are equal.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn logits<B: Dim>(&self, a: Tensor<B, 3>, b: Tensor<4, 5>) -> Tensor<B, 5> {
        a.matmul(b)
    }
}

fn main() {
}

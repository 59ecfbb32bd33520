//! Sizes 3 and 4 do not broadcast.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn logits<B: Dim>(&self, a: Tensor<B, 3>, b: Tensor<B, 4>) -> Tensor<B, 3> {
        a + b
    }
}

fn main() {
}

//! Losses never broadcast.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 3>, y: Tensor<B, 1>) -> Scalar {
        mse(x, y)
    }
}

fn main() {
}

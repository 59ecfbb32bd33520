//! There is a label for every sample.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn loss<B: Dim, C: Dim>(&self, x: Tensor<B, 3>, y: Tensor<i64, C>) -> Scalar {
        cross_entropy(x, y)
    }
}

fn main() {
}

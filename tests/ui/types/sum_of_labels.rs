//! Integers have no exponential.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, y: Tensor<u8, B>) -> Scalar {
        y.exp().sum()
    }
}

fn main() {
}

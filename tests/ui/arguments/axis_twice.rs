//! An axis named twice.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 3>) -> Scalar {
        x.sum(axis = [0, 0])
    }
}

fn main() {
}

//! Arguments and results have at most eight axes.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 1, 1, 1, 1, 1, 1, 1, 1>) -> Tensor<B> {
        x.reshape(B)
    }
}

fn main() {
}

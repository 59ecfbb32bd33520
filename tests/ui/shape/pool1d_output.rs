//! Pooling shortens a sequence by its window.

use tapeless::prelude::*;

#[model]
pub struct Net {
    pool: MaxPool1d<2>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 3, 20>) -> Tensor<B, 3, 20> {
        self.pool(x)
    }
}

fn main() {
}

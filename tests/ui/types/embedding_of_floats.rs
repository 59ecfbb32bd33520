//! Tokens are integers.

use tapeless::prelude::*;

#[model]
pub struct Net {
    embed: Embedding<100, 8>,
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B, 8> {
        self.embed(x)
    }
}

fn main() {
}

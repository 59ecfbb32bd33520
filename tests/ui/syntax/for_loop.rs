//! Loops over layers are not built yet.

use tapeless::prelude::*;

#[model]
pub struct Net {
    blocks: [Linear<8, 8>; 3]
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, 8> {
        let mut x = x;
        for block in &self.blocks {
            x = block(x);
        }
        x
    }
}

fn main() {
}

//! Whether generic features split into generic heads is known where both are chosen.

use tapeless::prelude::*;

#[model]
pub struct Block<const D: usize, const H: usize> {
    attn: CausalSelfAttention<D, H>,
}

#[model]
impl<const D: usize, const H: usize> Block<D, H> {
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        x + self.attn(x)
    }
}

#[model]
pub struct Net {
    block: Block<10, 4>,
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T, 10>) -> Tensor<B, T, 10> {
        self.block(x)
    }
}

fn main() {
}

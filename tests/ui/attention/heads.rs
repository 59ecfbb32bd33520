//! Features that do not split into heads, and an odd number of features to turn.

use tapeless::prelude::*;

#[model]
pub struct Net {
    attn: MultiHeadAttention<10, 3>,
    rope: RotaryEmbedding<5>,
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T, 10>) -> Tensor<B, T, 10> {
        self.attn(x)
    }
}

fn main() {
}

//! Operands, masks and options that do not fit, all reported at once.

use tapeless::prelude::*;

#[model]
pub struct Net {
    attn: MultiHeadAttention<8, 2>,
    decoder: TransformerDecoderLayer<8, 2, 16>,
}

#[model]
impl Net {
    pub fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Tensor<B, T, 8> {
        self.attn(x)
    }

    pub fn two_operands<B: Dim, T: Dim>(&self, x: Tensor<B, T, 8>) -> Tensor<B, T, 8> {
        self.attn(x, x)
    }

    pub fn mask<B: Dim, T: Dim, S: Dim>(
        &self,
        x: Tensor<B, T, 8>,
        memory: Tensor<B, S, 8>,
        keep: Tensor<bool, T, T>,
    ) -> Tensor<B, T, 8> {
        self.decoder(x, memory, memory_mask = keep)
    }

    pub fn option<B: Dim, T: Dim>(&self, x: Tensor<B, T, 8>) -> Tensor<B, T, 8> {
        self.attn(x, causal = true)
    }

    pub fn keys<T: Dim, S: Dim>(
        &self,
        q: Tensor<T, 8>,
        k: Tensor<S, 8>,
        v: Tensor<T, 8>,
    ) -> Tensor<T, 8> {
        attention(q, k, v)
    }
}

fn main() {
}

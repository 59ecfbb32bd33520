//! The blank is one of the classes.

use tapeless::prelude::*;

#[model]
pub struct Net {
    out: Linear<16, 10>,
}

#[model]
impl Net {
    pub fn loss<B: Dim, T: Dim, S: Dim>(
        &self,
        heard: Tensor<B, T, 16>,
        words: Tensor<u8, B, S>,
        frames: Tensor<i64, B>,
        n_words: Tensor<i64, B>,
    ) -> Scalar {
        ctc_loss(self.out(heard).log_softmax(axis = 2), words, frames, n_words, blank = 10)
    }
}

fn main() {
}

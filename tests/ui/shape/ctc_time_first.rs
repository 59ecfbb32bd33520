//! Log-probabilities have the batch as their first axis, not time.

use tapeless::prelude::*;

#[model]
pub struct Net {
    gru: Gru<8, 16>,
    out: Linear<16, 29>,
}

#[model]
impl Net {
    pub fn loss<B: Dim, T: Dim, S: Dim>(
        &self,
        sound: Tensor<B, T, 8>,
        words: Tensor<u8, B, S>,
        frames: Tensor<i64, B>,
        n_words: Tensor<i64, B>,
    ) -> Scalar {
        let (heard, _) = self.gru(sound, lengths = frames);
        let scores = self.out(heard).log_softmax(axis = 2).permute(1, 0, 2);
        ctc_loss(scores, words, frames, n_words)
    }
}

fn main() {
}

//! A judge of sentences: an embedding and a bidirectional LSTM.

use tapeless::prelude::*;

/// Reads a sentence in both directions and judges it by the two last states.
#[model]
pub struct Sentiment<const VOCAB: usize, const EMBED: usize, const WIDTH: usize> {
    words: Embedding<VOCAB, EMBED>,
    #[layer(bidirectional = true)]
    lstm: Lstm<EMBED, WIDTH>,
    judge: Linear<{ 2 * WIDTH }, 2>,
}

#[model]
impl<const VOCAB: usize, const EMBED: usize, const WIDTH: usize> Sentiment<VOCAB, EMBED, WIDTH> {
    /// Scores of unkind and kind.
    pub fn scores<B: Dim, T: Dim>(&self, words: Tensor<u16, B, T>, lengths: Tensor<i64, B>) -> Tensor<B, 2> {
        let (_, last, _) = self.lstm(self.words(words), lengths = lengths);
        let (forward, backward) = last.chunk(2, axis = 0);
        self.judge(concat((forward.squeeze(0), backward.squeeze(0)), axis = 1))
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim, T: Dim>(
        &self,
        words: Tensor<u16, B, T>,
        lengths: Tensor<i64, B>,
        label: Tensor<u8, B>,
    ) -> Scalar {
        cross_entropy(self.scores(words, lengths), label)
    }

    /// The share of sentences that are judged right.
    pub fn accuracy<B: Dim, T: Dim>(
        &self,
        words: Tensor<u16, B, T>,
        lengths: Tensor<i64, B>,
        label: Tensor<u8, B>,
    ) -> Scalar {
        (self.scores(words, lengths).argmax(axis = 1) == label)
            .to_float()
            .mean()
    }
}

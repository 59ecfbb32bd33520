//! An encoder-decoder transformer over characters, in the form with the norms first.

use tapeless::prelude::*;

/// `LAYERS` layers that read, as many that write, of `HEADS` heads and perceptrons of `HIDDEN` units.
#[model]
pub struct Translator<
    const VOCAB: usize,
    const WIDTH: usize,
    const HEADS: usize,
    const HIDDEN: usize,
    const LAYERS: usize,
> {
    embed: Embedding<VOCAB, WIDTH>,
    position: PositionalEncoding<WIDTH>,
    #[layer(dropout = 0.0, norm_first = true)]
    encoder: [TransformerEncoderLayer<WIDTH, HEADS, HIDDEN>; LAYERS],
    #[layer(dropout = 0.0, norm_first = true, causal = true)]
    decoder: [TransformerDecoderLayer<WIDTH, HEADS, HIDDEN>; LAYERS],
    norm: LayerNorm<WIDTH>,
    out: Linear<WIDTH, VOCAB>,
}

#[model]
impl<const VOCAB: usize, const WIDTH: usize, const HEADS: usize, const HIDDEN: usize, const LAYERS: usize>
    Translator<VOCAB, WIDTH, HEADS, HIDDEN, LAYERS>
{
    /// The scores of the next character at every position of the answer; `seen` is false where the source is filled up.
    pub fn scores<B: Dim, S: Dim, T: Dim>(
        &self,
        source: Tensor<u8, B, S>,
        seen: Tensor<bool, B, 1, 1, S>,
        answer: Tensor<u8, B, T>,
    ) -> Tensor<B, T, VOCAB> {
        let mut memory = self.position(self.embed(source));
        for layer in &self.encoder {
            memory = layer(memory, mask = seen);
        }
        let mut y = self.position(self.embed(answer));
        for layer in &self.decoder {
            y = layer(y, memory, memory_mask = seen);
        }
        self.out(self.norm(y))
    }

    /// Mean cross-entropy of a character, in nats.
    pub fn loss<B: Dim, S: Dim, T: Dim>(
        &self,
        source: Tensor<u8, B, S>,
        seen: Tensor<bool, B, 1, 1, S>,
        answer: Tensor<u8, B, T>,
        next: Tensor<u8, B, T>,
    ) -> Scalar {
        let scores = self.scores(source, seen, answer);
        cross_entropy(scores.reshape((B * T, VOCAB)), next.reshape((B * T,)))
    }
}

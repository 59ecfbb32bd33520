//! A detector of motifs: one convolution that reads both strands of a sequence.

use tapeless::prelude::*;

/// `FILTERS` motifs of `LENGTH` bases, and what finding them means.
#[model]
pub struct Motifs<const FILTERS: usize, const LENGTH: usize> {
    conv: Conv1d<4, FILTERS, LENGTH>,
    judge: Linear<FILTERS, 2>,
}

#[model]
impl<const FILTERS: usize, const LENGTH: usize> Motifs<FILTERS, LENGTH> {
    /// Scores of "without" and "with a motif". The bases A, C, G, T are the numbers 0 to 3.
    pub fn scores<B: Dim, T: Dim>(&self, bases: Tensor<u8, B, T>) -> Tensor<B, 2> {
        let strand = bases.one_hot(4).permute(0, 2, 1);
        // A pairs with T and C with G: in this order of the bases the other strand is the mirror image along both axes.
        let other = strand.flip(axis = (1, 2));
        let found = self.conv(strand).maximum(self.conv(other)).max(axis = 2);
        self.judge(found.relu())
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim, T: Dim>(&self, bases: Tensor<u8, B, T>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.scores(bases), label)
    }

    /// The share of sequences that are judged right.
    pub fn accuracy<B: Dim, T: Dim>(&self, bases: Tensor<u8, B, T>, label: Tensor<u8, B>) -> Scalar {
        (self.scores(bases).argmax(axis = 1) == label).to_float().mean()
    }
}

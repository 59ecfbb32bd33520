//! From frames of sound to the probabilities of what is said in each of them.

use tapeless::prelude::*;

/// A recurrent network that hears in both directions; class 0 of its `CLASSES` is the blank.
#[model]
pub struct Recogniser<const BANDS: usize, const WIDTH: usize, const CLASSES: usize> {
    #[layer(bidirectional = true)]
    gru: Gru<BANDS, WIDTH>,
    out: Linear<{ 2 * WIDTH }, CLASSES>,
}

#[model]
impl<const BANDS: usize, const WIDTH: usize, const CLASSES: usize> Recogniser<BANDS, WIDTH, CLASSES> {
    /// The logarithms of the probabilities of all classes in every frame; `lengths` says how many frames count.
    pub fn log_probabilities<B: Dim, T: Dim>(
        &self,
        sound: Tensor<B, T, BANDS>,
        lengths: Tensor<i64, B>,
    ) -> Tensor<B, T, CLASSES> {
        let (heard, _) = self.gru(sound, lengths = lengths);
        self.out(heard).log_softmax(axis = 2)
    }

    /// The classes of the frames, each the likeliest.
    pub fn classes<B: Dim, T: Dim>(
        &self,
        sound: Tensor<B, T, BANDS>,
        lengths: Tensor<i64, B>,
    ) -> Tensor<i64, B, T> {
        self.log_probabilities(sound, lengths).argmax(axis = 2)
    }

    /// The loss of sentences of which nobody wrote down when their words are said: minus the logarithm of their
    /// probability, for each word, averaged over the batch.
    pub fn loss<B: Dim, T: Dim, S: Dim>(
        &self,
        sound: Tensor<B, T, BANDS>,
        lengths: Tensor<i64, B>,
        words: Tensor<u8, B, S>,
        n_words: Tensor<i64, B>,
    ) -> Scalar {
        ctc_loss(self.log_probabilities(sound, lengths), words, lengths, n_words)
    }
}

//! Random numbers of the generator: the runtime's streams, read one after the other.

use tapeless_runtime::rng::{Key, Stream};

/// A source of random choices.
#[derive(Clone, Debug)]
pub struct Dice {
    stream: Stream,
    n_thrown: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self {
            stream: Key::for_path(seed, "oracle").stream(0),
            n_thrown: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.n_thrown += 1;
        self.n_thrown
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        let element = self.next();
        self.stream.below(n as u64, element) as usize
    }

    /// A number in -1..1.
    pub fn symmetric(&mut self) -> f64 {
        // The upper bits of the counter keep these apart from the draws of `below`.
        let element = self.next() | 1 << 40;
        2.0 * self.stream.uniform_f64(element) - 1.0
    }

    /// An index, the more likely the greater its weight.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        let chosen = weights.iter().position(|&weight| {
            let is_here = at < weight;
            at = at.saturating_sub(weight);
            is_here
        });
        chosen.expect("some weight is above zero")
    }
}

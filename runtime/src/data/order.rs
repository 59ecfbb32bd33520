//! The order in which samples are visited: a pure function of (seed, epoch, number of samples).
//!
//! A run that resumes in the middle of an epoch needs no saved order and no saved generator: it computes the
//! permutation again, from the counter-based generator of [`crate::rng`].
//!
//! Source of the unbiased bounded draw: Lemire, "Fast random integer generation in an interval", ACM TOMACS
//! 29 (2019).

use crate::rng::{Key, Stream};

/// Fills `order` with a random permutation of `0..n_samples`, the same for the same arguments on every
/// machine. Allocates only if the vector lacks the capacity.
///
/// Fisher-Yates with unbiased draws: every permutation is as likely as every other.
///
/// ```
/// use tapeless_runtime::data::shuffle_epoch;
///
/// let mut order = Vec::new();
/// shuffle_epoch(5, 42, 0, &mut order);
/// let first = order.clone();
/// shuffle_epoch(5, 42, 1, &mut order);
/// assert_ne!(order, first);
/// shuffle_epoch(5, 42, 0, &mut order);
/// assert_eq!(order, first);
/// ```
pub fn shuffle_epoch(n_samples: usize, seed: u64, epoch: u64, order: &mut Vec<usize>) {
    permute(n_samples, Key::for_path(seed, "data.epoch").stream(epoch), order);
}

/// A permutation that decides how a data set is divided; unrelated to the orders of its epochs.
pub(crate) fn shuffle_split(n_samples: usize, seed: u64, order: &mut Vec<usize>) {
    permute(n_samples, Key::for_path(seed, "data.split").stream(0), order);
}

fn permute(n_samples: usize, stream: Stream, order: &mut Vec<usize>) {
    order.clear();
    order.extend(0..n_samples);
    let mut draws = Draws { stream, n_drawn: 0 };
    for last in (1..n_samples).rev() {
        order.swap(last, draws.below(last as u64 + 1) as usize);
    }
}

/// The numbers of a stream, one after the other.
struct Draws {
    stream: Stream,
    n_drawn: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        let bits = self.stream.u64(self.n_drawn);
        self.n_drawn += 1;
        bits
    }

    /// A uniform draw from `0..bound`, where `bound` is not 0.
    ///
    /// The high word of draw * bound is uniform once those draws are rejected whose low word falls
    /// below 2^64 mod bound.
    fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            let low = product as u64;
            // The remainder is less than the bound, so the division is rarely needed.
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_permutation_is_equally_likely() {
        // 24 permutations of 4, 24,000 epochs: chi-squared with 23 degrees of freedom stays below 49.7 with
        // probability 0.999. The seed is fixed, so that the test cannot fail by chance.
        let (mut counts, mut order) = (std::collections::BTreeMap::new(), Vec::new());
        for epoch in 0..24_000 {
            shuffle_epoch(4, 3, epoch, &mut order);
            *counts.entry(order.clone()).or_insert(0_u32) += 1;
        }
        let chi_squared: f64 = counts
            .values()
            .map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert_eq!(counts.len(), 24);
        assert!(chi_squared < 49.7, "chi-squared {chi_squared}");
    }

    #[test]
    fn bounded_draws_follow_their_definition() {
        // Near 2^63 almost half of the draws must be rejected, so the loop is exercised as well.
        let stream = Key::for_path(1, "test").stream(0);
        for bound in [1, 7, (1 << 63) + 1] {
            let accepted = (0..100)
                .map(|i| u128::from(stream.u64(i)) * u128::from(bound))
                .filter(|product| {
                    let n_rejected = (1_u128 << 64) % u128::from(bound);
                    (product & u128::from(u64::MAX)) >= n_rejected
                });
            let expected: Vec<u64> = accepted.map(|product| (product >> 64) as u64).take(40).collect();
            let mut draws = Draws { stream, n_drawn: 0 };
            let drawn: Vec<u64> = (0..expected.len()).map(|_| draws.below(bound)).collect();
            assert_eq!(drawn, expected);
            assert!(drawn.iter().all(|&draw| draw < bound));
        }
    }

    #[test]
    fn nearby_seeds_epochs_and_purposes_differ() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..20 {
            for epoch in 0..20 {
                let mut order = Vec::new();
                shuffle_epoch(30, seed, epoch, &mut order);
                orders.insert(order);
            }
            let mut order = Vec::new();
            shuffle_split(30, seed, &mut order);
            orders.insert(order);
        }
        assert_eq!(orders.len(), 20 * 21);
    }

    #[test]
    fn the_order_is_fixed_for_all_time() {
        // A change here would make resumed runs continue on other data than they began with.
        let mut order = Vec::new();
        shuffle_epoch(8, 42, 1, &mut order);
        assert_eq!(order, [2, 6, 1, 4, 7, 0, 5, 3]);
    }

    proptest! {
        #[test]
        fn is_a_permutation(n in 0_usize..500, seed: u64, epoch: u64) {
            let mut order = vec![7; 3];
            shuffle_epoch(n, seed, epoch, &mut order);
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..n));
        }
    }
}

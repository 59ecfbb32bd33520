//! Random numbers as pure functions of where they are needed.
//!
//! There is no generator state to carry, to lock or to save: a number is a function of a [`Key`] (the seed
//! and the identity of the operation), a step and an element, by way of Philox4x32-10, the counter-based
//! generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). So
//! the same bits come out on any number of threads, on any device and after any resume.
//!
//! Layout, which every device must share: the Philox key of a [`Stream`] is words 0 and 1 of
//! `philox(seed, [stream low, stream high, 0, 0])`; block `b` of step `s` is `philox(key, [b low, b high,
//! s low, s high])`; an element of 32 bits is word `e % 4` of block `e / 4`, one of 64 bits is words
//! `2 (e % 2)` (low) and `2 (e % 2) + 1` (high) of block `e / 2`.
//!
//! Not for cryptography.

/// The four words that Philox4x32-10 assigns to a counter under a key.
///
/// A bijection of counters for each key; passes BigCrush (Salmon et al. 2011, section 5).
///
/// ```
/// // A known answer published with the authors' library, Random123.
/// let words = tapeless_runtime::rng::philox([0, 0], [0, 0, 0, 0]);
/// assert_eq!(words, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
/// ```
#[inline(always)]
pub const fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    /// The multipliers and the Weyl increments of the key, from table 2 and section 4.3 of the paper.
    const M: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const W: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let (mut key, mut c) = (key, counter);
    let mut round = 0;
    while round < 10 {
        let (a, b) = (M[0] as u64 * c[0] as u64, M[1] as u64 * c[2] as u64);
        c = [
            (b >> 32) as u32 ^ c[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ c[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(W[0]), key[1].wrapping_add(W[1])];
        round += 1;
    }
    c
}

/// The two 32-bit halves of `x`, the low one first.
#[inline(always)]
const fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// The 64-bit FNV-1a hash of `text` (Fowler, Noll, Vo): stable across platforms and releases.
///
/// Streams are named by it, so that a parameter's or an operation's path decides its random numbers,
/// whatever else is in the model.
pub const fn hash_path(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// The identity of a stream of random numbers: the user's seed, and whose numbers these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The seed that the user chose for the model.
    pub seed: u64,
    /// Which of the model's streams: usually [`hash_path`] of the operation's or parameter's path.
    pub stream: u64,
}

impl Key {
    /// The stream of the operation or parameter called `path`.
    pub const fn for_path(seed: u64, path: &str) -> Self {
        Key {
            seed,
            stream: hash_path(path),
        }
    }

    /// The key of iteration `index` of an enclosing loop; applied once a loop, the outermost first.
    ///
    /// Iterations (and keys indexed a different number of times) have unrelated streams.
    #[must_use]
    pub const fn at(self, index: u64) -> Self {
        // The third word separates these from the counters of `stream`, where it is 0.
        let ([low, high], [a, b]) = (halves(index), halves(self.stream));
        let words = philox([a, b], [low, high, 1, 0]);
        Key {
            seed: self.seed,
            stream: words[0] as u64 | (words[1] as u64) << 32,
        }
    }

    /// The numbers of this key at training step (or epoch, or whatever counts) `step`.
    pub const fn stream(self, step: u64) -> Stream {
        let [low, high] = halves(self.stream);
        let words = philox(halves(self.seed), [low, high, 0, 0]);
        Stream {
            key: [words[0], words[1]],
            step,
        }
    }
}

/// The stream of an operation in step `step` of an enclosing loop: [`Key::at`], for emitted code.
#[doc(hidden)]
pub const fn step_stream(stream: u64, step: usize) -> u64 {
    Key { seed: 0, stream }.at(step as u64).stream
}

/// Random numbers by index: a [`Key`] at a step, ready to be asked for any element in any order.
///
/// Draws of different kinds from the same indices are made of the same bits: use one key for one purpose.
///
/// ```
/// use tapeless_runtime::rng::Key;
///
/// let mask = Key::for_path(42, "blocks.dropout").at(3).stream(100);
/// let keep = mask.uniform_f32(7) >= 0.2;
/// assert_eq!(keep, mask.uniform_f32(7) >= 0.2, "the same element, the same number");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    step: u64,
}

impl Stream {
    /// The four words of block `index`.
    #[inline(always)]
    pub const fn block(&self, index: u64) -> [u32; 4] {
        let ([low, high], [step_low, step_high]) = (halves(index), halves(self.step));
        philox(self.key, [low, high, step_low, step_high])
    }

    /// 32 random bits for `element`.
    #[inline(always)]
    pub const fn u32(&self, element: u64) -> u32 {
        self.block(element / 4)[(element % 4) as usize]
    }

    /// 64 random bits for `element`.
    #[inline(always)]
    pub const fn u64(&self, element: u64) -> u64 {
        let block = self.block(element / 2);
        let first = 2 * (element % 2) as usize;
        block[first] as u64 | (block[first + 1] as u64) << 32
    }

    /// A multiple of 2^-24 in [0, 1), each equally likely.
    #[inline(always)]
    pub const fn uniform_f32(&self, element: u64) -> f32 {
        unit_f32(self.u32(element))
    }

    /// A multiple of 2^-53 in [0, 1), each equally likely.
    #[inline(always)]
    pub const fn uniform_f64(&self, element: u64) -> f64 {
        unit_f64(self.u64(element))
    }

    /// Fills `out` with the numbers of elements `first..first + out.len()`, as
    /// [`uniform_f32`](Stream::uniform_f32) gives them, at a quarter of the work.
    #[inline(always)]
    pub fn fill_uniform_f32(&self, first: u64, out: &mut [f32]) {
        let n_before_block = (first.wrapping_neg() % 4).min(out.len() as u64);
        let (head, blocks) = out.split_at_mut(n_before_block as usize);
        for (i, x) in (first..).zip(head) {
            *x = self.uniform_f32(i);
        }
        let first_block = first.div_ceil(4);
        for (b, chunk) in (first_block..).zip(blocks.chunks_mut(4)) {
            let words = self.block(b);
            for (x, word) in chunk.iter_mut().zip(words) {
                *x = unit_f32(word);
            }
        }
    }

    /// Two independent draws from the standard normal distribution, made of block `pair` by the
    /// transformation of Box and Muller (1958). None is larger than 8.6 in size.
    ///
    /// Logarithm, sine and cosine are the platform's, so that last bits may differ between platforms.
    pub fn normal_pair(&self, pair: u64) -> [f64; 2] {
        let [a, b, c, d] = self.block(pair).map(u64::from);
        // 1 - u is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - unit_f64(a | b << 32)).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * unit_f64(c | d << 32)).sin_cos();
        [radius * cos, radius * sin]
    }

    /// A draw from the standard normal distribution: number `element % 2` of pair `element / 2`.
    pub fn normal_f64(&self, element: u64) -> f64 {
        self.normal_pair(element / 2)[(element % 2) as usize]
    }

    /// A whole number in `0..bound`, each exactly equally likely; 0 where `bound` is 0.
    ///
    /// Lemire, "Fast random integer generation in an interval" (2019): the high half of a product, rejecting
    /// the few draws that would favour some results. An element must be below 2^56: the bits above number the
    /// attempts (256 of them; more than that has probability below 2^-256).
    pub const fn below(&self, bound: u64, element: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        let mut attempt = 0;
        loop {
            let words = self.block((element & (u64::MAX >> 8)) | attempt << 56);
            let draw = words[0] as u64 | (words[1] as u64) << 32;
            let product = draw as u128 * bound as u128;
            if product as u64 >= threshold || attempt == 255 {
                return (product >> 64) as u64;
            }
            attempt += 1;
        }
    }

    /// Puts `items` into a random order, each of the orders equally likely (Fisher and Yates, in Durstenfeld's
    /// form).
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1, i as u64) as usize);
        }
    }
}

/// The number in [0, 1) that `bits` stand for: the upper 24 of them, divided by 2^24.
#[inline(always)]
pub const fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// The number in [0, 1) that `bits` stand for: the upper 53 of them, divided by 2^53.
#[inline(always)]
pub const fn unit_f64(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `tests/kat_vectors` of Random123, the library of the paper's authors.
    #[test]
    fn known_answers() {
        assert_eq!(
            philox([0; 2], [0; 4]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox([0xa409_3822, 0x299f_31d0], counter),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
        // The published test vectors of FNV-1a.
        assert_eq!(
            (hash_path(""), hash_path("a")),
            (0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c)
        );
    }

    #[test]
    fn seeds_streams_loops_steps_and_elements_all_matter() {
        let key = Key::for_path(1, "fc1.dropout");
        let numbers = [
            key.stream(0).u64(0),
            key.stream(0).u64(1),
            key.stream(1).u64(0),
            key.at(0).stream(0).u64(0),
            key.at(1).stream(0).u64(0),
            key.at(0).at(1).stream(0).u64(0),
            key.at(1).at(0).stream(0).u64(0),
            Key { seed: 2, ..key }.stream(0).u64(0),
            Key::for_path(1, "fc2.dropout").stream(0).u64(0),
            key.stream(1 << 32).u64(0),
            key.stream(0).u64(1 << 40),
        ];
        let distinct: std::collections::HashSet<_> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len());
    }

    /// Mean, variance and covariance of neighbours, each within five standard errors.
    #[test]
    fn uniform_numbers_have_the_moments_of_the_uniform_distribution() {
        let stream = Key::for_path(7, "test").stream(3);
        let n = 1u64 << 18;
        for draw in [
            |s: &Stream, i| f64::from(s.uniform_f32(i)),
            |s: &Stream, i| s.uniform_f64(i),
        ] {
            let x: Vec<f64> = (0..n).map(|i| draw(&stream, i)).collect();
            assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
            let count = n as f64;
            let mean = x.iter().sum::<f64>() / count;
            let variance = x.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / count;
            let covariance = x.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5)).sum::<f64>() / count;
            assert!(
                (mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / count).sqrt(),
                "mean {mean}"
            );
            assert!(
                (variance - 1.0 / 12.0).abs() < 5.0 * (1.0 / 180.0 / count).sqrt(),
                "variance {variance}"
            );
            assert!(
                covariance.abs() < 5.0 / 12.0 / count.sqrt(),
                "covariance {covariance}"
            );
        }
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let stream = Key::for_path(11, "test").stream(0);
        let n = 1u64 << 18;
        let moment = |p: i32| (0..n).map(|i| stream.normal_f64(i).powi(p)).sum::<f64>() / n as f64;
        // Variances of x, x^2, x^3, x^4 are 1, 2, 15, 96.
        for (p, want, variance) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let got = moment(p);
            assert!(
                (got - want).abs() < 5.0 * (variance / n as f64).sqrt(),
                "moment {p}: {got}"
            );
        }
        let pairs = (0..n / 2).map(|k| stream.normal_f64(2 * k) * stream.normal_f64(2 * k + 1));
        let covariance = pairs.sum::<f64>() / (n / 2) as f64;
        assert!(
            covariance.abs() < 5.0 / (n as f64 / 2.0).sqrt(),
            "covariance {covariance}"
        );
    }

    /// Chi-square over a bound that is no power of two; 99.9th percentile of 12 degrees of freedom is 32.9.
    #[test]
    fn bounded_numbers_are_even() {
        let stream = Key::for_path(5, "test").stream(0);
        let (n, bound) = (130_000u64, 13u64);
        let mut counts = [0u32; 13];
        for i in 0..n {
            counts[stream.below(bound, i) as usize] += 1;
        }
        let expected = n as f64 / bound as f64;
        let chi_square: f64 = counts
            .iter()
            .map(|&c| (f64::from(c) - expected).powi(2) / expected)
            .sum();
        assert!(chi_square < 32.9, "chi-square {chi_square}: {counts:?}");
    }

    /// Where bounds are enormous the rejection happens often: 2^63 + 1 rejects almost every second draw, and
    /// without it a plain product would make even results more frequent.
    #[test]
    fn rejection_leaves_no_bias() {
        let stream = Key::for_path(6, "test").stream(0);
        let bound = (1u64 << 63) + 1;
        let n = 100_000;
        let odd = (0..n).filter(|&i| stream.below(bound, i) % 2 == 1).count() as f64;
        assert!(
            (odd - n as f64 / 2.0).abs() < 5.0 * (n as f64 / 4.0).sqrt(),
            "{odd} odd of {n}"
        );
    }

    #[test]
    fn shuffles_reach_every_order_evenly() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            Key::for_path(1, "order").stream(epoch).shuffle(&mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi_square: f64 = counts
            .values()
            .map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert!(
            chi_square < 49.7,
            "chi-square {chi_square} (99.9th percentile of 23 degrees is 49.7)"
        );
    }

    proptest! {
        #[test]
        fn bounded_numbers_are_bounded(seed: u64, stream: u64, bound: u64, element: u64) {
            let got = Key { seed, stream }.stream(0).below(bound, element);
            prop_assert!(got < bound || bound == 0 && got == 0);
        }

        #[test]
        fn filling_gives_the_numbers_of_the_elements(seed: u64, first in 0u64..1 << 62, len in 0usize..40) {
            let stream = Key { seed, stream: 1 }.stream(2);
            let mut out = vec![-1.0; len];
            stream.fill_uniform_f32(first, &mut out);
            let want: Vec<f32> = (first..).take(len).map(|i| stream.uniform_f32(i)).collect();
            prop_assert_eq!(out, want);
        }

        #[test]
        fn a_shuffle_is_a_permutation(seed: u64, len in 0usize..200) {
            let mut items: Vec<usize> = (0..len).collect();
            Key { seed, stream: 0 }.stream(0).shuffle(&mut items);
            items.sort_unstable();
            prop_assert!(items.into_iter().eq(0..len));
        }
    }
}

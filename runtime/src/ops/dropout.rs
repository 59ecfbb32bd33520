//! Dropout: elements or whole channels set to zero at random, the others scaled up so that the mean stays.
//!
//! `y = x m / (1 - p)`, where `m` is 0 with probability `p`. The mask is a pure function of the model's seed, the step,
//! the stream of the operation and the number of the element (or channel): see [`rng`](crate::rng). So nothing is stored
//! for the gradient, which is the same kernel applied to the cotangent, and the mask is the same in both precisions and on
//! any number of threads.
//!
//! An element is dropped if its 32 random bits are below `p 2^32`, so the rate is exact to 2^-33. A dropped element is 0
//! even where `x` is NaN or infinite.

use crate::arena::Buf;
use crate::cpu::isa::Kernel;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::Error;
use crate::ops::lanes;
use crate::real::Real;
use crate::rng::{Key, Stream};

/// Random words of a block of the generator: the mask of as many elements.
const BLOCK: usize = 4;

/// Blocks computed side by side, so that the generator's rounds run in vectors.
const SIDE: usize = 16;

/// Drops each element of `x` by itself.
///
/// # Errors
/// A `rate` outside 0..=1 is recorded in the context, and `y` is `x`.
pub fn dropout(cx: &mut Cx<'_>, x: Buf, y: Buf, rate: f64, stream: u64) {
    dropout_channels(cx, x, y, rate, stream, 1);
}

/// Drops whole channels of `x`: `inner` neighbouring elements share their fate.
///
/// # Errors
/// As [`dropout`].
pub fn dropout_channels(cx: &mut Cx<'_>, x: Buf, y: Buf, rate: f64, stream: u64, inner: usize) {
    let valid = (0.0..=1.0).contains(&rate);
    if !valid {
        cx.fail(Error::config(format!(
            "dropout: the rate must be in 0..=1, found {rate}"
        )));
    }
    let mask = Mask::new(cx, if valid { rate } else { 0.0 }, stream);
    float!(cx, T => run::<T>(cx, x, y, mask, inner));
}

/// What is dropped, and what the rest is multiplied with.
#[derive(Copy, Clone)]
pub(super) struct Mask {
    stream: Stream,
    /// Words below it are dropped: 0 drops none, 2^32 all.
    threshold: u64,
    scale: f64,
}

impl Mask {
    /// The mask of a rate in 0..=1.
    pub(super) fn new(cx: &Cx<'_>, rate: f64, stream: u64) -> Self {
        let stream = Key {
            seed: cx.env.seed,
            stream,
        }
        .stream(cx.env.step);
        let threshold = (rate * 4_294_967_296.0).round() as u64;
        // At rate 1 the factor is infinite, but nothing is multiplied with it.
        Self {
            stream,
            threshold,
            scale: 1.0 / (1.0 - rate),
        }
    }

    #[inline(always)]
    fn keeps(&self, word: u32) -> bool {
        u64::from(word) >= self.threshold
    }

    /// Drops some of the consecutive elements from number `first` on, and scales the others, in place.
    #[inline(always)]
    pub(super) fn apply<T: Real>(&self, first: u64, x: &mut [T]) {
        let scale = T::from_f64(self.scale);
        // The first block may have begun before.
        let mut block = first / BLOCK as u64;
        let mut skip = (first % BLOCK as u64) as usize;
        let mut rest = x;
        while !rest.is_empty() {
            let words = words(self.stream, block);
            let n = (SIDE * BLOCK - skip).min(rest.len());
            let (part, after) = rest.split_at_mut(n);
            lanes::each(part, &words[skip..], |x, word| {
                *x = T::select(self.keeps(word), *x * scale, T::ZERO);
            });
            (rest, block, skip) = (after, block + SIDE as u64, 0);
        }
    }
}

/// The words of neighbouring blocks of the generator, from `first` on.
#[inline(always)]
fn words(stream: Stream, first: u64) -> [u32; SIDE * BLOCK] {
    let mut words = [0; SIDE * BLOCK];
    for (i, block) in words.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        *block = stream.block(first + i as u64);
    }
    words
}

fn run<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, y: Buf, mask: Mask, inner: usize) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let y = bind.write::<T>(y);
    assert_eq!(x.len(), y.len(), "dropout keeps the number of elements");
    if inner == 1 {
        // A multiple of the block, so that no block is computed by two tasks.
        let n = lanes::GRAIN;
        env.team.chunks_mut(y, n, |task, y| {
            let x = &x[task * n..][..y.len()];
            T::run(
                env.isa,
                Elements {
                    x,
                    y,
                    mask,
                    first_block: (task * n / BLOCK) as u64,
                },
            );
        });
    } else if inner > 1 {
        let n = lanes::rows_per_task(inner);
        env.team.chunks_mut(y, n * inner, |task, y| {
            let first = task * n;
            let x = &x[first * inner..][..y.len()];
            for (k, (y, x)) in y.chunks_mut(inner).zip(x.chunks(inner)).enumerate() {
                apply(x, y, mask.scale, mask.keeps(mask.stream.u32((first + k) as u64)));
            }
        });
    }
}

/// All elements of one channel.
fn apply<T: Real>(x: &[T], y: &mut [T], scale: f64, keep: bool) {
    let scale = T::from_f64(scale);
    if keep {
        lanes::each(y, x, |y, x| *y = x * scale);
    } else {
        y.fill(T::ZERO);
    }
}

/// Consecutive elements, from block number `first_block` of the generator on.
struct Elements<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    mask: Mask,
    first_block: u64,
}

impl<T: Real> Kernel for Elements<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let scale = T::from_f64(self.mask.scale);
        for (k, y) in self.y.chunks_mut(SIDE * BLOCK).enumerate() {
            let x = &self.x[k * SIDE * BLOCK..][..y.len()];
            let first = self.first_block + (k * SIDE) as u64;
            let words = words(self.mask.stream, first);
            lanes::each2(y, x, &words, |y, x, word| {
                *y = T::select(self.mask.keeps(word), x * scale, T::ZERO);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;
    use crate::dtype::Precision;
    use crate::error::ErrorKind;
    use crate::ops::testkit::{Desk, PRECISIONS, assert_close, normal, tolerance};

    /// Element by element, by the definition.
    fn naive(x: &[f64], rate: f64, stream: u64, step: u64, inner: usize) -> Vec<f64> {
        let words = Key { seed: 42, stream }.stream(step);
        let threshold = (rate * 4_294_967_296.0).round();
        let keeps = |i: usize| f64::from(words.u32((i / inner) as u64)) >= threshold;
        x.iter()
            .enumerate()
            .map(|(i, x)| if keeps(i) { x / (1.0 - rate) } else { 0.0 })
            .collect()
    }

    fn run(desk: &mut Desk, values: &[f64], rate: f64, inner: usize) -> (Vec<f64>, Option<Error>) {
        let (x, y) = (desk.floats(values), desk.blank(values.len()));
        let failure = desk.run(|cx| match inner {
            1 => dropout(cx, x, y, rate, 9),
            _ => dropout_channels(cx, x, y, rate, 9, inner),
        });
        (desk.read(y), failure)
    }

    #[test]
    fn masks_follow_the_definition_in_every_size() {
        for (n, inner) in [
            (0, 1),
            (1, 1),
            (5, 1),
            (63, 1),
            (64, 1),
            (65, 1),
            (40_001, 1),
            (0, 3),
            (21, 3),
            (30_000, 5),
        ] {
            for rate in [0.0, 0.2, 0.5, 1.0] {
                for precision in PRECISIONS {
                    let mut desk = Desk::new(precision);
                    desk.step = 3;
                    let x = normal(n, 1);
                    let (y, failure) = run(&mut desk, &x, rate, inner);
                    assert!(failure.is_none());
                    let want = naive(&x, rate, 9, 3, inner);
                    assert_close(
                        &y,
                        &want,
                        tolerance(precision),
                        &format!("{n} elements in channels of {inner}"),
                    );
                }
            }
        }
    }

    /// Within five standard errors of the rate.
    #[test]
    fn as_many_are_dropped_as_asked_for() {
        let n = 100_000;
        for rate in [0.1, 0.5, 0.9] {
            let (y, _) = run(&mut Desk::new(Precision::F32), &vec![1.0; n], rate, 1);
            let dropped = y.iter().filter(|y| **y == 0.0).count() as f64;
            let deviation = (n as f64 * rate * (1.0 - rate)).sqrt();
            assert!(
                (dropped - n as f64 * rate).abs() < 5.0 * deviation,
                "{dropped} of {n} at {rate}"
            );
        }
    }

    #[test]
    fn steps_have_different_masks_and_a_step_has_one() {
        let mask = |step| {
            let mut desk = Desk::new(Precision::F32);
            desk.step = step;
            run(&mut desk, &vec![1.0; 1000], 0.5, 1).0
        };
        assert_eq!(mask(1), mask(1));
        assert_ne!(mask(1), mask(2));
    }

    #[test]
    fn a_dropped_nan_is_zero() {
        let (y, _) = run(&mut Desk::new(Precision::F32), &[f64::NAN, f64::INFINITY], 1.0, 1);
        assert_eq!(y, [0.0, 0.0]);
    }

    #[test]
    fn a_rate_that_is_none_is_an_error() {
        for rate in [-0.1, 1.1, f64::NAN] {
            let (y, failure) = run(&mut Desk::new(Precision::F32), &[1.0, 2.0], rate, 1);
            let error = failure.expect("the rate is wrong");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(
                error.message(),
                format!("dropout: the rate must be in 0..=1, found {rate}")
            );
            assert_eq!(y, [1.0, 2.0]);
        }
    }

    #[test]
    fn threads_and_instruction_sets_do_not_change_a_bit() {
        for inner in [1, 7] {
            let x = normal(70_000, 2);
            let want = run(&mut Desk::with(Precision::F32, 1, Isa::Portable), &x, 0.3, inner).0;
            for &isa in Isa::available() {
                for threads in [1, 3] {
                    assert!(run(&mut Desk::with(Precision::F32, threads, isa), &x, 0.3, inner).0 == want);
                }
            }
        }
    }
}

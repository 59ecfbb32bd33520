//! What makes pairs of bf16 numbers: in parts, or rounded by the CPU's own instruction.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use std::mem::MaybeUninit;

use super::pack::Span;
#[cfg(target_arch = "x86_64")]
use super::words::Rounds;
use super::words::Words;
use super::{BLOCK, SIDE, Tile};

/// What makes pairs of bf16 numbers, and what it has seen.
pub(super) trait Splits: Copy {
    /// Into how many parts it splits.
    const PARTS: usize;
    /// Sixteen numbers in parts, or to be rounded.
    type Half: Copy;
    /// Sixteen pairs.
    type Vector: Copy;

    /// The numbers that were split.
    fn span(&self) -> Span;

    /// Sixteen zeros.
    fn zeros(&self) -> Self::Half;

    /// Sixteen numbers.
    fn half(&mut self, numbers: &[f32; SIDE]) -> Self::Half;

    /// A part of 32 numbers that follow each other, as pairs in order.
    fn along(&mut self, low: &Self::Half, high: &Self::Half, part: usize) -> Self::Vector;

    /// A part of numbers at the same place, as pairs.
    fn across(&mut self, even: &Self::Half, odd: &Self::Half, part: usize) -> Self::Vector;

    /// Writes pairs as the numbers that they are.
    fn store(&self, pairs: Self::Vector, to: &mut [MaybeUninit<u16>; BLOCK]);

    /// Writes pairs as words.
    fn write(&self, pairs: Self::Vector, to: &mut [u32; SIDE]);

    /// Up to 16 numbers, and zeros after them.
    #[inline(always)]
    fn some(&mut self, numbers: &[f32]) -> Self::Half {
        match numbers.first_chunk::<SIDE>() {
            Some(numbers) => self.half(numbers),
            None => {
                let mut padded = [0.0; SIDE];
                padded[..numbers.len()].copy_from_slice(numbers);
                self.half(&padded)
            }
        }
    }
}

/// Splits numbers into `P` parts.
#[derive(Copy, Clone)]
pub(super) struct Splitter<W: Words, const P: usize> {
    words: W,
    ends: [W::Vector; 2],
}

impl<W: Words, const P: usize> Splitter<W, P> {
    /// One that has seen nothing.
    #[inline(always)]
    pub(super) fn new(words: W) -> Self {
        let ends = [words.read(&[u32::MAX; SIDE]), words.zero()];
        Self { words, ends }
    }

    /// Sixteen numbers, of which nothing is remembered.
    #[inline(always)]
    pub(super) fn unseen(&self, numbers: &[f32; SIDE]) -> [W::Vector; P] {
        self.parts(self.words.load(numbers))
    }

    /// The parts of 16 numbers.
    #[inline(always)]
    fn parts(&self, mut rest: W::Vector) -> [W::Vector; P] {
        let words = self.words;
        if P == 1 {
            return [words.rounded(rest); P];
        }
        let mut parts = [words.zero(); P];
        for p in 0..P {
            parts[p] = words.part(rest);
            rest = words.minus(rest, parts[p]);
        }
        parts
    }

    /// Rows of a tile become columns.
    #[inline(always)]
    pub(super) fn turn(&self, tile: &mut Tile) {
        let words = self.words;
        let mut rows = [words.zero(); SIDE];
        for i in 0..SIDE {
            rows[i] = words.read(&tile.0[i]);
        }
        let columns = words.transpose(rows);
        for i in 0..SIDE {
            words.write(columns[i], &mut tile.0[i]);
        }
    }
}

impl<W: Words, const P: usize> Splits for Splitter<W, P> {
    const PARTS: usize = P;
    type Half = [W::Vector; P];
    type Vector = W::Vector;

    #[inline(always)]
    fn span(&self) -> Span {
        Span::between(self.words.ends(self.ends))
    }

    #[inline(always)]
    fn zeros(&self) -> [W::Vector; P] {
        [self.words.zero(); P]
    }

    #[inline(always)]
    fn half(&mut self, numbers: &[f32; SIDE]) -> [W::Vector; P] {
        let numbers = self.words.load(numbers);
        self.ends = self.words.span(self.ends, numbers);
        self.parts(numbers)
    }

    #[inline(always)]
    fn along(&mut self, low: &[W::Vector; P], high: &[W::Vector; P], part: usize) -> W::Vector {
        self.words.along(low[part], high[part])
    }

    #[inline(always)]
    fn across(&mut self, even: &[W::Vector; P], odd: &[W::Vector; P], part: usize) -> W::Vector {
        self.words.across(even[part], odd[part])
    }

    #[inline(always)]
    fn store(&self, pairs: W::Vector, to: &mut [MaybeUninit<u16>; BLOCK]) {
        self.words.store(pairs, to);
    }

    #[inline(always)]
    fn write(&self, pairs: W::Vector, to: &mut [u32; SIDE]) {
        self.words.write(pairs, to);
    }
}

/// Rounds numbers by the CPU's own instruction.
#[cfg(target_arch = "x86_64")]
#[derive(Copy, Clone)]
pub(super) struct Rounder<R: Rounds> {
    rounds: R,
    /// The largest magnitudes, rounded.
    largest: R::Vector,
}

#[cfg(target_arch = "x86_64")]
impl<R: Rounds> Rounder<R> {
    /// One that has seen nothing.
    #[inline(always)]
    pub(super) fn new(rounds: R) -> Self {
        let largest = rounds.zero();
        Self { rounds, largest }
    }

    #[inline(always)]
    fn seen(&mut self, pairs: R::Vector) -> R::Vector {
        self.largest = self.rounds.larger(self.largest, pairs);
        pairs
    }
}

#[cfg(target_arch = "x86_64")]
impl<R: Rounds> Splits for Rounder<R> {
    const PARTS: usize = 1;
    type Half = R::Numbers;
    type Vector = R::Vector;

    /// How small numbers were is not known: with one part they may be.
    #[inline(always)]
    fn span(&self) -> Span {
        Span::between([0, self.rounds.largest(self.largest)])
    }

    #[inline(always)]
    fn zeros(&self) -> R::Numbers {
        self.rounds.nothing()
    }

    #[inline(always)]
    fn half(&mut self, numbers: &[f32; SIDE]) -> R::Numbers {
        self.rounds.load(numbers)
    }

    #[inline(always)]
    fn along(&mut self, low: &R::Numbers, high: &R::Numbers, _: usize) -> R::Vector {
        let pairs = self.rounds.along(*low, *high);
        self.seen(pairs)
    }

    #[inline(always)]
    fn across(&mut self, even: &R::Numbers, odd: &R::Numbers, _: usize) -> R::Vector {
        let pairs = self.rounds.across(*even, *odd);
        self.seen(pairs)
    }

    #[inline(always)]
    fn store(&self, pairs: R::Vector, to: &mut [MaybeUninit<u16>; BLOCK]) {
        self.rounds.store(pairs, to);
    }

    #[inline(always)]
    fn write(&self, pairs: R::Vector, to: &mut [u32; SIDE]) {
        self.rounds.write(pairs, to);
    }
}

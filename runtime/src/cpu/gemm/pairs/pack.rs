//! Packing: numbers become pairs of bf16 parts, in tiles.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use std::mem::MaybeUninit;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::words::Rounds;
use super::words::Words;
use super::{BLOCK, Parts, SIDE, Tile};
use crate::cpu::gemm::pack::{Packed, Room};
use crate::cpu::gemm::{Factor, Matrix};

/// What the rows of a tile are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Rows of the matrix: the left factor.
    Rows,
    /// Pairs of columns: the right factor, whose transpose is packed.
    Pairs,
}

/// The smallest and the largest magnitude of some numbers, zeros left aside.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The bits of the smallest magnitude, less 1.
    low: u32,
    /// The bits of the largest.
    high: u32,
}

/// The exponent of the smallest number whose three parts are all normal numbers: its last bit is 2^-23 times as large.
const LOWEST: i32 = -126 + 23;
/// The smallest sum of exponents of two numbers, `2^-100`: what a product loses in underflow, at most 2^-126, is `2^-26` of it.
const LOWEST_PRODUCT: i32 = -126 + 26;
/// The largest exponent of a finite number.
const HIGHEST: i32 = 127;
/// The smallest number that is rounded to infinity, or none.
const OVERFLOW: u32 = 0x7f7f_8000;

impl Span {
    /// One with these [`ends`](Self::ends).
    pub fn between([low, high]: [u32; 2]) -> Self {
        Self { low, high }
    }

    /// What is smallest, and what is largest, over parts of some numbers gives that of all.
    pub fn ends(self) -> [u32; 2] {
        [self.low, self.high]
    }

    /// Whether sums of `k` products in so many parts come out as they should where zeros are multiplied as well: with several parts as
    /// [`suits`](Self::suits) says, with one where nothing is infinite or NaN, rounded.
    pub fn serves(self, other: Self, parts: Parts, k: usize) -> bool {
        match parts {
            Parts::One => self.high.max(other.high) < OVERFLOW,
            _ => self.suits(other, k),
        }
    }

    /// Of no numbers.
    pub(super) const NONE: Self = Self {
        low: u32::MAX,
        high: 0,
    };

    /// What [`ends`](Self::ends) say of numbers, and what is known of others.
    pub(super) fn with(self, [low, high]: [u32; 2]) -> Self {
        Self {
            low: self.low.min(low),
            high: self.high.max(high),
        }
    }

    /// Whether sums of `k` products of the parts of these numbers with those of others lose nothing that f32 would keep, and
    /// stay finite where all numbers are.
    pub(super) fn suits(self, other: Self, k: usize) -> bool {
        let exponent = |bits: u32| (bits >> 23) as i32 - 127;
        // The largest numbers are excluded, which round to infinity in bf16.
        if exponent(self.high.max(other.high)) >= HIGHEST {
            return false;
        }
        if self.high == 0 || other.high == 0 {
            return true;
        }
        let [low, other_low] = [self.low, other.low].map(|low| exponent(low.wrapping_add(1)));
        let sums = exponent(self.high) + exponent(other.high) + 2 + k.next_power_of_two().ilog2() as i32;
        sums < HIGHEST && low.min(other_low) >= LOWEST && low + other_low >= LOWEST_PRODUCT
    }
}

/// What splits numbers, and what it has seen of them.
pub(super) struct Packer<W: Words> {
    words: W,
    parts: Parts,
    ends: [W::Vector; 2],
}

impl<W: Words> Packer<W> {
    /// One that has seen nothing.
    #[inline(always)]
    pub(super) fn new(words: W, parts: Parts) -> Self {
        let ends = [words.read(&[u32::MAX; SIDE]), words.zero()];
        Self { words, parts, ends }
    }

    /// Into how many parts it splits.
    #[inline(always)]
    pub(super) fn parts(&self) -> Parts {
        self.parts
    }

    /// The numbers that were packed, in several parts.
    #[inline(always)]
    pub(super) fn span(&self) -> Span {
        Span::between(self.words.ends(self.ends))
    }

    /// Packs up to 32 columns of up to 32 rows into tiles of zeros, two for each part.
    #[inline(always)]
    pub(super) fn step(&mut self, x: &Factor<'_, f32>, k: Range<usize>, order: Order, tiles: &mut [Tile]) {
        let mut packed = Packed::<f32, { BLOCK * BLOCK }>::new();
        let mut room = packed.room();
        let (x, k) = match x {
            Factor::Matrix(x) if x.step()[1] == 1 => return self.lines(x, k, order, tiles),
            Factor::Matrix(x) if x.step()[0] == 1 => (*x, k),
            _ => {
                let depth = k.len();
                (gathered(x, k, &mut room), 0..depth)
            }
        };
        self.columns(&x, k, order, tiles);
    }

    /// Numbers along `k` follow each other in memory: a row of the matrix becomes a row of pairs.
    #[inline(always)]
    fn lines(&mut self, x: &Matrix<'_, f32>, k: Range<usize>, order: Order, tiles: &mut [Tile]) {
        for i in 0..x.rows() {
            let [mut low, mut high] = self.line(x.run(i, k.start, k.len()));
            for part in tiles.chunks_exact_mut(2) {
                let pairs = self.words.along(self.next(&mut low), self.next(&mut high));
                self.words.write(pairs, &mut part[i / SIDE].0[i % SIDE]);
            }
        }
        if order == Order::Pairs {
            self.transpose(tiles);
        }
    }

    /// Rows follow each other in memory: two columns of the matrix become a row of pairs.
    #[inline(always)]
    fn columns(&mut self, x: &Matrix<'_, f32>, k: Range<usize>, order: Order, tiles: &mut [Tile]) {
        for p in 0..k.len().div_ceil(2) {
            let from = k.start + 2 * p;
            let mut even = self.line(x.run(0, from, x.rows()));
            let mut odd = match from + 1 < k.end {
                true => self.line(x.run(0, from + 1, x.rows())),
                false => [self.words.zero(); 2],
            };
            for part in tiles.chunks_exact_mut(2) {
                for half in 0..2 {
                    let pairs = self
                        .words
                        .across(self.next(&mut even[half]), self.next(&mut odd[half]));
                    self.words.write(pairs, &mut part[half].0[p]);
                }
            }
        }
        if order == Order::Rows {
            self.transpose(tiles);
        }
    }

    /// Up to 32 numbers, and zeros after them.
    #[inline(always)]
    fn line(&mut self, numbers: &[f32]) -> [W::Vector; 2] {
        let mut padded = [0.0; BLOCK];
        let numbers = match numbers.first_chunk::<BLOCK>() {
            Some(numbers) => numbers,
            None => {
                padded[..numbers.len()].copy_from_slice(numbers);
                &padded
            }
        };
        let (halves, _) = numbers.as_chunks::<SIDE>();
        let line = [self.words.load(&halves[0]), self.words.load(&halves[1])];
        if self.parts != Parts::One {
            for half in line {
                self.ends = self.words.span(self.ends, half);
            }
        }
        line
    }

    /// The next part of numbers; what is left takes their place.
    #[inline(always)]
    fn next(&self, x: &mut W::Vector) -> W::Vector {
        if self.parts == Parts::One {
            return self.words.rounded(*x);
        }
        let part = self.words.part(*x);
        *x = self.words.minus(*x, part);
        part
    }

    /// Rows of tiles become columns.
    #[inline(always)]
    fn transpose(&self, tiles: &mut [Tile]) {
        for tile in tiles {
            let mut rows = [self.words.zero(); SIDE];
            for i in 0..SIDE {
                rows[i] = self.words.read(&tile.0[i]);
            }
            let columns = self.words.transpose(rows);
            for i in 0..SIDE {
                self.words.write(columns[i], &mut tile.0[i]);
            }
        }
    }
}

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
        let words = self.words;
        let mut rest = words.load(numbers);
        self.ends = words.span(self.ends, rest);
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

/// Numbers that lie anyhow, column by column.
#[inline(never)]
pub(super) fn gathered<'p>(
    x: &Factor<'_, f32>,
    k: Range<usize>,
    room: &'p mut Room<'_, f32>,
) -> Matrix<'p, f32> {
    let (rows, depth) = (x.size()[0], k.len());
    let packed = room.pack_any(0, x, 0..rows, k, BLOCK);
    Matrix::new(packed, 0, [BLOCK, depth], [1, BLOCK as isize])
}

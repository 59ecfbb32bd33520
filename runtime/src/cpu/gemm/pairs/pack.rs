//! Packing: numbers become pairs of bf16 parts, in tiles.

use std::ops::Range;

use super::splits::{Splits, Splitter};
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

/// Packing of both factors of a product into tiles.
impl<W: Words, const P: usize> Splitter<W, P> {
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
            let [low, high] = self.line(x.run(i, k.start, k.len()));
            for p in 0..P {
                let pairs = self.along(&low, &high, p);
                self.write(pairs, &mut tiles[2 * p + i / SIDE].0[i % SIDE]);
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
            let even = self.line(x.run(0, from, x.rows()));
            let mut odd = [self.zeros(); 2];
            if from + 1 < k.end {
                odd = self.line(x.run(0, from + 1, x.rows()));
            }
            for part in 0..P {
                for half in 0..2 {
                    let pairs = self.across(&even[half], &odd[half], part);
                    self.write(pairs, &mut tiles[2 * part + half].0[p]);
                }
            }
        }
        if order == Order::Rows {
            self.transpose(tiles);
        }
    }

    /// Up to 32 numbers, and zeros after them. With one part, where products refuse no number, nothing is remembered of them.
    #[inline(always)]
    fn line(&mut self, numbers: &[f32]) -> [[W::Vector; P]; 2] {
        let mut padded = [0.0; BLOCK];
        let numbers = match numbers.first_chunk::<BLOCK>() {
            Some(numbers) => numbers,
            None => {
                padded[..numbers.len()].copy_from_slice(numbers);
                &padded
            }
        };
        let (halves, _) = numbers.as_chunks::<SIDE>();
        match P {
            1 => [self.unseen(&halves[0]), self.unseen(&halves[1])],
            _ => [self.half(&halves[0]), self.half(&halves[1])],
        }
    }

    /// Rows of tiles become columns.
    #[inline(always)]
    fn transpose(&self, tiles: &mut [Tile]) {
        for tile in tiles {
            self.turn(tile);
        }
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

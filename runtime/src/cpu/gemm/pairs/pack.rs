//! Packing: numbers become pairs of bf16 parts, in tiles.

use std::ops::Range;

use super::{BLOCK, SIDE, Tile};
use crate::cpu::gemm::pack::Packed;
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
pub(crate) struct Span {
    /// The bits of the smallest magnitude, less 1.
    low: u32,
    /// The bits of the largest.
    high: u32,
}

/// Bits of a number without its sign.
const MAGNITUDE: u32 = 0x7fff_ffff;
/// The exponent of the smallest number whose three parts are all normal numbers: its last bit is 2^-23 times as large.
const LOWEST: i32 = -126 + 23;
/// The smallest sum of exponents of two numbers, `2^-100`: what a product loses in underflow, at most 2^-126, is `2^-26` of it.
const LOWEST_PRODUCT: i32 = -126 + 26;
/// The largest exponent of a finite number.
const HIGHEST: i32 = 127;

impl Span {
    /// No number but zeros.
    pub(crate) const EMPTY: Self = Self {
        low: u32::MAX,
        high: 0,
    };

    /// Both together.
    #[inline(always)]
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// The numbers of a line.
    #[inline(always)]
    fn of(bits: &[u32; BLOCK]) -> Self {
        let (mut low, mut high) = ([u32::MAX; BLOCK], [0; BLOCK]);
        for i in 0..BLOCK {
            let magnitude = bits[i] & MAGNITUDE;
            (low[i], high[i]) = (magnitude.wrapping_sub(1), magnitude);
        }
        let mut span = Self::EMPTY;
        for i in 0..BLOCK {
            span = span.with(Self {
                low: low[i],
                high: high[i],
            });
        }
        span
    }

    /// Whether sums of `k` products of the parts of these numbers with those of others lose nothing that f32 would keep, and
    /// stay finite where all numbers are.
    pub(crate) fn suits(self, other: Self, k: usize) -> bool {
        let exponent = |bits: u32| (bits >> 23) as i32 - 127;
        // The largest numbers are excluded, which round to infinity in bf16.
        if exponent(self.high.max(other.high)) >= HIGHEST {
            return false;
        }
        if self.high == 0 || other.high == 0 {
            return true;
        }
        let lowest = [
            exponent(self.low.wrapping_add(1)),
            exponent(other.low.wrapping_add(1)),
        ];
        let highest = exponent(self.high) + exponent(other.high) + 2 + k.next_power_of_two().ilog2() as i32;
        highest < HIGHEST && lowest[0].min(lowest[1]) >= LOWEST && lowest[0] + lowest[1] >= LOWEST_PRODUCT
    }
}

/// Rounds a number to bf16, to nearest even: the upper half of the result. Numbers below 2^-126 become zero.
#[inline(always)]
pub(crate) fn rounded(bits: u32) -> u32 {
    const UPPER: u32 = 0xffff_0000;
    const EXPONENT: u32 = 0x7f80_0000;
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & UPPER;
    // NaN stays NaN, even where its payload is in the lower half.
    let nan = (bits | 0x0040_0000) & UPPER;
    let zero = bits & !MAGNITUDE;
    let normal = if bits & MAGNITUDE > EXPONENT { nan } else { nearest };
    if bits & EXPONENT == 0 { zero } else { normal }
}

/// The next part of a line of numbers; what is left takes their place.
#[inline(always)]
fn split(bits: &mut [u32; BLOCK]) -> [u32; BLOCK] {
    let mut part = [0; BLOCK];
    for i in 0..BLOCK {
        part[i] = rounded(bits[i]);
        bits[i] = (f32::from_bits(bits[i]) - f32::from_bits(part[i])).to_bits();
    }
    part
}

/// Packs up to 32 columns of up to 32 rows into as many tiles as two for each part; returns what numbers they are.
#[inline(always)]
pub(super) fn step(x: &Factor<'_, f32>, k: Range<usize>, order: Order, tiles: &mut [Tile]) -> Span {
    let rows = x.size()[0];
    match x {
        Factor::Matrix(x) if x.step()[1] == 1 => lines(x, k, order, tiles),
        Factor::Matrix(x) if x.step()[0] == 1 => columns(x, k, order, tiles),
        _ => {
            let mut packed = Packed::<f32, { BLOCK * BLOCK }>::new();
            let columns_of = k.len();
            let packed = packed.pack_any(0, x, 0..rows, k, BLOCK);
            let x = Matrix::new(packed, 0, [BLOCK, columns_of], [1, BLOCK as isize]);
            columns(&x, 0..columns_of, order, tiles)
        }
    }
}

/// Numbers along `k` follow each other in memory: a row of the matrix becomes a row of pairs.
#[inline(always)]
fn lines(x: &Matrix<'_, f32>, k: Range<usize>, order: Order, tiles: &mut [Tile]) -> Span {
    let mut span = Span::EMPTY;
    for i in 0..x.rows() {
        let mut bits = line(x.run(i, k.start, k.len()));
        span = span.with(Span::of(&bits));
        for part in tiles.chunks_exact_mut(2) {
            let numbers = split(&mut bits);
            let row = &mut part[i / SIDE].0[i % SIDE];
            for p in 0..SIDE {
                row[p] = numbers[2 * p] >> 16 | numbers[2 * p + 1];
            }
        }
    }
    if order == Order::Pairs {
        tiles.iter_mut().for_each(transpose);
    }
    span
}

/// Rows follow each other in memory: two columns of the matrix become a row of pairs.
#[inline(always)]
fn columns(x: &Matrix<'_, f32>, k: Range<usize>, order: Order, tiles: &mut [Tile]) -> Span {
    let mut span = Span::EMPTY;
    for p in 0..k.len().div_ceil(2) {
        let from = k.start + 2 * p;
        let mut even = line(x.run(0, from, x.rows()));
        let mut odd = match from + 1 < k.end {
            true => line(x.run(0, from + 1, x.rows())),
            false => [0; BLOCK],
        };
        span = span.with(Span::of(&even)).with(Span::of(&odd));
        for part in tiles.chunks_exact_mut(2) {
            let (even, odd) = (split(&mut even), split(&mut odd));
            for i in 0..BLOCK {
                part[i / SIDE].0[p][i % SIDE] = even[i] >> 16 | odd[i];
            }
        }
    }
    if order == Order::Rows {
        tiles.iter_mut().for_each(transpose);
    }
    span
}

/// Up to 32 numbers, and zeros after them.
#[inline(always)]
fn line(numbers: &[f32]) -> [u32; BLOCK] {
    let mut bits = [0; BLOCK];
    if let Some(numbers) = numbers.first_chunk::<BLOCK>() {
        for i in 0..BLOCK {
            bits[i] = numbers[i].to_bits();
        }
    } else {
        for i in 0..numbers.len() {
            bits[i] = numbers[i].to_bits();
        }
    }
    bits
}

/// Rows become columns.
#[inline(always)]
fn transpose(tile: &mut Tile) {
    let from = tile.0;
    for i in 0..SIDE {
        for j in 0..SIDE {
            tile.0[i][j] = from[j][i];
        }
    }
}

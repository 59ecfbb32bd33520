//! Sums of outer products: the inner loops of the gradients of weights, with channels in the lanes of vectors.
//!
//! Where there are channels enough to fill vectors, an image and a cotangent are turned so that the channels of a pixel follow each
//! other. A pixel then meets a place in as many multiply-adds of a whole vector as there are rows, and its sums stay in their
//! lanes: nothing is added across lanes, and nothing is computed between the last place of a line and the first of the next.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::ahead::Ahead;
use super::correlate::Tap;
use super::lanes::Lanes;
use super::micro::write_row;
use super::tile::{Product, Start};
use crate::cpu::isa::Kernel;

/// Rows of numbers that become columns of as many as a vector has: `to[k * lanes + r] = from[min(r, rows - 1) * step + k]` for
/// `k < len`.
pub struct Turn<'a, T> {
    /// The rows.
    pub from: &'a [T],
    /// From a row to the next.
    pub step: usize,
    /// Number of rows: at least one, and at most as many as a vector has.
    pub rows: usize,
    /// Numbers of a row.
    pub len: usize,
    /// The columns.
    pub to: &'a mut [T],
}

/// `sums[r, t, c] += sum over images n, lines l, places p of rows[n, l, p, r] pixels[n * image + l * step[0] + p * step[1] +
/// taps[t].offset, c]`.
///
/// `c` are the channels of a vector. Rows lie in vectors too, one behind the other: `[vectors, n, l, p, lanes]`.
pub struct Outer<'a, T> {
    /// The image: a vector of channels for each pixel.
    pub pixels: &'a [T],
    /// The elements of the window.
    pub taps: &'a [Tap],
    /// The cotangent: a vector of rows for each place, all places for as many vectors as there are.
    pub rows: &'a [T],
    /// Number of rows.
    pub count: usize,
    /// Images, lines of each, places of a line.
    pub size: [usize; 3],
    /// From an image to the next.
    pub image: usize,
    /// Pixels from a line to the next, and from a place to the next.
    pub step: [usize; 2],
    /// The sums, for whole tiles of rows.
    pub sums: &'a mut [T],
    /// What will be needed next: asked for after each tile.
    pub ahead: &'a mut Ahead,
}

pub(super) struct Turning<'a, L, T> {
    pub lanes: L,
    pub turn: Turn<'a, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Turning<'_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let turn = &mut self.turn;
        let last = turn.rows - 1;
        let mut k = 0;
        while k + L::LANES <= turn.len {
            self.lanes
                .turn(&turn.from[k..], turn.step, last, &mut turn.to[k * L::LANES..]);
            k += L::LANES;
        }
        while k < turn.len {
            let column = &mut turn.to[k * L::LANES..][..L::LANES];
            for r in 0..L::LANES {
                column[r] = turn.from[r.min(last) * turn.step + k];
            }
            k += 1;
        }
    }
}

pub(super) struct OuterTiles<'a, L, T> {
    pub lanes: L,
    pub work: Outer<'a, T>,
}

/// Elements of the window in a tile: a line of the usual window, whose pixels are neighbours.
const TAPS: usize = 3;

/// Rows and channels of a tile.
pub(super) fn tile<T, L: Lanes<T>>(_: L) -> [usize; 2] {
    [if has_rows::<T, L>() { ROWS } else { FEW_ROWS }, L::LANES]
}

/// Rows of a tile: with three vectors a row, the tile and its operands fill the registers.
const ROWS: usize = 8;
/// Rows of a tile on sets of sixteen registers.
const FEW_ROWS: usize = 4;

const fn has_rows<T, L: Lanes<T>>() -> bool {
    L::ROWS > ROWS
}

impl<T: Product, L: Lanes<T>> Kernel for OuterTiles<'_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        if const { has_rows::<T, L>() } {
            self.rows::<ROWS>();
        } else {
            self.rows::<FEW_ROWS>();
        }
    }
}

impl<T: Product, L: Lanes<T>> OuterTiles<'_, L, T> {
    #[inline(always)]
    fn rows<const ROWS: usize>(&mut self) {
        let taps = self.work.taps.len();
        for strip in 0..self.work.count.div_ceil(ROWS) {
            let mut t = 0;
            while t + TAPS <= taps {
                self.tile::<ROWS, TAPS>(strip, t);
                t += TAPS;
            }
            while t < taps {
                self.tile::<ROWS, 1>(strip, t);
                t += 1;
            }
        }
    }

    #[inline(always)]
    fn tile<const ROWS: usize, const COUNT: usize>(&mut self, strip: usize, t: usize) {
        let (lanes, work) = (self.lanes, &mut self.work);
        let [images, lines, places] = work.size;
        let (vector, first_row) = (strip * ROWS / L::LANES, strip * ROWS % L::LANES);
        let len = images * lines * places * L::LANES;
        let mut rows = &work.rows[vector * len..][..len];
        let mut offsets = [0; COUNT];
        for j in 0..COUNT {
            offsets[j] = work.taps[t + j].offset as usize;
        }
        let mut sums = [[lanes.splat(T::ZERO); COUNT]; ROWS];
        for n in 0..images {
            for l in 0..lines {
                let first = n * work.image + l * work.step[0];
                let mut columns: [&[T]; COUNT] = [&[]; COUNT];
                for j in 0..COUNT {
                    let from = (first + offsets[j]) * L::LANES;
                    columns[j] = work.pixels.get(from..).unwrap_or_default();
                }
                let (line, rest) = rows.split_at_checked(places * L::LANES).unwrap_or_default();
                rows = rest;
                let step = work.step[1] * L::LANES;
                sums = add::<T, L, ROWS, COUNT>(lanes, columns, step, (line, first_row), sums);
            }
        }
        for r in 0..ROWS {
            let at = ((strip * ROWS + r) * work.taps.len() + t) * L::LANES;
            write_row(lanes, &sums[r], &mut work.sums[at..], Start::Accumulate);
        }
        work.ahead.ask();
    }
}

/// Adds what the places of a line give: those of a column lie `step` apart, and those of the rows as vectors, of which `ROWS` numbers
/// from `first` on count. No panic in it: otherwise the optimiser keeps some of the sums in memory.
#[inline(always)]
fn add<T: Product, L: Lanes<T>, const ROWS: usize, const COUNT: usize>(
    lanes: L,
    columns: [&[T]; COUNT],
    step: usize,
    (rows, first): (&[T], usize),
    mut sums: [[L::Vector; COUNT]; ROWS],
) -> [[L::Vector; COUNT]; ROWS] {
    let mut at = 0;
    let Some((_, mut rest)) = rows.split_at_checked(first) else {
        return sums;
    };
    while let Some(row) = rest.first_chunk::<ROWS>() {
        let mut vectors = [lanes.splat(T::ZERO); COUNT];
        for j in 0..COUNT {
            let Some((_, x)) = columns[j].split_at_checked(at) else {
                return sums;
            };
            let Some((x, _)) = x.split_at_checked(L::LANES) else {
                return sums;
            };
            vectors[j] = lanes.load(x);
        }
        for r in 0..ROWS {
            let x = lanes.splat(row[r]);
            for j in 0..COUNT {
                sums[r][j] = lanes.mul_add(x, vectors[j], sums[r][j]);
            }
        }
        at += step;
        rest = match rest.split_at_checked(L::LANES) {
            Some((_, rest)) => rest,
            None => return sums,
        };
    }
    sums
}

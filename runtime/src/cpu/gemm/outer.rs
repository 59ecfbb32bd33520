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
use super::lanes::{Lanes, SQUARE};
use super::tile::{Product, Start, write_row};
use crate::cpu::isa::Kernel;

/// Rows of numbers that become columns: `to[k * width + r] = from[r * step + k]` for `k < len`, and zero from row `rows` on.
pub struct Turn<'a, T> {
    /// The rows.
    pub from: &'a [T],
    /// From a row to the next.
    pub step: usize,
    /// Number of rows: at most `width`.
    pub rows: usize,
    /// Numbers of a row.
    pub len: usize,
    /// The columns.
    pub to: &'a mut [T],
    /// Numbers of a column: a multiple of four.
    pub width: usize,
}

/// `sums[i, t, r, c] += sum over images n, lines l, places p of rows[i, n, l, p, r] pixels[n * image + l * pitch + p + taps[t].offset, c]`.
///
/// Numbers lie in the order of the indices; `r` and `c` are the rows and channels of a [`tile`](super::Correlate::tile).
pub struct Outer<'a, T> {
    /// The image: a vector of channels for each pixel.
    pub pixels: &'a [T],
    /// The elements of the window.
    pub taps: &'a [Tap],
    /// The cotangent: the rows of a tile for each place.
    pub rows: &'a [T],
    /// Images, lines of each, places of a line.
    pub size: [usize; 3],
    /// From an image to the next.
    pub image: usize,
    /// From a line to the next.
    pub pitch: usize,
    /// The sums.
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
        let whole = turn.rows / SQUARE * SQUARE;
        let squares = turn.len / SQUARE * SQUARE;
        let to = &mut turn.to[..turn.len * turn.width];
        for k in (0..squares).step_by(SQUARE) {
            let to = &mut to[k * turn.width..][..SQUARE * turn.width];
            for r in (0..whole).step_by(SQUARE) {
                let from = &turn.from[r * turn.step + k..];
                let Some(square) = square(from, turn.step) else {
                    return;
                };
                let columns = T::transpose(square);
                for j in 0..SQUARE {
                    to[j * turn.width + r..][..SQUARE].copy_from_slice(&columns[j]);
                }
            }
        }
        for k in 0..turn.len {
            let column = &mut to[k * turn.width..][..turn.width];
            let first = if k < squares { whole } else { 0 };
            for r in first..turn.width {
                column[r] = match r < turn.rows {
                    true => turn.from[r * turn.step + k],
                    false => T::ZERO,
                };
            }
        }
    }
}

/// The first numbers of four rows.
#[inline(always)]
fn square<T>(from: &[T], step: usize) -> Option<[&[T; SQUARE]; SQUARE]> {
    Some([
        from.first_chunk()?,
        from.get(step..)?.first_chunk()?,
        from.get(2 * step..)?.first_chunk()?,
        from.get(3 * step..)?.first_chunk()?,
    ])
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
        let places: usize = self.work.size.iter().product();
        let taps = self.work.taps.len();
        let strips = self.work.rows.len() / (places * ROWS);
        for strip in 0..strips {
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
        let strip_len = images * lines * places * ROWS;
        let mut rows = &work.rows[strip * strip_len..][..strip_len];
        let mut offsets = [0; COUNT];
        for j in 0..COUNT {
            offsets[j] = work.taps[t + j].offset as usize;
        }
        let mut sums = [[lanes.splat(T::ZERO); COUNT]; ROWS];
        for n in 0..images {
            for l in 0..lines {
                let first = n * work.image + l * work.pitch;
                let mut columns: [&[T]; COUNT] = [&[]; COUNT];
                for j in 0..COUNT {
                    let from = (first + offsets[j]) * L::LANES;
                    columns[j] = work
                        .pixels
                        .get(from..from + places * L::LANES)
                        .unwrap_or_default();
                }
                let (line, rest) = rows.split_at_checked(places * ROWS).unwrap_or_default();
                rows = rest;
                sums = add::<T, L, ROWS, COUNT>(lanes, columns, line, sums);
            }
        }
        for r in 0..ROWS {
            let at = ((strip * ROWS + r) * work.taps.len() + t) * L::LANES;
            write_row(lanes, &sums[r], &mut work.sums[at..], Start::Accumulate);
        }
        work.ahead.ask();
    }
}

/// Adds what the places of a line give. No panic in it: otherwise the optimiser keeps some of the sums in memory.
#[inline(always)]
fn add<T: Product, L: Lanes<T>, const ROWS: usize, const COUNT: usize>(
    lanes: L,
    columns: [&[T]; COUNT],
    rows: &[T],
    mut sums: [[L::Vector; COUNT]; ROWS],
) -> [[L::Vector; COUNT]; ROWS] {
    let rows = rows.as_chunks::<ROWS>().0;
    for p in 0..rows.len() {
        let mut vectors = [lanes.splat(T::ZERO); COUNT];
        for j in 0..COUNT {
            let Some((_, x)) = columns[j].split_at_checked(p * L::LANES) else {
                return sums;
            };
            let Some((x, _)) = x.split_at_checked(L::LANES) else {
                return sums;
            };
            vectors[j] = lanes.load(x);
        }
        for r in 0..ROWS {
            let x = lanes.splat(rows[p][r]);
            for j in 0..COUNT {
                sums[r][j] = lanes.mul_add(x, vectors[j], sums[r][j]);
            }
        }
    }
    sums
}

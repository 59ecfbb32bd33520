//! Strips of a tile: as many queries as the micro-kernel of products has rows ([`Product::rows`]), so that only the strip itself is packed.
//!
//! Whatever else a strip is multiplied with is read where it lies (values, keys as they are) or was laid out once for all strips
//! of the tile ([`across`], keys turned so that they lie along the lanes). A causal strip computes no scores behind the vector in
//! which its last query stands.

use std::ops::Range;

use super::QUERIES;
use super::TILE;
use super::scores::{Head, Tile};
use crate::cpu::gemm::{MAX_ROWS, Matrix, Product, Start};
use crate::cpu::isa::{Isa, Kernel};

/// Keys that are computed at a time: those of a vector.
pub(super) const VECTOR: usize = 16;

/// Most queries of a strip.
pub(super) const STRIP: usize = MAX_ROWS;

/// The strips of a range.
pub(super) fn strips(range: Range<usize>, height: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(height)
        .map(move |first| first..(first + height).min(end))
}

/// The transposed of some keys (or values), as products with `rows` queries read it best: turned around in `room`, with zeros up to
/// whole vectors, or as they lie, where there are too few queries to pay for that or the room is too small.
pub(super) fn across<'m, T: Product>(
    isa: Isa,
    keys: Matrix<'m, T>,
    rows: usize,
    room: &'m mut [T; TILE],
) -> Matrix<'m, T> {
    let (n, width) = (keys.rows().next_multiple_of(VECTOR), keys.cols());
    if rows <= T::rows(isa) || n * width > TILE {
        return keys.transposed();
    }
    let room = &mut room[..n * width];
    T::run_narrow(
        isa,
        Turn {
            keys,
            n,
            room: &mut *room,
        },
    );
    Matrix::row_major(room, width, n)
}

/// Keys become columns, `n` to a row, the last of them zeros.
struct Turn<'x, 'm, T> {
    keys: Matrix<'x, T>,
    n: usize,
    room: &'m mut [T],
}

/// Rows and columns that are turned at a time.
const SQUARE: usize = 4;

impl<T: Product> Kernel for Turn<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { keys, n, room } = self;
        let (rows, width) = (keys.rows(), keys.cols());
        let mut whole = [0; 2];
        if keys.step()[1] == 1 {
            whole = [rows - rows % SQUARE, width - width % SQUARE];
        }
        for i in (0..whole[0]).step_by(SQUARE) {
            let line = |k: usize| keys.run(i + k, 0, width).as_chunks::<SQUARE>().0;
            let lines = [line(0), line(1), line(2), line(3)];
            for j in 0..whole[1] / SQUARE {
                let square = T::transpose([&lines[0][j], &lines[1][j], &lines[2][j], &lines[3][j]]);
                for k in 0..SQUARE {
                    let to = room[(j * SQUARE + k) * n + i..].first_chunk_mut();
                    *to.expect("a row has whole vectors of keys") = square[k];
                }
            }
        }
        for j in 0..width {
            let done = if j < whole[1] { whole[0] } else { 0 };
            let row = &mut room[j * n..][..n];
            for (i, to) in row.iter_mut().enumerate().skip(done) {
                *to = if i < rows { keys.at(i, j) } else { T::ZERO };
            }
        }
    }
}

/// Turns the products of a strip into exponentials of scores, less the largest so far, and scales down what was added up below a
/// smaller maximum.
///
/// It goes over all rows for each of its steps, so that the steps of a row that wait for each other overlap with those of others.
pub(super) struct Absorb<'x, 'a, T> {
    pub(super) head: &'x Head<'a, T>,
    /// The queries of the strip, and those keys of the tile that one of them may see.
    pub(super) tile: Tile,
    /// Rows of whole vectors of keys.
    pub(super) scores: &'x mut [T],
    pub(super) largest: &'x mut [T],
    pub(super) sums: &'x mut [f64],
    pub(super) y: &'x mut [T],
    pub(super) start: Start,
}

impl<T: Product> Kernel for Absorb<'_, '_, T> {
    type Output = ();

    #[expect(clippy::needless_range_loop, reason = "a row has its place in five arrays")]
    #[inline(always)]
    fn run(self) {
        let (head, keys) = (self.head, &self.tile.keys);
        let (rows, first) = (self.tile.queries.len(), self.tile.queries.start);
        let cols = self.scores.len() / rows;
        let mut most = [-T::INFINITY; STRIP];
        for r in 0..rows {
            let row = self.scores[r * cols..][..cols].as_chunks_mut().0;
            head.score(first + r, keys, row);
            most[r] = largest(row);
        }
        let (mut offsets, mut shrinks) = ([T::ZERO; STRIP], [T::ONE; STRIP]);
        let mut old = [-T::INFINITY; STRIP];
        old[..rows].copy_from_slice(self.largest);
        for r in 0..STRIP {
            let new = T::select(most[r] > old[r], most[r], old[r]);
            // A row of which nothing is visible yet: exp(-inf - 0) is 0, and a NaN stays one.
            offsets[r] = T::select(new == -T::INFINITY, T::ZERO, new);
            shrinks[r] = (old[r] - offsets[r]).exp();
            most[r] = new;
        }
        self.largest.copy_from_slice(&most[..rows]);
        for r in 0..rows {
            let row = &mut self.scores[r * cols..][..cols];
            let sum = exponentials(row.as_chunks_mut().0, offsets[r]);
            self.sums[r] = self.sums[r] * shrinks[r].to_f64() + sum.to_f64();
            head.drop_out(first + r, keys, &mut row[..keys.len()]);
        }
        if self.start == Start::Overwrite {
            return;
        }
        let width = head.sizes.value_width;
        for r in 0..rows {
            for y in &mut self.y[r * width..][..width] {
                *y *= shrinks[r];
            }
        }
    }
}

/// The largest element that is no NaN; minus infinity where there is none.
#[inline(always)]
fn largest<T: Product>(row: &[[T; VECTOR]]) -> T {
    let mut most = [-T::INFINITY; VECTOR];
    for chunk in row {
        for l in 0..VECTOR {
            most[l] = larger(chunk[l], most[l]);
        }
    }
    in_halves(most, larger)
}

#[inline(always)]
fn larger<T: Product>(a: T, b: T) -> T {
    T::select(a > b, a, b)
}

/// Replaces scores by the exponentials of what they exceed `offset` by, and returns the sum of these: a row has a block of sums at
/// most, as [`lanes`](crate::ops::lanes) has them.
#[inline(always)]
fn exponentials<T: Product>(row: &mut [[T; VECTOR]], offset: T) -> T {
    let mut sums = [T::ZERO; VECTOR];
    for chunk in row {
        // Copies, which overlap nothing.
        let (scores, mut powers) = (*chunk, [T::ZERO; VECTOR]);
        for l in 0..VECTOR {
            powers[l] = (scores[l] - offset).exp();
            sums[l] += powers[l];
        }
        *chunk = powers;
    }
    in_halves(sums, |a, b| b + a)
}

/// Combines lanes in halves.
#[inline(always)]
fn in_halves<T: Product>(mut lanes: [T; VECTOR], f: impl Fn(T, T) -> T) -> T {
    let mut half = VECTOR / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = f(lanes[l + half], lanes[l]);
        }
        half /= 2;
    }
    lanes[0]
}

/// What the queries of a block have seen so far.
pub(super) struct Seen<T> {
    /// The largest score of each.
    pub(super) largest: [T; QUERIES],
    /// The sum of the exponentials of scores, less that.
    pub(super) sums: [f64; QUERIES],
}

impl<T: Product> Seen<T> {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self {
            largest: [-T::INFINITY; QUERIES],
            sums: [0.0; QUERIES],
        }
    }
}

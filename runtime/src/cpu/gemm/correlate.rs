//! Sums of shifted lines: the inner loops of convolution, whose operands are read where they lie.
//!
//! The pixels of a channel lie in a line, and the element of a window that belongs to pixel `p` lies at `p + offset` in it. So
//! a vector of pixels meets an element of the window in one unaligned load, and no patch is ever gathered. Which offsets belong
//! to a window, and how a channel with padding, stride and dilation becomes such a line, is the business of
//! [`ops::conv`](crate::ops::conv).
//!
//! As in [`tile`](super::tile), loops over registers have constant counts.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::Block;
use super::ahead::Ahead;
use super::lanes::{Lanes, Portable};
use super::lines::{Laying, Placing, Plane, Putting};
use super::micro::{has, write_part, write_row};
use super::outer::{self, Outer, OuterTiles, Turn, Turning};
use super::tile::{Product, Start};
use crate::cpu::isa::{self, Isa, Kernel};

/// An element of a window.
#[derive(Copy, Clone, Debug, Default)]
pub struct Tap {
    /// Its number among the weights of a channel.
    pub weight: u32,
    /// How far from a pixel's place it lies.
    pub offset: u32,
}

/// Lines of pixels, one for each channel.
#[derive(Copy, Clone, Debug)]
pub struct Lines<'a, T> {
    /// The pixels. After the last one that counts, as many follow as make its vector whole.
    pub data: &'a [T],
    /// From a channel to the next.
    pub step: usize,
    /// Number of channels.
    pub channels: usize,
    /// The elements of the window.
    pub taps: &'a [Tap],
}

/// `sums[r, p] = sum over c, t of weights[c, t.weight, r] lines[c, t.offset + at(p)]`, or adds that, where place `p` lies at
/// `at(p) = p + p / width * gap`.
pub struct Correlation<'a, 'b, T> {
    /// The image.
    pub lines: Lines<'a, T>,
    /// `[channels, window, rows]`.
    pub weights: &'a [T],
    /// Weights of a channel and a row, those without a tap included.
    pub window: usize,
    /// Where the sums go: as many rows as [`Correlate::strip`] gives, and at least as many columns as there are places.
    pub sums: Block<'b, T>,
    /// Number of places.
    pub places: usize,
    /// Places of a line: a multiple of [`Correlate::unit`], where there is a gap.
    pub width: usize,
    /// Numbers between the end of a line and the next line.
    pub gap: usize,
    /// Whether old sums are replaced.
    pub start: Start,
    /// What will be needed next: asked for after each tile.
    pub ahead: &'a mut Ahead,
}

/// `sums[r, first + k] += sum over p of rows[r, p] lines[k / taps, p + taps[k % taps].offset]`, for `k` over all taps of all
/// channels.
pub struct Dots<'a, 'b, T> {
    /// The image.
    pub lines: Lines<'a, T>,
    /// Rows of `row` numbers each, zero after the last pixel.
    pub rows: &'a [T],
    /// From a row to the next: the number of pixels, rounded up to [`LANES`].
    pub row: usize,
    /// Where to add, for every row.
    pub sums: &'a mut Block<'b, T>,
    /// The first column to add to.
    pub first: usize,
    /// What will be needed next: asked for after each tile.
    pub ahead: &'a mut Ahead,
}

impl<T> Lines<'_, T> {
    /// Whether every element of the window lies in the data for each of these places.
    fn hold(&self, places: usize) -> bool {
        let offset = self.taps.iter().map(|tap| tap.offset as usize).max();
        let last = self.channels.saturating_sub(1) * self.step + offset.unwrap_or(0) + places;
        self.channels * self.taps.len() == 0 || last <= self.data.len()
    }
}

impl<T> Correlation<'_, '_, T> {
    fn check(&self) {
        let weight = self.lines.taps.iter().map(|tap| tap.weight as usize).max();
        let last = self.at(self.places.saturating_sub(1)) + LANES;
        let fits = self.lines.hold(last)
            && weight.is_none_or(|weight| weight < self.window)
            && self.lines.channels * self.window * self.sums.rows() <= self.weights.len()
            && self.places <= self.sums.cols();
        assert!(fits, "the sizes of a correlation do not fit");
    }

    /// Where a place lies.
    fn at(&self, place: usize) -> usize {
        match self.gap {
            0 => place,
            gap => place + place / self.width * gap,
        }
    }
}

impl<T> Dots<'_, '_, T> {
    fn check(&self) {
        let fits = self.row > 0 && self.row.is_multiple_of(LANES) && self.lines.hold(self.row);
        assert!(fits, "the sizes of dot products do not fit");
    }
}

/// Pixels that a tile may take at a time; rows of pixels are rounded up to it.
pub const LANES: usize = 32;

/// Floats whose images can be convolved.
pub trait Correlate: Product {
    /// How many of `rest` rows the next [`Correlation`] takes.
    fn strip(isa: Isa, rest: usize) -> usize;

    /// What the width of lines with a gap between them must be a multiple of, for so many rows in all.
    fn unit(isa: Isa, rows: usize) -> usize;

    /// Computes a correlation.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn correlate(isa: Isa, correlation: Correlation<'_, '_, Self>);

    /// Computes the sums of products of rows and lines.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn dots(isa: Isa, dots: Dots<'_, '_, Self>);

    /// Rows and channels of a tile of [`Outer`] sums.
    fn tile(isa: Isa) -> [usize; 2];

    /// Adds sums of outer products.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn outer(isa: Isa, outer: Outer<'_, Self>);

    /// Turns rows into columns.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn turn(isa: Isa, turn: Turn<'_, Self>);

    /// Lays out a plane of an image.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn lay(isa: Isa, plane: Plane<'_, Self>);

    /// Copies sums to where they belong.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn put(isa: Isa, placing: Placing<'_, '_, Self>);
}

macro_rules! correlates {
    ($($t:ident $($set:pat => $lanes:expr),*;)*) => {$(
        impl Correlate for $t {
            fn strip(isa: Isa, rest: usize) -> usize {
                match isa.vectors() {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => rows::<$t, _>($lanes, rest),)*
                    _ => rows::<$t, _>(Portable, rest),
                }
            }

            fn unit(isa: Isa, rows: usize) -> usize {
                match isa.vectors() {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => unit::<$t, _>($lanes, rows),)*
                    _ => unit::<$t, _>(Portable, rows),
                }
            }

            fn correlate(isa: Isa, work: Correlation<'_, '_, $t>) {
                work.check();
                correlates!(run isa, Tiles work, $($set => $lanes),*);
            }

            fn dots(isa: Isa, work: Dots<'_, '_, $t>) {
                work.check();
                correlates!(run isa, DotTiles work, $($set => $lanes),*);
            }

            fn tile(isa: Isa) -> [usize; 2] {
                match isa.vectors() {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => outer::tile::<$t, _>($lanes),)*
                    _ => outer::tile::<$t, _>(Portable),
                }
            }

            fn outer(isa: Isa, work: Outer<'_, $t>) {
                correlates!(run isa, OuterTiles work, $($set => $lanes),*);
            }

            fn turn(isa: Isa, turn: Turn<'_, $t>) {
                correlates!(run isa, Turning turn, $($set => $lanes),*);
            }

            fn lay(isa: Isa, plane: Plane<'_, $t>) {
                correlates!(run isa, Laying plane, $($set => $lanes),*);
            }

            fn put(isa: Isa, placing: Placing<'_, '_, $t>) {
                correlates!(run isa, Putting placing, $($set => $lanes),*);
            }
        }
    )*};
    (run $isa:ident, $kernel:ident $work:ident, $($set:pat => $lanes:expr),*) => {
        match $isa.vectors() {
            $(#[cfg(target_arch = "x86_64")]
            $set => {
                let lanes = $lanes;
                lanes.run($kernel { lanes, $work })
            })*
            _ => isa::run_portable($kernel { lanes: Portable, $work }),
        }
    };
}
correlates! {
    f32 Isa::Avx512(lanes) => lanes, Isa::Avx2(lanes) => lanes;
}
// As for products, f64 has one instruction set of vectors: it serves to check gradients.
#[cfg(feature = "f64")]
correlates! {
    f64 Isa::Avx512(lanes) => lanes.avx2(), Isa::Avx2(lanes) => lanes;
}

/// The rows of the next strip: as many as a tile has, and what is left in as few strips as can be.
fn rows<T, L: Lanes<T>>(_: L, rest: usize) -> usize {
    let fits = |rows: &usize| *rows <= rest && (*rows != 6 || L::ROWS == 6);
    L::HEIGHTS.iter().rev().copied().find(fits).unwrap_or(1)
}

/// What the numbers of rows are multiples of in tiles that load vectors in halves: the others are not compiled.
const SPLIT_ROWS: usize = 4;

/// Whether there are such tiles: where vectors are so long that many lines are cut by them.
const fn has_halves<T, L: Lanes<T>>() -> bool {
    L::LANES == 16
}

/// A vector, or half a vector where that is loaded.
fn unit<T, L: Lanes<T>>(_: L, rows: usize) -> usize {
    match has_halves::<T, L>() && rows.is_multiple_of(SPLIT_ROWS) {
        true => L::LANES / 2,
        false => L::LANES,
    }
}

struct Tiles<'a, 'b, L, T> {
    lanes: L,
    work: Correlation<'a, 'b, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Tiles<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        match self.work.sums.rows() {
            1 => self.strip::<1>(),
            2 if const { has::<T, L>(2) } => self.strip::<2>(),
            4 if const { has::<T, L>(4) } => self.strip::<4>(),
            6 if L::ROWS == 6 => self.strip::<6>(),
            8 if const { has::<T, L>(8) } => self.strip::<8>(),
            12 if const { has::<T, L>(12) } => self.strip::<12>(),
            rows => unreachable!("no tile has {rows} rows"),
        }
    }
}

impl<T: Product, L: Lanes<T>> Tiles<'_, '_, L, T> {
    #[inline(always)]
    fn strip<const ROWS: usize>(&mut self) {
        let is_cut = self.work.gap != 0 && !self.work.width.is_multiple_of(L::LANES);
        if const { has_halves::<T, L>() && ROWS.is_multiple_of(SPLIT_ROWS) } && is_cut {
            self.pieces::<ROWS, 2>();
        } else {
            self.pieces::<ROWS, 1>();
        }
    }

    /// The tiles of a strip, with vectors that are loaded in one piece or in two.
    #[inline(always)]
    fn pieces<const ROWS: usize, const PIECES: usize>(&mut self) {
        let (mut place, mut lines) = (0, Walk { at: 0, column: 0 });
        while place < self.work.places {
            if self.work.places - place > L::LANES {
                self.tile::<ROWS, 2, PIECES>(place, &mut lines);
                place += 2 * L::LANES;
            } else {
                self.tile::<ROWS, 1, PIECES>(place, &mut lines);
                place += L::LANES;
            }
        }
    }

    /// `VECTORS` vectors of places from `place` on.
    #[inline(always)]
    fn tile<const ROWS: usize, const VECTORS: usize, const PIECES: usize>(
        &mut self,
        place: usize,
        lines: &mut Walk,
    ) {
        let (lanes, work) = (self.lanes, &mut self.work);
        // Each piece lies within a line. Those after the last place multiply what lies at the first.
        let mut pieces = [[0; PIECES]; VECTORS];
        let len = L::LANES / PIECES;
        for v in 0..VECTORS {
            for k in 0..PIECES {
                let first = place + v * L::LANES + k * len;
                pieces[v][k] = if first < work.places { lines.at } else { 0 };
                lines.step(len, work.width, work.gap);
            }
        }
        let sums = sums::<T, L, ROWS, VECTORS, PIECES>(lanes, work.lines, work.weights, work.window, pieces);
        let width = (work.sums.cols() - place).min(VECTORS * L::LANES);
        for i in 0..ROWS {
            let to = &mut work.sums.row_mut(i)[place..place + width];
            match width == VECTORS * L::LANES {
                true => write_row(lanes, &sums[i], to, work.start),
                false => write_part(lanes, &sums[i], to, work.start),
            }
        }
        work.ahead.ask();
    }
}

/// Where the next places lie.
struct Walk {
    at: usize,
    column: usize,
}

impl Walk {
    /// Goes on by so many places.
    #[inline(always)]
    fn step(&mut self, len: usize, width: usize, gap: usize) {
        self.at += len;
        self.column += len;
        if self.column >= width {
            self.column = 0;
            self.at += gap;
        }
    }
}

/// The sums of `ROWS` rows over all channels and elements of the window, in registers.
///
/// One loop for both and no panic in it: otherwise the optimiser keeps some of the sums in memory. [`Correlate::correlate`] has
/// checked the sizes, so that no loop ends early.
#[inline(always)]
fn sums<T: Product, L: Lanes<T>, const ROWS: usize, const VECTORS: usize, const PIECES: usize>(
    lanes: L,
    lines: Lines<'_, T>,
    weights: &[T],
    window: usize,
    pieces: [[usize; PIECES]; VECTORS],
) -> [[L::Vector; VECTORS]; ROWS] {
    let mut sums = [[lanes.splat(T::ZERO); VECTORS]; ROWS];
    let (mut next, mut line, mut weight) = (0, 0, 0);
    for _ in 0..lines.channels * lines.taps.len() {
        let Some(tap) = lines.taps.get(next) else { break };
        let Some((_, pixels)) = lines.data.split_at_checked(line + tap.offset as usize) else {
            break;
        };
        let Some((_, column)) = weights.split_at_checked(weight + tap.weight as usize * ROWS) else {
            break;
        };
        let Some(column) = column.first_chunk::<ROWS>() else {
            break;
        };
        next += 1;
        if next == lines.taps.len() {
            (next, line, weight) = (0, line + lines.step, weight + window * ROWS);
        }
        let mut vectors = [lanes.splat(T::ZERO); VECTORS];
        for v in 0..VECTORS {
            let len = L::LANES / PIECES;
            let Some((_, low)) = pixels.split_at_checked(pieces[v][0]) else {
                return sums;
            };
            let Some((low, _)) = low.split_at_checked(len) else {
                return sums;
            };
            if PIECES == 1 {
                vectors[v] = lanes.load(low);
                continue;
            }
            let Some((_, high)) = pixels.split_at_checked(pieces[v][PIECES - 1]) else {
                return sums;
            };
            let Some((high, _)) = high.split_at_checked(len) else {
                return sums;
            };
            vectors[v] = lanes.load_halves(low, high);
        }
        for i in 0..ROWS {
            let x = lanes.splat(column[i]);
            for v in 0..VECTORS {
                sums[i][v] = lanes.mul_add(x, vectors[v], sums[i][v]);
            }
        }
    }
    sums
}

struct DotTiles<'a, 'b, L, T> {
    lanes: L,
    work: Dots<'a, 'b, T>,
}

/// Columns of a tile of dot products.
const COLS: usize = 3;

impl<T: Product, L: Lanes<T>> Kernel for DotTiles<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let count = self.work.rows.len() / self.work.row;
        let mut row = 0;
        while row < count {
            match count - row {
                8.. if L::ROWS >= 12 => row += self.strip::<8>(row),
                4.. => row += self.strip::<4>(row),
                2.. if const { has::<T, L>(2) } => row += self.strip::<2>(row),
                _ => row += self.strip::<1>(row),
            }
        }
    }
}

impl<T: Product, L: Lanes<T>> DotTiles<'_, '_, L, T> {
    /// `ROWS` rows with all columns. Returns the number of rows.
    #[inline(always)]
    fn strip<const ROWS: usize>(&mut self, row: usize) -> usize {
        let lines = self.work.lines;
        let all = lines.channels * lines.taps.len();
        let mut k = 0;
        while k + COLS <= all {
            self.tile::<ROWS, COLS>(row, k);
            k += COLS;
        }
        while k < all {
            self.tile::<ROWS, 1>(row, k);
            k += 1;
        }
        ROWS
    }

    #[inline(always)]
    fn tile<const ROWS: usize, const COLS: usize>(&mut self, row: usize, k: usize) {
        let (lanes, work) = (self.lanes, &mut self.work);
        let n = work.row;
        let mut columns: [&[T]; COLS] = [&[]; COLS];
        for j in 0..COLS {
            let (c, t) = ((k + j) / work.lines.taps.len(), (k + j) % work.lines.taps.len());
            let tap = work.lines.taps[t];
            columns[j] = &work.lines.data[c * work.lines.step + tap.offset as usize..][..n];
        }
        let mut rows: [&[T]; ROWS] = [&[]; ROWS];
        for i in 0..ROWS {
            rows[i] = &work.rows[(row + i) * n..][..n];
        }
        let sums = dots::<T, L, ROWS, COLS>(lanes, rows, columns, n);
        for i in 0..ROWS {
            let to = &mut work.sums.row_mut(row + i)[work.first + k..][..COLS];
            for j in 0..COLS {
                to[j] += lanes.sum(sums[i][j]);
            }
        }
        work.ahead.ask();
    }
}

/// The products of rows and columns of `n` numbers, a multiple of the lanes, still to be summed over the lanes. As for [`sums`],
/// no loop ends early.
#[inline(always)]
fn dots<T: Product, L: Lanes<T>, const ROWS: usize, const COLS: usize>(
    lanes: L,
    rows: [&[T]; ROWS],
    columns: [&[T]; COLS],
    n: usize,
) -> [[L::Vector; COLS]; ROWS] {
    let mut sums = [[lanes.splat(T::ZERO); COLS]; ROWS];
    let mut p = 0;
    while p < n {
        let mut vectors = [lanes.splat(T::ZERO); COLS];
        for j in 0..COLS {
            let Some((_, x)) = columns[j].split_at_checked(p) else {
                return sums;
            };
            let Some((x, _)) = x.split_at_checked(L::LANES) else {
                return sums;
            };
            vectors[j] = lanes.load(x);
        }
        for i in 0..ROWS {
            let Some((_, x)) = rows[i].split_at_checked(p) else {
                return sums;
            };
            let Some((x, _)) = x.split_at_checked(L::LANES) else {
                return sums;
            };
            let x = lanes.load(x);
            for j in 0..COLS {
                sums[i][j] = lanes.mul_add(x, vectors[j], sums[i][j]);
            }
        }
        p += L::LANES;
    }
    sums
}

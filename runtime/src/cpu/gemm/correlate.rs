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
use super::outer::{self, Outer, OuterTiles, Turn, Turning};
use super::tile::{Product, Start, has, write_row};
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

/// `sums[r, p] = sum over c, t of weights[c, t.weight, r] lines[c, t.offset + p]`, or adds that.
pub struct Correlation<'a, T> {
    /// The image.
    pub lines: Lines<'a, T>,
    /// `[channels, window, rows]`.
    pub weights: &'a [T],
    /// Weights of a channel and a row, those without a tap included.
    pub window: usize,
    /// One of the numbers that [`Correlate::strip`] gives.
    pub rows: usize,
    /// Rows of `row` numbers each.
    pub sums: &'a mut [T],
    /// From a row to the next: at least the number of places, rounded up to [`LANES`].
    pub row: usize,
    /// Number of pixels.
    pub places: usize,
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

impl<T> Correlation<'_, T> {
    fn check(&self) {
        let weight = self.lines.taps.iter().map(|tap| tap.weight as usize).max();
        let fits = self.lines.hold(self.places.next_multiple_of(LANES))
            && weight.is_none_or(|weight| weight < self.window)
            && self.lines.channels * self.window * self.rows <= self.weights.len();
        assert!(fits, "the sizes of a correlation do not fit");
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

    /// Computes a correlation.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn correlate(isa: Isa, correlation: Correlation<'_, Self>);

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

            fn correlate(isa: Isa, work: Correlation<'_, $t>) {
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

struct Tiles<'a, L, T> {
    lanes: L,
    work: Correlation<'a, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Tiles<'_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        match self.work.rows {
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

impl<T: Product, L: Lanes<T>> Tiles<'_, L, T> {
    #[inline(always)]
    fn strip<const ROWS: usize>(&mut self) {
        let mut place = 0;
        while place < self.work.places {
            if self.work.places - place > L::LANES {
                self.tile::<ROWS, 2>(place);
                place += 2 * L::LANES;
            } else {
                self.tile::<ROWS, 1>(place);
                place += L::LANES;
            }
        }
    }

    /// `VECTORS` vectors of pixels from `place` on.
    #[inline(always)]
    fn tile<const ROWS: usize, const VECTORS: usize>(&mut self, place: usize) {
        let (lanes, work) = (self.lanes, &mut self.work);
        let sums = sums::<T, L, ROWS, VECTORS>(lanes, work.lines, work.weights, work.window, place);
        for i in 0..ROWS {
            let to = &mut work.sums[i * work.row + place..][..VECTORS * L::LANES];
            write_row(lanes, &sums[i], to, work.start);
        }
        work.ahead.ask();
    }
}

/// The sums of `ROWS` rows over all channels and elements of the window, in registers.
///
/// One loop for both and no panic in it: otherwise the optimiser keeps some of the sums in memory. [`Correlate::correlate`] has
/// checked the sizes, so that no loop ends early.
#[inline(always)]
fn sums<T: Product, L: Lanes<T>, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    lines: Lines<'_, T>,
    weights: &[T],
    window: usize,
    place: usize,
) -> [[L::Vector; VECTORS]; ROWS] {
    let mut sums = [[lanes.splat(T::ZERO); VECTORS]; ROWS];
    let (mut next, mut line, mut weight) = (0, place, 0);
    for _ in 0..lines.channels * lines.taps.len() {
        let Some(tap) = lines.taps.get(next) else { break };
        let Some((_, pixels)) = lines.data.split_at_checked(line + tap.offset as usize) else {
            break;
        };
        let Some((pixels, _)) = pixels.split_at_checked(VECTORS * L::LANES) else {
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
            vectors[v] = lanes.load(&pixels[v * L::LANES..]);
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

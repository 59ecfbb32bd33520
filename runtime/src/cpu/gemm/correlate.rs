//! Sums of shifted lines: the inner loops of convolution, whose operands are read where they lie.
//!
//! The pixels of a channel lie in a line, and the element of a window that belongs to pixel `p` lies at `p + offset` in it. So a
//! vector of pixels meets an element of the window in one unaligned load, and no patch is ever gathered. Which offsets belong to a
//! window, and how a channel with padding, stride and dilation becomes such a line, is the business of [`ops::conv`](crate::ops::conv).
//!
//! As in [`tile`](super::tile), loops over registers have constant counts.

use super::Block;
use super::lanes::{Lanes, Portable};
use super::tile::{Product, Start};
use crate::cpu::isa::{Isa, Kernel};

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
}

/// `sums[r, first + k] += sum over p of rows[r, p] lines[k / taps, p + taps[k % taps].offset]`, for `k` over all taps of all channels.
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
}

macro_rules! correlates {
    ($($t:ident $($set:pat => $lanes:expr),*;)*) => {$(
        impl Correlate for $t {
            fn strip(isa: Isa, rest: usize) -> usize {
                match isa {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => rows::<$t, _>($lanes, rest),)*
                    _ => rows::<$t, _>(Portable, rest),
                }
            }

            fn correlate(isa: Isa, work: Correlation<'_, $t>) {
                match isa {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => {
                        let lanes = $lanes;
                        lanes.run(Tiles { lanes, work })
                    })*
                    _ => Tiles { lanes: Portable, work }.run(),
                }
            }

            fn dots(isa: Isa, work: Dots<'_, '_, $t>) {
                match isa {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => {
                        let lanes = $lanes;
                        lanes.run(DotTiles { lanes, work })
                    })*
                    _ => DotTiles { lanes: Portable, work }.run(),
                }
            }
        }
    )*};
}
// As for products, f64 has one instruction set of vectors: it serves to check gradients.
correlates! {
    f32 Isa::Avx512(lanes) => lanes, Isa::Avx2(lanes) => lanes;
    f64 Isa::Avx512(lanes) => lanes.avx2(), Isa::Avx2(lanes) => lanes;
}

/// The rows of the next strip: as many as a tile has, and what is left in as few strips as can be.
fn rows<T, L: Lanes<T>>(_: L, rest: usize) -> usize {
    let fits = |rows: &usize| *rows <= rest && *rows <= L::ROWS && (*rows != 6 || L::ROWS == 6);
    [12, 8, 6, 4, 2].into_iter().find(fits).unwrap_or(1)
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
            2 => self.strip::<2>(),
            4 => self.strip::<4>(),
            6 if L::ROWS == 6 => self.strip::<6>(),
            8 if L::ROWS >= 8 => self.strip::<8>(),
            12 if L::ROWS >= 12 => self.strip::<12>(),
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
        let mut sums = [[lanes.splat(T::ZERO); VECTORS]; ROWS];
        for c in 0..work.lines.channels {
            let line = &work.lines.data[c * work.lines.step + place..];
            let weights = &work.weights[c * work.window * ROWS..];
            for tap in work.lines.taps {
                let pixels = &line[tap.offset as usize..][..VECTORS * L::LANES];
                let column = &weights[tap.weight as usize * ROWS..][..ROWS];
                let mut vectors = [lanes.splat(T::ZERO); VECTORS];
                for v in 0..VECTORS {
                    vectors[v] = lanes.load(&pixels[v * L::LANES..]);
                }
                for i in 0..ROWS {
                    let weight = lanes.splat(column[i]);
                    for v in 0..VECTORS {
                        sums[i][v] = lanes.mul_add(weight, vectors[v], sums[i][v]);
                    }
                }
            }
        }
        for i in 0..ROWS {
            let to = &mut work.sums[i * work.row + place..][..VECTORS * L::LANES];
            for v in 0..VECTORS {
                let to = &mut to[v * L::LANES..];
                let value = match work.start {
                    Start::Overwrite => sums[i][v],
                    // 1 * sum + c is rounded once in either form of the instruction: it is the plain sum.
                    Start::Accumulate => lanes.mul_add(lanes.splat(T::ONE), sums[i][v], lanes.load(to)),
                };
                lanes.store(value, to);
            }
        }
    }
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
                2.. => row += self.strip::<2>(row),
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
        let mut sums = [[lanes.splat(T::ZERO); COLS]; ROWS];
        let mut p = 0;
        while p < n {
            let mut vectors = [lanes.splat(T::ZERO); COLS];
            for j in 0..COLS {
                vectors[j] = lanes.load(&columns[j][p..]);
            }
            for i in 0..ROWS {
                let x = lanes.load(&rows[i][p..]);
                for j in 0..COLS {
                    sums[i][j] = lanes.mul_add(x, vectors[j], sums[i][j]);
                }
            }
            p += L::LANES;
        }
        for i in 0..ROWS {
            let to = &mut work.sums.row_mut(row + i)[work.first + k..][..COLS];
            for j in 0..COLS {
                to[j] += total(lanes, sums[i][j]);
            }
        }
    }
}

/// The sum of the elements of a vector: halves are added until one number is left.
#[inline(always)]
fn total<T: Product, L: Lanes<T>>(lanes: L, x: L::Vector) -> T {
    let mut parts = [T::ZERO; 16];
    lanes.store(x, &mut parts);
    let mut half = L::LANES / 2;
    while half > 0 {
        for i in 0..half {
            parts[i] += parts[i + half];
        }
        half /= 2;
    }
    parts[0]
}

//! Sums of outer products of pixels and cotangents over places: the inner loops of a convolution's weight gradient.
//!
//! A tile holds the sums of a few rows, numbers of the image that lie at fixed distances from a place's pixel, and a few vectors of
//! columns, channels of the cotangent. At every place it multiplies each of the former by each of the latter. Both are read where
//! they lie.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::Block;
use super::lanes::Lanes;
use super::micro::{write_part, write_row};
use super::product::{Product, Start};
use crate::cpu::isa::Kernel;

/// Lines of pixels, from the first that counts on.
#[derive(Copy, Clone, Debug)]
pub struct Plane<'a, T> {
    /// The numbers.
    pub data: &'a [T],
    /// From a line to the next.
    pub line: usize,
    /// From a pixel to the next.
    pub pixel: usize,
}

/// `sums[row(t, c), o] += sum over v, u of image[v, u + distance(t) + c] cotangent[v, u, o]`, for elements `t` of a window and channels
/// `c`.
pub struct Outer<'a, 'b, T> {
    /// Pixels at which the window's first element lies; the next place is one line or pixel further.
    pub image: Plane<'a, T>,
    /// Channels of a pixel that are multiplied.
    pub channels: usize,
    /// Lines and columns of the window: each place sees all of it.
    pub taps: [usize; 2],
    /// From an element of the window to that in the next line, and to the next of its line.
    pub steps: [usize; 2],
    /// The cotangent.
    pub cotangent: Plane<'a, T>,
    /// Lines and places of a line.
    pub places: [usize; 2],
    /// Where to add: row `first + c * row + i * line + j` for element `[i, j]` of the window and channel `c`.
    pub sums: Block<'b, T>,
    /// The row of the window's first element.
    pub first: usize,
    /// From a channel's rows to those of the next.
    pub row: usize,
    /// From the rows of a line of the window to those of the next.
    pub line: usize,
}

impl<T> Outer<'_, '_, T> {
    pub(super) fn check(&self) {
        let [lines, places] = self.places;
        let last = |plane: &Plane<'_, T>| (lines - 1) * plane.line + (places - 1) * plane.pixel;
        let is_empty = lines * places * self.channels * self.taps[0] * self.taps[1] == 0;
        let fits = is_empty
            || last(&self.image) + self.distance(self.rows() - 1) < self.image.data.len()
                && last(&self.cotangent) + self.sums.cols() <= self.cotangent.data.len()
                && self.at(self.rows() - 1) < self.sums.rows();
        assert!(fits, "the sizes of outer products do not fit");
    }

    /// Rows of the sums.
    #[inline(always)]
    fn rows(&self) -> usize {
        self.taps[0] * self.taps[1] * self.channels
    }

    /// How far from the window's first number that of a row lies.
    #[inline(always)]
    fn distance(&self, row: usize) -> usize {
        let (tap, c) = (row / self.channels, row % self.channels);
        tap / self.taps[1] * self.steps[0] + tap % self.taps[1] * self.steps[1] + c
    }

    /// The row of the sums.
    #[inline(always)]
    fn at(&self, row: usize) -> usize {
        let (tap, c) = (row / self.channels, row % self.channels);
        self.first + c * self.row + tap / self.taps[1] * self.line + tap % self.taps[1]
    }
}

pub(super) struct Products<'a, 'b, L, T> {
    pub(super) lanes: L,
    pub(super) work: Outer<'a, 'b, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Products<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        if self.work.places[0] * self.work.places[1] == 0 {
            return;
        }
        match self.work.sums.cols().div_ceil(L::LANES) {
            1 => self.height::<1>(),
            2 => self.height::<2>(),
            3 if L::MOST_VECTORS == 3 => self.height::<3>(),
            vectors => unreachable!("no tile has {vectors} vectors"),
        }
    }
}

impl<T: Product, L: Lanes<T>> Products<'_, '_, L, T> {
    #[inline(always)]
    fn height<const V: usize>(&mut self) {
        match L::PLACES {
            8 => self.tiles::<8, V>(),
            6 => self.tiles::<6, V>(),
            _ => self.tiles::<4, V>(),
        }
    }

    #[inline(always)]
    fn tiles<const R: usize, const V: usize>(&mut self) {
        let rows = self.work.rows();
        for first in (0..rows).step_by(R) {
            // Rows after the last repeat it, and are not written.
            let mut distances = [0; R];
            for i in 0..R {
                distances[i] = self.work.distance((first + i).min(rows - 1));
            }
            let mut is_run = true;
            for i in 0..R {
                is_run &= distances[i] == distances[0] + i;
            }
            // Each in a loop of its own: what one of them needs in registers must not take those of the others' sums.
            match (self.work.sums.cols() == V * L::LANES, is_run) {
                (true, true) => self.tile::<R, V, true, true>(first, distances),
                (true, false) => self.tile::<R, V, true, false>(first, distances),
                (false, _) => self.tile::<R, V, false, false>(first, distances),
            }
        }
    }

    /// Adds the sums of the rows from `first` on.
    #[inline(always)]
    fn tile<const R: usize, const V: usize, const WHOLE: bool, const RUN: bool>(
        &mut self,
        first: usize,
        distances: [usize; R],
    ) {
        let sums = self.sums::<R, V, WHOLE, RUN>(distances);
        let rows = self.work.rows();
        for i in 0..R {
            if first + i < rows {
                let at = self.work.at(first + i);
                let to = self.work.sums.row_mut(at);
                match WHOLE {
                    true => write_row(self.lanes, &sums[i], to, Start::Accumulate),
                    false => write_part(self.lanes, &sums[i], to, Start::Accumulate),
                }
            }
        }
    }

    /// The sums of a tile, in registers. `WHOLE` says that columns fill the vectors, `RUN` that rows are neighbouring numbers, which are
    /// addressed from the first. No loop ends early, for [`Convolve::outer`](super::Convolve::outer) has checked the sizes.
    #[inline(always)]
    fn sums<const R: usize, const V: usize, const WHOLE: bool, const RUN: bool>(
        &self,
        distances: [usize; R],
    ) -> [[L::Vector; V]; R] {
        let (lanes, work) = (self.lanes, &self.work);
        let mut sums = [[lanes.splat(T::ZERO); V]; R];
        let span = (work.places[1] - 1) * work.image.pixel + 1;
        let cols = work.sums.cols();
        for line in 0..work.places[0] {
            let mut rows: [&[T]; R] = [&[]; R];
            for i in 0..R {
                let from = line * work.image.line + distances[i];
                let Some(row) = work.image.data.get(from..from + span) else {
                    return sums;
                };
                rows[i] = row;
            }
            let run = line * work.image.line + distances[0];
            let Some(run) = work.image.data.get(run..) else {
                return sums;
            };
            let Some((_, columns)) = work.cotangent.data.split_at_checked(line * work.cotangent.line) else {
                return sums;
            };
            let (mut at, mut from) = (0, 0);
            while at < span {
                let mut vectors = [lanes.splat(T::ZERO); V];
                let cols = if WHOLE { V * L::LANES } else { cols };
                let Some(columns) = columns.get(from..from + cols) else {
                    return sums;
                };
                for v in 0..V - 1 {
                    vectors[v] = lanes.load(&columns[v * L::LANES..]);
                }
                let last = &columns[(V - 1) * L::LANES..];
                vectors[V - 1] = if WHOLE {
                    lanes.load(last)
                } else {
                    lanes.load_part(last)
                };
                let run = if RUN { run.get(at..at + R) } else { Some(run) };
                let Some(run) = run else { return sums };
                for i in 0..R {
                    let number = if RUN { run.get(i) } else { rows[i].get(at) };
                    let Some(&number) = number else { return sums };
                    let number = lanes.splat(number);
                    for v in 0..V {
                        sums[i][v] = lanes.mul_add(number, vectors[v], sums[i][v]);
                    }
                }
                at += work.image.pixel;
                from += work.cotangent.pixel;
            }
        }
        sums
    }
}

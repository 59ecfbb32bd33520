//! Sums over windows of images whose channels lie last: the inner loops of convolution.
//!
//! The numbers of a pixel follow each other in memory, and so do those of neighbouring pixels of a line. A tile computes several places
//! at a time, with channels of the result in the lanes: for each element of the window it finds where each place's pixel starts, or
//! zeros where the window lies in the padding, and multiplies the pixel's numbers, one after the other, by vectors of weights. Images
//! are read where they lie. That is M. Dukhan, *The Indirect Convolution Algorithm* (2019), but for the table of pointers: where a
//! window lies inside the image, its pixels are constant distances away, and those of a line of it are one run of numbers.
//!
//! The order of a sum is that of the window's elements, then of channels, in every tile.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

mod walk;

use super::lanes::Lanes;
use super::method::Operands;
use super::micro::{write_part, write_row};
use super::product::{Product, Start};
use super::{Axis, Block};
use crate::cpu::isa::Kernel;
use crate::ops::epilogue::{Activation, Simple};
use walk::{Spots, Walk};

/// `out[at(place), o] = sum over t, c of image[pixel(place, t), c] weights[t, c, o]` for the places of a part of an image, and the
/// channels of one block of columns.
pub struct Windows<'a, 'b, T> {
    /// The image, from the first channel of the group on.
    pub image: &'a [T],
    /// Channels of the group.
    pub channels: usize,
    /// From a pixel to the next: the channels of all groups.
    pub pixel: usize,
    /// The windows.
    pub axes: [Axis; 2],
    /// `[elements of the window, channels, columns rounded up to whole vectors]`.
    pub weights: &'a [T],
    /// Elements from a line of the weights to the next: at least those of the window.
    pub line: usize,
    /// Results: a row for each place. At most [`Convolve::columns`](super::Convolve::columns) of the columns are computed.
    pub out: Block<'b, T>,
    /// The row of the first place, and how far apart those of neighbouring lines and places are.
    pub rows: [usize; 3],
    /// What happens to the numbers of the image first.
    pub operands: Operands,
    /// What happens to the results.
    pub finish: Simple<'a, T>,
}

impl<T> Windows<'_, '_, T> {
    /// Asserts that all sizes fit. Tiles rely on it where they read without further checks.
    pub(super) fn check(&self, lanes: usize) {
        let [y, x] = self.axes;
        let image = match y.size.checked_mul(x.size) {
            Some(0) => Some(0),
            pixels => pixels
                .and_then(|pixels| (pixels - 1).checked_mul(self.pixel))
                .and_then(|last| last.checked_add(self.channels)),
        };
        let depth = match y.taps * x.taps {
            0 => 0,
            _ => ((y.taps - 1) * self.line + x.taps) * self.channels,
        };
        let is_sane = |axis: &Axis| {
            let reach = axis.taps.checked_mul(axis.step);
            let far = isize::MAX as usize / 4;
            axis.stride > 0
                && axis.step > 0
                && axis.size <= far
                && reach.is_some_and(|reach| reach <= far)
                && axis
                    .places
                    .checked_mul(axis.stride)
                    .is_some_and(|reach| reach <= far)
                && axis.start.unsigned_abs() <= far
        };
        let fits = image.is_some_and(|image| image <= self.image.len())
            && self.channels <= self.pixel
            && depth * self.out.cols().next_multiple_of(lanes) <= self.weights.len()
            && x.taps <= self.line
            && self.finish.bias.is_none_or(|bias| bias.len() == self.out.cols())
            && is_sane(&y)
            && is_sane(&x);
        assert!(fits, "the sizes of windows do not fit");
    }
}

/// Numbers of a pixel that are multiplied at a time where some places see zeros.
const ZEROS: usize = 256;
/// Weights that are multiplied with all places before the next: they stay in the second-level cache, which gives them several times as
/// fast as a tile multiplies them. Fewer, for the first level, would only have sums stored in between.
const NEAR: usize = 24 << 10;
/// Numbers of a window that are rounded at a time.
const ROUNDED: usize = 512;
/// Places of the largest tile.
const MOST_PLACES: usize = 8;

pub(super) struct Places<'a, 'b, L, T> {
    pub(super) lanes: L,
    pub(super) work: Windows<'a, 'b, T>,
}

/// The same for numbers that are rounded first. Two kernels: what one loop needs in registers must not take those of the other's sums.
pub(super) struct RoundedPlaces<'a, 'b, L, T> {
    pub(super) lanes: L,
    pub(super) work: Windows<'a, 'b, T>,
}

macro_rules! kernels {
    ($($kernel:ident)*) => {$(
        impl<T: Product, L: Lanes<T>> Kernel for $kernel<'_, '_, L, T> {
            type Output = ();

            #[inline(always)]
            fn run(mut self) {
                match self.work.out.cols().div_ceil(L::LANES) {
                    1 => self.height::<1>(),
                    2 => self.height::<2>(),
                    3 if L::MOST_VECTORS == 3 => self.height::<3>(),
                    vectors => unreachable!("no tile has {vectors} vectors"),
                }
            }
        }

        impl<T: Product, L: Lanes<T>> $kernel<'_, '_, L, T> {
            #[inline(always)]
            fn height<const V: usize>(&mut self) {
                match L::PLACES {
                    8 => self.tiles::<8, V>(),
                    6 => self.tiles::<6, V>(),
                    _ => self.tiles::<4, V>(),
                }
            }
        }
    )*};
}
kernels!(Places RoundedPlaces);

impl<T: Product> Windows<'_, '_, T> {
    /// Copies the numbers of line `line` of a window, from number `from` on.
    #[inline(always)]
    fn gather<const R: usize>(
        &self,
        spots: &Spots<R>,
        i: usize,
        [line, mut from]: [usize; 2],
        mut to: &mut [T],
    ) {
        let [y, x] = self.axes;
        if spots.is_inside && x.step == 1 && self.pixel == self.channels {
            let at = spots.at[i] as usize + line * y.step * x.size * self.pixel + from;
            return to.copy_from_slice(&self.image[at..][..to.len()]);
        }
        while !to.is_empty() {
            let (element, c) = (from / self.channels, from % self.channels);
            let distance = [line * y.step, element * x.step];
            let run = (self.channels - c).min(to.len());
            let some = to
                .split_off_mut(..run)
                .expect("a run is no longer than what is left");
            match spots.sees(i, distance, [y.size, x.size]) {
                true => {
                    let at = spots.at[i] + ((distance[0] * x.size + distance[1]) * self.pixel) as isize;
                    some.copy_from_slice(&self.image[at as usize + c..][..run]);
                }
                false => some.fill(T::ZERO),
            }
            from += run;
        }
    }

    /// Finishes the sums of the places that count, and writes them.
    #[inline(always)]
    fn write<L: Lanes<T>, const R: usize, const V: usize>(
        &mut self,
        lanes: L,
        spots: &Spots<R>,
        mut sums: [[L::Vector; V]; R],
        finish: Simple<'_, T>,
    ) {
        if let Some(bias) = finish.bias {
            for v in 0..V {
                let bias = load_some(lanes, bias, v);
                for i in 0..R {
                    // 1 * sum + b is rounded once in either form of the instruction: it is the plain sum.
                    sums[i][v] = lanes.mul_add(lanes.splat(T::ONE), sums[i][v], bias);
                }
            }
        }
        if finish.activation == Activation::Relu {
            for i in 0..R {
                for v in 0..V {
                    sums[i][v] = lanes.relu(sums[i][v]);
                }
            }
        }
        match spots.run() {
            Some(row) if self.out.cols() == V * L::LANES => {
                let mut tile = self.out.inside::<R>(row, 0, V * L::LANES);
                for i in 0..R {
                    write_row(lanes, &sums[i], tile.row_mut(i), Start::Overwrite);
                }
            }
            _ => self.write_edge(lanes, spots, &sums),
        }
    }

    /// Writes sums where not all places count, results lie apart, or a row ends before the last vector does.
    #[inline(always)]
    fn write_edge<L: Lanes<T>, const R: usize, const V: usize>(
        &mut self,
        lanes: L,
        spots: &Spots<R>,
        sums: &[[L::Vector; V]; R],
    ) {
        for i in 0..R {
            if i == spots.count {
                break;
            }
            let to = self.out.row_mut(spots.row[i]);
            match to.len() == V * L::LANES {
                true => write_row(lanes, &sums[i], to, Start::Overwrite),
                false => write_part(lanes, &sums[i], to, Start::Overwrite),
            }
        }
    }

    /// What was written for the places that count.
    #[inline(always)]
    fn read<L: Lanes<T>, const R: usize, const V: usize>(
        &mut self,
        lanes: L,
        spots: &Spots<R>,
    ) -> [[L::Vector; V]; R] {
        let mut sums = [[lanes.splat(T::ZERO); V]; R];
        for i in 0..R {
            let from = self.out.row_mut(spots.row[i]);
            for v in 0..V {
                sums[i][v] = load_some(lanes, from, v);
            }
        }
        sums
    }
}

/// Vector number `v` of a row, with zeros behind the row's end.
#[inline(always)]
fn load_some<T: Product, L: Lanes<T>>(lanes: L, row: &[T], v: usize) -> L::Vector {
    let from = row.get(v * L::LANES..).unwrap_or_default();
    match from.len() >= L::LANES {
        true => lanes.load(from),
        false => lanes.load_part(from),
    }
}

impl<T: Product, L: Lanes<T>> Places<'_, '_, L, T> {
    /// All tiles, as often as the weights are cut into parts that stay in the second-level cache.
    #[inline(always)]
    fn tiles<const R: usize, const V: usize>(&mut self) {
        let [y, x] = self.work.axes;
        let zeros = [T::ZERO; ZEROS];
        let most = (NEAR / (x.taps * self.work.channels * V * L::LANES).max(1)).max(1);
        let parts = y.taps.div_ceil(most).max(1);
        for part in 0..parts {
            let lines = [part * y.taps / parts, (part + 1) * y.taps / parts];
            let finish = match part + 1 == parts {
                true => self.work.finish,
                false => Simple::NONE,
            };
            let mut walk = Walk::new(&self.work);
            while walk.rest > 0 {
                let spots = walk.spots::<T, R>(&self.work);
                let start = match part {
                    0 => [[self.lanes.splat(T::ZERO); V]; R],
                    _ => self.work.read(self.lanes, &spots),
                };
                let sums = self.sums::<R, V>(&spots, lines, walk.sees_lines, &zeros, start);
                self.work.write(self.lanes, &spots, sums, finish);
            }
        }
    }

    /// The sums of a tile over some lines of the window, in registers.
    ///
    /// One loop for all cases and no panic or call in it: otherwise the optimiser keeps some of the sums in memory.
    /// [`Convolve::windows`](super::Convolve::windows) has checked the sizes, so that no loop ends early.
    #[inline(always)]
    fn sums<const R: usize, const V: usize>(
        &self,
        spots: &Spots<R>,
        lines: [usize; 2],
        sees_lines: bool,
        zeros: &[T; ZEROS],
        mut sums: [[L::Vector; V]; R],
    ) -> [[L::Vector; V]; R] {
        let (work, [y, x]) = (&self.work, self.work.axes);
        // A line of the window is one run of numbers where nothing lies between its pixels.
        let is_run = sees_lines && x.step == 1 && work.pixel == work.channels;
        let (across, len) = match is_run {
            true => (1, x.taps * work.channels),
            false => (x.taps, work.channels),
        };
        let most = if spots.is_inside { len } else { ZEROS };
        let [mut line, mut column] = [lines[0], 0];
        while line < lines[1] && across > 0 {
            let (down, right) = (line * y.step, column * x.step);
            let distance = ((down * x.size + right) * work.pixel) as isize;
            let first = (line * work.line + column) * work.channels;
            let mut from = 0;
            while from < len {
                let run = most.min(len - from);
                let mut rows: [&[T]; R] = [&zeros[..0]; R];
                let mut is_seen = spots.is_inside;
                for i in 0..R {
                    let at = (spots.at[i] + distance) as usize + from;
                    if spots.is_inside {
                        // SAFETY: `Walk` has found that the windows of these places lie in the image, and `check` that the image
                        // has all its pixels. `distance + from + run` is at most the end of an element of the window, or of a line
                        // of it where that is one run.
                        rows[i] = unsafe { work.image.get_unchecked(at..at + run) };
                        continue;
                    }
                    let is_inside = spots.sees(i, [down, right], [y.size, x.size]);
                    is_seen |= is_inside;
                    let row = match is_inside {
                        true => work.image.get(at..at + run),
                        false => zeros.get(..run),
                    };
                    let Some(row) = row else { return sums };
                    rows[i] = row;
                }
                // Where no place sees anything there is nothing to add.
                if !is_seen {
                    from += run;
                    continue;
                }
                let Some((_, weights)) = work.weights.split_at_checked((first + from) * V * L::LANES) else {
                    return sums;
                };
                multiply(self.lanes, &rows, weights, run, &mut sums);
                from += run;
            }
            column += 1;
            if column == across {
                [line, column] = [line + 1, 0];
            }
        }
        sums
    }
}

impl<T: Product, L: Lanes<T>> RoundedPlaces<'_, '_, L, T> {
    #[inline(always)]
    fn tiles<const R: usize, const V: usize>(&mut self) {
        let mut room = [T::ZERO; MOST_PLACES * ROUNDED];
        let mut walk = Walk::new(&self.work);
        while walk.rest > 0 {
            let spots = walk.spots::<T, R>(&self.work);
            self.tile::<R, V>(&spots, &mut room);
        }
    }

    /// The sums of a tile: what it sees of a line is rounded, then multiplied.
    #[inline(always)]
    fn tile<const R: usize, const V: usize>(
        &mut self,
        spots: &Spots<R>,
        room: &mut [T; MOST_PLACES * ROUNDED],
    ) {
        let [y, x] = self.work.axes;
        let (len, zero) = (x.taps * self.work.channels, self.lanes.splat(T::ZERO));
        let mut rest = y.taps * len;
        if rest == 0 {
            let finish = self.work.finish;
            self.work.write(self.lanes, spots, [[zero; V]; R], finish);
        }
        for line in 0..y.taps {
            let mut from = 0;
            while from < len {
                let run = ROUNDED.min(len - from);
                for (i, room) in room.chunks_exact_mut(ROUNDED).take(R).enumerate() {
                    self.work.gather(spots, i, [line, from], &mut room[..run]);
                    T::round_operands(&mut room[..run]);
                }
                let mut rows: [&[T]; R] = [&[]; R];
                for i in 0..R {
                    rows[i] = &room[i * ROUNDED..][..run];
                }
                // Sums wait in the result: the calls above would push them out of the registers, in the loop as well.
                let mut sums = match [line, from] {
                    [0, 0] => [[zero; V]; R],
                    _ => self.work.read(self.lanes, spots),
                };
                let first = line * self.work.line * self.work.channels + from;
                multiply(
                    self.lanes,
                    &rows,
                    &self.work.weights[first * V * L::LANES..],
                    run,
                    &mut sums,
                );
                rest -= run;
                let finish = match rest {
                    0 => self.work.finish,
                    _ => Simple::NONE,
                };
                self.work.write(self.lanes, spots, sums, finish);
                from += run;
            }
        }
    }
}

/// Adds the products of `run` numbers of each row with as many rows of vectors.
#[inline(always)]
fn multiply<T: Product, L: Lanes<T>, const R: usize, const V: usize>(
    lanes: L,
    rows: &[&[T]; R],
    weights: &[T],
    run: usize,
    sums: &mut [[L::Vector; V]; R],
) {
    for c in 0..run {
        let Some(row) = weights.get(c * V * L::LANES..(c + 1) * V * L::LANES) else {
            return;
        };
        let mut vectors = [lanes.splat(T::ZERO); V];
        for v in 0..V {
            vectors[v] = lanes.load(&row[v * L::LANES..]);
        }
        for i in 0..R {
            let Some(&number) = rows[i].get(c) else { return };
            let number = lanes.splat(number);
            for v in 0..V {
                sums[i][v] = lanes.mul_add(number, vectors[v], sums[i][v]);
            }
        }
    }
}

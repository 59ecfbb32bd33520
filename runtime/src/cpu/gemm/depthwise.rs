//! Sums over windows where every channel stands for itself: the inner loops of depthwise convolution.
//!
//! Channels lie in the lanes of image, weights and result alike, so that nothing is broadcast, and windows are cut off where they leave
//! the image.

use std::ops::Range;

use super::lanes::Lanes;
use super::method::Operands;
use super::micro::{write_part, write_row};
use super::outer::Plane;
use super::product::{Product, Start};
use super::{Axis, Block, MOST_LANES};
use crate::cpu::isa::Kernel;

/// `out[at(place), c] = sum over t of image[pixel(place, t), c] weights[t, c]`.
pub struct Depthwise<'a, 'b, T> {
    /// The pixels of an image, from the first channel that counts on.
    pub image: &'a [T],
    /// From a pixel to the next.
    pub pixel: usize,
    /// The windows.
    pub axes: [Axis; 2],
    /// `[elements of the window, channels]`.
    pub weights: &'a [T],
    /// From an element of the window to the next.
    pub element: usize,
    /// Results: a row for each place, a column for each channel.
    pub out: Block<'b, T>,
    /// The row of the first place, and how far apart those of neighbouring lines and places are.
    pub rows: [usize; 3],
    /// What happens to the numbers of the image first.
    pub operands: Operands,
}

impl<T> Depthwise<'_, '_, T> {
    pub(super) fn check(&self) {
        let [y, x] = self.axes;
        let channels = self.out.cols();
        let fits = holds(self.image, y.size * x.size, self.pixel, channels)
            && holds(self.weights, y.taps * x.taps, self.element, channels);
        assert!(fits, "the sizes of depthwise windows do not fit");
    }
}

/// `sums[t, c] += sum over v, u of image[v, u + distance(t), c] cotangent[v, u, c]`.
pub struct DepthwiseSums<'a, 'b, T> {
    /// The pixels of an image, from the first channel that counts on.
    pub image: &'a [T],
    /// From a pixel to the next.
    pub pixel: usize,
    /// The windows.
    pub axes: [Axis; 2],
    /// The cotangent of all places.
    pub cotangent: Plane<'a, T>,
    /// A row for each element of the window, a column for each channel.
    pub sums: Block<'b, T>,
    /// What happens to the numbers of image and cotangent first.
    pub operands: Operands,
}

impl<T> DepthwiseSums<'_, '_, T> {
    pub(super) fn check(&self) {
        let [y, x] = self.axes;
        let channels = self.sums.cols();
        let place = last(y.places, self.cotangent.line) + last(x.places, self.cotangent.pixel);
        let fits = holds(self.image, y.size * x.size, self.pixel, channels)
            && place + channels <= self.cotangent.data.len()
            && y.taps * x.taps <= self.sums.rows();
        assert!(fits, "the sizes of depthwise sums do not fit");
    }
}

/// Whether some things of `len` numbers, `step` apart, lie in `numbers`.
fn holds<T>(numbers: &[T], count: usize, step: usize, len: usize) -> bool {
    count == 0 || last(count, step) + len <= numbers.len()
}

/// Where the last of some things lies that are `step` apart.
fn last(count: usize, step: usize) -> usize {
    count.saturating_sub(1) * step
}

/// Vectors of channels that are computed at a time.
const WIDE: usize = 4;

pub(super) struct Each<'a, 'b, L, T> {
    pub(super) lanes: L,
    pub(super) work: Depthwise<'a, 'b, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Each<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let [y, x] = self.work.axes;
        let channels = self.work.out.cols();
        for v in 0..y.places {
            let lines = y.seen_at(v);
            for u in 0..x.places {
                let taps = [lines.clone(), x.seen_at(u)];
                let mut col = 0;
                while col < channels {
                    col += match channels - col >= WIDE * L::LANES {
                        true => self.place::<WIDE>([v, u], &taps, col),
                        false => self.place::<1>([v, u], &taps, col),
                    };
                }
            }
        }
    }
}

impl<T: Product, L: Lanes<T>> Each<'_, '_, L, T> {
    /// `V` vectors of a place; gives the number of their channels.
    #[inline(always)]
    fn place<const V: usize>(
        &mut self,
        [v, u]: [usize; 2],
        [lines, line]: &[Range<usize>; 2],
        col: usize,
    ) -> usize {
        let (lanes, [y, x]) = (self.lanes, self.work.axes);
        let channels = self.work.out.cols();
        let mut sums = [lanes.splat(T::ZERO); V];
        for i in lines.start..lines.end {
            for j in line.start..line.end {
                let pixel = y.position(v, i) * x.size + x.position(u, j);
                let at = pixel * self.work.pixel;
                let Some(numbers) = self.work.image.get(at + col..at + channels) else {
                    break;
                };
                let at = (i * x.taps + j) * self.work.element;
                let Some(weights) = self.work.weights.get(at + col..at + channels) else {
                    break;
                };
                let numbers = load_operands::<T, L, V>(lanes, numbers, self.work.operands);
                let weights = load::<T, L, V>(lanes, weights);
                for k in 0..V {
                    sums[k] = lanes.mul_add(numbers[k], weights[k], sums[k]);
                }
            }
        }
        let [first, down, right] = self.work.rows;
        write(
            lanes,
            &sums,
            &mut self.work.out.row_mut(first + v * down + u * right)[col..],
            Start::Overwrite,
        );
        V * L::LANES
    }
}

pub(super) struct EachSum<'a, 'b, L, T> {
    pub(super) lanes: L,
    pub(super) work: DepthwiseSums<'a, 'b, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for EachSum<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let [y, x] = self.work.axes;
        let channels = self.work.sums.cols();
        for i in 0..y.taps {
            for j in 0..x.taps {
                let mut col = 0;
                while col < channels {
                    col += match channels - col >= WIDE * L::LANES {
                        true => self.element::<WIDE>([i, j], col),
                        false => self.element::<1>([i, j], col),
                    };
                }
            }
        }
    }
}

impl<T: Product, L: Lanes<T>> EachSum<'_, '_, L, T> {
    /// `V` vectors of the sums of an element; gives the number of their channels.
    #[inline(always)]
    fn element<const V: usize>(&mut self, [i, j]: [usize; 2], col: usize) -> usize {
        let (lanes, [y, x]) = (self.lanes, self.work.axes);
        let channels = self.work.sums.cols();
        let mut sums = [lanes.splat(T::ZERO); V];
        let (lines, line) = (y.inside(i), x.inside(j));
        for v in lines.start..lines.end {
            for u in line.start..line.end {
                let pixel = y.position(v, i) * x.size + x.position(u, j);
                let at = pixel * self.work.pixel;
                let Some(numbers) = self.work.image.get(at + col..at + channels) else {
                    break;
                };
                let place = v * self.work.cotangent.line + u * self.work.cotangent.pixel;
                let Some(others) = self.work.cotangent.data.get(place + col..place + channels) else {
                    break;
                };
                let numbers = load_operands::<T, L, V>(lanes, numbers, self.work.operands);
                let others = load_operands::<T, L, V>(lanes, others, self.work.operands);
                for k in 0..V {
                    sums[k] = lanes.mul_add(numbers[k], others[k], sums[k]);
                }
            }
        }
        write(
            lanes,
            &sums,
            &mut self.work.sums.row_mut(i * x.taps + j)[col..],
            Start::Accumulate,
        );
        V * L::LANES
    }
}

/// The first vectors of `from`: whole ones, or one of what there is.
#[inline(always)]
fn load<T: Product, L: Lanes<T>, const V: usize>(lanes: L, from: &[T]) -> [L::Vector; V] {
    let mut vectors = [lanes.splat(T::ZERO); V];
    match from.get(..V * L::LANES) {
        Some(from) => {
            for k in 0..V {
                vectors[k] = lanes.load(&from[k * L::LANES..]);
            }
        }
        None => vectors[0] = lanes.load_part(from),
    }
    vectors
}

/// The same, of what products take of the numbers.
#[inline(always)]
fn load_operands<T: Product, L: Lanes<T>, const V: usize>(
    lanes: L,
    from: &[T],
    operands: Operands,
) -> [L::Vector; V] {
    match operands {
        Operands::Exact => load(lanes, from),
        Operands::Rounded => {
            let mut numbers = [T::ZERO; WIDE * MOST_LANES];
            let count = from.len().min(V * L::LANES);
            numbers[..count].copy_from_slice(&from[..count]);
            T::round_operands(&mut numbers[..V * L::LANES]);
            load(lanes, &numbers[..count])
        }
    }
}

/// Writes vectors to the front of `to`, or what finds room there of one.
#[inline(always)]
fn write<T: Product, L: Lanes<T>, const V: usize>(
    lanes: L,
    sums: &[L::Vector; V],
    to: &mut [T],
    start: Start,
) {
    match to.len() >= V * L::LANES {
        true => write_row(lanes, sums, to, start),
        false => write_part(lanes, sums, to, start),
    }
}

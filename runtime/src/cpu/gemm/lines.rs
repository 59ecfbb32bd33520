//! Lines of images, copied between an image and the layout in which a window meets all of its elements at fixed distances.
//!
//! Copies of a few dozen numbers, in which a call of `memcpy` a line would take as long as the arithmetic does on few channels:
//! vectors instead, in one call a plane, with the zeros of the padding written on the way.

use std::ops::Range;

use super::Block;
use super::lanes::Lanes;
use super::tile::Product;
use crate::cpu::isa::Kernel;

/// Lines that are laid out with zeros around them: `to[line * pitch + before + k] = from[(line - lines.start) * step + k * stride]` for
/// the lines that `lines` names and `k < len`, which is not zero; and zero elsewhere.
pub struct Plane<'a, T> {
    /// Where the first number lies at the front.
    pub from: &'a [T],
    /// From a line to the next.
    pub step: usize,
    /// From a number to the next.
    pub stride: usize,
    /// Numbers of a line.
    pub len: usize,
    /// Lines of the result that hold numbers.
    pub lines: Range<usize>,
    /// Zeros at the start of a line.
    pub before: usize,
    /// From a line of the result to the next: at least `before + len`.
    pub pitch: usize,
    /// The result, all of which is written.
    pub to: &'a mut [T],
}

/// Lines of sums that are copied to where they belong, for every row of a block:
/// `block[r, to + line * width + k * stride] = from[r * row + line * pitch + k]`.
pub struct Placing<'a, 'b, T> {
    /// The sums.
    pub from: &'a [T],
    /// From a row to the next.
    pub row: usize,
    /// From a line to the next.
    pub pitch: usize,
    /// Number of lines, and of numbers in each.
    pub size: [usize; 2],
    /// The rows that are written.
    pub block: Block<'b, T>,
    /// Where the first number of a row goes.
    pub to: usize,
    /// From a line of the result to the next.
    pub width: usize,
    /// From a number of the result to the next.
    pub stride: usize,
}

pub(super) struct Laying<'a, L, T> {
    pub lanes: L,
    pub plane: Plane<'a, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Laying<'_, L, T> {
    type Output = ();

    /// From front to back: what a vector writes beyond its line is zero, or is written again.
    #[inline(always)]
    fn run(self) {
        let (lanes, plane) = (self.lanes, self.plane);
        let (to, len, pitch) = (plane.to, plane.len, plane.pitch);
        let mut at = plane.lines.start * pitch;
        zeros(lanes, to, at);
        for line in 0..plane.lines.len() {
            let from = &plane.from[line * plane.step..];
            let to = &mut to[at..];
            zeros(lanes, to, plane.before);
            let to = &mut to[plane.before..];
            let written = match plane.stride {
                1 => numbers(lanes, &from[..len], to),
                2 => every_second(from, &mut to[..len]),
                stride => every(from, stride, &mut to[..len]),
            };
            let after = pitch - plane.before;
            if written < after {
                let room = to.len();
                zeros(lanes, &mut to[written..], (after - written).min(room - written));
            }
            at += pitch;
        }
        if at < to.len() {
            let to = &mut to[at..];
            let rest = to.len();
            zeros(lanes, to, rest);
        }
    }
}

pub(super) struct Putting<'a, 'b, L, T> {
    pub lanes: L,
    pub placing: Placing<'a, 'b, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Putting<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let (lanes, placing) = (self.lanes, &mut self.placing);
        let [lines, len] = placing.size;
        for r in 0..placing.block.rows() {
            let from = &placing.from[r * placing.row..];
            let to = &mut placing.block.row_mut(r)[placing.to..];
            for line in 0..lines {
                let from = &from[line * placing.pitch..][..len];
                let to = &mut to[line * placing.width..];
                match placing.stride {
                    1 => {
                        numbers(lanes, from, &mut to[..len]);
                    }
                    stride => {
                        let to = &mut to[..(len - 1) * stride + 1];
                        for k in 0..len {
                            to[k * stride] = from[k];
                        }
                    }
                }
            }
        }
    }
}

/// Writes `len` zeros to the front of `to`, and more where a vector has more and there is room.
#[inline(always)]
fn zeros<T: Product, L: Lanes<T>>(lanes: L, to: &mut [T], len: usize) {
    let zero = lanes.splat(T::ZERO);
    let mut at = 0;
    while at < len {
        let to = &mut to[at..];
        match to.len() >= L::LANES {
            true => lanes.store(zero, to),
            false => lanes.store_part(zero, to),
        }
        at += L::LANES;
    }
}

/// Copies numbers to the front of `to`, and zeros after them where a vector has more and there is room. Returns how many were
/// written.
#[inline(always)]
fn numbers<T: Product, L: Lanes<T>>(lanes: L, from: &[T], to: &mut [T]) -> usize {
    let mut at = 0;
    while at < from.len() {
        let (from, to) = (&from[at..], &mut to[at..]);
        let x = match from.len() >= L::LANES {
            true => lanes.load(from),
            false => lanes.load_part(from),
        };
        match to.len() >= L::LANES {
            true => lanes.store(x, to),
            false => lanes.store_part(x, to),
        }
        at += L::LANES;
    }
    at.min(to.len())
}

/// Takes every second number: a constant, with which this is a few shuffles.
#[inline(always)]
fn every_second<T: Product>(from: &[T], to: &mut [T]) -> usize {
    let last = to.len() - 1;
    let pairs = &from.as_chunks::<2>().0[..last];
    to[last] = from[2 * last];
    let front = &mut to[..last];
    for k in 0..last {
        front[k] = pairs[k][0];
    }
    last + 1
}

/// Takes every `stride`th number.
#[inline(always)]
fn every<T: Product>(from: &[T], stride: usize, to: &mut [T]) -> usize {
    let len = to.len();
    let from = &from[..(len - 1) * stride + 1];
    for k in 0..len {
        to[k] = from[k * stride];
    }
    len
}

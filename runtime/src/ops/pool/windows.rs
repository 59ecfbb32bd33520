//! The windows of a row of results, and the channels of each in vectors.
//!
//! An element of the window contributes to every channel alike, and channels lie side by side: so [`LANES`] channels of one window
//! are worked on at a time, with running values in registers, whatever the window's size, step and place are. What is done with them is
//! written as functions from arrays to arrays: where a comparison decided what is stored in place, the compiler made it a branch, or a
//! masked store, and neither is fast.

use std::hint::select_unpredictable;

use super::{Pool, Pool2d};
use crate::real::Real;

/// Channels that are worked on at once: four vectors of 256 bits. What they leave is done by [`HALF`], by fours, and then one by one.
const LANES: usize = 32;

/// Half of them, which the first layers of small networks have.
const HALF: usize = 16;

/// The elements of an image that one window sees. Distances count elements, all channels of a pixel included.
#[derive(Copy, Clone)]
pub struct Window {
    /// The first channel of the first pixel; 0 where the window sees nothing of the image.
    pub first: usize,
    /// Rows and columns of pixels.
    pub taps: [usize; 2],
    /// From one row, or column, to the next.
    pub steps: [usize; 2],
}

/// What is done with `N` channels of a window.
pub trait Visit {
    /// `number` is that of the window in its row of results, `channel` the first channel.
    fn visit<const N: usize>(&mut self, window: &Window, number: usize, channel: usize);
}

impl Pool2d {
    /// The first position along axis `k` that window `place` sees of the image, and how many they are.
    #[inline(always)]
    fn taps(&self, k: usize, place: usize) -> (usize, usize) {
        let (n, out) = (self.size[k], self.out[k]);
        if self.kind == Pool::Adaptive {
            let first = place * n / out;
            return (first, ((place + 1) * n).div_ceil(out) - first);
        }
        let (start, padding, dilation) = (place * self.stride[k], self.padding[k], self.dilation[k]);
        let steps = |n: usize| if dilation == 1 { n } else { n.div_ceil(dilation) };
        let skipped = steps(padding.saturating_sub(start));
        let end = steps((n + padding).saturating_sub(start)).min(self.kernel[k]);
        if skipped >= end {
            return (0, 0);
        }
        (start + skipped * dilation - padding, end - skipped)
    }

    /// One past the last row of the image that row `v` of the windows sees.
    #[inline(always)]
    pub fn reach(&self, v: usize) -> usize {
        match self.taps(0, v) {
            (_, 0) => 0,
            (first, count) => first + (count - 1) * self.dilation[0] + 1,
        }
    }

    /// Visits the windows of row `v` of the results of an image, in order.
    #[inline(always)]
    pub fn for_each_window<V: Visit>(&self, v: usize, visit: &mut V) {
        let (channels, line) = (self.channels, self.size[1] * self.channels);
        let (row, rows) = self.taps(0, v);
        for u in 0..self.out[1] {
            let (column, columns) = self.taps(1, u);
            let window = Window {
                first: row * line + column * channels,
                taps: [rows, columns],
                steps: [self.dilation[0] * line, self.dilation[1] * channels],
            };
            let mut channel = 0;
            while channel + LANES <= channels {
                visit.visit::<LANES>(&window, u, channel);
                channel += LANES;
            }
            if channel + HALF <= channels {
                visit.visit::<HALF>(&window, u, channel);
                channel += HALF;
            }
            while channel + 4 <= channels {
                visit.visit::<4>(&window, u, channel);
                channel += 4;
            }
            while channel < channels {
                visit.visit::<1>(&window, u, channel);
                channel += 1;
            }
        }
    }
}

/// `N` elements from `at` on.
#[inline(always)]
pub fn load<T: Real, const N: usize>(x: &[T], at: usize) -> [T; N] {
    *x[at..].first_chunk().expect("windows are inside their image")
}

/// Writes `N` elements from `at` on.
#[inline(always)]
pub fn store<T: Real, const N: usize>(y: &mut [T], at: usize, values: [T; N]) {
    *y[at..].first_chunk_mut().expect("windows are inside their image") = values;
}

/// Where `a` has the larger element: not of equals; NaN is larger than anything.
#[inline(always)]
pub fn are_larger<T: Real, const N: usize>(a: [T; N], b: [T; N]) -> [bool; N] {
    let mut larger = [false; N];
    for l in 0..N {
        larger[l] = (a[l] > b[l]) | Real::ne(a[l], a[l]);
    }
    larger
}

/// The elements of `a` where the condition holds, those of `b` elsewhere.
#[inline(always)]
pub fn select<T: Real, const N: usize>(condition: [bool; N], a: [T; N], b: [T; N]) -> [T; N] {
    let mut selected = b;
    for l in 0..N {
        selected[l] = select_unpredictable(condition[l], a[l], b[l]);
    }
    selected
}

/// Where an element is this number.
#[inline(always)]
pub fn equal<T: Real, const N: usize>(a: [T; N], number: T) -> [bool; N] {
    let mut equal = [false; N];
    for l in 0..N {
        equal[l] = a[l] == number;
    }
    equal
}

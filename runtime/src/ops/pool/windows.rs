//! Sliding windows, side by side.
//!
//! Windows that lie side by side in a row are worked on together, [`LANES`] at a time, with running values in registers: what an
//! element of every window contributes is one vector, where a loop over the elements of a single window is too short for that.
//! A row of no whole number of vectors ends with lanes that nobody looks at, of windows that begin beyond its end. Windows that
//! reach beyond the left or right edge of the image are taken one by one.

use std::ops::Range;

use super::Pool2d;
use crate::real::Real;

/// Windows that are worked on at once.
pub const LANES: usize = 8;

/// How many windows of a type are worked on at once: `f64`, which is compiled without vectors worth the name, takes one, which keeps
/// it cheap to compile.
pub const fn at_once<T>() -> usize {
    if size_of::<T>() == size_of::<f32>() {
        LANES
    } else {
        1
    }
}

/// Windows of one row, side by side.
pub struct Windows {
    /// Row of results, and the first window in it.
    pub place: [usize; 2],
    /// Rows and columns of the windows that are inside the image, the same for all of them.
    pub taps: [Range<usize>; 2],
    /// How many they are.
    pub count: usize,
}

/// What is done with at most `N` windows, `STRIDE` elements apart; if that is 0, by the pooling's stride. All windows of a plane are
/// met in order.
pub trait Visit {
    /// How many windows are visited at once: [`LANES`], or 1.
    const AT_ONCE: usize;

    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows);
}

/// `n / by`, rounded up, with no division for the common steps.
#[inline(always)]
fn steps(n: usize, by: usize) -> usize {
    match by {
        1 => n,
        2 => n.div_ceil(2),
        _ => n.div_ceil(by),
    }
}

impl Pool2d {
    /// The elements along axis `k` of window `place` that are inside the image.
    #[inline(always)]
    fn taps(&self, k: usize, place: usize) -> Range<usize> {
        let (start, padding, dilation) = (place * self.stride[k], self.padding[k], self.dilation[k]);
        let first = steps(padding.saturating_sub(start), dilation);
        let end = steps((self.size[k] + padding).saturating_sub(start), dilation);
        let end = end.min(self.kernel[k]);
        first.min(end)..end
    }

    /// The windows of a row whose columns are all inside the image.
    #[inline(always)]
    fn interior(&self) -> Range<usize> {
        let reach = (self.kernel[1] - 1) * self.dilation[1];
        let room = (self.size[1] + self.padding[1]).saturating_sub(reach);
        let end = steps(room, self.stride[1]).min(self.out[1]);
        steps(self.padding[1], self.stride[1]).min(end)..end
    }

    /// Visits all windows of a plane; `len` elements may be read from its start on, which may be more than it has.
    #[inline(always)]
    pub fn for_each_window<V: Visit>(&self, len: usize, visit: &mut V) {
        let interior = self.interior();
        // How far behind the first column of a window, and of its padding, the last lane reads.
        let reach = (self.kernel[1] - 1) * self.dilation[1] + (LANES - 1) * self.stride[1];
        for v in 0..self.out[0] {
            let rows = self.taps(0, v);
            let last_row = (v * self.stride[0] + rows.end * self.dilation[0])
                .saturating_sub(self.padding[0] + self.dilation[0]);
            let room = (len + self.padding[1]).saturating_sub(last_row * self.size[1] + reach);
            let mut u = 0;
            while u < self.out[1] {
                let is_wide = V::AT_ONCE == LANES && interior.contains(&u) && u * self.stride[1] < room;
                let mut windows = Windows {
                    place: [v, u],
                    taps: [rows.clone(), 0..self.kernel[1]],
                    count: LANES.min(interior.end.saturating_sub(u)),
                };
                match self.stride[1] {
                    1 if is_wide => visit.visit::<LANES, 1>(&windows),
                    2 if is_wide => visit.visit::<LANES, 2>(&windows),
                    _ if is_wide => visit.visit::<LANES, 0>(&windows),
                    _ => {
                        windows.count = 1;
                        windows.taps[1] = self.taps(1, u);
                        visit.visit::<1, 0>(&windows);
                    }
                }
                u += windows.count;
            }
        }
    }

    /// Distance of neighbouring windows, known to the compiler where it is not 0.
    #[inline(always)]
    pub fn step(&self, stride: usize) -> usize {
        if stride == 0 { self.stride[1] } else { stride }
    }

    /// The number of the first of some windows.
    #[inline(always)]
    pub fn number(&self, windows: &Windows) -> usize {
        windows.place[0] * self.out[1] + windows.place[1]
    }

    /// The place in the plane of the first element of the first of some windows; none where they see nothing of the image.
    #[inline(always)]
    pub fn first_tap(&self, windows: &Windows) -> Option<usize> {
        let Windows { place, taps, .. } = windows;
        if taps[0].is_empty() || taps[1].is_empty() {
            return None;
        }
        // Not by `map`, which is a call where the build does not optimise across units.
        let at = |k: usize| place[k] * self.stride[k] + taps[k].start * self.dilation[k] - self.padding[k];
        Some(at(0) * self.size[1] + at(1))
    }

    /// Calls `f` with the place of every element of the first of some windows, in row-major order; the first is at `first`.
    #[inline(always)]
    pub fn for_each_tap(&self, windows: &Windows, first: usize, mut f: impl FnMut(usize)) {
        let mut line = first;
        for _ in windows.taps[0].clone() {
            let mut place = line;
            for _ in windows.taps[1].clone() {
                f(place);
                place += self.dilation[1];
            }
            line += self.dilation[0] * self.size[1];
        }
    }
}

/// Writes the results of windows to the plane of results, the first of them at `first`.
#[inline(always)]
pub fn write<T: Real, const N: usize>(y: &mut [T], first: usize, windows: &Windows, results: &[T; N]) {
    match y[first..].first_chunk_mut() {
        // Lanes beyond the end of the row write where later windows will.
        Some(y) => *y = *results,
        None => {
            let count = windows.count.min(N);
            y[first..][..count].copy_from_slice(&results[..count]);
        }
    }
}

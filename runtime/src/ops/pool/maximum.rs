//! The largest element of every window, and where it lies.
//!
//! Windows that lie side by side in a row are worked on together, [`LANES`] at a time, with the running maxima in registers: what
//! an element of every window contributes is one vector, where a loop over the elements of a single window is too short for
//! that. A row of no whole number of vectors ends with one that overlaps its neighbour. Windows that reach beyond the left
//! or right edge are taken one by one.
//!
//! Elements of windows are met in row-major order, so that "the first of equals" means what it says.

use std::ops::Range;

use super::Pool2d;
use super::pairs::Pairs;
use crate::cpu::isa::Kernel;
use crate::real::Real;

/// Windows that are worked on at once.
const LANES: usize = 8;

/// Windows of one row, side by side.
struct Windows {
    /// Row of results, and the first window in it.
    place: [usize; 2],
    /// Rows and columns of the windows that are inside the image, for all of them.
    taps: [Range<usize>; 2],
    /// How many of the first were visited already.
    known: usize,
}

/// What is done with windows; `N` of them at once, `STRIDE` elements apart (that of the pooling if `N` is 1).
trait Visit {
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows);
}

impl Pool2d {
    /// The elements along axis `k` of window `place` that are inside the image.
    #[inline(always)]
    fn taps(&self, k: usize, place: usize) -> Range<usize> {
        let (start, padding, dilation) = (place * self.stride[k], self.padding[k], self.dilation[k]);
        let first = padding.saturating_sub(start).div_ceil(dilation);
        let end = (self.size[k] + padding).saturating_sub(start).div_ceil(dilation);
        let end = end.min(self.kernel[k]);
        first.min(end)..end
    }

    /// The windows of a row whose columns are all inside the image.
    #[inline(always)]
    fn interior(&self) -> Range<usize> {
        let reach = (self.kernel[1] - 1) * self.dilation[1];
        let room = (self.size[1] + self.padding[1]).saturating_sub(reach);
        let end = room.div_ceil(self.stride[1]).min(self.out[1]);
        self.padding[1].div_ceil(self.stride[1]).min(end)..end
    }

    #[inline(always)]
    fn for_each_window(&self, visit: &mut impl Visit) {
        let interior = self.interior();
        for v in 0..self.out[0] {
            let rows = self.taps(0, v);
            for u in (0..interior.start).chain(interior.end..self.out[1]) {
                visit.visit::<1, 0>(&Windows {
                    place: [v, u],
                    taps: [rows.clone(), self.taps(1, u)],
                    known: 0,
                });
            }
            match self.stride[1] {
                1 => self.for_each_inside::<LANES, 1>(v, &rows, &interior, visit),
                2 => self.for_each_inside::<LANES, 2>(v, &rows, &interior, visit),
                _ => self.for_each_inside::<1, 0>(v, &rows, &interior, visit),
            }
        }
    }

    /// Visits the windows `interior` of row `v`, whose rows `rows` are inside the image.
    #[inline(always)]
    fn for_each_inside<const N: usize, const STRIDE: usize>(
        &self,
        v: usize,
        rows: &Range<usize>,
        interior: &Range<usize>,
        visit: &mut impl Visit,
    ) {
        let windows = |u, known| Windows {
            place: [v, u],
            taps: [rows.clone(), 0..self.kernel[1]],
            known,
        };
        let mut u = interior.start;
        while u + N <= interior.end {
            visit.visit::<N, STRIDE>(&windows(u, 0));
            u += N;
        }
        if u < interior.end && interior.len() >= N {
            visit.visit::<N, STRIDE>(&windows(interior.end - N, u - (interior.end - N)));
        } else {
            for u in u..interior.end {
                visit.visit::<1, 0>(&windows(u, 0));
            }
        }
    }

    /// The largest elements of windows and their places in the plane, for window `l` counted from `l` windows further: the first
    /// of equals; the last NaN, if there is one (as PyTorch); none where the windows see nothing of the image.
    #[inline(always)]
    fn largest<T: Real, const N: usize, const STRIDE: usize>(
        &self,
        x: &[T],
        windows: &Windows,
    ) -> Option<([T; N], [usize; N])> {
        let Windows {
            place: [v, u],
            taps: [rows, cols],
            ..
        } = windows;
        if rows.is_empty() || cols.is_empty() {
            return None;
        }
        let at = |row: usize, col: usize| {
            (v * self.stride[0] + row * self.dilation[0] - self.padding[0]) * self.size[1]
                + (u * self.stride[1] + col * self.dilation[1] - self.padding[1])
        };
        let (mut most, mut places) = ([-T::INFINITY; N], [at(rows.start, cols.start); N]);
        for row in rows.clone() {
            let line = at(row, cols.start);
            for col in 0..cols.len() {
                let place = line + col * self.dilation[1];
                let values = &x[place..][..(N - 1) * STRIDE + 1];
                for l in 0..N {
                    let value = values[l * STRIDE];
                    let is_larger = (value > most[l]) | Real::ne(value, value);
                    most[l] = T::select(is_larger, value, most[l]);
                    places[l] = if is_larger { place } else { places[l] };
                }
            }
        }
        Some((most, places))
    }

    /// Calls `f` for every window of a plane, with its number and the place of its largest element.
    #[inline(always)]
    pub fn for_each_largest<T: Real>(&self, x: &[T], f: impl FnMut(usize, Option<usize>)) {
        self.for_each_window(&mut Find { pool: self, x, f });
    }
}

/// Hands the number of every window and the place of its largest element to a function.
struct Find<'a, T, F> {
    pool: &'a Pool2d,
    x: &'a [T],
    f: F,
}

impl<T: Real, F: FnMut(usize, Option<usize>)> Visit for Find<'_, T, F> {
    #[inline(always)]
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows) {
        let first = windows.place[0] * self.pool.out[1] + windows.place[1];
        let found = self.pool.largest::<T, N, STRIDE>(self.x, windows);
        for l in windows.known..N {
            (self.f)(first + l, found.map(|(_, places)| places[l] + l * STRIDE));
        }
    }
}

/// Writes the largest element of every window of a plane.
struct Write<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Visit for Write<'_, T> {
    #[inline(always)]
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows) {
        let first = windows.place[0] * self.pool.out[1] + windows.place[1];
        let found = self.pool.largest::<T, N, STRIDE>(self.x, windows);
        let most = found.map_or([-T::INFINITY; N], |(most, _)| most);
        self.y[first..][..N].copy_from_slice(&most);
    }
}

/// Maxima of the windows of some planes.
pub struct Maxima<'a, T> {
    pub pool: &'a Pool2d,
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel for Maxima<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pool = self.pool;
        for plane in 0..self.y.len() / pool.out_area() {
            let x = &self.x[plane * pool.area()..][..pool.area()];
            let y = &mut self.y[plane * pool.out_area()..][..pool.out_area()];
            match Pairs::of(pool) {
                Some(pairs) => pairs.maxima(x, y),
                None => pool.for_each_window(&mut Write { pool, x, y }),
            }
        }
    }
}

/// The gradient of maxima: every cotangent is added to the element that its window took.
pub struct MaxGrad<'a, T> {
    pub pool: &'a Pool2d,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel for MaxGrad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pool = self.pool;
        for plane in 0..self.dx.len() / pool.area() {
            let dx = &mut self.dx[plane * pool.area()..][..pool.area()];
            let x = &self.x[plane * pool.area()..][..pool.area()];
            let dy = &self.dy[plane * pool.out_area()..][..pool.out_area()];
            if let Some(pairs) = Pairs::of(pool) {
                pairs.max_grad(x, dy, dx);
                continue;
            }
            dx.fill(T::ZERO);
            pool.for_each_largest(x, |at, from| {
                if let Some(from) = from {
                    dx[from] += dy[at];
                }
            });
        }
    }
}

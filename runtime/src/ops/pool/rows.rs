//! Sliding windows, row by row: what one element of every window of a row contributes is a loop over neighbouring results, which
//! compiles to vector instructions, where a loop over the elements of one window is too short for that.
//!
//! A row of results is worked on in blocks of [`COLS`], whose running values lie on the stack. Elements of windows are met in
//! row-major order, so sums have the order of the definition and "the first of equals" means what it says.

use std::ops::Range;

use super::{Pool, Pool2d};
use crate::cpu::isa::Kernel;
use crate::real::Real;

/// Results that are worked on at once.
const COLS: usize = 64;

/// Running values of a block.
type Block<T> = [T; COLS];

impl Pool2d {
    /// The position that element `tap` of window `place` has along axis `k`, if it is inside the image.
    #[inline(always)]
    fn position(&self, k: usize, tap: usize, place: usize) -> Option<usize> {
        let at = (place * self.stride[k] + tap * self.dilation[k]).checked_sub(self.padding[k])?;
        (at < self.size[k]).then_some(at)
    }

    /// The windows of `block` whose column `tap` is inside the image.
    #[inline(always)]
    fn inside(&self, tap: usize, block: &Range<usize>) -> Range<usize> {
        let (stride, padding, offset) = (self.stride[1], self.padding[1], tap * self.dilation[1]);
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let end = (self.size[1] + padding).saturating_sub(offset).div_ceil(stride);
        let first = first.max(block.start);
        first..end.min(block.end).max(first)
    }

    /// Calls `f` for every element of the windows of a block of row `v`, in row-major order: with its row and column in the
    /// window, the windows that have it inside the image (counted from the start of the block), and its place in the plane for
    /// the first of them.
    #[inline(always)]
    fn for_each_tap(
        &self,
        v: usize,
        block: &Range<usize>,
        mut f: impl FnMut([usize; 2], Range<usize>, usize),
    ) {
        for tap_row in 0..self.kernel[0] {
            let Some(row) = self.position(0, tap_row, v) else {
                continue;
            };
            for tap_col in 0..self.kernel[1] {
                let windows = self.inside(tap_col, block);
                if let (false, Some(col)) = (windows.is_empty(), self.position(1, tap_col, windows.start)) {
                    let windows = windows.start - block.start..windows.end - block.start;
                    f([tap_row, tap_col], windows, row * self.size[1] + col);
                }
            }
        }
    }

    /// Calls `f` for every block of every row of results.
    #[inline(always)]
    fn for_each_block(&self, mut f: impl FnMut(usize, Range<usize>)) {
        for v in 0..self.out[0] {
            for first in (0..self.out[1]).step_by(COLS) {
                f(v, first..(first + COLS).min(self.out[1]));
            }
        }
    }

    /// Calls `f` for every window of a plane, with its number and the place of its largest element: the first of equals; the last
    /// NaN, if there is one (as PyTorch); none where the window sees nothing of the image.
    #[inline(always)]
    pub fn for_each_largest<T: Real>(&self, plane: &[T], mut f: impl FnMut(usize, Option<usize>)) {
        self.for_each_block(|v, block| {
            let [rows, cols] = largest(self, plane, v, &block);
            for (u, (row, col)) in block.zip(rows.into_iter().zip(cols)) {
                let place = |k: usize, tap: T, window: usize| {
                    window * self.stride[k] + tap.to_f64() as usize * self.dilation[k] - self.padding[k]
                };
                let from = (row >= T::ZERO).then(|| place(0, row, v) * self.size[1] + place(1, col, u));
                f(v * self.out[1] + u, from);
            }
        });
    }

    /// What the sums of the windows of a block are divided by.
    #[inline(always)]
    fn divisors<T: Real>(&self, v: usize, block: &Range<usize>) -> Block<T> {
        if self.kind == Pool::Average {
            return [T::from_f64((self.kernel[0] * self.kernel[1]) as f64); COLS];
        }
        let mut counts = [T::ZERO; COLS];
        self.for_each_tap(v, block, |_, windows, _| {
            for count in &mut counts[windows] {
                *count += T::ONE;
            }
        });
        counts
    }
}

/// Every `stride`-th element of `xs`, as many as `out` takes.
#[inline(always)]
fn gather<T: Real>(xs: &[T], stride: usize, out: &mut [T]) {
    match stride {
        1 => out.copy_from_slice(&xs[..out.len()]),
        // The odd elements of the last pair may be outside, so the last result is taken by itself.
        2 => {
            let end = 2 * out.len().saturating_sub(1);
            let (pairs, _) = xs.as_chunks::<2>();
            for (y, pair) in out.iter_mut().zip(pairs) {
                *y = pair[0];
            }
            if let [.., last] = out {
                *last = xs[end];
            }
        }
        _ => {
            for (y, x) in out.iter_mut().zip(xs.iter().step_by(stride)) {
                *y = *x;
            }
        }
    }
}

/// Adds `values` to every `stride`-th element of `out`.
#[inline(always)]
fn add<T: Real>(out: &mut [T], stride: usize, values: &[T]) {
    if stride == 1 {
        for (y, x) in out.iter_mut().zip(values) {
            *y += *x;
        }
    } else {
        for (y, x) in out.iter_mut().step_by(stride).zip(values) {
            *y += *x;
        }
    }
}

/// Maxima or averages of the windows of some planes.
pub struct Forward<'a, T> {
    pub pool: &'a Pool2d,
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pool = self.pool;
        let planes = self.y.chunks_exact_mut(pool.out_area()).enumerate();
        for (plane, y) in planes {
            let x = &self.x[plane * pool.area()..][..pool.area()];
            pool.for_each_block(|v, block| {
                let out = &mut y[v * pool.out[1]..][block.clone()];
                match pool.kind {
                    Pool::Max => maxima(pool, x, v, &block, out),
                    _ => averages(pool, x, v, &block, out),
                }
            });
        }
    }
}

#[inline(always)]
fn maxima<T: Real>(pool: &Pool2d, x: &[T], v: usize, block: &Range<usize>, y: &mut [T]) {
    let (mut most, mut values) = ([-T::INFINITY; COLS], [T::ZERO; COLS]);
    pool.for_each_tap(v, block, |_, windows, from| {
        let values = &mut values[..windows.len()];
        gather(&x[from..], pool.stride[1], values);
        for (most, value) in most[windows].iter_mut().zip(values) {
            // Of equals the first stays, as zeros of both signs show.
            *most = Real::max(*value, *most);
        }
    });
    y.copy_from_slice(&most[..y.len()]);
}

#[inline(always)]
fn averages<T: Real>(pool: &Pool2d, x: &[T], v: usize, block: &Range<usize>, y: &mut [T]) {
    let (mut sums, mut values) = ([T::ZERO; COLS], [T::ZERO; COLS]);
    pool.for_each_tap(v, block, |_, windows, from| {
        let values = &mut values[..windows.len()];
        gather(&x[from..], pool.stride[1], values);
        for (sum, value) in sums[windows].iter_mut().zip(values) {
            *sum += *value;
        }
    });
    let divisors = pool.divisors::<T>(v, block);
    for ((y, sum), divisor) in y.iter_mut().zip(sums).zip(divisors) {
        // A window that sees nothing of the image has an average of 0.
        *y = sum / Real::max(divisor, T::ONE);
    }
}

/// The gradient of maxima: every cotangent is added to the element that its window took. `dx` is zero before.
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
        for (plane, dx) in self.dx.chunks_exact_mut(pool.area()).enumerate() {
            let x = &self.x[plane * pool.area()..][..pool.area()];
            let dy = &self.dy[plane * pool.out_area()..][..pool.out_area()];
            pool.for_each_largest(x, |at, from| {
                if let Some(from) = from {
                    dx[from] += dy[at];
                }
            });
        }
    }
}

/// Row and column, in its window, of the largest element of every window of a block: the first of equals; the last NaN, if
/// there is one (as PyTorch). They are numbers of the element's own type, so that all lanes have one width; -1 where a window sees
/// nothing.
#[inline(always)]
fn largest<T: Real>(pool: &Pool2d, x: &[T], v: usize, block: &Range<usize>) -> [Block<T>; 2] {
    let (mut most, mut values) = ([-T::INFINITY; COLS], [T::ZERO; COLS]);
    let (mut rows, mut cols) = ([-T::ONE; COLS], [-T::ONE; COLS]);
    pool.for_each_tap(v, block, |[tap_row, tap_col], windows, from| {
        let (row, col) = (T::from_f64(tap_row as f64), T::from_f64(tap_col as f64));
        let values = &mut values[..windows.len()];
        gather(&x[from..], pool.stride[1], values);
        let found = most[windows.clone()].iter_mut().zip(values);
        let places = rows[windows.clone()].iter_mut().zip(&mut cols[windows]);
        for ((most, value), (best_row, best_col)) in found.zip(places) {
            let value = *value;
            let is_larger = (value > *most) | Real::ne(value, value) | (*best_row < T::ZERO);
            *most = T::select(is_larger, value, *most);
            *best_row = T::select(is_larger, row, *best_row);
            *best_col = T::select(is_larger, col, *best_col);
        }
    });
    [rows, cols]
}

/// The gradient of averages: every cotangent is shared out evenly over its window. `dx` is zero before.
pub struct AvgGrad<'a, T> {
    pub pool: &'a Pool2d,
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel for AvgGrad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pool = self.pool;
        for (plane, dx) in self.dx.chunks_exact_mut(pool.area()).enumerate() {
            let dy = &self.dy[plane * pool.out_area()..][..pool.out_area()];
            pool.for_each_block(|v, block| {
                let dy = &dy[v * pool.out[1]..][block.clone()];
                let mut shares = pool.divisors::<T>(v, &block);
                for (share, bar) in shares.iter_mut().zip(dy) {
                    *share = *bar / *share;
                }
                pool.for_each_tap(v, &block, |_, windows, from| {
                    add(&mut dx[from..], pool.stride[1], &shares[windows]);
                });
            });
        }
    }
}

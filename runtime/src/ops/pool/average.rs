//! Averages of windows, and their gradient: rows of a window are added up first, neighbouring columns in vectors, then its columns.

use std::ops::Range;

use super::{Pool, Pool2d};
use crate::cpu::isa::Kernel;
use crate::ops::lanes;
use crate::real::Real;

/// Columns whose sums are held at once.
const COLS: usize = 512;

/// Windows of fewer columns than this are added up one column after the other.
const NARROW: usize = 8;

/// Neighbouring windows along one axis, one after the other: the positions inside the image that they see.
enum Sights<'a> {
    /// Of [`Pool::Adaptive`]: `floor(i n / out) .. ceil((i + 1) n / out)`, without a division for every window.
    Shares {
        /// `n / out`
        step: usize,
        /// `n % out`
        step_rest: usize,
        out: usize,
        /// `i n / out` and `i n % out` of the next window.
        next: usize,
        next_rest: usize,
    },
    /// Of the others.
    Sliding {
        pool: &'a Pool2d,
        k: usize,
        place: usize,
    },
}

impl Iterator for Sights<'_> {
    type Item = Range<usize>;

    #[inline(always)]
    fn next(&mut self) -> Option<Range<usize>> {
        Some(match self {
            Sights::Shares {
                step,
                step_rest,
                out,
                next,
                next_rest,
            } => {
                let start = *next;
                let rest = *next_rest + *step_rest;
                let carry = usize::from(rest >= *out);
                *next = start + *step + carry;
                *next_rest = rest - carry * *out;
                start..*next + usize::from(*next_rest > 0)
            }
            Sights::Sliding { pool, k, place } => {
                let from = *place * pool.stride[*k];
                *place += 1;
                let (padding, size) = (pool.padding[*k], pool.size[*k]);
                let end = (from + pool.kernel[*k]).saturating_sub(padding).min(size);
                from.saturating_sub(padding).min(end)..end
            }
        })
    }
}

impl Pool2d {
    /// What the windows along axis `k` see, from window `first` on; without end.
    #[inline(always)]
    fn sights(&self, k: usize, first: usize) -> Sights<'_> {
        match self.kind {
            Pool::Adaptive => Sights::Shares {
                step: self.size[k] / self.out[k],
                step_rest: self.size[k] % self.out[k],
                out: self.out[k],
                next: first * self.size[k] / self.out[k],
                next_rest: first * self.size[k] % self.out[k],
            },
            _ => Sights::Sliding {
                pool: self,
                k,
                place: first,
            },
        }
    }

    /// The windows that see any of `cols`.
    #[inline(always)]
    fn windows_at(&self, cols: &Range<usize>) -> Range<usize> {
        let (size, out) = (self.size[1], self.out[1]);
        if self.kind == Pool::Adaptive {
            return cols.start * out / size..(cols.end * out).div_ceil(size);
        }
        let (kernel, stride, padding) = (self.kernel[1], self.stride[1], self.padding[1]);
        let end = (cols.end + padding).div_ceil(stride).min(out);
        let first = (cols.start + padding + 1).saturating_sub(kernel).div_ceil(stride);
        first.min(end)..end
    }

    /// What the sum of a window is divided by; it sees so many rows and columns. Of one that sees nothing the average is 0.
    #[inline(always)]
    fn divisor<T: Real>(&self, rows: usize, cols: usize) -> T {
        let n = match self.kind {
            Pool::Average => self.kernel[0] * self.kernel[1],
            _ => (rows * cols).max(1),
        };
        T::from_f64(n as f64)
    }

    /// Calls `f` for blocks of columns of every row of windows: with the number of the row, the rows that it sees, and the columns.
    #[inline(always)]
    fn for_each_strip(&self, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        for (v, rows) in (0..self.out[0]).zip(self.sights(0, 0)) {
            for first in (0..self.size[1]).step_by(COLS) {
                f(v, rows.clone(), first..(first + COLS).min(self.size[1]));
            }
        }
    }
}

/// Averages of the windows of some planes.
pub struct Averages<'a, T> {
    pub pool: &'a Pool2d,
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel for Averages<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (pool, width) = (self.pool, self.pool.size[1]);
        for plane in 0..self.y.len() / pool.out_area() {
            let x = &self.x[plane * pool.area()..][..pool.area()];
            let y = &mut self.y[plane * pool.out_area()..][..pool.out_area()];
            y.fill(T::ZERO);
            pool.for_each_strip(|v, rows, cols| {
                let mut sums = [T::ZERO; COLS];
                let sums = &mut sums[..cols.len()];
                for row in rows.clone() {
                    let line = &x[row * width..][cols.clone()];
                    for i in 0..sums.len() {
                        sums[i] += line[i];
                    }
                }
                let windows = pool.windows_at(&cols);
                let mut sights = pool.sights(1, windows.start);
                for y in &mut y[v * pool.out[1]..][windows] {
                    let Some(sight) = sights.next() else { break };
                    let divisor = pool.divisor::<T>(rows.len(), sight.len());
                    let here = sight.start.max(cols.start) - cols.start..sight.end.min(cols.end) - cols.start;
                    *y += columns(&sums[here]) / divisor;
                }
            });
        }
    }
}

#[inline(always)]
fn columns<T: Real>(sums: &[T]) -> T {
    if sums.len() >= NARROW {
        return T::from_f64(lanes::sum(sums));
    }
    let mut sum = T::ZERO;
    for x in sums {
        sum += *x;
    }
    sum
}

/// The gradient of averages: every cotangent is shared out evenly over its window.
pub struct AvgGrad<'a, T> {
    pub pool: &'a Pool2d,
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel for AvgGrad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (pool, width) = (self.pool, self.pool.size[1]);
        for plane in 0..self.dx.len() / pool.area() {
            let dx = &mut self.dx[plane * pool.area()..][..pool.area()];
            let dy = &self.dy[plane * pool.out_area()..][..pool.out_area()];
            dx.fill(T::ZERO);
            pool.for_each_strip(|v, rows, cols| {
                let mut shares = [T::ZERO; COLS];
                let shares = &mut shares[..cols.len()];
                let windows = pool.windows_at(&cols);
                let mut sights = pool.sights(1, windows.start);
                for bar in &dy[v * pool.out[1]..][windows] {
                    let Some(sight) = sights.next() else { break };
                    let share = *bar / pool.divisor(rows.len(), sight.len());
                    let here = sight.start.max(cols.start) - cols.start..sight.end.min(cols.end) - cols.start;
                    for x in &mut shares[here] {
                        *x += share;
                    }
                }
                for row in rows {
                    let line = &mut dx[row * width..][cols.clone()];
                    for i in 0..shares.len() {
                        line[i] += shares[i];
                    }
                }
            });
        }
    }
}

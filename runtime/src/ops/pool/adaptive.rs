//! Averages of windows that share out the image, and their gradient.

use std::ops::Range;

use super::Pool2d;
use crate::cpu::isa::Kernel;
use crate::ops::lanes;
use crate::real::Real;

/// Lines of a window of fewer columns than this are added up one element after the other.
const NARROW: usize = 16;

/// Neighbouring windows along one axis, one after the other: the positions `floor(i n / out) .. ceil((i + 1) n / out)` that they see,
/// without a division for every window. Without end.
#[derive(Copy, Clone)]
struct Shares {
    /// `n / out`
    step: usize,
    /// `n % out`
    step_rest: usize,
    out: usize,
    /// `i n / out` of the next window.
    next: usize,
    /// `i n % out` of the next window.
    next_rest: usize,
}

impl Shares {
    #[inline(always)]
    fn of(pool: &Pool2d, k: usize) -> Self {
        Shares {
            step: pool.size[k] / pool.out[k],
            step_rest: pool.size[k] % pool.out[k],
            out: pool.out[k],
            next: 0,
            next_rest: 0,
        }
    }

    #[inline(always)]
    fn next(&mut self) -> Range<usize> {
        let start = self.next;
        let rest = self.next_rest + self.step_rest;
        let carry = usize::from(rest >= self.out);
        self.next = start + self.step + carry;
        self.next_rest = rest - carry * self.out;
        start..self.next + usize::from(self.next_rest > 0)
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
        let (down, across) = (Shares::of(pool, 0), Shares::of(pool, 1));
        for plane in 0..self.y.len() / pool.out_area() {
            let x = &self.x[plane * pool.area()..][..pool.area()];
            let y = &mut self.y[plane * pool.out_area()..][..pool.out_area()];
            let mut down = down;
            for v in 0..pool.out[0] {
                let (rows, mut across) = (down.next(), across);
                for u in 0..pool.out[1] {
                    let cols = across.next();
                    let divisor = T::from_f64((rows.len() * cols.len()) as f64);
                    let mut sum = T::ZERO;
                    for row in rows.clone() {
                        sum += add_line(&x[row * width..][cols.clone()]);
                    }
                    y[v * pool.out[1] + u] = sum / divisor;
                }
            }
        }
    }
}

/// The sum of a line of a window: lines do not wait for each other.
#[inline(always)]
fn add_line<T: Real>(line: &[T]) -> T {
    if line.len() >= NARROW {
        return T::from_f64(lanes::sum(line));
    }
    let mut sum = T::ZERO;
    for x in line {
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
        let (down, across) = (Shares::of(pool, 0), Shares::of(pool, 1));
        self.dx.fill(T::ZERO);
        for plane in 0..self.dx.len() / pool.area() {
            let dx = &mut self.dx[plane * pool.area()..][..pool.area()];
            let dy = &self.dy[plane * pool.out_area()..][..pool.out_area()];
            let mut down = down;
            for v in 0..pool.out[0] {
                let (rows, mut across) = (down.next(), across);
                for u in 0..pool.out[1] {
                    let cols = across.next();
                    let share = dy[v * pool.out[1] + u] / T::from_f64((rows.len() * cols.len()) as f64);
                    for row in rows.clone() {
                        for value in &mut dx[row * width..][cols.clone()] {
                            *value += share;
                        }
                    }
                }
            }
        }
    }
}

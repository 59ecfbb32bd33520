//! Averages of sliding windows, and their gradient.

use super::pairs::Pairs;
use super::windows::{Visit, Windows, at_once, write};
use super::{Pool, Pool2d};
use crate::cpu::isa::Kernel;
use crate::real::Real;

impl Pool2d {
    /// What the sum of windows is divided by. Of one that sees nothing the average is 0.
    #[inline(always)]
    fn divisor<T: Real>(&self, windows: &Windows) -> T {
        let n = match self.kind {
            Pool::Average => self.kernel[0] * self.kernel[1],
            _ => (windows.taps[0].len() * windows.taps[1].len()).max(1),
        };
        T::from_f64(n as f64)
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
        let pool = self.pool;
        for plane in 0..self.y.len() / pool.out_area() {
            let x = &self.x[plane * pool.area()..];
            let y = &mut self.y[plane * pool.out_area()..][..pool.out_area()];
            match Pairs::of(pool) {
                Some(pairs) => pairs.averages(x, y),
                None => pool.for_each_window(x.len(), &mut Average { pool, x, y }),
            }
        }
    }
}

/// Writes the average of every window of a plane.
struct Average<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Visit for Average<'_, T> {
    const AT_ONCE: usize = at_once::<T>();

    #[inline(always)]
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows) {
        let (mut sums, stride) = ([T::ZERO; N], self.pool.step(STRIDE));
        let first = self.pool.first_tap(windows).unwrap_or(0);
        self.pool.for_each_tap(windows, first, |place| {
            let values = &self.x[place..][..(N - 1) * stride + 1];
            for l in 0..N {
                sums[l] += values[l * stride];
            }
        });
        let divisor = self.pool.divisor::<T>(windows);
        for sum in &mut sums {
            *sum /= divisor;
        }
        write(self.y, self.pool.number(windows), windows, &sums);
    }
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
        let pool = self.pool;
        let pairs = Pairs::of(pool);
        if pairs.is_none() {
            self.dx.fill(T::ZERO);
        }
        for plane in 0..self.dx.len() / pool.area() {
            let dx = &mut self.dx[plane * pool.area()..];
            let dy = &self.dy[plane * pool.out_area()..];
            match pairs {
                Some(pairs) => pairs.avg_grad(dy, &mut dx[..pool.area()]),
                None => pool.for_each_window(dx.len(), &mut Share { pool, dy, dx }),
            }
        }
    }
}

/// Adds to every element of a plane its shares of the cotangents.
struct Share<'a, T> {
    pool: &'a Pool2d,
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> Visit for Share<'_, T> {
    /// Neighbours write what they have in common one after the other.
    const AT_ONCE: usize = 1;

    #[inline(always)]
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows) {
        let stride = self.pool.step(STRIDE);
        let divisor = self.pool.divisor::<T>(windows);
        let bars = &self.dy[self.pool.number(windows)..];
        // Lanes beyond the end of the row add nothing.
        let mut shares = [T::ZERO; N];
        for l in 0..windows.count.min(N) {
            shares[l] = bars[l] / divisor;
        }
        let first = self.pool.first_tap(windows).unwrap_or(0);
        self.pool.for_each_tap(windows, first, |place| {
            let values = &mut self.dx[place..][..(N - 1) * stride + 1];
            for l in 0..N {
                values[l * stride] += shares[l];
            }
        });
    }
}

//! The largest element and the average of every window.

use super::windows::{Visit, Window, are_larger, load, select, store};
use super::{Pool, Pool2d};
use crate::cpu::isa::Kernel;
use crate::real::Real;

/// Elements of a line of a window that are added up before their sum is added to the others', so that no sum of many loses digits.
const PIECE: usize = 32;

/// The results of some rows of windows.
pub struct Forward<'a, T> {
    pub pool: &'a Pool2d,
    /// All images.
    pub x: &'a [T],
    /// The rows.
    pub y: &'a mut [T],
    /// The number of the first of them, images after one another.
    pub first: usize,
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (pool, image) = (self.pool, self.pool.image());
        for (k, y) in self.y.chunks_exact_mut(pool.out_line()).enumerate() {
            let row = self.first + k;
            let x = &self.x[row / pool.out[0] * image..][..image];
            let v = row % pool.out[0];
            match pool.kind {
                Pool::Max => pool.for_each_window(v, &mut Maxima { pool, x, y }),
                _ => pool.for_each_window(v, &mut Averages { pool, x, y }),
            }
        }
    }
}

/// Writes the largest elements: the first of equals, NaN if there is one.
struct Maxima<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Visit for Maxima<'_, T> {
    #[inline(always)]
    fn visit<const N: usize>(&mut self, window: &Window, number: usize, channel: usize) {
        let mut most = [-T::INFINITY; N];
        let mut line = window.first + channel;
        for _ in 0..window.taps[0] {
            let mut at = line;
            for _ in 0..window.taps[1] {
                let values = load(self.x, at);
                most = select(are_larger(values, most), values, most);
                at += window.steps[1];
            }
            line += window.steps[0];
        }
        store(self.y, number * self.pool.channels + channel, most);
    }
}

/// Writes the averages.
struct Averages<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Visit for Averages<'_, T> {
    #[inline(always)]
    fn visit<const N: usize>(&mut self, window: &Window, number: usize, channel: usize) {
        let mut total = [T::ZERO; N];
        let mut line = window.first + channel;
        for _ in 0..window.taps[0] {
            let (mut at, mut left) = (line, window.taps[1]);
            while left > 0 {
                let mut sum = [T::ZERO; N];
                let piece = left.min(PIECE);
                for _ in 0..piece {
                    let values = &self.x[at..][..N];
                    for l in 0..N {
                        sum[l] += values[l];
                    }
                    at += window.steps[1];
                }
                for l in 0..N {
                    total[l] += sum[l];
                }
                left -= piece;
            }
            line += window.steps[0];
        }
        let divisor = self.pool.divisor::<T>(window);
        for average in &mut total {
            *average /= divisor;
        }
        store(self.y, number * self.pool.channels + channel, total);
    }
}

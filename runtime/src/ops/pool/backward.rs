//! The gradients: every cotangent goes to the element that its window took, or in equal shares to all of them.

use super::windows::{Visit, Window, are_larger, equal, load, select};
use super::{Pool, Pool2d};
use crate::cpu::isa::Kernel;
use crate::real::Real;

/// Which element of a window is the largest, counted in row-major order: the first of equals; the last NaN, if there is one (as
/// PyTorch).
#[inline(always)]
pub fn largest<T: Real, const N: usize>(x: &[T], window: &Window, channel: usize) -> [T; N] {
    let (mut most, mut places) = ([-T::INFINITY; N], [T::ZERO; N]);
    let (mut line, mut number) = (window.first + channel, T::ZERO);
    for _ in 0..window.taps[0] {
        let mut at = line;
        for _ in 0..window.taps[1] {
            let values = load(x, at);
            let is_larger = are_larger(values, most);
            most = select(is_larger, values, most);
            places = select(is_larger, [number; N], places);
            number += T::ONE;
            at += window.steps[1];
        }
        line += window.steps[0];
    }
    places
}

/// The gradient of some images.
pub struct Backward<'a, T> {
    pub pool: &'a Pool2d,
    /// The images; nothing for averages, which do not depend on them.
    pub x: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pool = self.pool;
        let (image, line, out_line) = (pool.image(), pool.size[1] * pool.channels, pool.out_line());
        let (is_apart, is_tiled) = (pool.is_apart(), pool.is_tiled());
        for (k, dx) in self.dx.chunks_exact_mut(image).enumerate() {
            // Lines are cleared shortly before windows add to them, while they are in the first cache.
            let mut cleared = if is_tiled { image } else { 0 };
            for v in 0..pool.out[0] {
                let end = pool.reach(v) * line;
                if end > cleared {
                    dx[cleared..end].fill(T::ZERO);
                    cleared = end;
                }
                let dy = &self.dy[(k * pool.out[0] + v) * out_line..][..out_line];
                match pool.kind {
                    Pool::Max => {
                        let x = &self.x[k * image..][..image];
                        pool.for_each_window(
                            v,
                            &mut ToLargest {
                                pool,
                                x,
                                dy,
                                dx,
                                is_apart,
                            },
                        );
                    }
                    _ => pool.for_each_window(
                        v,
                        &mut ToAll {
                            pool,
                            dy,
                            dx,
                            is_apart,
                        },
                    ),
                }
            }
            dx[cleared..].fill(T::ZERO);
        }
    }
}

/// Adds cotangents to the largest elements. Where windows are apart, nothing has been added before.
struct ToLargest<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    is_apart: bool,
}

impl<T: Real> Visit for ToLargest<'_, T> {
    #[inline(always)]
    fn visit<const N: usize>(&mut self, window: &Window, number: usize, channel: usize) {
        let places = largest::<T, N>(self.x, window, channel);
        let dy = load::<T, N>(self.dy, number * self.pool.channels + channel);
        let (mut line, mut number) = (window.first + channel, T::ZERO);
        for _ in 0..window.taps[0] {
            let mut at = line;
            for _ in 0..window.taps[1] {
                let bars = select(equal(places, number), dy, [T::ZERO; N]);
                put(self.dx, at, bars, self.is_apart);
                number += T::ONE;
                at += window.steps[1];
            }
            line += window.steps[0];
        }
    }
}

/// Adds values from `at` on; where nothing was added before, they are all there is.
#[inline(always)]
fn put<T: Real, const N: usize>(dx: &mut [T], at: usize, values: [T; N], is_first: bool) {
    let dx: &mut [T; N] = dx[at..]
        .first_chunk_mut()
        .expect("windows are inside their image");
    if is_first {
        *dx = values;
        return;
    }
    for l in 0..N {
        dx[l] += values[l];
    }
}

/// Adds to all elements their share.
struct ToAll<'a, T> {
    pool: &'a Pool2d,
    dy: &'a [T],
    dx: &'a mut [T],
    is_apart: bool,
}

impl<T: Real> Visit for ToAll<'_, T> {
    #[inline(always)]
    fn visit<const N: usize>(&mut self, window: &Window, number: usize, channel: usize) {
        let divisor = self.pool.divisor::<T>(window);
        let dy = &self.dy[number * self.pool.channels + channel..][..N];
        let mut share = [T::ZERO; N];
        for l in 0..N {
            share[l] = dy[l] / divisor;
        }
        let mut line = window.first + channel;
        for _ in 0..window.taps[0] {
            let mut at = line;
            for _ in 0..window.taps[1] {
                put(self.dx, at, share, self.is_apart);
                at += window.steps[1];
            }
            line += window.steps[0];
        }
    }
}

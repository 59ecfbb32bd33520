//! The gradients: every cotangent goes to the element that its window took, or in equal shares to all of them.

use super::windows::{Visit, Window};
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
            let values = &x[at..][..N];
            for l in 0..N {
                let is_larger = (values[l] > most[l]) | Real::ne(values[l], values[l]);
                most[l] = T::select(is_larger, values[l], most[l]);
                places[l] = T::select(is_larger, number, places[l]);
            }
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
        let dy = &self.dy[number * self.pool.channels + channel..][..N];
        let (mut line, mut number) = (window.first + channel, T::ZERO);
        for _ in 0..window.taps[0] {
            let mut at = line;
            for _ in 0..window.taps[1] {
                let dx = &mut self.dx[at..][..N];
                for l in 0..N {
                    let bar = T::select(places[l] == number, dy[l], T::ZERO);
                    dx[l] = if self.is_apart { bar } else { dx[l] + bar };
                }
                number += T::ONE;
                at += window.steps[1];
            }
            line += window.steps[0];
        }
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
                let dx = &mut self.dx[at..][..N];
                for l in 0..N {
                    dx[l] = if self.is_apart { share[l] } else { dx[l] + share[l] };
                }
                at += window.steps[1];
            }
            line += window.steps[0];
        }
    }
}

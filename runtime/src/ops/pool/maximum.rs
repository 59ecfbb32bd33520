//! The largest element of every window, and where it lies.
//!
//! Elements of windows are met in row-major order, so that "the first of equals" means what it says.

use super::Pool2d;
use super::pairs::Pairs;
use super::windows::{LANES, Visit, Windows, at_once, write};
use crate::cpu::isa::Kernel;
use crate::real::Real;

impl Pool2d {
    /// The largest elements of windows and their places in the plane, that of window `l` counted from `l` windows further: the
    /// first of equals; the last NaN, if there is one (as PyTorch). None where the windows see nothing of the image.
    #[inline(always)]
    fn largest<T: Real, const N: usize, const STRIDE: usize>(
        &self,
        x: &[T],
        windows: &Windows,
    ) -> Option<([T; N], [usize; N])> {
        let (first, stride) = (self.first_tap(windows)?, self.step(STRIDE));
        let (mut most, mut places) = ([-T::INFINITY; N], [first; N]);
        let mut line = first;
        // Not by `for_each_tap`: the two arrays would stay in memory in its closure.
        for _ in windows.taps[0].clone() {
            for col in 0..windows.taps[1].len() {
                let place = line + col * self.dilation[1];
                let values = &x[place..][..(N - 1) * stride + 1];
                for l in 0..N {
                    let value = values[l * stride];
                    let is_larger = (value > most[l]) | Real::ne(value, value);
                    most[l] = T::select(is_larger, value, most[l]);
                    places[l] = if is_larger { place } else { places[l] };
                }
            }
            line += self.dilation[0] * self.size[1];
        }
        Some((most, places))
    }

    /// Calls `f` for every window of the plane at the start of `x`, with its number and the place of its largest element; at most
    /// `AT_ONCE` windows are worked on at once.
    #[inline(always)]
    pub fn for_each_largest<T: Real, const AT_ONCE: usize>(
        &self,
        x: &[T],
        f: impl FnMut(usize, Option<usize>),
    ) {
        self.for_each_window(x.len(), &mut Find::<_, _, AT_ONCE> { pool: self, x, f });
    }
}

/// Hands the number of every window and the place of its largest element to a function.
struct Find<'a, T, F, const AT_ONCE: usize> {
    pool: &'a Pool2d,
    x: &'a [T],
    f: F,
}

impl<T: Real, F: FnMut(usize, Option<usize>), const AT_ONCE: usize> Visit for Find<'_, T, F, AT_ONCE> {
    const AT_ONCE: usize = if AT_ONCE < at_once::<T>() {
        AT_ONCE
    } else {
        at_once::<T>()
    };

    #[inline(always)]
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows) {
        let (first, stride) = (self.pool.number(windows), self.pool.step(STRIDE));
        let found = self.pool.largest::<T, N, STRIDE>(self.x, windows);
        for l in 0..windows.count.min(N) {
            (self.f)(first + l, found.map(|(_, places)| places[l] + l * stride));
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
    const AT_ONCE: usize = at_once::<T>();

    #[inline(always)]
    fn visit<const N: usize, const STRIDE: usize>(&mut self, windows: &Windows) {
        let found = self.pool.largest::<T, N, STRIDE>(self.x, windows);
        let most = found.map_or([-T::INFINITY; N], |(most, _)| most);
        write(self.y, self.pool.number(windows), windows, &most);
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
            let x = &self.x[plane * pool.area()..];
            let y = &mut self.y[plane * pool.out_area()..][..pool.out_area()];
            match Pairs::of(pool) {
                Some(pairs) => pairs.maxima(x, y),
                None => pool.for_each_window(x.len(), &mut Write { pool, x, y }),
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
            let x = &self.x[plane * pool.area()..];
            let dy = &self.dy[plane * pool.out_area()..][..pool.out_area()];
            if let Some(pairs) = Pairs::of(pool) {
                pairs.max_grad(x, dy, dx);
                continue;
            }
            dx.fill(T::ZERO);
            pool.for_each_largest::<T, LANES>(x, |at, from| {
                if let Some(from) = from {
                    dx[from] += dy[at];
                }
            });
        }
    }
}

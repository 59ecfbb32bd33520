//! Windows of 2x2 that lie side by side, without padding: the pooling of most networks.
//!
//! Each element belongs to one window, so that a gradient is written at once, zeros included.

use super::Pool2d;
use super::windows::{LANES, at_once};
use crate::real::Real;

/// A pooling of this kind.
#[derive(Copy, Clone)]
pub struct Pairs {
    /// Columns of the image.
    width: usize,
    /// Windows of a column and of a row.
    out: [usize; 2],
}

/// The elements of two neighbouring rows, by columns.
type Lines<'a, T> = [&'a [[T; 2]]; 2];

impl Pairs {
    /// Whether a pooling is of this kind.
    pub fn of(pool: &Pool2d) -> Option<Self> {
        let is_plain = pool.padding == [0, 0] && pool.dilation == [1, 1];
        (is_plain && pool.kernel == [2, 2] && pool.stride == [2, 2]).then_some(Pairs {
            width: pool.size[1],
            out: pool.out,
        })
    }

    /// The elements that a row of windows sees.
    #[inline(always)]
    fn lines<'a, T>(&self, x: &'a [T], v: usize) -> Lines<'a, T> {
        let rows = &x[2 * v * self.width..][..2 * self.width];
        let (above, below) = rows.split_at(self.width);
        [above.as_chunks().0, below.as_chunks().0]
    }

    /// `y` is the maximum of every window of `x`.
    #[inline(always)]
    pub fn maxima<T: Real>(&self, x: &[T], y: &mut [T]) {
        self.each(x, y, |[[a, b], [c, d]]| {
            // Of equals the first stays, as zeros of both signs show.
            Real::max(Real::max(d, c), Real::max(b, a))
        });
    }

    /// `y` is the average of every window of `x`.
    #[inline(always)]
    pub fn averages<T: Real>(&self, x: &[T], y: &mut [T]) {
        let quarter = T::from_f64(0.25);
        self.each(x, y, |[[a, b], [c, d]]| ((a + b) + (c + d)) * quarter);
    }

    /// `y` is what `f` makes of every window of `x`.
    #[inline(always)]
    fn each<T: Real>(&self, x: &[T], y: &mut [T], f: impl Fn([[T; 2]; 2]) -> T + Copy) {
        for v in 0..self.out[0] {
            let (lines, y) = (self.lines(x, v), &mut y[v * self.out[1]..][..self.out[1]]);
            match self.out[1] {
                LANES.. if at_once::<T>() == LANES => each_of::<T, LANES>(lines, y, f),
                4.. if at_once::<T>() == LANES => each_of::<T, 4>(lines, y, f),
                _ => each_of::<T, 1>(lines, y, f),
            }
        }
    }

    /// `dx` is the cotangent where a window of `x` took its maximum, 0 elsewhere.
    #[inline(always)]
    pub fn max_grad<T: Real>(&self, x: &[T], dy: &[T], dx: &mut [T]) {
        for v in 0..self.out[0] {
            let (lines, dy) = (self.lines(x, v), &dy[v * self.out[1]..][..self.out[1]]);
            let rows = &mut dx[2 * v * self.width..][..2 * self.width];
            let (above, below) = rows.split_at_mut(self.width);
            let (above, above_rest) = above.split_at_mut(2 * self.out[1]);
            let (below, below_rest) = below.split_at_mut(2 * self.out[1]);
            let out = [above.as_chunks_mut().0, below.as_chunks_mut().0];
            match self.out[1] {
                LANES.. if at_once::<T>() == LANES => max_grad_of::<T, LANES>(lines, dy, out),
                4.. if at_once::<T>() == LANES => max_grad_of::<T, 4>(lines, dy, out),
                _ => max_grad_of::<T, 1>(lines, dy, out),
            }
            above_rest.fill(T::ZERO);
            below_rest.fill(T::ZERO);
        }
        dx[2 * self.out[0] * self.width..].fill(T::ZERO);
    }

    /// `dx` is a quarter of the cotangent of every element's window, 0 where there is none.
    #[inline(always)]
    pub fn avg_grad<T: Real>(&self, dy: &[T], dx: &mut [T]) {
        let quarter = T::from_f64(0.25);
        for v in 0..self.out[0] {
            let dy = &dy[v * self.out[1]..][..self.out[1]];
            let rows = &mut dx[2 * v * self.width..][..2 * self.width];
            let (above, below) = rows.split_at_mut(self.width);
            let (pairs, rest) = above.as_chunks_mut::<2>();
            let pairs = &mut pairs[..dy.len()];
            for u in 0..dy.len() {
                pairs[u] = [dy[u] * quarter; 2];
            }
            rest.fill(T::ZERO);
            below.copy_from_slice(above);
        }
        dx[2 * self.out[0] * self.width..].fill(T::ZERO);
    }
}

/// Where the windows begin that are taken together, `N` at a time: the last of them begin earlier where `len` is no multiple of `N`,
/// so that at least `LEAST` are left, which is at most `len`.
#[inline(always)]
fn starts<const N: usize, const LEAST: usize>(len: usize) -> impl Iterator<Item = usize> {
    (0..len.div_ceil(N)).map(move |k| (k * N).min(len - LEAST))
}

#[inline(always)]
fn each_of<T: Real, const N: usize>(
    [above, below]: Lines<'_, T>,
    y: &mut [T],
    f: impl Fn([[T; 2]; 2]) -> T + Copy,
) {
    for at in starts::<N, N>(y.len()) {
        let (above, below, y) = (&above[at..][..N], &below[at..][..N], &mut y[at..][..N]);
        for l in 0..N {
            y[l] = f([above[l], below[l]]);
        }
    }
}

/// Windows whose largest elements are found before any cotangent is written: found and written at once, neither is vectorised.
const BLOCK: usize = 64;

#[inline(always)]
fn max_grad_of<T: Real, const N: usize>(lines: Lines<'_, T>, dy: &[T], [above, below]: [&mut [[T; 2]]; 2]) {
    let mut places = [T::ZERO; BLOCK];
    let numbers = [T::ZERO, T::ONE, T::from_f64(2.0), T::from_f64(3.0)];
    for first in starts::<BLOCK, N>(dy.len()) {
        let here = first..(first + BLOCK).min(dy.len());
        let places = &mut places[..here.len()];
        let lines = lines.map(|line| &line[here.clone()]);
        each_of::<T, N>(lines, places, |window| place(window, numbers));
        let (dy, above, below) = (&dy[here.clone()], &mut above[here.clone()], &mut below[here]);
        for at in starts::<N, N>(dy.len()) {
            let (places, dy) = (&places[at..][..N], &dy[at..][..N]);
            let (above, below) = (&mut above[at..][..N], &mut below[at..][..N]);
            for l in 0..N {
                let bar = |k: usize| T::select(places[l] == numbers[k], dy[l], T::ZERO);
                above[l] = [bar(0), bar(1)];
                below[l] = [bar(2), bar(3)];
            }
        }
    }
}

/// The number of the largest element of a window: the first of equals, the last NaN.
#[inline(always)]
fn place<T: Real>([[a, b], [c, d]]: [[T; 2]; 2], numbers: [T; 4]) -> T {
    let (is_b, is_d) = (is_second(a, b), is_second(c, d));
    let is_below = is_second(T::select(is_b, b, a), T::select(is_d, d, c));
    let above = T::select(is_b, numbers[1], numbers[0]);
    T::select(is_below, T::select(is_d, numbers[3], numbers[2]), above)
}

/// Whether the second of two elements is the larger: not of equals; NaN is larger than anything.
#[inline(always)]
fn is_second<T: Real>(first: T, second: T) -> bool {
    (second > first) | Real::ne(second, second)
}

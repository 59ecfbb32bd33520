//! Reductions of short slices, and how kernels that work row by row are cut into tasks.
//!
//! Sums run in a fixed tree: sixteen lanes over a block of 1024 elements, the lanes folded pairwise, the blocks added in
//! `f64`. The tree depends on the length alone, so that every team and every instruction set gives the same bits; the
//! error of a sum of n terms is about `(64 + 4) / 2` roundings of the element type, however large n is.
//!
//! Loops over lanes go by index: whether what makes a `zip` is inlined depends on the profile of the build, and here it would
//! be called every sixteen elements.

use crate::real::Real;

/// Elements that are worth a task of their own; below it a kernel runs on one thread.
pub const GRAIN: usize = 16 * 1024;

/// Number of running sums of a block.
const LANES: usize = 16;

/// Elements of a block.
const BLOCK: usize = 1024;

/// How many rows of `row_len` elements make a task: at least one, and a function of the shape only.
pub fn rows_per_task(row_len: usize) -> usize {
    (GRAIN / row_len.max(1)).max(1)
}

/// Calls `f` with every element of `ys` and its neighbour in `xs`, which has as many.
#[inline(always)]
pub fn each<Y, X: Copy>(ys: &mut [Y], xs: &[X], f: impl Fn(&mut Y, X)) {
    let xs = &xs[..ys.len()];
    for i in 0..xs.len() {
        f(&mut ys[i], xs[i]);
    }
}

/// Calls `f` with every element of `ys` and its neighbours in `a` and `b`, which have as many.
#[inline(always)]
pub fn each2<Y, A: Copy, B: Copy>(ys: &mut [Y], a: &[A], b: &[B], f: impl Fn(&mut Y, A, B)) {
    let (a, b) = (&a[..ys.len()], &b[..ys.len()]);
    for i in 0..a.len() {
        f(&mut ys[i], a[i], b[i]);
    }
}

/// The sum of `f(x)` over a slice.
#[inline(always)]
pub fn sum_map<T: Real>(xs: &[T], f: impl Fn(T) -> T + Copy) -> f64 {
    let mut total = 0.0;
    for block in xs.chunks(BLOCK) {
        let mut lanes = [T::ZERO; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for chunk in whole {
            for l in 0..LANES {
                lanes[l] += f(chunk[l]);
            }
        }
        for (l, &x) in rest.iter().enumerate() {
            lanes[l] += f(x);
        }
        total += fold(lanes).to_f64();
    }
    total
}

/// The sum of `f(x, y)` over two slices of one length.
#[inline(always)]
pub fn sum_map2<T: Real>(xs: &[T], ys: &[T], f: impl Fn(T, T) -> T + Copy) -> f64 {
    let mut total = 0.0;
    let ys = &ys[..xs.len()];
    for (block, xs) in xs.chunks(BLOCK).enumerate() {
        let ys = &ys[block * BLOCK..][..xs.len()];
        let mut lanes = [T::ZERO; LANES];
        let ((xs, x_rest), (ys, y_rest)) = (xs.as_chunks::<LANES>(), ys.as_chunks::<LANES>());
        for (i, x) in xs.iter().enumerate() {
            let y = &ys[i];
            for l in 0..LANES {
                lanes[l] += f(x[l], y[l]);
            }
        }
        for (l, &x) in x_rest.iter().enumerate() {
            lanes[l] += f(x, y_rest[l]);
        }
        total += fold(lanes).to_f64();
    }
    total
}

/// The sum of a slice.
#[inline(always)]
pub fn sum<T: Real>(xs: &[T]) -> f64 {
    sum_map(xs, |x| x)
}

/// The largest element that is no NaN; minus infinity where there is none.
#[inline(always)]
pub fn max<T: Real>(xs: &[T]) -> T {
    let larger = |a: T, b: T| T::select(b > a, b, a);
    let mut lanes = [-T::INFINITY; LANES];
    let (whole, rest) = xs.as_chunks::<LANES>();
    for chunk in whole {
        for l in 0..LANES {
            lanes[l] = larger(lanes[l], chunk[l]);
        }
    }
    for (l, &x) in rest.iter().enumerate() {
        lanes[l] = larger(lanes[l], x);
    }
    lanes.into_iter().fold(-T::INFINITY, larger)
}

/// Adds the lanes pairwise.
#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_whole_numbers_are_exact() {
        for n in [0usize, 1, 15, 16, 17, 1023, 1024, 1025, 5000] {
            let xs: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let want: usize = (0..n).map(|i| i % 7).sum();
            assert_eq!(sum(&xs), want as f64, "{n} elements");
            assert_eq!(sum_map2(&xs, &xs, |x, y| x - y), 0.0);
        }
    }

    #[test]
    fn long_sums_lose_few_digits() {
        let xs = vec![0.1f32; 1 << 20];
        let want = f64::from(0.1f32) * f64::from(1 << 20);
        assert!((sum(&xs) / want - 1.0).abs() < 40.0 * f64::from(f32::EPSILON) / 2.0);
    }

    #[test]
    fn the_largest_of_any_position_is_found() {
        for n in [1usize, 2, 16, 17, 40] {
            for at in 0..n {
                let mut xs = vec![-3.0f64; n];
                xs[at] = -1.0;
                assert_eq!(max(&xs), -1.0);
            }
        }
        assert_eq!(max::<f32>(&[]), f32::NEG_INFINITY);
        assert_eq!(max(&[f64::NAN, 2.0]), 2.0);
    }
}

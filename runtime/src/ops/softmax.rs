//! Softmax and its logarithm along one axis, and their gradients.
//!
//! A tensor is seen as `[outer, len, inner]`, `len` being the axis. Where `inner` is 1, rows are contiguous; else columns
//! are taken side by side. The largest element is subtracted first, so that no exponential overflows; sums are
//! those of [`reduce`](super::reduce).

use crate::arena::Buf;
use crate::cpu::isa::Kernel;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::ops::lanes;
use crate::ops::reduce::{Max, Sum, fold_run};
use crate::real::Real;

/// Which of the two is computed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Softmax {
    /// `y[k] = exp(x[k]) / sum(exp(x))`.
    Probabilities,
    /// `y[k] = x[k] - log(sum(exp(x)))`.
    Logarithms,
}

/// Softmax of `x` along the middle axis of `[outer, len, inner]`.
///
/// # Panics
/// Where a buffer has another length: a mistake of the compiler.
pub fn softmax(cx: &mut Cx<'_>, kind: Softmax, x: Buf, y: Buf, outer: usize, len: usize, inner: usize) {
    let shape = Shape { outer, len, inner };
    float!(cx, T => {
        let env = cx.env;
        let mut bind = cx.bind();
        let x: &[T] = bind.read(x);
        let y = bind.write::<T>(y);
        shape.check(&[x.len(), y.len()]);
        let chunk = shape.chunk();
        env.team.chunks_mut(y, chunk, |k, y| {
            T::run_narrow(env.isa, Forward { kind, shape, x: &x[k * chunk..k * chunk + y.len()], y });
        });
    })
}

/// The cotangent of `x` from the result `y` and its cotangent `g`: `y (g - sum(g y))` for probabilities,
/// `g - exp(y) sum(g)` for their logarithms.
///
/// # Panics
/// Where a buffer has another length: a mistake of the compiler.
#[expect(
    clippy::too_many_arguments,
    reason = "the emitted form lists buffers and sizes"
)]
pub fn softmax_grad(
    cx: &mut Cx<'_>,
    kind: Softmax,
    y: Buf,
    g: Buf,
    bar: Buf,
    outer: usize,
    len: usize,
    inner: usize,
) {
    let shape = Shape { outer, len, inner };
    float!(cx, T => {
        let env = cx.env;
        let mut bind = cx.bind();
        let (y, g): (&[T], &[T]) = (bind.read(y), bind.read(g));
        let bar = bind.write::<T>(bar);
        shape.check(&[y.len(), g.len(), bar.len()]);
        let chunk = shape.chunk();
        env.team.chunks_mut(bar, chunk, |k, bar| {
            let part = k * chunk..k * chunk + bar.len();
            T::run_narrow(env.isa, Backward { kind, shape, y: &y[part.clone()], g: &g[part], bar });
        });
    })
}

/// Elements a task computes, about; fewer are not worth a second thread.
const TASK: usize = 1 << 13;

/// Columns that are taken side by side.
const WIDTH: usize = 64;

#[derive(Copy, Clone, Debug)]
struct Shape {
    outer: usize,
    len: usize,
    inner: usize,
}

impl Shape {
    fn check(&self, lens: &[usize]) {
        let numel = self.outer * self.len * self.inner;
        assert!(
            lens.iter().all(|&len| len == numel),
            "buffers of a softmax have the sizes of its shape"
        );
    }

    fn block(&self) -> usize {
        self.len * self.inner
    }

    /// Elements of a task: whole blocks.
    fn chunk(&self) -> usize {
        let block = self.block().max(1);
        (TASK / block).max(1) * block
    }

    /// Calls a function for every column group of a block: first column and number of columns.
    #[inline(always)]
    fn columns(&self, mut each: impl FnMut(usize, usize)) {
        for first in (0..self.inner).step_by(WIDTH) {
            each(first, WIDTH.min(self.inner - first));
        }
    }
}

struct Forward<'a, T> {
    kind: Softmax,
    shape: Shape,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real + Element> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let block = self.shape.block();
        for (x, y) in self.x.chunks_exact(block).zip(self.y.chunks_exact_mut(block)) {
            if self.shape.inner == 1 {
                forward_row(self.kind, x, y);
            } else {
                self.shape
                    .columns(|first, n| forward_columns(self.kind, self.shape, first, n, x, y));
            }
        }
    }
}

#[inline(always)]
fn forward_row<T: Real>(kind: Softmax, x: &[T], y: &mut [T]) {
    let largest = T::from_f64(fold_run::<T, Max>(x));
    lanes::each(y, x, |y, x| *y = (x - largest).exp());
    let sum = fold_run::<T, Sum>(y);
    match kind {
        Softmax::Probabilities => {
            let sum = T::from_f64(sum);
            for y in y {
                *y /= sum;
            }
        }
        Softmax::Logarithms => {
            let log = T::from_f64(Real::log(sum));
            lanes::each(y, x, |y, x| *y = (x - largest) - log);
        }
    }
}

#[inline(always)]
fn forward_columns<T: Real>(kind: Softmax, shape: Shape, first: usize, n: usize, x: &[T], y: &mut [T]) {
    let row = |k: usize| k * shape.inner + first..k * shape.inner + first + n;
    let (mut largest, mut sums) = ([-T::INFINITY; WIDTH], [0.0; WIDTH]);
    for k in 0..shape.len {
        lanes::each(&mut largest[..n], &x[row(k)], |m, x| *m = Real::max(*m, x));
    }
    for k in 0..shape.len {
        let (x, y) = (&x[row(k)], &mut y[row(k)]);
        for j in 0..n {
            y[j] = (x[j] - largest[j]).exp();
            sums[j] += y[j].to_f64();
        }
    }
    let mut offsets = [T::ZERO; WIDTH];
    lanes::each(&mut offsets[..n], &sums[..n], |offset, sum| {
        *offset = T::from_f64(if kind == Softmax::Probabilities {
            sum
        } else {
            Real::log(sum)
        });
    });
    for k in 0..shape.len {
        let (x, y) = (&x[row(k)], &mut y[row(k)]);
        match kind {
            Softmax::Probabilities => lanes::each(y, &offsets[..n], |y, sum| *y /= sum),
            Softmax::Logarithms => {
                for j in 0..n {
                    y[j] = (x[j] - largest[j]) - offsets[j];
                }
            }
        }
    }
}

struct Backward<'a, T> {
    kind: Softmax,
    shape: Shape,
    y: &'a [T],
    g: &'a [T],
    bar: &'a mut [T],
}

impl<T: Real + Element> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kind, shape, .. } = self;
        let block = shape.block();
        let sources = self.y.chunks_exact(block).zip(self.g.chunks_exact(block));
        for ((y, g), bar) in sources.zip(self.bar.chunks_exact_mut(block)) {
            if shape.inner == 1 {
                backward_row(kind, y, g, bar);
            } else {
                shape.columns(|first, n| backward_columns(kind, shape, first, n, y, g, bar));
            }
        }
    }
}

#[inline(always)]
fn backward_row<T: Real>(kind: Softmax, y: &[T], g: &[T], bar: &mut [T]) {
    match kind {
        Softmax::Probabilities => {
            lanes::each2(bar, y, g, |bar, y, g| *bar = y * g);
            let sum = T::from_f64(fold_run::<T, Sum>(bar));
            lanes::each2(bar, y, g, |bar, y, g| *bar = y * (g - sum));
        }
        Softmax::Logarithms => {
            let sum = T::from_f64(fold_run::<T, Sum>(g));
            lanes::each2(bar, y, g, |bar, y, g| *bar = g - y.exp() * sum);
        }
    }
}

#[inline(always)]
fn backward_columns<T: Real>(
    kind: Softmax,
    shape: Shape,
    first: usize,
    n: usize,
    y: &[T],
    g: &[T],
    bar: &mut [T],
) {
    let row = |k: usize| k * shape.inner + first..k * shape.inner + first + n;
    let mut totals = [0.0; WIDTH];
    for k in 0..shape.len {
        let (y, g) = (&y[row(k)], &g[row(k)]);
        match kind {
            Softmax::Probabilities => {
                lanes::each2(&mut totals[..n], y, g, |total, y, g| *total += (y * g).to_f64());
            }
            Softmax::Logarithms => lanes::each(&mut totals[..n], g, |total, g| *total += g.to_f64()),
        }
    }
    let sums = totals.map(T::from_f64);
    for k in 0..shape.len {
        let (y, g, bar) = (&y[row(k)], &g[row(k)], &mut bar[row(k)]);
        match kind {
            Softmax::Probabilities => {
                for j in 0..n {
                    bar[j] = y[j] * (g[j] - sums[j]);
                }
            }
            Softmax::Logarithms => {
                for j in 0..n {
                    bar[j] = g[j] - y[j].exp() * sums[j];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{Dtype, Precision};
    use crate::ops::testbed::{Bed, PRECISIONS, assert_close, numbers};

    const SHAPES: [[usize; 3]; 9] = [
        [1, 1, 1],
        [3, 10, 1],
        [0, 4, 1],
        [2, 0, 3],
        [70, 257, 1],
        [3, 5, 7],
        [2, 33, 130],
        [1, 1, 9],
        [400, 3, 64],
    ];

    /// One row or column after the other, by the definition, in f64.
    fn along(shape: [usize; 3], mut each: impl FnMut(&[usize])) {
        let [outer, len, inner] = shape;
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let places: Vec<usize> = (0..len).map(|k| (o * len + k) * inner + i).collect();
            each(&places);
        }
    }

    fn naive(kind: Softmax, x: &[f64], shape: [usize; 3]) -> Vec<f64> {
        let mut y = vec![0.0; x.len()];
        along(shape, |places| {
            let sum: f64 = places.iter().map(|&k| x[k].exp()).sum();
            for &k in places {
                y[k] = if kind == Softmax::Probabilities {
                    x[k].exp() / sum
                } else {
                    x[k] - sum.ln()
                };
            }
        });
        y
    }

    fn naive_grad(kind: Softmax, y: &[f64], g: &[f64], shape: [usize; 3]) -> Vec<f64> {
        let mut bar = vec![0.0; y.len()];
        along(shape, |places| {
            for &k in places {
                // The Jacobian, row by row.
                bar[k] = places
                    .iter()
                    .map(|&j| {
                        let same = f64::from(u8::from(j == k));
                        match kind {
                            Softmax::Probabilities => g[j] * y[j] * (same - y[k]),
                            Softmax::Logarithms => g[j] * (same - y[k].exp()),
                        }
                    })
                    .sum();
            }
        });
        bar
    }

    #[test]
    fn both_kinds_along_any_axis() {
        for (precision, kind) in PRECISIONS
            .into_iter()
            .flat_map(|p| [Softmax::Probabilities, Softmax::Logarithms].map(|k| (p, k)))
        {
            let tolerance = if precision == Precision::F32 { 2e-6 } else { 1e-14 };
            for shape in SHAPES {
                let [outer, len, inner] = shape;
                let numel = outer * len * inner;
                let (x, g) = (numbers(numel, 1), numbers(numel, 2));
                let mut bed = Bed::new(precision, 2);
                let (fx, fg) = (bed.floats(&x), bed.floats(&g));
                let (y, bar) = (bed.output(Dtype::Float, numel), bed.output(Dtype::Float, numel));
                bed.call(|cx| softmax(cx, kind, fx, y, outer, len, inner));
                let want = naive(kind, &x, shape);
                assert_close(&bed.read_floats(y), &want, tolerance);
                bed.call(|cx| softmax_grad(cx, kind, y, fg, bar, outer, len, inner));
                assert_close(
                    &bed.read_floats(bar),
                    &naive_grad(kind, &want, &g, shape),
                    tolerance,
                );
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let mut bed = Bed::new(Precision::F32, 1);
        let (x, y) = (bed.floats(&[1e4, -1e4, 1e4]), bed.output(Dtype::Float, 3));
        bed.call(|cx| softmax(cx, Softmax::Probabilities, x, y, 1, 3, 1));
        assert_eq!(bed.read_floats(y), [0.5, 0.0, 0.5]);
        bed.call(|cx| softmax(cx, Softmax::Logarithms, x, y, 1, 3, 1));
        let half = 0.5f64.ln();
        assert_close(&bed.read_floats(y), &[half, half - 2e4, half], 1e-6);
    }
}

//! Running sums along an axis.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::real::Real;

/// Where a running sum begins.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Direction {
    /// `y[k] = x[0] + ... + x[k]`.
    Forward,
    /// `y[k] = x[k] + ... + x[len - 1]`: the gradient of the other.
    Backward,
}

/// Elements a task computes, about; fewer are not worth a second thread.
const TASK: usize = 1 << 14;

/// Columns that are summed side by side.
const WIDTH: usize = 64;

/// Running sums of `x` along the middle axis of `[outer, len, inner]`, accumulated in f64.
///
/// # Panics
/// Where a buffer has another length: a mistake of the compiler.
pub fn cumsum(cx: &mut Cx<'_>, direction: Direction, x: Buf, y: Buf, outer: usize, len: usize, inner: usize) {
    let numel = outer * len * inner;
    assert_eq!(
        (x.len, y.len),
        (numel, numel),
        "buffers of a running sum have the sizes of its shape"
    );
    float!(cx, T => sums::<T>(cx, direction, x, y, len, inner))
}

fn sums<T: Real + Element>(cx: &mut Cx<'_>, direction: Direction, x: Buf, y: Buf, len: usize, inner: usize) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let y = bind.write::<T>(y);
    let block = (len * inner).max(1);
    let blocks = (TASK / block).max(1);
    env.team.chunks_mut(y, blocks * block, |task, ys| {
        for (k, y) in ys.chunks_exact_mut(block).enumerate() {
            let start = (task * blocks + k) * block;
            for first in (0..inner).step_by(WIDTH) {
                let n = WIDTH.min(inner - first);
                columns(direction, &x[start..start + block], y, [len, inner, first, n]);
            }
        }
    });
}

fn columns<T: Real>(direction: Direction, x: &[T], y: &mut [T], [len, inner, first, n]: [usize; 4]) {
    let mut totals = [0.0; WIDTH];
    for step in 0..len {
        let k = if direction == Direction::Forward {
            step
        } else {
            len - 1 - step
        };
        let row = k * inner + first..k * inner + first + n;
        let (x, y) = (&x[row.clone()], &mut y[row]);
        for i in 0..x.len().min(WIDTH) {
            totals[i] += x[i].to_f64();
            y[i] = T::from_f64(totals[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{Dtype, Precision};
    use crate::ops::testbed::{Bed, PRECISIONS, assert_close, numbers};

    #[test]
    fn both_directions_along_any_axis() {
        for precision in PRECISIONS {
            for [outer, len, inner] in [
                [1, 1, 1],
                [3, 10, 1],
                [2, 0, 3],
                [0, 2, 2],
                [5, 300, 70],
                [900, 41, 1],
            ] {
                let x = numbers(outer * len * inner, 8);
                let mut bed = Bed::new(precision, 2);
                let (source, up) = (bed.floats(&x), bed.output(Dtype::Float, x.len()));
                let down = bed.output(Dtype::Float, x.len());
                bed.call(|cx| cumsum(cx, Direction::Forward, source, up, outer, len, inner));
                bed.call(|cx| cumsum(cx, Direction::Backward, source, down, outer, len, inner));
                let sum = |flat: usize, range: &dyn Fn(usize) -> std::ops::Range<usize>| -> f64 {
                    let (o, k, i) = (flat / (len * inner), flat / inner % len, flat % inner);
                    range(k).map(|j| x[(o * len + j) * inner + i]).sum()
                };
                let want_up: Vec<f64> = (0..x.len()).map(|f| sum(f, &|k| 0..k + 1)).collect();
                let want_down: Vec<f64> = (0..x.len()).map(|f| sum(f, &|k| k..len)).collect();
                let tolerance = if precision == Precision::F32 { 1e-7 } else { 1e-13 };
                assert_close(&bed.read_floats(up), &want_up, tolerance);
                assert_close(&bed.read_floats(down), &want_down, tolerance);
            }
        }
    }
}

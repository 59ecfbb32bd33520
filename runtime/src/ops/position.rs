//! Positions: the table of sines and cosines that is added to embeddings, and the rotation of queries and keys.
//!
//! Both are made of the angles `t base^(-2 i / D)` of position `t` and pair `i`. Angles, sines and cosines are computed in
//! f64, because an angle grows with the position: in f32, one of 10,000 radians is known to three decimals only.
//!
//! Sources: Vaswani et al., "Attention is all you need" (2017), section 3.5; Su et al., "RoFormer: enhanced transformer with
//! rotary position embedding" (2021).

use crate::arena::Buf;
use crate::cpu::gemm::{Matrix, Product};
use crate::cpu::isa::Kernel;
use crate::cx::Cx;
use crate::cx::float;
use crate::ops::lanes;
use crate::ops::matmul::matrix;
use crate::ops::view::View;
use crate::program::MAX_RANK;
use crate::real::Real;

/// Sine and cosine of as many angles are worth a task.
const TASK: usize = 1 << 10;

/// `y[t, 2 i] = sin(t base^(-2 i / width))` and `y[t, 2 i + 1] = cos(..)`, for the positions 0, 1, ..
///
/// # Panics
/// Where `y` is not a whole number of rows: a mistake of the compiler.
pub fn sinusoid(cx: &mut Cx<'_>, y: Buf, width: usize, base: f64) {
    float!(cx, T => {
        let env = cx.env;
        let mut bind = cx.bind();
        let y = bind.write::<T>(y);
        if y.is_empty() {
            return;
        }
        assert!(y.len().is_multiple_of(width), "rows of {width} elements");
        let n = (2 * TASK).div_ceil(width);
        env.team.chunks_mut(y, n * width, |task, y| {
            for (t, row) in y.chunks_exact_mut(width).enumerate() {
                for (i, pair) in row.chunks_mut(2).enumerate() {
                    let (sin, cos) = angle(task * n + t, i, width, base).sin_cos();
                    let values = [T::from_f64(sin), T::from_f64(cos)];
                    pair.copy_from_slice(&values[..pair.len()]);
                }
            }
        });
    });
}

fn angle(position: usize, pair: usize, width: usize, base: f64) -> f64 {
    position as f64 * base.powf(-((2 * pair) as f64) / width as f64)
}

/// Which way pairs are turned.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// By the angle of the position.
    Forward,
    /// Back again: the gradient of the other.
    Backward,
}

/// Turns the pair of elements `i` and `i + D / 2` in row `t` of every matrix of `x` `[.., T, D]` by the angle
/// `t base^(-2 i / D)`, into `y`, which is contiguous. `table` is scratch memory of `T D` floats.
///
/// # Panics
/// Where the sizes do not fit together, or `D` is odd: mistakes of the compiler.
pub fn rotary<const R: usize>(cx: &mut Cx<'_>, x: View<R>, y: Buf, table: Buf, base: f64, turn: Turn) {
    assert!(R >= 2, "a rotation takes matrices");
    rotary_padded(cx, &x.padded(), y, table, base, turn);
}

#[inline(never)]
fn rotary_padded(cx: &mut Cx<'_>, x: &View<MAX_RANK>, y: Buf, table: Buf, base: f64, turn: Turn) {
    float!(cx, T => rotate::<T>(cx, x, y, table, base, turn));
}

fn rotate<T: Product>(cx: &mut Cx<'_>, x: &View<MAX_RANK>, y: Buf, table: Buf, base: f64, turn: Turn) {
    let env = cx.env;
    let [steps, width] = [x.shape[MAX_RANK - 2], x.shape[MAX_RANK - 1]];
    let mut bind = cx.bind();
    let data: &[T] = bind.read(x.buf);
    let (y, table) = (bind.write::<T>(y), bind.write::<T>(table));
    let fit = x.numel() == y.len() && table.len() == steps * width && width.is_multiple_of(2);
    assert!(fit, "a rotation of {:?}", x.shape);
    if y.is_empty() {
        return;
    }
    let half = width / 2;
    let n = TASK.div_ceil(half);
    env.team.chunks_mut(table, n * width, |task, table| {
        for (t, row) in table.chunks_exact_mut(width).enumerate() {
            for i in 0..half {
                let (sin, cos) = angle(task * n + t, i, width, base).sin_cos();
                row[i] = T::from_f64(cos);
                row[i + half] = T::from_f64(if turn == Turn::Forward { sin } else { -sin });
            }
        }
    });
    let table: &[T] = table;
    let n = lanes::rows_per_task(width);
    env.team.chunks_mut(y, n * width, |task, mut y| {
        let mut row = task * n;
        while !y.is_empty() {
            // As many rows as the matrix still has.
            let (number, first) = (row / steps, row % steps);
            let len = (steps - first).min(y.len() / width);
            let (part, rest) = y.split_at_mut(len * width);
            let x = matrix(data, x, number).part(first..first + len, 0..width);
            T::run_narrow(
                env.isa,
                Rows {
                    x,
                    table: &table[first * width..][..len * width],
                    y: part,
                },
            );
            (row, y) = (row + len, rest);
        }
    });
}

/// Consecutive rows of one matrix.
struct Rows<'a, T> {
    x: Matrix<'a, T>,
    /// The cosines, then the sines, of every row.
    table: &'a [T],
    y: &'a mut [T],
}

impl<T: Product> Kernel for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.x.cols();
        let rows = self.y.chunks_exact_mut(width).zip(self.table.chunks_exact(width));
        for (t, (y, table)) in rows.enumerate() {
            if self.x.step()[1] == 1 {
                let (left, right) = self.x.run(t, 0, width).split_at(width / 2);
                turn_row(left, right, table, y);
            } else {
                for i in 0..width / 2 {
                    let pair = [self.x.at(t, i), self.x.at(t, i + width / 2)];
                    let (cos, sin) = (table[i], table[i + width / 2]);
                    y[i] = pair[0] * cos - pair[1] * sin;
                    y[i + width / 2] = pair[1] * cos + pair[0] * sin;
                }
            }
        }
    }
}

#[inline(always)]
fn turn_row<T: Product>(left: &[T], right: &[T], table: &[T], y: &mut [T]) {
    let half = left.len();
    let (cos, sin) = table.split_at(half);
    let (y_left, y_right) = y.split_at_mut(half);
    let (right, sin, y_right) = (&right[..half], &sin[..half], &mut y_right[..half]);
    for i in 0..half {
        y_left[i] = left[i] * cos[i] - right[i] * sin[i];
        y_right[i] = right[i] * cos[i] + left[i] * sin[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Precision;
    use crate::ops::testkit::{Desk, PRECISIONS, assert_close, normal, tolerance};

    #[test]
    fn the_table_holds_sines_and_cosines() {
        for (rows, width) in [(1, 1), (5, 4), (300, 7), (0, 3), (3, 0), (2000, 2)] {
            for precision in PRECISIONS {
                let mut desk = Desk::new(precision);
                let y = desk.blank(rows * width);
                desk.run(|cx| sinusoid(cx, y, width, 1e4));
                let element = |k: usize| {
                    let (t, c) = (k / width, k % width);
                    let angle = t as f64 / 1e4f64.powf((c - c % 2) as f64 / width as f64);
                    if c % 2 == 0 { angle.sin() } else { angle.cos() }
                };
                let wanted: Vec<f64> = (0..rows * width).map(element).collect();
                assert_close(
                    &desk.read(y),
                    &wanted,
                    tolerance(precision),
                    "a table of positions",
                );
            }
        }
    }

    /// Element by element, by the definition.
    fn naive(x: &[f64], [count, steps, width]: [usize; 3], base: f64, sign: f64) -> Vec<f64> {
        let half = width / 2;
        (0..count * steps * width)
            .map(|k| {
                let (row, c) = (k / width * width, k % width);
                let i = c % half;
                let angle = sign * (k / width % steps) as f64 * base.powf(-2.0 * i as f64 / width as f64);
                let (left, right) = (x[row + i], x[row + i + half]);
                if c < half {
                    left * angle.cos() - right * angle.sin()
                } else {
                    right * angle.cos() + left * angle.sin()
                }
            })
            .collect()
    }

    #[test]
    fn pairs_are_turned_and_turned_back() {
        for size in [[1, 1, 2], [3, 5, 4], [2, 700, 34], [0, 3, 2], [2, 0, 4]] {
            let [count, steps, width] = size;
            let values = normal(count * steps * width, 1);
            for precision in PRECISIONS {
                let mut desk = Desk::new(precision);
                let x = View::contiguous(desk.floats(&values), size);
                let (y, back) = (desk.blank(values.len()), desk.blank(values.len()));
                let table = desk.blank(steps * width);
                desk.run(|cx| rotary(cx, x, y, table, 100.0, Turn::Forward));
                let wanted = naive(&values, size, 100.0, 1.0);
                assert_close(&desk.read(y), &wanted, tolerance(precision), "a rotation");
                desk.run(|cx| rotary(cx, View::contiguous(y, size), back, table, 100.0, Turn::Backward));
                assert_close(&desk.read(back), &values, tolerance(precision), "a rotation back");
            }
        }
    }

    /// `[B, T, H, D]` seen as `[B, H, T, D]`, and features that are not neighbours.
    #[test]
    fn strided_operands_are_read_where_they_lie() {
        let [b, t, h, d] = [2usize, 5, 3, 4];
        let values = normal(b * t * h * d, 2);
        for strides in [[t * h * d, d, h * d, 1], [t * h * d, t * d, 1, t]] {
            let mut desk = Desk::new(Precision::F64);
            let x = View {
                buf: desk.floats(&values),
                offset: 0,
                shape: [b, h, t, d],
                strides: strides.map(|s| s as isize),
            };
            let (y, table) = (desk.blank(values.len()), desk.blank(t * d));
            desk.run(|cx| rotary(cx, x, y, table, 1e4, Turn::Forward));
            let at = |k: usize| {
                let index = [k / (h * t * d), k / (t * d) % h, k / d % t, k % d];
                values[index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()]
            };
            let dense: Vec<f64> = (0..values.len()).map(at).collect();
            let wanted = naive(&dense, [b * h, t, d], 1e4, 1.0);
            assert_close(&desk.read(y), &wanted, 1e-14, "a strided rotation");
        }
    }
}

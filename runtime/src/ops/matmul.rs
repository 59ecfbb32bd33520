//! Products of batches of matrices.

use crate::arena::Buf;
use crate::cpu::gemm::{self, At, Block, Matrix, Product};
use crate::cx::Cx;
use crate::cx::float;
use crate::ops::epilogue::Epilogue;
use crate::ops::view::View;
use crate::program::MAX_RANK;

/// `y[.., i, j] = activation(sum over p of a[.., i, p] b[.., p, j] + bias[j])`.
///
/// `a` is `[batch.., m, k]`, `b` is `[batch.., k, n]`, `y` is `[batch.., m, n]` and contiguous. Factors may lie in any
/// strided way, so transposed and broadcast ones cost no copy.
///
/// # Panics
/// Where the sizes do not fit together: a mistake of the compiler.
pub fn matmul<const R: usize>(cx: &mut Cx<'_>, a: View<R>, b: View<R>, y: Buf, epilogue: Epilogue) {
    assert!(R >= 2, "a product takes matrices");
    padded(cx, &a.padded(), &b.padded(), y, epilogue);
}

#[inline(never)]
fn padded(cx: &mut Cx<'_>, a: &View<MAX_RANK>, b: &View<MAX_RANK>, y: Buf, epilogue: Epilogue) {
    float!(cx, T => multiply::<T>(cx, a, b, y, epilogue));
}

fn multiply<T: Product>(cx: &mut Cx<'_>, a: &View<MAX_RANK>, b: &View<MAX_RANK>, y: Buf, epilogue: Epilogue) {
    const R: usize = MAX_RANK;
    let env = cx.env;
    assert!(
        a.shape[..R - 2] == b.shape[..R - 2],
        "batches of {:?} and {:?}",
        a.shape,
        b.shape
    );
    let (m, n) = (a.shape[R - 2], b.shape[R - 1]);
    let count = a.shape[..R - 2].iter().product();
    let mut bind = cx.bind();
    let (left, right): (&[T], &[T]) = (bind.read(a.buf), bind.read(b.buf));
    let finish = epilogue.bind(&mut bind, n);
    let y = bind.write::<T>(y);
    let factors = |i| (matrix(left, a, i), matrix(right, b, i));
    let finish = |at: At, block: &mut Block<'_, T>| {
        if !finish.is_none() {
            T::finish_columns(env.isa, block, finish, at.col);
        }
    };
    gemm::products((env.team, env.arithmetic()), count, factors, y, (m, n), finish);
}

/// Matrix number `index` (in row-major order of the batch axes) of a view.
pub(super) fn matrix<'a, const R: usize, T: Copy>(
    data: &'a [T],
    view: &View<R>,
    mut index: usize,
) -> Matrix<'a, T> {
    let mut start = view.offset as isize;
    for k in (0..R - 2).rev() {
        if index == 0 {
            break;
        }
        start += (index % view.shape[k]) as isize * view.strides[k];
        index /= view.shape[k];
    }
    let start = usize::try_from(start).expect("a view starts inside its buffer");
    let (size, step) = (
        [view.shape[R - 2], view.shape[R - 1]],
        [view.strides[R - 2], view.strides[R - 1]],
    );
    Matrix::new(data, start, size, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Precision;
    use crate::ops::epilogue::Activation;
    use crate::ops::testbed::{assert_close, numbers};
    use crate::ops::testkit::Desk;

    /// `[batch, m, k] x [batch, k, n]` by the definition; both row-major.
    fn naive(a: &[f64], b: &[f64], [batch, m, k, n]: [usize; 4]) -> Vec<f64> {
        let mut y = vec![0.0; batch * m * n];
        for (at, y) in y.iter_mut().enumerate() {
            let (q, i, j) = (at / (m * n), at / n % m, at % n);
            *y = (0..k)
                .map(|p| a[(q * m + i) * k + p] * b[(q * k + p) * n + j])
                .sum();
        }
        y
    }

    #[test]
    fn batches_are_multiplied_matrix_by_matrix() {
        for precision in [Precision::F32, Precision::F64] {
            for size in [
                [1, 1, 1, 1],
                [3, 5, 7, 2],
                [2, 64, 100, 33],
                [0, 2, 2, 2],
                [4, 3, 0, 2],
            ] {
                let [batch, m, k, n] = size;
                let (x, w) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
                let mut desk = Desk::new(precision);
                let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(batch * m * n));
                let a = View::contiguous(a, [batch, m, k]);
                let b = View::contiguous(b, [batch, k, n]);
                desk.run(|cx| matmul(cx, a, b, y, Epilogue::NONE));
                assert_close(&desk.read(y), &naive(&x, &w, size), 1e-5);
                // The transposed product of the transposed factors is the same.
                let z = desk.blank(batch * m * n);
                desk.run(|cx| matmul(cx, b.t(), a.t(), z, Epilogue::NONE));
                let transposed = View::contiguous(z, [batch, n, m]).t();
                let back = desk.blank(batch * m * n);
                desk.run(|cx| crate::ops::view::copy(cx, transposed, back));
                assert_close(&desk.read(back), &naive(&x, &w, size), 1e-5);
            }
        }
    }

    #[test]
    fn a_broadcast_batch_axis_costs_no_copy() {
        let size = [3, 4, 5, 6];
        let (x, w) = (numbers(3 * 4 * 5, 3), numbers(5 * 6, 4));
        let mut desk = Desk::new(Precision::F64);
        let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(3 * 4 * 6));
        let b = View {
            buf: b,
            offset: 0,
            shape: [3, 5, 6],
            strides: [0, 6, 1],
        };
        desk.run(|cx| matmul(cx, View::contiguous(a, [3, 4, 5]), b, y, Epilogue::NONE));
        assert_close(&desk.read(y), &naive(&x, &w.repeat(3), size), 1e-14);
    }

    #[test]
    fn the_epilogue_adds_the_bias_of_each_column_and_activates() {
        let (m, k, n) = (70, 9, 130);
        let (x, w, bias) = (numbers(m * k, 5), numbers(k * n, 6), numbers(n, 7));
        let expected = naive(&x, &w, [1, m, k, n]).into_iter().enumerate();
        let expected: Vec<f64> = expected.map(|(at, y)| (y + bias[at % n]).max(0.0)).collect();
        for precision in [Precision::F32, Precision::F64] {
            let mut desk = Desk::new(precision);
            let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(m * n));
            let epilogue = Epilogue {
                bias: Some(desk.floats(&bias)),
                activation: Activation::Relu,
            };
            let (a, b) = (View::contiguous(a, [m, k]), View::contiguous(b, [k, n]));
            desk.run(|cx| matmul(cx, a, b, y, epilogue));
            assert_close(&desk.read(y), &expected, 1e-5);
        }
    }
}

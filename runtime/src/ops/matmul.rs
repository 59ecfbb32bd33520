//! Products of batches of matrices.

use crate::arena::Buf;
use crate::cpu::gemm::{self, Matrix, Product};
use crate::cx::Cx;
use crate::float;
use crate::ops::epilogue::Epilogue;
use crate::ops::view::View;

/// `y[.., i, j] = activation(sum over p of a[.., i, p] b[.., p, j] + bias[j])`.
///
/// `a` is `[batch.., m, k]`, `b` is `[batch.., k, n]`, `y` is `[batch.., m, n]` and contiguous. Factors may lie in any
/// strided way, so transposed and broadcast ones cost no copy.
///
/// # Panics
/// Where the sizes do not fit together: a mistake of the compiler.
pub fn matmul<const R: usize>(cx: &mut Cx<'_>, a: View<R>, b: View<R>, y: Buf, epilogue: Epilogue) {
    float!(cx, T => multiply::<R, T>(cx, a, b, y, epilogue));
}

fn multiply<const R: usize, T: Product>(cx: &mut Cx<'_>, a: View<R>, b: View<R>, y: Buf, epilogue: Epilogue) {
    let env = cx.env;
    assert!(
        R >= 2 && a.shape[..R - 2] == b.shape[..R - 2],
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
    let factors = |i| (matrix(left, &a, i), matrix(right, &b, i));
    gemm::products((env.team, env.isa), count, factors, y, (m, n), finish);
}

/// Matrix number `index` (in row-major order of the batch axes) of a view.
fn matrix<'a, const R: usize, T: Product>(data: &'a [T], view: &View<R>, mut index: usize) -> Matrix<'a, T> {
    let mut start = view.offset as isize;
    for k in (0..R - 2).rev() {
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

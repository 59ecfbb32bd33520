//! Products of batches of matrices.
//!
//! The second factor of several products may be packed once for all of them by [`pack`]: emitted code does that before a loop whose
//! steps multiply by the same weights, and for weights that stay from call to call. A product reads what was packed where its method
//! does, and the factor itself elsewhere; the method depends on the sizes and the CPU, so that both calls take the same decision. The
//! bits are those of the plain product.
//!
//! Rows of a second factor may lie in runs that are read interleaved: what a flattened image that lies channels last is multiplied by
//! ([`View::interleaved`]). The sums then go in the order of the image; where the image has but a few rows, which are read once each
//! for many columns, they go in the order of the factor instead, and the rows are read interleaved.
//!
//! Small products of two matrices go straight to their kernel (`few.rs`).

mod few;
#[cfg(test)]
mod tests;

use crate::arena::Buf;
use crate::cpu::gemm::{
    self, Arithmetic, At, Block, Factor, Interleaved, Matrix, Method, Product, Short, Strips, Unpacked,
};
use crate::cx::{Cx, float};
use crate::dtype::stored;
use crate::ops::epilogue::Epilogue;
use crate::ops::packed::{self, Packed};
use crate::ops::view::View;
use crate::program::{Lasts, MAX_RANK};

/// The second factor of a product: how it lies, in which order its rows are read, and where it was packed.
#[derive(Copy, Clone, Debug)]
pub struct Right<const R: usize> {
    view: View<R>,
    /// Runs of rows that are read interleaved; none, or one, where they are read as they lie.
    runs: usize,
    packed: Option<Packed>,
}

impl<const R: usize> From<View<R>> for Right<R> {
    fn from(view: View<R>) -> Self {
        Self {
            view,
            runs: 1,
            packed: None,
        }
    }
}

impl<const R: usize> View<R> {
    /// A second factor whose rows lie in so many runs one behind the other, as the channels of an image that was flattened, and are
    /// read interleaved, as its pixels are: of each run the first row, then of each the second. A run has `rows / runs` rows.
    #[inline(never)]
    pub fn interleaved(self, runs: usize) -> Right<R> {
        Right { runs, ..self.into() }
    }
}

impl View<2> {
    /// A second factor that [`pack`] has packed as number `index`.
    #[inline(never)]
    pub fn packed(self, numbers: Buf, index: usize) -> Right<2> {
        Right::from(self).packed(numbers, index)
    }
}

impl Right<2> {
    /// The same factor, which [`pack`] has packed as number `index`.
    #[inline(never)]
    pub fn packed(self, numbers: Buf, index: usize) -> Self {
        Self {
            packed: Some(Packed { numbers, index }),
            ..self
        }
    }
}

impl<const R: usize> Right<R> {
    fn padded(&self) -> Right<MAX_RANK> {
        Right {
            view: self.view.padded(),
            runs: self.runs,
            packed: self.packed,
        }
    }

    fn is_interleaved(&self) -> bool {
        self.runs > 1
    }
}

/// Elements that `count` factors of `k` x `n` take packed, for products with `rows` rows; none where such products read the factor
/// itself.
pub(crate) fn packed_len(arithmetic: Arithmetic, [rows, k, n, count]: [usize; 4]) -> usize {
    let method = arithmetic.method([rows, n, k]);
    stored!(arithmetic.precision(), T => gemm::strips_len::<T>(method, [k, n])).saturating_mul(count)
}

/// Packs second factors `b` (all but the last two axes count them) of products whose first has `rows` rows, for [`View::packed`].
///
/// `packed` has room for as many elements as [`PackForm::len`](crate::program::PackForm::len) says, or for none: then products read
/// the factor itself. What lasts from call to call and is there already stays.
pub fn pack<const R: usize>(cx: &mut Cx<'_>, b: impl Into<Right<R>>, packed: Buf, rows: usize, lasts: Lasts) {
    let b = b.into().padded();
    float!(cx, T => pack_all::<T>(cx, &b, packed, rows, lasts));
}

#[inline(never)]
fn pack_all<T: Product>(cx: &mut Cx<'_>, right: &Right<MAX_RANK>, packed: Buf, rows: usize, lasts: Lasts) {
    const R: usize = MAX_RANK;
    let b = &right.view;
    let (env, is_there) = (cx.env, packed::is_there(cx, lasts));
    let mut bind = cx.bind();
    if is_there {
        return;
    }
    let (factors, packed) = (bind.read::<T>(b.buf), bind.write::<T>(packed));
    let [k, n] = [b.shape[R - 2], b.shape[R - 1]];
    let (count, method) = (
        b.shape[..R - 2].iter().product(),
        env.arithmetic().method([rows, n, k]),
    );
    let len = gemm::strips_len::<T>(method, [k, n]);
    if len == 0 || packed.len() / len < count {
        return;
    }
    for (i, packed) in packed.chunks_exact_mut(len).take(count).enumerate() {
        gemm::pack_right(env.team, method, unpacked(factors, right, i), packed);
    }
}

/// `y[.., i, j] = activation(sum over p of a[.., i, p] b[.., p, j] + bias[j] + residual[.., i, j])`.
///
/// `a` is `[batch.., m, k]`, `b` is `[batch.., k, n]`, `y` is `[batch.., m, n]` and contiguous. Factors may lie in any
/// strided way, so transposed and broadcast ones cost no copy. The residual is contiguous, and not the memory of `y`.
///
/// # Panics
/// Where the sizes do not fit together: a mistake of the compiler.
pub fn matmul<const R: usize>(
    cx: &mut Cx<'_>,
    a: View<R>,
    b: impl Into<Right<R>>,
    y: Buf,
    epilogue: Epilogue,
) {
    assert!(R >= 2, "a product takes matrices");
    let b = b.into();
    let is_plain = R == 2 && !b.is_interleaved();
    if is_plain && few::multiply(cx, &few::matrix(&a), &few::matrix(&b.view), y, &epilogue) {
        return;
    }
    padded(cx, &a.padded(), &b.padded(), y, epilogue);
}

#[inline(never)]
fn padded(cx: &mut Cx<'_>, a: &View<MAX_RANK>, b: &Right<MAX_RANK>, y: Buf, epilogue: Epilogue) {
    float!(cx, T => multiply::<T>(cx, a, b, y, epilogue));
}

fn multiply<T: Product>(
    cx: &mut Cx<'_>,
    a: &View<MAX_RANK>,
    factor: &Right<MAX_RANK>,
    y: Buf,
    epilogue: Epilogue,
) {
    const R: usize = MAX_RANK;
    let (env, b) = (cx.env, &factor.view);
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
    if let Some(residual) = epilogue.residual {
        assert_eq!(
            residual.len, y.len,
            "a residual has as many elements as the product"
        );
    }
    let k = a.shape[R - 1];
    let method = env.arithmetic().method([m, n, k]);
    let strips = factor.packed.and_then(|packed| {
        let own = packed.read(&mut bind, gemm::strips_len::<T>(method, [k, n]))?;
        Strips::of(method, unpacked(right, factor, 0), own)
    });
    let has_few_rows = matches!(method, Method::Inner(_, _, Short::Rows));
    let finish = epilogue.bind(&mut bind, n);
    let y = bind.write::<T>(y);
    let factors = |i| -> (Factor<'_, T>, Factor<'_, T>) {
        let left = matrix(left, a, i);
        if has_few_rows && factor.is_interleaved() {
            // What one of them does to a row, the other undoes.
            let left = Interleaved::columns(left, k / factor.runs);
            return (left.into(), matrix(right, b, i).into());
        }
        let right = strips.map_or_else(|| unpacked(right, factor, i).into(), Factor::Strips);
        (left.into(), right)
    };
    let finish = |at: At, block: &mut Block<'_, T>| {
        if !finish.is_none() {
            T::finish_columns(env.isa, block, finish, [at.matrix * m + at.row, at.col]);
        }
    };
    gemm::products((env.team, env.arithmetic()), count, factors, y, (m, n), finish);
}

/// Second factor number `index`, in the order in which its rows are read.
fn unpacked<'a, T: Copy>(data: &'a [T], factor: &Right<MAX_RANK>, index: usize) -> Unpacked<'a, T> {
    let matrix = matrix(data, &factor.view, index);
    match factor.is_interleaved() {
        true => Unpacked::Interleaved(Interleaved::rows(matrix, factor.runs)),
        false => Unpacked::Matrix(matrix),
    }
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

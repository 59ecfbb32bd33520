//! Rows of a table by number: embedding and selection along an axis, and their transpose, which adds rows up.
//!
//! `y[o, j, i] = x[o, indices[j], i]`; an embedding has a single `o`. The gradient adds every row of the cotangent to the
//! row that it was read from. Tasks own ranges of the table and look through all indices for theirs, so rows that are read
//! many times are added in the order of the indices, whatever the number of threads, and no atomic operation is needed.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::lanes;
use crate::real::Real;

/// The shape of a table [outer, rows, inner].
#[derive(Copy, Clone, Debug)]
pub struct Table {
    /// Product of the sizes before the axis that is indexed.
    pub outer: usize,
    /// Size of the axis that is indexed.
    pub rows: usize,
    /// Product of the sizes after it.
    pub inner: usize,
}

/// What the lookup is called, for errors.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Tokens in a vocabulary.
    Embedding,
    /// Indices along an axis.
    Take,
}

impl Lookup {
    fn wrong(self, index: i64, position: usize, rows: usize) -> Error {
        let message = match self {
            Self::Embedding => format!(
                "embedding: token {index} (number {position} of the input) is outside the vocabulary 0..{rows}"
            ),
            Self::Take => {
                format!("take: index {index} (number {position} of the indices) is outside 0..{rows}")
            }
        };
        Error::new(ErrorKind::Index, message)
    }
}

/// The first index that is outside `0..rows`, and its position.
pub fn first_outside(indices: &[i64], rows: usize) -> Option<(i64, usize)> {
    let position = indices
        .iter()
        .position(|&index| usize::try_from(index).map_or(true, |i| i >= rows))?;
    Some((indices[position], position))
}

/// An index as a position below `rows`.
pub fn inside(index: i64, rows: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|&i| i < rows)
}

/// Copies the rows of `x` that `indices` name into `y` [outer, indices, inner].
///
/// # Errors
/// An index outside the table is recorded in the context; its row is zero.
pub fn take(cx: &mut Cx<'_>, x: Buf, indices: Buf, y: Buf, table: Table, lookup: Lookup) {
    if let Some(error) = float!(cx, T => forward::<T>(cx, x, indices, y, table, lookup)) {
        cx.fail(error);
    }
}

fn forward<T: Real + Element>(
    cx: &mut Cx<'_>,
    x: Buf,
    indices: Buf,
    y: Buf,
    table: Table,
    lookup: Lookup,
) -> Option<Error> {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, indices): (&[T], &[i64]) = (bind.read(x), bind.read(indices));
    let y = bind.write::<T>(y);
    let Table { outer, rows, inner } = table;
    assert_eq!(
        (x.len(), y.len()),
        (outer * rows * inner, outer * indices.len() * inner),
        "take from {table:?}"
    );
    let n = lanes::rows_per_task(inner);
    env.team.chunks_mut(y, n * inner, |task, y| {
        for (k, y) in y.chunks_mut(inner).enumerate() {
            let (o, j) = ((task * n + k) / indices.len(), (task * n + k) % indices.len());
            match inside(indices[j], rows) {
                Some(row) => y.copy_from_slice(&x[(o * rows + row) * inner..][..inner]),
                None => y.fill(T::ZERO),
            }
        }
    });
    first_outside(indices, rows).map(|(index, position)| lookup.wrong(index, position, rows))
}

/// Adds every row of `g` [outer, indices, inner] to the row of `dx` that its index names, starting from zeros. Rows whose
/// index is `skip` are left out: the padding of an embedding is not trained.
pub fn take_grad(cx: &mut Cx<'_>, indices: Buf, g: Buf, dx: Buf, table: Table, skip: Option<f64>) {
    float!(cx, T => backward::<T>(cx, indices, g, dx, table, skip));
}

/// The most tasks of a gradient: each looks through all indices.
const MAX_TASKS: usize = 16;

fn backward<T: Real + Element>(
    cx: &mut Cx<'_>,
    indices: Buf,
    g: Buf,
    dx: Buf,
    table: Table,
    skip: Option<f64>,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (indices, g): (&[i64], &[T]) = (bind.read(indices), bind.read(g));
    let dx = bind.write::<T>(dx);
    let Table { outer, rows, inner } = table;
    assert_eq!(
        (dx.len(), g.len()),
        (outer * rows * inner, outer * indices.len() * inner),
        "take_grad of {table:?}"
    );
    let skip = skip.map(|skip| skip as i64);
    let n = (outer * rows)
        .div_ceil(MAX_TASKS)
        .max(lanes::rows_per_task(inner));
    env.team.chunks_mut(dx, n * inner, |task, dx| {
        dx.fill(T::ZERO);
        let own = task * n..task * n + dx.len() / inner;
        for o in own.start / rows..own.end.div_ceil(rows) {
            for (j, &index) in indices.iter().enumerate() {
                let Some(row) = inside(index, rows).map(|row| o * rows + row) else {
                    continue;
                };
                if own.contains(&row) && Some(index) != skip {
                    let to = &mut dx[(row - own.start) * inner..][..inner];
                    let from = &g[(o * indices.len() + j) * inner..][..inner];
                    lanes::each(to, from, |sum, term| *sum += term);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;
    use crate::dtype::Precision;
    use crate::ops::testkit::{Desk, PRECISIONS, assert_close, normal, tolerance, whole};

    const SHAPES: [(usize, usize, usize, usize); 6] = [
        (1, 1, 1, 1),
        (1, 7, 3, 10),
        (1, 5, 4, 0),
        (3, 4, 1, 6),
        (2, 3, 5, 4),
        (0, 3, 2, 2),
    ];

    /// y and dx of a random case, by the kernels and by the definition.
    fn check(outer: usize, rows: usize, inner: usize, n: usize, skip: Option<f64>, precision: Precision) {
        let (x, g) = (normal(outer * rows * inner, 1), normal(outer * n * inner, 2));
        let indices = whole(n, rows, 3);
        let table = Table { outer, rows, inner };
        let (mut y, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
        for o in 0..outer {
            for (j, &index) in indices.iter().enumerate() {
                for i in 0..inner {
                    let (to, from) = ((o * n + j) * inner + i, (o * rows + index as usize) * inner + i);
                    y[to] = x[from];
                    if skip != Some(index as f64) {
                        dx[from] += g[to];
                    }
                }
            }
        }
        let mut desk = Desk::new(precision);
        let (x_buf, g_buf, i_buf) = (desk.floats(&x), desk.floats(&g), desk.ints(&indices));
        let (y_buf, dx_buf) = (desk.blank(y.len()), desk.blank(x.len()));
        let failure = desk.run(|cx| {
            take(cx, x_buf, i_buf, y_buf, table, Lookup::Take);
            take_grad(cx, i_buf, g_buf, dx_buf, table, skip);
        });
        assert!(failure.is_none());
        assert_eq!(desk.read(y_buf), y, "{table:?}");
        assert_close(
            &desk.read(dx_buf),
            &dx,
            tolerance(precision),
            &format!("gradient, {table:?}, {n} indices"),
        );
    }

    #[test]
    fn rows_are_read_and_their_gradients_added() {
        for (outer, rows, inner, n) in SHAPES {
            for precision in PRECISIONS {
                check(outer, rows, inner, n, None, precision);
                check(outer, rows, inner, n, Some(0.0), precision);
            }
        }
    }

    /// Several tasks, whose ranges begin and end inside outer blocks.
    #[test]
    fn large_tables_are_cut_anywhere() {
        check(1, 3000, 40, 500, Some(7.0), Precision::F64);
        check(5, 700, 37, 90, None, Precision::F64);
    }

    #[test]
    fn an_index_outside_is_named_and_does_no_harm() {
        for index in [10, -1, i64::MAX, i64::MIN] {
            let mut desk = Desk::new(Precision::F32);
            let (x, indices) = (desk.floats(&normal(20, 1)), desk.ints(&[3, 9, index, 0]));
            let (y, dx) = (desk.blank(8), desk.blank(20));
            let table = Table {
                outer: 1,
                rows: 10,
                inner: 2,
            };
            let error = desk
                .run(|cx| take(cx, x, indices, y, table, Lookup::Embedding))
                .expect("outside");
            assert_eq!(error.kind(), ErrorKind::Index);
            let want =
                format!("embedding: token {index} (number 2 of the input) is outside the vocabulary 0..10");
            assert_eq!(error.message(), want);
            assert_eq!(desk.read(y)[4..6], [0.0, 0.0]);
            let error = desk
                .run(|cx| take(cx, x, indices, y, table, Lookup::Take))
                .expect("outside");
            assert_eq!(
                error.message(),
                format!("take: index {index} (number 2 of the indices) is outside 0..10")
            );
            let g = desk.floats(&[1.0; 8]);
            desk.run(|cx| take_grad(cx, indices, g, dx, table, None));
            assert_eq!(desk.read(dx).iter().sum::<f64>(), 6.0);
        }
    }

    /// Every token many times, so that the order of the additions shows in the last bits.
    #[test]
    fn threads_do_not_change_a_bit() {
        let (g, indices) = (normal(20_000 * 16, 4), whole(20_000, 1100, 5));
        let run = |threads| {
            let mut desk = Desk::with(Precision::F32, threads, Isa::Portable);
            let (g, indices, dx) = (desk.floats(&g), desk.ints(&indices), desk.blank(1100 * 16));
            let table = Table {
                outer: 1,
                rows: 1100,
                inner: 16,
            };
            desk.run(|cx| take_grad(cx, indices, g, dx, table, None));
            desk.read(dx)
        };
        let want = run(1);
        assert!(run(2) == want && run(7) == want);
    }
}

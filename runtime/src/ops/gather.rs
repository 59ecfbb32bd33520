//! Single elements by number along an axis: gather, and scatter, its transpose.
//!
//! `y[o, j, i] = x[o, indices[o, j, i], i]`; scatter adds `g[o, j, i]` to `dx[o, indices[o, j, i], i]`, in the order of j, by
//! tasks that own whole outer blocks: the same bits for any number of threads.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::embedding::{first_outside, inside};
use crate::ops::lanes;
use crate::real::Real;

/// The shapes: x [outer, size, inner] and indices [outer, picks, inner].
#[derive(Copy, Clone, Debug)]
pub struct Gather {
    /// Product of the sizes before the axis.
    pub outer: usize,
    /// Size of x along the axis.
    pub size: usize,
    /// Size of the indices along the axis.
    pub picks: usize,
    /// Product of the sizes after the axis.
    pub inner: usize,
}

impl Gather {
    fn wrong_index(&self, word: &str, indices: &[i64]) -> Option<Error> {
        let (index, position) = first_outside(indices, self.size)?;
        let message = format!(
            "{word}: index {index} (number {position} of the indices) is outside 0..{}",
            self.size
        );
        Some(Error::new(ErrorKind::Index, message))
    }
}

/// Reads one element of `x` for every index.
///
/// # Errors
/// An index outside the axis is recorded in the context; its element is zero.
pub fn gather(cx: &mut Cx<'_>, x: Buf, indices: Buf, y: Buf, shape: Gather) {
    if let Some(error) = float!(cx, T => forward::<T>(cx, x, indices, y, shape)) {
        cx.fail(error);
    }
}

fn forward<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, indices: Buf, y: Buf, shape: Gather) -> Option<Error> {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, indices): (&[T], &[i64]) = (bind.read(x), bind.read(indices));
    let y = bind.write::<T>(y);
    let Gather {
        outer,
        size,
        picks,
        inner,
    } = shape;
    assert_eq!(
        (x.len(), y.len()),
        (outer * size * inner, outer * picks * inner),
        "gather of {shape:?}"
    );
    env.team.chunks_mut(y, lanes::GRAIN, |task, y| {
        for (k, y) in y.iter_mut().enumerate() {
            let at = task * lanes::GRAIN + k;
            let (o, i) = (at / (picks * inner), at % inner);
            *y = inside(indices[at], size).map_or(T::ZERO, |index| x[(o * size + index) * inner + i]);
        }
    });
    shape.wrong_index("gather", indices)
}

/// Adds `g` to the elements of `dx` that the indices name, starting from zeros.
///
/// # Errors
/// An index outside the axis is recorded in the context; its element of `g` is left out.
pub fn scatter(cx: &mut Cx<'_>, indices: Buf, g: Buf, dx: Buf, shape: Gather) {
    if let Some(error) = float!(cx, T => backward::<T>(cx, indices, g, dx, shape)) {
        cx.fail(error);
    }
}

fn backward<T: Real + Element>(
    cx: &mut Cx<'_>,
    indices: Buf,
    g: Buf,
    dx: Buf,
    shape: Gather,
) -> Option<Error> {
    let env = cx.env;
    let mut bind = cx.bind();
    let (indices, g): (&[i64], &[T]) = (bind.read(indices), bind.read(g));
    let dx = bind.write::<T>(dx);
    let Gather {
        outer,
        size,
        picks,
        inner,
    } = shape;
    assert_eq!(
        (dx.len(), g.len()),
        (outer * size * inner, outer * picks * inner),
        "scatter of {shape:?}"
    );
    let (block, terms) = (size * inner, picks * inner);
    let n = lanes::rows_per_task(block.max(terms));
    env.team.chunks_mut(dx, n * block, |task, dx| {
        dx.fill(T::ZERO);
        for (k, dx) in dx.chunks_mut(block).enumerate() {
            let first = (task * n + k) * terms;
            for (at, (&index, &g)) in indices[first..][..terms].iter().zip(&g[first..]).enumerate() {
                if let Some(index) = inside(index, size) {
                    dx[index * inner + at % inner] += g;
                }
            }
        }
    });
    shape.wrong_index("scatter_add", indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Precision;
    use crate::ops::testkit::{Desk, PRECISIONS, assert_close, normal, tolerance, whole};

    #[test]
    fn elements_are_read_and_their_gradients_added() {
        let shapes = [
            (1, 1, 1, 1),
            (4, 3, 5, 1),
            (2, 3, 2, 5),
            (1, 7, 9, 2),
            (0, 3, 2, 1),
            (3, 2, 0, 4),
            (70, 50, 9, 11),
        ];
        for (outer, size, picks, inner) in shapes {
            let shape = Gather {
                outer,
                size,
                picks,
                inner,
            };
            let (x, g) = (normal(outer * size * inner, 1), normal(outer * picks * inner, 2));
            let indices = whole(g.len(), size, 3);
            let (mut y, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
            for o in 0..outer {
                for j in 0..picks {
                    for i in 0..inner {
                        let to = (o * picks + j) * inner + i;
                        let from = (o * size + indices[to] as usize) * inner + i;
                        y[to] = x[from];
                        dx[from] += g[to];
                    }
                }
            }
            for precision in PRECISIONS {
                let mut desk = Desk::new(precision);
                let (x_buf, g_buf, i_buf) = (desk.floats(&x), desk.floats(&g), desk.ints(&indices));
                let (y_buf, dx_buf) = (desk.blank(y.len()), desk.blank(x.len()));
                let failure = desk.run(|cx| {
                    gather(cx, x_buf, i_buf, y_buf, shape);
                    scatter(cx, i_buf, g_buf, dx_buf, shape);
                });
                assert!(failure.is_none());
                assert_eq!(desk.read(y_buf), y, "{shape:?}");
                assert_close(
                    &desk.read(dx_buf),
                    &dx,
                    tolerance(precision),
                    &format!("{shape:?}"),
                );
            }
        }
    }

    #[test]
    fn an_index_outside_is_named_and_does_no_harm() {
        let shape = Gather {
            outer: 1,
            size: 3,
            picks: 4,
            inner: 1,
        };
        for index in [3, -1, i64::MAX] {
            let mut desk = Desk::new(Precision::F32);
            let (x, indices) = (desk.floats(&[1.0, 2.0, 3.0]), desk.ints(&[0, index, 2, 2]));
            let (y, dx) = (desk.blank(4), desk.blank(3));
            let error = desk.run(|cx| gather(cx, x, indices, y, shape)).expect("outside");
            assert_eq!(error.kind(), ErrorKind::Index);
            let message = format!("gather: index {index} (number 1 of the indices) is outside 0..3");
            assert_eq!(error.message(), message);
            assert_eq!(desk.read(y), [1.0, 0.0, 3.0, 3.0]);
            assert!(desk.run(|cx| scatter(cx, indices, y, dx, shape)).is_some());
            assert_eq!(desk.read(dx), [1.0, 0.0, 6.0]);
        }
    }
}

//! The place of the largest or smallest element along an axis.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::real::Real;

/// Which element is looked for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Extremum {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Elements a task reads, about; fewer are not worth a second thread.
const TASK: usize = 1 << 14;

/// `y[o, i]` is the index `k` of the extremum of `x[o, k, i]`, for `x` of shape `[outer, len, inner]`; the first of equal
/// ones, and the first NaN where there is any.
///
/// An axis without elements has no extremum: that is reported as a mistake in the data, and the result is 0.
///
/// # Panics
/// Where a buffer has another length: a mistake of the compiler.
pub fn arg(cx: &mut Cx<'_>, which: Extremum, x: Buf, y: Buf, outer: usize, len: usize, inner: usize) {
    assert_eq!(
        (x.len, y.len),
        (outer * len * inner, outer * inner),
        "buffers have the sizes of the shape"
    );
    if len == 0 && y.len > 0 {
        cx.bind().write::<i64>(y).fill(0);
        let name = if which == Extremum::Max {
            "argmax"
        } else {
            "argmin"
        };
        let message = format!("`{name}` along an axis without elements");
        return cx
            .fail(Error::new(ErrorKind::Shape, message).hint("pass at least one element along that axis"));
    }
    float!(cx, T => match which {
        Extremum::Max => search::<T>(cx, x, y, len, inner, |new, best| new > best),
        Extremum::Min => search::<T>(cx, x, y, len, inner, |new, best| new < best),
    })
}

fn search<T: Real + Element>(
    cx: &mut Cx<'_>,
    x: Buf,
    y: Buf,
    len: usize,
    inner: usize,
    is_better: impl Fn(T, T) -> bool + Sync,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let y = bind.write::<i64>(y);
    let chunk = if x.len() < 2 * TASK {
        y.len()
    } else {
        TASK / len + 1
    };
    env.team.chunks_mut(y, chunk, |task, ys| {
        for (k, y) in ys.iter_mut().enumerate() {
            let (outer, column) = ((task * chunk + k) / inner, (task * chunk + k) % inner);
            let elements = x[outer * len * inner + column..].iter().step_by(inner).take(len);
            let (mut best, mut place) = (x[outer * len * inner + column], 0);
            for (k, &x) in elements.enumerate() {
                let is_first_nan = Real::ne(x, x) && Real::eq(best, best);
                if is_better(x, best) || is_first_nan {
                    (best, place) = (x, k as i64);
                }
            }
            *y = place;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::ops::testbed::{Bed, PRECISIONS, numbers};

    fn found(which: Extremum, x: &[f64], [outer, len, inner]: [usize; 3]) -> Vec<i64> {
        let mut bed = Bed::new(PRECISIONS[0], 2);
        let (x, y) = (bed.floats(x), bed.output(Dtype::Int, outer * inner));
        assert!(bed.call(|cx| arg(cx, which, x, y, outer, len, inner)).is_none());
        bed.read_ints(y)
    }

    #[test]
    fn nothing_exceeds_what_was_found_and_nothing_before_it_equals() {
        for shape in [
            [1, 1, 1],
            [3, 10, 1],
            [0, 3, 2],
            [4, 5, 3],
            [700, 61, 1],
            [30, 7, 200],
        ] {
            let [outer, len, inner] = shape;
            // Few different values, so that there are ties.
            let x: Vec<f64> = numbers(outer * len * inner, 4)
                .iter()
                .map(|x| (x * 4.0).round())
                .collect();
            let (max, min) = (found(Extremum::Max, &x, shape), found(Extremum::Min, &x, shape));
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let at = |k: usize| x[(o * len + k) * inner + i];
                let (largest, smallest) = (max[o * inner + i] as usize, min[o * inner + i] as usize);
                assert!((0..len).all(|k| at(k) < at(largest) || at(k) == at(largest) && k >= largest));
                assert!((0..len).all(|k| at(k) > at(smallest) || at(k) == at(smallest) && k >= smallest));
            }
        }
    }

    #[test]
    fn the_first_nan_wins() {
        let x = [1.0, f64::NAN, 5.0, f64::NAN, -9.0];
        assert_eq!(found(Extremum::Max, &x, [1, 5, 1]), [1]);
        assert_eq!(found(Extremum::Min, &x, [1, 5, 1]), [1]);
    }

    #[test]
    fn an_empty_axis_is_a_mistake_in_the_data() {
        let mut bed = Bed::new(PRECISIONS[1], 1);
        let (x, y) = (bed.floats(&[]), bed.output(Dtype::Int, 2));
        let error = bed.call(|cx| arg(cx, Extremum::Max, x, y, 2, 0, 1)).unwrap();
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert_eq!(bed.read_ints(y), [0, 0]);
    }
}

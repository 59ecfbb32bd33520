//! Placing a tensor inside a larger one.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::real::Real;

/// Elements a task writes, about; fewer are not worth a second thread.
const TASK: usize = 1 << 15;

/// `y[starts + steps * i] = x[i]`, and `value` everywhere else; `x` has shape `from`, `y` has shape `to`.
///
/// # Panics
/// Where a buffer has another length than its shape says, or an element of `x` would lie outside `y`: mistakes of the
/// compiler.
#[expect(
    clippy::too_many_arguments,
    reason = "the emitted form lists buffers and sizes"
)]
pub fn pad<const R: usize>(
    cx: &mut Cx<'_>,
    x: Buf,
    y: Buf,
    from: [usize; R],
    to: [usize; R],
    starts: [usize; R],
    steps: [usize; R],
    value: f64,
) {
    let axes: [Axis; R] = std::array::from_fn(|k| Axis {
        from: from[k],
        to: to[k],
        start: starts[k],
        step: steps[k],
    });
    run(cx, x, y, &axes, value);
}

/// How one axis of `x` lies in that of `y`.
#[derive(Copy, Clone, Debug)]
struct Axis {
    from: usize,
    to: usize,
    start: usize,
    step: usize,
}

impl Axis {
    fn is_inside(&self) -> bool {
        self.step > 0 && (self.from == 0 || self.start + self.step * (self.from - 1) < self.to)
    }

    /// The index along `x` that lies at an index along `y`.
    fn source(&self, at: usize) -> Option<usize> {
        let past = at.checked_sub(self.start)?;
        (past.is_multiple_of(self.step) && past / self.step < self.from).then(|| past / self.step)
    }
}

fn run(cx: &mut Cx<'_>, x: Buf, y: Buf, axes: &[Axis], value: f64) {
    let sizes = (
        axes.iter().map(|a| a.from).product(),
        axes.iter().map(|a| a.to).product(),
    );
    assert_eq!(
        (x.len, y.len),
        sizes,
        "buffers of a padding have the sizes of their shapes"
    );
    assert!(
        axes.iter().all(Axis::is_inside),
        "a tensor is placed outside the larger one: {axes:?}"
    );
    float!(cx, T => place::<T>(cx, x, y, axes, T::from_f64(value)))
}

fn place<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, y: Buf, axes: &[Axis], value: T) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let y = bind.write::<T>(y);
    let whole = [Axis {
        from: 1,
        to: 1,
        start: 0,
        step: 1,
    }];
    let (last, outer) = axes.split_last().unwrap_or((&whole[0], &[]));
    if y.is_empty() {
        return;
    }
    let rows = (TASK / last.to).max(1);
    env.team.chunks_mut(y, rows * last.to, |task, ys| {
        for (k, row) in ys.chunks_exact_mut(last.to).enumerate() {
            row.fill(value);
            if let Some(source) = source_row(outer, task * rows + k) {
                let x = &x[source * last.from..(source + 1) * last.from];
                let places = row[last.start.min(last.to)..]
                    .iter_mut()
                    .step_by(last.step.max(1));
                places.zip(x).for_each(|(y, x)| *y = *x);
            }
        }
    });
}

/// The row of `x` that lies in a row of `y`.
fn source_row(outer: &[Axis], mut row: usize) -> Option<usize> {
    let (mut source, mut scale) = (0, 1);
    for axis in outer.iter().rev() {
        source += axis.source(row % axis.to)? * scale;
        row /= axis.to;
        scale *= axis.from;
    }
    Some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::ops::testbed::{Bed, PRECISIONS, numbers};

    /// Every element of `x` to its place, by the definition.
    fn naive(x: &[f64], axes: &[Axis], value: f64) -> Vec<f64> {
        let mut y = vec![value; axes.iter().map(|a| a.to).product()];
        for (flat, x) in x.iter().enumerate() {
            let (mut rest, mut at, mut scale) = (flat, 0, 1);
            for axis in axes.iter().rev() {
                at += (axis.start + axis.step * (rest % axis.from)) * scale;
                rest /= axis.from;
                scale *= axis.to;
            }
            y[at] = *x;
        }
        y
    }

    #[test]
    fn places_every_element_and_fills_the_rest() {
        let cases: [&[(usize, usize, usize, usize)]; 8] = [
            &[],
            &[(3, 8, 2, 1)],
            &[(3, 8, 1, 3)],
            &[(2, 5, 1, 2), (3, 3, 0, 1)],
            &[(1, 1, 0, 1), (4, 6, 1, 1), (5, 11, 0, 2)],
            &[(0, 3, 0, 1), (2, 2, 0, 1)],
            &[(0, 0, 0, 1), (2, 4, 1, 1)],
            &[(70, 80, 5, 1), (300, 610, 1, 2)],
        ];
        for (precision, case) in PRECISIONS.into_iter().flat_map(|p| cases.map(|c| (p, c))) {
            let axes: Vec<Axis> = case
                .iter()
                .map(|&(from, to, start, step)| Axis {
                    from,
                    to,
                    start,
                    step,
                })
                .collect();
            let x = numbers(axes.iter().map(|a| a.from).product(), 3);
            let want = naive(&x, &axes, -1.5);
            let mut bed = Bed::new(precision, 2);
            let (source, y) = (bed.floats(&x), bed.output(Dtype::Float, want.len()));
            bed.call(|cx| run(cx, source, y, &axes, -1.5));
            assert_eq!(bed.read_floats(y), want, "{case:?}");
        }
    }

    #[test]
    #[should_panic(expected = "placed outside")]
    fn nothing_is_placed_outside() {
        let mut bed = Bed::new(PRECISIONS[0], 1);
        let (x, y) = (bed.floats(&[1.0; 3]), bed.output(Dtype::Float, 4));
        bed.call(|cx| pad(cx, x, y, [3], [4], [2], [1], 0.0));
    }
}

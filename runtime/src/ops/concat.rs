//! Joining two tensors along an axis.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::dtype::Element;

/// Elements a task copies, about; fewer are not worth a second thread.
const TASK: usize = 1 << 15;

/// Interleaves `outer` blocks of `first` and `second` elements: `y[o] = [a[o], b[o]]`. For tensors joined along an axis,
/// `outer` is the product of the sizes before it, a block all that follows.
///
/// # Panics
/// Where a buffer has another length: a mistake of the compiler.
pub fn concat(cx: &mut Cx<'_>, a: Buf, b: Buf, y: Buf, outer: usize, first: usize, second: usize) {
    // Only the width matters. Floats of 64 bits travel as integers, which no move can change.
    match y.width {
        1 => join::<u8>(cx, a, b, y, [outer, first, second]),
        4 => join::<f32>(cx, a, b, y, [outer, first, second]),
        _ => join::<i64>(cx, a, b, y, [outer, first, second]),
    }
}

fn join<T: Element>(cx: &mut Cx<'_>, a: Buf, b: Buf, y: Buf, [outer, first, second]: [usize; 3]) {
    let env = cx.env;
    let sizes = (outer * first, outer * second, outer * (first + second));
    assert_eq!(
        (a.len, b.len, y.len),
        sizes,
        "buffers of a concatenation have the sizes of their shapes"
    );
    let mut bind = cx.bind();
    let (a, b): (&[T], &[T]) = (bind.read(a), bind.read(b));
    let y = bind.write::<T>(y);
    let block = first + second;
    if y.is_empty() {
        return;
    }
    let blocks = (TASK / block).max(1);
    env.team.chunks_mut(y, blocks * block, |task, ys| {
        for (k, y) in ys.chunks_exact_mut(block).enumerate() {
            let k = task * blocks + k;
            let (head, tail) = y.split_at_mut(first);
            head.copy_from_slice(&a[k * first..(k + 1) * first]);
            tail.copy_from_slice(&b[k * second..(k + 1) * second]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::ops::testbed::{Bed, PRECISIONS, numbers};

    #[test]
    fn blocks_alternate() {
        for precision in PRECISIONS {
            for [outer, first, second] in [[1, 1, 1], [3, 2, 5], [0, 2, 2], [4, 0, 3], [300, 70, 130]] {
                let (a, b) = (numbers(outer * first, 1), numbers(outer * second, 2));
                let mut bed = Bed::new(precision, 2);
                let (fa, fb) = (bed.floats(&a), bed.floats(&b));
                let y = bed.output(Dtype::Float, outer * (first + second));
                bed.call(|cx| concat(cx, fa, fb, y, outer, first, second));
                let want: Vec<f64> = (0..outer)
                    .flat_map(|k| [&a[k * first..][..first], &b[k * second..][..second]].concat())
                    .collect();
                assert_eq!(bed.read_floats(y), want);
            }
        }
    }

    #[test]
    fn integers_and_truth_values_are_joined_too() {
        let mut bed = Bed::new(PRECISIONS[0], 1);
        let (a, b, y) = (
            bed.ints(&[1, 2]),
            bed.ints(&[i64::MAX]),
            bed.output(Dtype::Int, 3),
        );
        bed.call(|cx| concat(cx, a, b, y, 1, 2, 1));
        assert_eq!(bed.read_ints(y), [1, 2, i64::MAX]);
        let (a, b, y) = (
            bed.bools(&[true, false]),
            bed.bools(&[true]),
            bed.output(Dtype::Bool, 3),
        );
        bed.call(|cx| concat(cx, a, b, y, 1, 2, 1));
        assert_eq!(bed.read_bools(y), [1, 0, 1]);
    }
}

//! Joining tensors along an axis.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::dtype::Element;

/// Elements a task copies, about; fewer are not worth a second thread.
const TASK: usize = 1 << 15;

/// The most tensors of one call, which bounds what it binds.
const MAX_PARTS: usize = 16;

/// Interleaves `outer` blocks of each part: `y[o] = [parts[0][o], parts[1][o], ..]`. For tensors joined along an axis, `outer` is
/// the product of the sizes before it, a block all that follows.
///
/// # Panics
/// Where a buffer has another length, or there are more than 16 parts: mistakes of the compiler.
pub fn concat<const N: usize>(cx: &mut Cx<'_>, parts: [Buf; N], y: Buf, outer: usize, blocks: [usize; N]) {
    // Only the width matters. Floats of 64 bits travel as integers, which no move can change.
    match y.width {
        1 => join::<u8>(cx, &parts, y, outer, &blocks),
        4 => join::<f32>(cx, &parts, y, outer, &blocks),
        _ => join::<i64>(cx, &parts, y, outer, &blocks),
    }
}

fn join<T: Element>(cx: &mut Cx<'_>, parts: &[Buf], y: Buf, outer: usize, blocks: &[usize]) {
    let env = cx.env;
    let whole: usize = blocks.iter().sum();
    let fits = parts
        .iter()
        .zip(blocks)
        .all(|(part, block)| part.len == outer * block);
    assert!(
        fits && y.len == outer * whole && parts.len() <= MAX_PARTS,
        "buffers of a concatenation have the sizes of their shapes"
    );
    let mut bind = cx.bind();
    let mut sources: [&[T]; MAX_PARTS] = [&[]; MAX_PARTS];
    for (source, part) in sources.iter_mut().zip(parts) {
        *source = bind.read(*part);
    }
    let y = bind.write::<T>(y);
    if y.is_empty() {
        return;
    }
    let rows = (TASK / whole).max(1);
    env.team.chunks_mut(y, rows * whole, |task, ys| {
        for (k, y) in ys.chunks_exact_mut(whole).enumerate() {
            let (k, mut from) = (task * rows + k, 0);
            for (source, &block) in sources.iter().zip(blocks) {
                y[from..from + block].copy_from_slice(&source[k * block..][..block]);
                from += block;
            }
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
                let y = bed.output(Dtype::Float, outer * (2 * first + second));
                bed.call(|cx| concat(cx, [fa, fb, fa], y, outer, [first, second, first]));
                let first_of = |k: usize| &a[k * first..][..first];
                let want: Vec<f64> = (0..outer)
                    .flat_map(|k| [first_of(k), &b[k * second..][..second], first_of(k)].concat())
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
        bed.call(|cx| concat(cx, [a, b], y, 1, [2, 1]));
        assert_eq!(bed.read_ints(y), [1, 2, i64::MAX]);
        let (a, b, y) = (
            bed.bools(&[true, false]),
            bed.bools(&[true]),
            bed.output(Dtype::Bool, 3),
        );
        bed.call(|cx| concat(cx, [a, b], y, 1, [2, 1]));
        assert_eq!(bed.read_bools(y), [1, 0, 1]);
    }
}

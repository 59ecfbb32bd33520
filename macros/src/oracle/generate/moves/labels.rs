//! Moves by integers: tables of vectors, elements by number, indicator vectors, extrema, losses of class labels.

use super::is_float;
use crate::ir::{DType, Flag, Scalar, Value};
use crate::ops::Op;
use crate::ops::arg::{Arg, Extremum};
use crate::ops::cross_entropy::{CrossEntropy, Scores, class_axis};
use crate::ops::ctc::Ctc;
use crate::ops::gather::Scatter;
use crate::ops::leaf::LeafKind;
use crate::ops::loss::LossReduction;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::softmax::{Softmax, SoftmaxKind};
use crate::oracle::generate::Draft;
use crate::oracle::tensor::{Tensor, build};
use crate::shape::Dim;

/// An axis of a float tensor along which there is something.
fn axis_with_elements(draft: &mut Draft, x: Value) -> Option<(usize, usize)> {
    if !is_float(draft, x) {
        return None;
    }
    let shape = draft.see(x).shape().to_vec();
    let axes: Vec<usize> = (0..shape.len()).filter(|&k| shape[k] > 0).collect();
    let axis = *axes.get(draft.dice.below(axes.len().max(1)))?;
    Some((axis, shape[axis]))
}

/// Integers of the program, which are never below zero, and a number above all that they can become when parameters change.
fn integers(draft: &mut Draft) -> (Value, usize) {
    let found = draft.other(|ty| ty.dtype == DType::Int);
    let bound = found.and_then(|x| bound(draft, x).map(|bound| (x, bound)));
    bound.unwrap_or_else(|| {
        let (classes, n) = (1 + draft.dice.below(5), draft.dim());
        (draft.labels(vec![n], classes), classes)
    })
}

fn bound(draft: &mut Draft, x: Value) -> Option<usize> {
    let node = draft.b.graph.node(x.node).clone();
    match (&node.op, node.leaf()) {
        (_, Some(LeafKind::Input(_))) => {
            let values = draft.see(x).int();
            Some(1 + values.iter().copied().max().unwrap_or(0) as usize)
        }
        (Op::Arg(op), _) => Some(draft.see(node.inputs[0]).shape()[op.axis]),
        _ => None,
    }
}

/// Rows of a new table.
pub fn embedding(draft: &mut Draft, _: Value) -> Option<Value> {
    let (tokens, bound) = integers(draft);
    let rows = bound + draft.dice.below(2);
    let width = 1 + draft.dice.below(4);
    let table = draft.param(vec![Dim::lit(rows as i64), Dim::lit(width as i64)]);
    Some(draft.b.embedding(tokens, table, None))
}

/// Slices along an axis.
pub fn take(draft: &mut Draft, x: Value) -> Option<Value> {
    let (axis, size) = axis_with_elements(draft, x)?;
    let n = draft.dim();
    let indices = draft.labels(vec![n], size);
    Some(draft.b.take(x, indices, axis))
}

/// Elements along an axis.
pub fn gather(draft: &mut Draft, x: Value) -> Option<Value> {
    let (axis, size) = axis_with_elements(draft, x)?;
    let mut shape = draft.b.shape(x);
    shape[axis] = draft.dim();
    let indices = draft.labels(shape, size);
    Some(draft.b.gather(x, indices, axis))
}

/// Elements added where integers say.
pub fn scatter(draft: &mut Draft, x: Value) -> Option<Value> {
    let (axis, _) = axis_with_elements(draft, x)?;
    let size = 1 + draft.dice.below(4);
    let shape = draft.b.shape(x);
    let indices = draft.labels(shape, size);
    let size = Dim::lit(size as i64);
    Some(draft.b.push(Scatter { axis, size }, &[indices, x]))
}

/// Indicator vectors.
pub fn one_hot(draft: &mut Draft, _: Value) -> Option<Value> {
    let (labels, bound) = integers(draft);
    let classes = bound + draft.dice.below(2);
    Some(draft.b.one_hot(labels, Dim::lit(classes as i64)))
}

/// The place of the largest or smallest element.
pub fn extremum(draft: &mut Draft, x: Value) -> Option<Value> {
    let (axis, _) = axis_with_elements(draft, x)?;
    let which = [Extremum::Max, Extremum::Min][draft.dice.below(2)];
    Some(draft.b.push(Arg { which, axis }, &[x]))
}

/// The largest score where it is that of the label, minus it elsewhere.
pub fn hit(draft: &mut Draft, x: Value) -> Option<Value> {
    let (axis, size) = axis_with_elements(draft, x)?;
    let mut shape = draft.b.shape(x);
    shape.remove(axis);
    let which = Extremum::Max;
    let found = draft.b.push(Arg { which, axis }, &[x]);
    let labels = draft.labels(shape, size);
    let mask = draft.b.pointwise("eq", &[found, labels]);
    let axes = vec![axis];
    let kind = ReduceKind::Max;
    let best = draft.b.push(Reduce { kind, axes }, &[x]);
    let worse = draft.b.neg(best);
    Some(draft.b.select(mask, best, worse))
}

/// The loss of class labels: all reductions, with and without smoothing, weights of classes and labels that do not count.
pub fn cross_entropy(draft: &mut Draft, x: Value) -> Option<Value> {
    let rank = draft.b.ty(x).rank();
    if !is_float(draft, x) || rank == 0 {
        return None;
    }
    let axis = class_axis(rank);
    let classes = draft.see(x).shape()[axis];
    if classes == 0 {
        return None;
    }
    let mut shape = draft.b.shape(x);
    let class_dim = shape.remove(axis);
    let labels = draft.labels(shape, classes);
    let weight = (draft.dice.below(3) == 0).then(|| {
        let values = build(&[classes], |_| {
            1.0 + 0.5 * f64::from(draft.dice.symmetric() as f32)
        });
        draft.argument(vec![class_dim], Tensor::Float(values))
    });
    let reductions = [LossReduction::Mean, LossReduction::Sum, LossReduction::None];
    let scores = [Scores::Logits, Scores::LogProbabilities][draft.dice.weighted(&[3, 1])];
    let smoothing = match (scores, draft.dice.below(3)) {
        (Scores::LogProbabilities, _) | (_, 0) => Scalar::lit(0.0),
        (_, 1) => Scalar::lit(0.1),
        (_, _) => Scalar::Arg("alpha".into()),
    };
    let op = CrossEntropy {
        scores,
        smoothing,
        ignore_index: [-100, 0, 1][draft.dice.below(3)],
        reduction: reductions[draft.dice.below(3)],
    };
    let x = match scores {
        Scores::Logits => x,
        Scores::LogProbabilities => {
            let kind = SoftmaxKind::Logarithms;
            draft.b.push(Softmax { kind, axis }, &[x])
        }
    };
    Some(draft.b.cross_entropy(op, x, labels, weight))
}

/// The loss of labels without places: all reductions and blanks, targets and frames of any length. What cannot be aligned
/// counts as nothing, for infinities have no differences.
pub fn ctc(draft: &mut Draft, x: Value) -> Option<Value> {
    let mut shape = draft.b.shape(x);
    if !is_float(draft, x) || !(2..=3).contains(&shape.len()) {
        return None;
    }
    let x = if shape.len() == 2 {
        shape.insert(0, Dim::lit(1));
        draft.b.reshape(x, shape.clone())
    } else {
        x
    };
    let (frames, classes) = (draft.see(x).shape()[1], draft.see(x).shape()[2]);
    // The twin visits all alignments.
    if classes < 2 || frames > 8 {
        return None;
    }
    let labels = draft.dice.below(4);
    // Labels are drawn from all classes but the last.
    let targets = draft.labels(vec![shape[0].clone(), Dim::lit(labels as i64)], classes - 1);
    let input_lengths = draft.labels(vec![shape[0].clone()], frames + 1);
    let target_lengths = draft.labels(vec![shape[0].clone()], labels + 1);
    let reductions = [LossReduction::Mean, LossReduction::Sum, LossReduction::None];
    let op = Ctc {
        blank: Dim::lit(classes as i64 - 1),
        zero_infinity: Flag::Yes,
        reduction: reductions[draft.dice.below(3)],
    };
    let x = match draft.dice.below(3) {
        0 => draft.within(x, (-2.0, 2.0)),
        _ => {
            let (kind, axis) = (SoftmaxKind::Logarithms, 2);
            draft.b.push(Softmax { kind, axis }, &[x])
        }
    };
    Some(draft.b.push(op, &[x, targets, input_lengths, target_lengths]))
}

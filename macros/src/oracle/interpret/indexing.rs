//! Operations that read or write at indices given by integers.

use ndarray::{ArrayD, IxDyn};

use super::super::tensor::{Tensor, build, indices};
use super::Node;
use crate::ops::embedding::{Lookup, Take, TakeGrad};
use crate::ops::gather::{Gather, Scatter};
use crate::ops::one_hot::OneHot;

/// The element of the table that index `i` of the result of a [`Take`] is.
fn row(op: &Take, table: &ArrayD<i64>, i: &[usize]) -> (i64, Vec<usize>) {
    let (before, after) = (op.axis, op.axis + table.ndim());
    let token = table[&i[before..after]];
    let place = usize::try_from(token).expect("an index inside the table");
    (token, [&i[..before], &[place], &i[after..]].concat())
}

pub(super) fn take(op: &Take, node: &Node<'_>) -> Vec<Tensor> {
    let (x, picks) = (node.inputs[0].float(), node.inputs[1].int());
    vec![Tensor::Float(build(&node.shapes[0], |i| {
        x[&row(op, picks, i).1[..]]
    }))]
}

pub(super) fn take_grad(op: &TakeGrad, node: &Node<'_>) -> Vec<Tensor> {
    let (picks, g) = (node.inputs[0].int(), node.inputs[1].float());
    let padding = match op.of.lookup {
        Lookup::Embedding { padding } => padding,
        Lookup::Take => None,
    };
    let mut bar = ArrayD::zeros(IxDyn(&node.shapes[0]));
    indices(g.shape(), |i| {
        let (token, place) = row(&op.of, picks, i);
        if Some(token) != padding {
            bar[&place[..]] += g[i];
        }
    });
    vec![Tensor::Float(bar)]
}

/// Index `i` with the entry of `axis` replaced by the integer that lies there.
fn redirected(picks: &ArrayD<i64>, axis: usize, i: &[usize]) -> Vec<usize> {
    let mut place = i.to_vec();
    place[axis] = usize::try_from(picks[i]).expect("an index inside the axis");
    place
}

pub(super) fn gather(op: &Gather, node: &Node<'_>) -> Vec<Tensor> {
    let (x, picks) = (node.inputs[0].float(), node.inputs[1].int());
    let read = |i: &[usize]| x[&redirected(picks, op.axis, i)[..]];
    vec![Tensor::Float(build(&node.shapes[0], read))]
}

pub(super) fn scatter(op: &Scatter, node: &Node<'_>) -> Vec<Tensor> {
    let (picks, source) = (node.inputs[0].int(), node.inputs[1].float());
    let mut y = ArrayD::zeros(IxDyn(&node.shapes[0]));
    indices(source.shape(), |i| {
        y[&redirected(picks, op.axis, i)[..]] += source[i]
    });
    vec![Tensor::Float(y)]
}

pub(super) fn one_hot(_: &OneHot, node: &Node<'_>) -> Vec<Tensor> {
    let labels = node.inputs[0].int();
    vec![Tensor::Float(build(&node.shapes[0], |i| {
        let (class, at) = i.split_last().expect("the classes are an axis");
        if labels[at] == *class as i64 { 1.0 } else { 0.0 }
    }))]
}

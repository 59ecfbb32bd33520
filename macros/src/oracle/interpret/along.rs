//! Operations along one axis: softmax, running sums, places of extrema, joining.

use super::super::tensor::{Tensor, build};
use super::Node;
use crate::ops::arg::{Arg, Extremum};
use crate::ops::concat::Concat;
use crate::ops::cumsum::{Cumsum, Direction};
use crate::ops::softmax::{Softmax, SoftmaxGrad, SoftmaxKind};
use ndarray::ArrayD;

/// The elements that differ from an index along one axis only.
fn line(x: &ArrayD<f64>, index: &[usize], axis: usize) -> Vec<f64> {
    let mut index = index.to_vec();
    (0..x.shape()[axis])
        .map(|k| {
            index[axis] = k;
            x[&index[..]]
        })
        .collect()
}

pub(super) fn softmax(op: &Softmax, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    vec![Tensor::Float(build(&node.shapes[0], |i| {
        let line = line(x, i, op.axis);
        let max = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = line.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        let log = line[i[op.axis]] - max - log_sum;
        match op.kind {
            SoftmaxKind::Probabilities => log.exp(),
            SoftmaxKind::Logarithms => log,
        }
    }))]
}

/// `sum_j g_j dy_j / dx_k`, from the result y and its cotangent g.
pub(super) fn softmax_grad(op: &SoftmaxGrad, node: &Node<'_>) -> Vec<Tensor> {
    let (y, g) = (node.inputs[0].float(), node.inputs[1].float());
    vec![Tensor::Float(build(&node.shapes[0], |i| {
        let (y, g, k) = (line(y, i, op.axis), line(g, i, op.axis), i[op.axis]);
        let terms = (0..y.len()).map(|j| {
            let same = if j == k { 1.0 } else { 0.0 };
            g[j] * match op.kind {
                SoftmaxKind::Probabilities => y[j] * (same - y[k]),
                SoftmaxKind::Logarithms => same - y[k].exp(),
            }
        });
        terms.sum::<f64>()
    }))]
}

pub(super) fn cumsum(op: &Cumsum, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    vec![Tensor::Float(build(&node.shapes[0], |i| {
        let (line, k) = (line(x, i, op.axis), i[op.axis]);
        match op.direction {
            Direction::Forward => line[..=k].iter().sum::<f64>(),
            Direction::Backward => line[k..].iter().sum::<f64>(),
        }
    }))]
}

pub(super) fn arg(op: &Arg, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    vec![Tensor::Int(build(&node.shapes[0], |i| {
        let mut index = i.to_vec();
        index.insert(op.axis, 0);
        let line = line(x, &index, op.axis);
        if let Some(k) = line.iter().position(|x| x.is_nan()) {
            return k as i64;
        }
        let beats = |a: f64, b: f64| match op.which {
            Extremum::Max => a > b,
            Extremum::Min => a < b,
        };
        let first = (0..line.len()).find(|&k| line.iter().all(|&other| !beats(other, line[k])));
        first.expect("an axis with elements") as i64
    }))]
}

pub(super) fn concat(op: &Concat, node: &Node<'_>) -> Vec<Tensor> {
    // The part in which an element of the result lies, and where.
    let find = |i: &[usize]| {
        let (mut own, mut part) = (i.to_vec(), 0);
        while own[op.axis] >= node.inputs[part].shape()[op.axis] {
            own[op.axis] -= node.inputs[part].shape()[op.axis];
            part += 1;
        }
        (node.inputs[part], own)
    };
    let shape = &node.shapes[0];
    let other = "tensors of one kind are joined";
    vec![match node.inputs[0] {
        Tensor::Float(_) => Tensor::Float(build(shape, |i| match find(i) {
            (Tensor::Float(x), own) => x[&own[..]],
            _ => panic!("{other}"),
        })),
        Tensor::Int(_) => Tensor::Int(build(shape, |i| match find(i) {
            (Tensor::Int(x), own) => x[&own[..]],
            _ => panic!("{other}"),
        })),
        Tensor::Bool(_) => Tensor::Bool(build(shape, |i| match find(i) {
            (Tensor::Bool(x), own) => x[&own[..]],
            _ => panic!("{other}"),
        })),
    }]
}

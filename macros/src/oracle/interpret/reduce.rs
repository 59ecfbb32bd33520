//! Reductions.

use ndarray::{ArrayD, IxDyn};

use super::super::tensor::{Tensor, indices};
use super::Node;
use crate::ops::reduce::{Reduce, ReduceKind};

pub(super) fn reduce(reduce: &Reduce, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    let (start, step): (f64, fn(f64, f64) -> f64) = match reduce.kind {
        ReduceKind::Sum => (0.0, |a, b| a + b),
        ReduceKind::Prod => (1.0, |a, b| a * b),
        ReduceKind::Max => (f64::NEG_INFINITY, larger),
        ReduceKind::Min => (f64::INFINITY, |a, b| -larger(-a, -b)),
    };
    let mut y = ArrayD::from_elem(IxDyn(&node.shapes[0]), start);
    indices(x.shape(), |i| {
        let kept: Vec<usize> = (0..i.len())
            .filter(|k| !reduce.axes.contains(k))
            .map(|k| i[k])
            .collect();
        y[&kept[..]] = step(y[&kept[..]], x[i]);
    });
    vec![Tensor::Float(y)]
}

/// The larger of both, NaN where either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a > b {
        a
    } else {
        b
    }
}

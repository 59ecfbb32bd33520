//! Positions, by the formulas of "Attention is all you need" (3.5) and "RoFormer" (with the halves as pairs).

use super::super::tensor::{Tensor, build};
use super::Node;
use crate::ops::position::{Rotary, Sinusoid, Turn};

pub(super) fn sinusoid(op: &Sinusoid, node: &Node<'_>) -> Vec<Tensor> {
    let base = node.world.scalar(&op.base);
    let shape = &node.shapes[0];
    vec![Tensor::Float(build(shape, |index| {
        let (t, column) = (index[0] as f64, index[1]);
        let angle = t / base.powf((column - column % 2) as f64 / shape[1] as f64);
        if column % 2 == 0 { angle.sin() } else { angle.cos() }
    }))]
}

pub(super) fn rotary(op: &Rotary, node: &Node<'_>) -> Vec<Tensor> {
    let base = node.world.scalar(&op.base);
    let x = node.inputs[0].float();
    let last = x.ndim() - 1;
    let half = x.shape()[last] / 2;
    vec![Tensor::Float(build(x.shape(), |index| {
        let (t, pair) = (index[last - 1] as f64, index[last] % half);
        let angle = t / base.powf(pair as f64 / half as f64);
        let angle = match op.turn {
            Turn::Forward => angle,
            Turn::Backward => -angle,
        };
        let (mut left, mut right) = (index.to_vec(), index.to_vec());
        (left[last], right[last]) = (pair, pair + half);
        let (left, right) = (x[&left[..]], x[&right[..]]);
        if index[last] < half {
            left * angle.cos() - right * angle.sin()
        } else {
            right * angle.cos() + left * angle.sin()
        }
    }))]
}

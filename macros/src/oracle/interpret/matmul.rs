//! Products of matrices.

use super::super::tensor::{Tensor, build};
use super::Node;
use crate::ops::matmul::Matmul;

pub(super) fn matmul(_: &Matmul, node: &Node<'_>) -> Vec<Tensor> {
    let (a, b) = (node.inputs[0].float(), node.inputs[1].float());
    let rank = a.ndim();
    vec![Tensor::Float(build(&node.shapes[0], |index| {
        let (mut left, mut right) = (index.to_vec(), index.to_vec());
        let terms = (0..a.shape()[rank - 1]).map(|p| {
            left[rank - 1] = p;
            right[rank - 2] = p;
            a[&left[..]] * b[&right[..]]
        });
        terms.sum::<f64>()
    }))]
}

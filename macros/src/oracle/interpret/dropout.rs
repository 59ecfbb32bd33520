//! Dropout. The random words are those of the runtime's streams: they are part of what the operation means.

use tapeless_runtime::rng::Key;

use super::super::tensor::Tensor;
use super::Node;
use crate::ops::dropout::{Dropout, Unit};

pub(super) fn dropout(dropout: &Dropout, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    let rate = node.world.scalar(&dropout.rate);
    let key = Key {
        seed: node.world.seed,
        stream: dropout.stream,
    };
    let key = node
        .world
        .steps
        .iter()
        .fold(key, |key, &step| key.at(step as u64));
    let stream = key.stream(node.world.step);
    let group = match dropout.unit {
        Unit::Element => 1,
        Unit::Channel => x.shape()[2..].iter().product(),
    };
    let mut y = x.clone();
    for (element, value) in y.iter_mut().enumerate() {
        let word = stream.u32((element / group) as u64);
        let is_dropped = f64::from(word) < (rate * 2f64.powi(32)).round();
        *value = if is_dropped { 0.0 } else { *value / (1.0 - rate) };
    }
    vec![Tensor::Float(y)]
}

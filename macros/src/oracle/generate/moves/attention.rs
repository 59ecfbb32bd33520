//! Moves on sequences `[.., T, D]`: attention to themselves and to others, and positions.

use super::is_float;
use crate::ir::{DType, Scalar, Value};
use crate::ops::attention::{Options, Reach};
use crate::oracle::generate::Draft;
use crate::oracle::tensor::{Tensor, build};
use crate::shape::Dim;

/// Whether a tensor is a sequence of vectors with a known number of features, at least one.
fn is_sequence(draft: &Draft, x: Value) -> bool {
    let ty = draft.b.ty(x);
    let has_features = ty.shape.last().is_some_and(|n| n.as_lit().is_some_and(|n| n > 0));
    is_float(draft, x) && ty.rank() >= 2 && has_features
}

/// Attention to another sequence of the program that fits, or to itself, with whatever options.
pub fn attention(draft: &mut Draft, x: Value) -> Option<Value> {
    if !is_sequence(draft, x) {
        return None;
    }
    let shape = draft.b.shape(x);
    let positions = shape.len() - 2;
    let others = draft.other(|ty| {
        let mut wanted = ty.shape.clone();
        if wanted.len() == shape.len() {
            wanted[positions] = shape[positions].clone();
        }
        ty.dtype == DType::Float && wanted == shape
    });
    // Sharp peaks have large differences of higher order, which the finite ones see.
    let [q, k] = [x, others.unwrap_or(x)].map(|x| draft.within(x, (-1.0, 1.0)));
    let keys = draft.b.shape(k)[positions].clone();
    let mask = mask(draft, &shape[positions], &keys);
    let options = Options {
        mask,
        reach: [Reach::All, Reach::Causal][draft.dice.below(2)],
        scale: (draft.dice.below(2) == 0).then(|| Scalar::lit(0.5)),
        dropout: Scalar::lit([0.0, 0.3][draft.dice.below(2)]),
    };
    draft.b.attention([q, k, k], options).ok()
}

/// No mask, truth values for every query and key, or a number for every key, trained where their number is known.
fn mask(draft: &mut Draft, queries: &Dim, keys: &Dim) -> Option<Value> {
    match draft.dice.below(3) {
        0 => None,
        1 => {
            let dims = vec![queries.clone(), keys.clone()];
            let sizes = draft.world.shape(&dims);
            let values = build(&sizes, |_| draft.dice.below(3) > 0);
            Some(draft.argument(dims, Tensor::Bool(values)))
        }
        _ if keys.as_lit().is_some() => Some(draft.param(vec![keys.clone()])),
        _ => Some(draft.input(vec![keys.clone()])),
    }
}

/// A rotation of twice as many features as there are, so that they are an even number.
pub fn rotary(draft: &mut Draft, x: Value) -> Option<Value> {
    if !is_sequence(draft, x) {
        return None;
    }
    let inner = draft.b.shape(x).last()?.clone();
    let pairs = 1 + draft.dice.below(2) as i64;
    let w = draft.param(vec![Dim::lit(2 * pairs), inner]);
    let y = draft.b.linear(x, w, None);
    Some(draft.b.rotary(y, Scalar::lit(20.0)))
}

/// The sines and cosines of positions added.
pub fn positions(draft: &mut Draft, x: Value) -> Option<Value> {
    if !is_sequence(draft, x) {
        return None;
    }
    draft.b.add_positions(x, Scalar::lit(1e4)).ok()
}

//! Sums of parts that lie side by side: the gradient of a tensor that was taken apart.
//!
//! ```text
//! pad(a, at 0) + pad(b, at 4) + pad(c, at 8)     becomes     concat(a, b, c)
//! ```
//!
//! Every slice has its gradient placed into zeros, and these are added up. Where they fill the whole tensor along one axis, once
//! each, nobody needs the zeros. Only the sign of a zero may differ.

use super::Rewrite;
use crate::ir::{Graph, Type, Value};
use crate::ops::Op;
use crate::ops::concat::{Concat, MAX_PARTS};
use crate::ops::pad::Pad;
use crate::shape::Dim;

/// The sum as a concatenation.
pub(super) fn sum_of_parts(graph: &Graph, op: &Op, inputs: &[Value], ty: &Type) -> Option<Rewrite> {
    if !is_add(op) {
        return None;
    }
    let mut parts = Vec::new();
    inputs
        .iter()
        .try_for_each(|input| collect(graph, *input, &mut parts))?;
    let axis = parts.iter().find_map(|part| part.axis)?;
    if parts
        .iter()
        .any(|part| part.axis.is_some_and(|other| other != axis))
    {
        return None;
    }
    let (mut joined, mut end) = (Vec::with_capacity(parts.len()), Dim::zero());
    while !parts.is_empty() {
        let next = parts.iter().position(|part| part.pad.starts[axis] == end)?;
        let part = parts.swap_remove(next);
        end = end + &graph.ty(part.value).shape[axis];
        joined.push(part.value);
    }
    (end == ty.shape[axis]).then(|| Rewrite::Instead(Concat { axis }.into(), joined))
}

fn is_add(op: &Op) -> bool {
    matches!(op, Op::Pointwise(row) if row.0.name == "add")
}

/// A tensor that is placed into zeros.
struct Part<'a> {
    pad: &'a Pad,
    value: Value,
    /// The axis along which it is moved from the beginning.
    axis: Option<usize>,
}

/// The terms of a sum, if all of them are parts, each as large as the whole along all axes but one at most.
fn collect<'a>(graph: &'a Graph, term: Value, parts: &mut Vec<Part<'a>>) -> Option<()> {
    let node = graph.node(term.node);
    match &node.op {
        Op::Pad(pad) if pad.value.as_lit() == Some(0.0) && parts.len() < MAX_PARTS => {
            let (value, shape) = (node.inputs[0], &graph.ty(node.inputs[0]).shape);
            let mut differing = (0..shape.len()).filter(|&k| shape[k] != pad.shape[k]);
            let axis = differing.next();
            let fits = differing.next().is_none()
                && pad.steps.iter().all(|&step| step == 1)
                && pad
                    .starts
                    .iter()
                    .enumerate()
                    .all(|(k, start)| Some(k) == axis || start.is_zero());
            fits.then(|| parts.push(Part { pad, value, axis }))
        }
        op if is_add(op) => node
            .inputs
            .iter()
            .try_for_each(|input| collect(graph, *input, parts)),
        _ => None,
    }
}

//! Loops: over the slices of a value, and over stacked parameters as layers; with bodies of a few random operations, loops inside
//! of them among these.

use super::is_float;
use crate::ir::{Builder, DType, Scalar, Steps, Value};
use crate::ops::Op;
use crate::ops::dropout::Unit;
use crate::ops::fill::Fill;
use crate::ops::matmul::Matmul;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::scan::{Order, Recording, Role};
use crate::ops::softmax::{Softmax, SoftmaxKind};
use crate::oracle::generate::{Dice, Draft};
use crate::shape::Dim;

/// Along the first axis of a value, with a row as carry.
pub fn recurrence(draft: &mut Draft, x: Value) -> Option<Value> {
    let ty = draft.b.ty(x).clone();
    if !is_float(draft, x) || ty.rank() < 2 {
        return None;
    }
    let count = ty.shape[0].clone();
    let row = ty.with_shape(ty.shape[1..].to_vec());
    let first = match draft.other(|other| *other == row) {
        Some(found) => found,
        None => draft.b.push(
            Fill {
                value: 0.5.into(),
                ty: row.clone(),
            },
            &[],
        ),
    };
    let mut operands = vec![(draft.within(x, (-1.5, 1.5)), Role::Step), (first, Role::Carry)];
    if let Some(width) = row.shape.last().filter(|n| n.as_lit().is_some_and(|n| n > 0)) {
        let w = draft.param(vec![width.clone(), width.clone()]);
        operands.push((w, Role::Outer));
    }
    Some(run(draft, count, &operands))
}

/// A stack of parameters as layers, or as sequences of them, with the value as carry.
pub fn layers(draft: &mut Draft, x: Value) -> Option<Value> {
    let width = draft
        .b
        .shape(x)
        .last()
        .cloned()
        .filter(|n| n.as_lit().is_some_and(|n| n > 0))?;
    if !is_float(draft, x) || draft.b.ty(x).rank() < 2 {
        return None;
    }
    let count = Dim::lit([0, 1, 2, 3][draft.dice.weighted(&[1, 2, 3, 3])]);
    let w = draft.param(vec![count.clone(), width.clone(), width]);
    let operands = [(w, Role::Step), (draft.within(x, (-1.5, 1.5)), Role::Carry)];
    Some(run(draft, count, &operands))
}

/// The loop; one of its results.
fn run(draft: &mut Draft, count: Dim, operands: &[(Value, Role)]) -> Value {
    let order = [Order::Ascending, Order::Descending][draft.dice.below(2)];
    let steps = Steps {
        name: "steps",
        count,
        order,
    };
    let Draft { b, dice, .. } = draft;
    let results = b.scan(steps, operands, |b, index, args| body(b, dice, index, args, 2));
    if draft.dice.below(3) == 0 {
        let node = draft.b.graph.node_mut(results[0].node);
        if let Op::Scan(scan) = &mut node.op {
            scan.recording = Recording::Carries;
        }
    }
    for &result in &results[1..] {
        draft.keep(result);
    }
    results[0]
}

/// A step: the first operand is a slice, the second the carry, the others are the same in every step. `depth` is how many loops
/// may stand in one another.
fn body(
    b: &mut Builder,
    dice: &mut Dice,
    index: &Dim,
    args: &[Value],
    depth: usize,
) -> (Vec<Value>, Vec<Value>) {
    let carry = args[1];
    let mut pool = args.to_vec();
    for _ in 0..2 + dice.below(4) {
        let x = pool[dice.below(pool.len())];
        if let Some(y) = step(b, dice, index, &pool, x, depth) {
            pool.push(y);
        }
    }
    // The carry takes in the last value that has its shape, if any has, and what has another shape as one number.
    let shape = b.shape(carry);
    let mut next = b.scale(carry, 0.5);
    for &x in pool[2..].iter().chain([&pool[0]]) {
        let x = if b.shape(x) == shape {
            x
        } else {
            spread_sum(b, x, &shape)
        };
        next = b.add(next, x);
    }
    let next = b.pointwise("tanh", &[next]);
    let collected: Vec<Value> = (0..dice.below(3))
        .map(|_| pool[dice.below(pool.len())])
        .chain([next])
        .collect();
    (vec![next], collected)
}

/// The sum of the sines of all elements, spread over a shape.
fn spread_sum(b: &mut Builder, x: Value, shape: &[Dim]) -> Value {
    let sine = b.pointwise("sin", &[x]);
    let axes: Vec<usize> = (0..b.ty(x).rank()).collect();
    let sum = b.sum(sine, &axes);
    let sum = b.scale(sum, 0.1);
    b.expand(sum, shape)
}

/// One operation of a body.
fn step(
    b: &mut Builder,
    dice: &mut Dice,
    index: &Dim,
    pool: &[Value],
    x: Value,
    depth: usize,
) -> Option<Value> {
    let ty = b.ty(x).clone();
    let last = ty.rank().checked_sub(1);
    let same: Vec<Value> = pool.iter().copied().filter(|y| *b.ty(*y) == ty).collect();
    let y = same[dice.below(same.len())];
    match dice.below(9) {
        0 => Some(b.pointwise(["tanh", "sin", "sigmoid", "softplus"][dice.below(4)], &[x])),
        1 => Some(b.pointwise(["add", "mul", "sub", "maximum"][dice.below(4)], &[x, y])),
        2 => {
            let factor = Scalar::dim(&(index + 1));
            let scaled = b.scale(x, factor);
            Some(b.pointwise("sin", &[scaled]))
        }
        3 => Some(b.dropout(x, Scalar::lit(0.4), Unit::Element)),
        4 => Some(b.push(
            Softmax {
                kind: SoftmaxKind::Probabilities,
                axis: last?,
            },
            &[x],
        )),
        5 => {
            let is_larger = b.pointwise("gt", &[x, y]);
            let sine = b.pointwise("sin", &[x]);
            Some(b.select(is_larger, sine, y))
        }
        6 => {
            let reduce = Reduce {
                kind: [ReduceKind::Sum, ReduceKind::Max][dice.below(2)],
                axes: vec![last?],
            };
            let reduced = b.push(reduce, &[x]);
            let reduced = b.pointwise("tanh", &[reduced]);
            Some(b.expand_axes(reduced, &[last?], &ty.shape))
        }
        7 => {
            let square = |y: &&Value| {
                let shape = &b.ty(**y).shape;
                shape.len() == 2 && shape[0] == shape[1] && ty.shape.last() == shape.last()
            };
            let w = *pool.iter().find(square)?;
            (ty.rank() == 2).then(|| b.push(Matmul, &[x, w]))
        }
        _ => inner(b, dice, pool, x, depth),
    }
}

/// A loop inside of the body, along the first axis of a value.
fn inner(b: &mut Builder, dice: &mut Dice, pool: &[Value], x: Value, depth: usize) -> Option<Value> {
    let ty = b.ty(x).clone();
    if depth < 2 || ty.rank() < 2 || ty.dtype != DType::Float {
        return None;
    }
    let row = ty.with_shape(ty.shape[1..].to_vec());
    let first = pool.iter().copied().find(|y| *b.ty(*y) == row);
    let first = first.unwrap_or_else(|| {
        b.push(
            Fill {
                value: 0.25.into(),
                ty: row,
            },
            &[],
        )
    });
    let steps = Steps {
        name: "inner",
        count: ty.shape[0].clone(),
        order: Order::Ascending,
    };
    let operands = [(x, Role::Step), (first, Role::Carry)];
    let results = b.scan(steps, &operands, |b, index, args| {
        body(b, dice, index, args, depth - 1)
    });
    Some(results[dice.below(results.len())])
}

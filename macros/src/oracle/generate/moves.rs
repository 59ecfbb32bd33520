//! The moves: how one value of a random program leads to another.

mod attention;
mod images;
mod labels;
mod loops;

use super::Draft;
use crate::ir::{DType, Scalar, Type, Value, ViewMap};
use crate::ops::cumsum::{Cumsum, Direction};
use crate::ops::dropout::Unit;
use crate::ops::pad::Pad;
use crate::ops::pointwise::{Pointwise, Row, Signature, rows};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::softmax::{Softmax, SoftmaxKind};
use crate::ops::view::View;
use crate::shape::Dim;

/// Extends a program from a value, or answers that it does not apply there.
pub type Move = fn(&mut Draft, Value) -> Option<Value>;

/// All moves by name.
pub const MOVES: &[(&str, Move)] = &[
    ("row of one operand", unary),
    ("row of one operand", unary),
    ("row of two operands", binary),
    ("row of two operands", binary),
    ("bias", bias),
    ("residual", residual),
    ("host scalar", host_scalar),
    ("comparison", compare),
    ("selection", select),
    ("to float", to_float),
    ("permute", permute),
    ("reshape", reshape),
    ("unit axis", unit_axis),
    ("slice", slice),
    ("flip", flip),
    ("expand", expand),
    ("pad", pad),
    ("reduce", reduce),
    ("centre", centre),
    ("linear", linear),
    ("linear", linear),
    ("softmax", softmax),
    ("layer norm", layer_norm),
    ("running sum", cumsum),
    ("join", join),
    ("dropout", dropout),
    ("convolution", images::conv2d),
    ("convolution", images::conv2d),
    ("pooling", images::pool2d),
    ("batch norm", images::batch_norm),
    ("batch norm", images::batch_norm),
    ("embedding", labels::embedding),
    ("take", labels::take),
    ("gather", labels::gather),
    ("scatter", labels::scatter),
    ("indicators", labels::one_hot),
    ("extremum", labels::extremum),
    ("hit", labels::hit),
    ("cross-entropy", labels::cross_entropy),
    ("alignments", labels::ctc),
    ("attention", attention::attention),
    ("rotation", attention::rotary),
    ("positions", attention::positions),
    ("recurrence", loops::recurrence),
    ("recurrence", loops::recurrence),
    ("layers", loops::layers),
];

fn is_float(draft: &Draft, x: Value) -> bool {
    draft.dtype(x) == DType::Float
}

/// A random row that `fits`.
fn row(draft: &mut Draft, fits: impl Fn(&Row) -> bool) -> Option<&'static Row> {
    // What has no gradient by decree has differences all the same.
    let found: Vec<&'static Row> = rows().filter(|row| row.name != "detach" && fits(row)).collect();
    (!found.is_empty()).then(|| found[draft.dice.below(found.len())])
}

/// A row applied to operands that are brought into its domain.
pub(super) fn apply(draft: &mut Draft, row: &'static Row, operands: &[Value]) -> Value {
    let operands: Vec<Value> = operands
        .iter()
        .map(|&x| {
            if is_float(draft, x) {
                draft.within(x, row.domain)
            } else {
                x
            }
        })
        .collect();
    draft.b.push(Pointwise(row), &operands)
}

fn unary(draft: &mut Draft, x: Value) -> Option<Value> {
    let dtype = draft.dtype(x);
    let row = row(draft, |row| {
        row.signature.arity() == 1 && row.signature.result(&[dtype]).is_some()
    })?;
    Some(apply(draft, row, &[x]))
}

fn binary(draft: &mut Draft, x: Value) -> Option<Value> {
    let ty = draft.b.ty(x).clone();
    let wanted = draft.dtype(x);
    let is_arithmetic = |row: &Row| {
        matches!(
            row.signature,
            Signature::Float(2) | Signature::Number(2) | Signature::Logic(2)
        )
    };
    let row = row(draft, |row| {
        is_arithmetic(row) && row.signature.result(&[wanted; 2]).is_some()
    })?;
    let y = draft.other(|other| *other == ty)?;
    Some(apply(draft, row, &[x, y]))
}

/// A parameter along one axis is added or multiplied.
fn bias(draft: &mut Draft, x: Value) -> Option<Value> {
    let shape = draft.b.shape(x);
    let fixed: Vec<usize> = (0..shape.len())
        .filter(|&k| shape[k].as_lit().is_some())
        .collect();
    if !is_float(draft, x) || fixed.is_empty() {
        return None;
    }
    let axis = fixed[draft.dice.below(fixed.len())];
    let bias = draft.param(vec![shape[axis].clone()]);
    let bias = draft.b.expand_channel(bias, axis, &shape);
    let name = ["add", "mul", "sub"][draft.dice.below(3)];
    Some(draft.b.pointwise(name, &[x, bias]))
}

/// `x + tanh(x)`.
fn residual(draft: &mut Draft, x: Value) -> Option<Value> {
    if !is_float(draft, x) {
        return None;
    }
    let y = draft.b.pointwise("tanh", &[x]);
    Some(draft.b.add(x, y))
}

fn host_scalar(draft: &mut Draft, x: Value) -> Option<Value> {
    if !is_float(draft, x) {
        return None;
    }
    let scalar = match draft.dice.below(4) {
        0 => Scalar::Arg("alpha".into()),
        1 => Scalar::lit(1.0),
        2 => Scalar::binary(
            crate::ir::scalar::ScalarFn::Div,
            Scalar::Arg("alpha".into()),
            Scalar::dim(&Dim::dynamic("T")),
        ),
        _ => Scalar::lit(-0.5),
    };
    Some(match draft.dice.below(2) {
        0 => draft.b.scale(x, scalar),
        _ => draft.b.offset(x, scalar),
    })
}

fn compare(draft: &mut Draft, x: Value) -> Option<Value> {
    let ty = draft.b.ty(x).clone();
    let row = row(draft, |row| row.signature == Signature::Compare)?;
    let y = draft.other(|other| *other == ty)?;
    Some(draft.b.push(Pointwise(row), &[x, y]))
}

fn select(draft: &mut Draft, x: Value) -> Option<Value> {
    let ty = draft.b.ty(x).clone();
    let mask = Type::new(DType::Bool, ty.shape.clone());
    let mask = draft.other(|other| *other == mask)?;
    let y = draft.other(|other| *other == ty)?;
    Some(draft.b.select(mask, x, y))
}

fn to_float(draft: &mut Draft, x: Value) -> Option<Value> {
    (!is_float(draft, x)).then(|| draft.b.pointwise("to_float", &[x]))
}

fn permute(draft: &mut Draft, x: Value) -> Option<Value> {
    let rank = draft.b.ty(x).rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    for k in (1..rank).rev() {
        let other = draft.dice.below(k + 1);
        perm.swap(k, other);
    }
    (rank > 1).then(|| draft.b.permute(x, &perm))
}

/// Two neighbouring axes become one, or all do.
fn reshape(draft: &mut Draft, x: Value) -> Option<Value> {
    let mut shape = draft.b.shape(x);
    if shape.len() < 2 {
        return None;
    }
    if draft.dice.below(3) == 0 {
        let all = Dim::product(&shape);
        return Some(draft.b.reshape(x, vec![all]));
    }
    let axis = draft.dice.below(shape.len() - 1);
    let merged = &shape[axis] * &shape[axis + 1];
    shape.splice(axis..axis + 2, [merged]);
    Some(draft.b.reshape(x, shape))
}

/// An axis of size 1 comes or goes.
fn unit_axis(draft: &mut Draft, x: Value) -> Option<Value> {
    let mut shape = draft.b.shape(x);
    match shape.iter().position(Dim::is_one) {
        Some(axis) => drop(shape.remove(axis)),
        None if shape.len() < 4 => {
            let axis = draft.dice.below(shape.len() + 1);
            shape.insert(axis, Dim::one());
        }
        None => return None,
    }
    Some(draft.b.reshape(x, shape))
}

fn slice(draft: &mut Draft, x: Value) -> Option<Value> {
    let shape = draft.b.shape(x);
    let (mut starts, mut steps, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for n in &shape {
        let (start, step, size) = match n.as_lit() {
            Some(n) if n > 1 => {
                let start = draft.dice.below(n as usize) as i64;
                let step = 1 + draft.dice.below(2) as i64;
                let most = (n - start + step - 1) / step;
                (start, step, Dim::lit(1 + draft.dice.below(most as usize) as i64))
            }
            _ => (0, 1, n.clone()),
        };
        starts.push(Dim::lit(start));
        steps.push(step as usize);
        sizes.push(size);
    }
    Some(draft.b.push(View(ViewMap::Slice { starts, steps, sizes }), &[x]))
}

fn flip(draft: &mut Draft, x: Value) -> Option<Value> {
    let axes: Vec<usize> = (0..draft.b.ty(x).rank())
        .filter(|_| draft.dice.below(2) == 0)
        .collect();
    (!axes.is_empty()).then(|| draft.b.push(View(ViewMap::Flip(axes)), &[x]))
}

/// Axes of size 1 are repeated, or an axis is added in front.
fn expand(draft: &mut Draft, x: Value) -> Option<Value> {
    let mut shape = draft.b.shape(x);
    for n in &mut shape {
        if n.is_one() {
            *n = draft.dim();
        }
    }
    if shape.len() < 4 && draft.dice.below(2) == 0 {
        shape.insert(0, draft.dim());
    }
    (shape != draft.b.shape(x)).then(|| draft.b.expand(x, &shape))
}

fn pad(draft: &mut Draft, x: Value) -> Option<Value> {
    let shape = draft.b.shape(x);
    if !is_float(draft, x) || shape.is_empty() {
        return None;
    }
    let (mut starts, mut steps, mut padded) = (Vec::new(), Vec::new(), Vec::new());
    for n in &shape {
        let (before, after) = (draft.dice.below(2) as i64, draft.dice.below(2) as i64);
        // Between neighbours there is room only where it is known that there are any.
        let step = match n.as_lit() {
            Some(1..) => 1 + draft.dice.below(2) as i64,
            _ => 1,
        };
        starts.push(Dim::lit(before));
        steps.push(step as usize);
        padded.push(match n.as_lit() {
            Some(n @ 1..) => Dim::lit(before + (n - 1) * step + 1 + after),
            _ => n + &Dim::lit(before + after),
        });
    }
    let value = Scalar::lit([0.0, 0.25][draft.dice.below(2)]);
    let pad = Pad {
        starts,
        steps,
        shape: padded,
        value,
    };
    Some(draft.b.push(pad, &[x]))
}

fn axes_of(draft: &mut Draft, x: Value) -> Vec<usize> {
    (0..draft.b.ty(x).rank())
        .filter(|_| draft.dice.below(2) == 0)
        .collect()
}

fn reduce(draft: &mut Draft, x: Value) -> Option<Value> {
    let axes = axes_of(draft, x);
    if !is_float(draft, x) || axes.is_empty() {
        return None;
    }
    let kinds = [
        ReduceKind::Sum,
        ReduceKind::Sum,
        ReduceKind::Max,
        ReduceKind::Min,
        ReduceKind::Prod,
    ];
    let kind = kinds[draft.dice.below(kinds.len())];
    // The derivative of a product divides by its factors.
    let x = if kind == ReduceKind::Prod {
        draft.within(x, (0.5, 1.5))
    } else {
        x
    };
    Some(draft.b.push(Reduce { kind, axes }, &[x]))
}

/// `x - mean(x)`: a reduction that flows back into what it was taken of.
fn centre(draft: &mut Draft, x: Value) -> Option<Value> {
    let axes = axes_of(draft, x);
    if !is_float(draft, x) || axes.is_empty() {
        return None;
    }
    let shape = draft.b.shape(x);
    let sum = draft.b.sum(x, &axes);
    let n = Dim::product(axes.iter().map(|&k| &shape[k]));
    let mean = draft.b.scale(sum, Scalar::dim(&n).recip());
    let mean = draft.b.expand_axes(mean, &axes, &shape);
    Some(draft.b.sub(x, mean))
}

/// A linear layer with bias and perhaps an activation: what epilogues are made of.
fn linear(draft: &mut Draft, x: Value) -> Option<Value> {
    let inner = draft.b.shape(x).last()?.clone();
    if !is_float(draft, x) || inner.as_lit().is_none_or(|n| n == 0) {
        return None;
    }
    let out = Dim::lit(1 + draft.dice.below(4) as i64);
    let (w, bias) = (draft.param(vec![out.clone(), inner]), draft.param(vec![out]));
    let y = draft.b.linear(x, w, Some(bias));
    Some(match draft.dice.below(3) {
        0 => y,
        1 => draft.b.pointwise("relu", &[y]),
        _ => draft.b.pointwise("tanh", &[y]),
    })
}

/// A float tensor and one of its axes.
fn axis_of(draft: &mut Draft, x: Value) -> Option<usize> {
    let rank = draft.b.ty(x).rank();
    (is_float(draft, x) && rank > 0).then(|| draft.dice.below(rank))
}

fn softmax(draft: &mut Draft, x: Value) -> Option<Value> {
    let axis = axis_of(draft, x)?;
    let kind = [SoftmaxKind::Probabilities, SoftmaxKind::Logarithms][draft.dice.below(2)];
    Some(draft.b.push(Softmax { kind, axis }, &[x]))
}

fn layer_norm(draft: &mut Draft, x: Value) -> Option<Value> {
    let width = draft.b.shape(x).last()?.clone();
    if !is_float(draft, x) || width.as_lit().is_none_or(|n| n < 1) {
        return None;
    }
    let (w, bias) = (draft.param(vec![width.clone()]), draft.param(vec![width]));
    Some(draft.b.layer_norm(x, 1, Some(w), Some(bias), Scalar::lit(0.1)))
}

fn cumsum(draft: &mut Draft, x: Value) -> Option<Value> {
    let axis = axis_of(draft, x)?;
    let direction = Direction::Forward;
    Some(draft.b.push(Cumsum { direction, axis }, &[x]))
}

fn join(draft: &mut Draft, x: Value) -> Option<Value> {
    let ty = draft.b.ty(x).clone();
    let y = draft.other(|other| *other == ty)?;
    let axis = axis_of(draft, x)?;
    Some(draft.b.concat(&[x, y], axis))
}

fn dropout(draft: &mut Draft, x: Value) -> Option<Value> {
    is_float(draft, x).then(|| draft.b.dropout(x, Scalar::lit(0.4), Unit::Element))
}

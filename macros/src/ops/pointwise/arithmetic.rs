//! Rows of arithmetic: sums, products, powers, rounding and piecewise linear functions.

use super::Derivative::{Rule, Zero};
use super::Row;
use super::Signature::{Float, Number};
use crate::ir::{Builder, Value};

/// The rows.
pub static ROWS: &[Row] = &[
    Row {
        name: "add",
        doc: "y = a + b",
        signature: Number(2),
        rust: "({0} + {1})",
        cuda: "({0} + {1})",
        derivative: Rule(|_, _, _, g| vec![Some(g), Some(g)]),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "sub",
        doc: "y = a - b",
        signature: Number(2),
        rust: "({0} - {1})",
        cuda: "({0} - {1})",
        derivative: Rule(|b, _, _, g| vec![Some(g), Some(b.neg(g))]),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "mul",
        doc: "y = a b",
        signature: Number(2),
        rust: "({0} * {1})",
        cuda: "({0} * {1})",
        derivative: Rule(|b, x, _, g| vec![Some(b.mul(g, x[1])), Some(b.mul(g, x[0]))]),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "div",
        doc: "y = a / b; reads its result backward",
        signature: Float(2),
        rust: "({0} / {1})",
        cuda: "({0} / {1})",
        derivative: Rule(|b, x, y, g| {
            let a_bar = b.div(g, x[1]);
            let b_bar = b.mul(a_bar, y);
            vec![Some(a_bar), Some(b.neg(b_bar))]
        }),
        activation: None,
        flops: 1,
        domain: (0.5, 2.0),
    },
    Row {
        name: "neg",
        doc: "y = -x",
        signature: Number(1),
        rust: "(-{0})",
        cuda: "(-{0})",
        derivative: Rule(|b, _, _, g| vec![Some(b.neg(g))]),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "recip",
        doc: "y = 1 / x; reads its result backward",
        signature: Float(1),
        rust: "{0}.recip()",
        cuda: "(T(1) / {0})",
        derivative: Rule(|b, _, y, g| {
            let square = b.mul(y, y);
            let bar = b.mul(g, square);
            vec![Some(b.neg(bar))]
        }),
        activation: None,
        flops: 1,
        domain: (0.5, 2.0),
    },
    Row {
        name: "pow",
        doc: "y = a^b, with C's special cases; reads its result backward",
        signature: Float(2),
        rust: "{0}.pow({1})",
        cuda: "pow({0}, {1})",
        derivative: Rule(pow),
        activation: None,
        flops: 1,
        domain: (0.5, 2.0),
    },
    Row {
        name: "abs",
        doc: "y = |x|; the derivative at 0 is 0",
        signature: Number(1),
        rust: "{0}.abs()",
        cuda: "abs({0})",
        derivative: Rule(|b, x, _, g| {
            let sign = b.pointwise("sign", &[x[0]]);
            vec![Some(b.mul(g, sign))]
        }),
        activation: None,
        flops: 1,
        domain: (0.1, 2.0),
    },
    Row {
        name: "sign",
        doc: "y = -1, 0 or 1; NaN stays NaN; its derivative is taken as 0",
        signature: Number(1),
        rust: "{0}.sign()",
        cuda: "sign({0})",
        derivative: Zero,
        activation: None,
        flops: 1,
        domain: (0.1, 2.0),
    },
    Row {
        name: "floor",
        doc: "y = the largest whole number not above x; its derivative is taken as 0",
        signature: Float(1),
        rust: "{0}.floor()",
        cuda: "floor({0})",
        derivative: Zero,
        activation: None,
        flops: 1,
        domain: (0.1, 0.9),
    },
    Row {
        name: "ceil",
        doc: "y = the smallest whole number not below x; its derivative is taken as 0",
        signature: Float(1),
        rust: "{0}.ceil()",
        cuda: "ceil({0})",
        derivative: Zero,
        activation: None,
        flops: 1,
        domain: (0.1, 0.9),
    },
    Row {
        name: "round",
        doc: "y = the nearest whole number, halves to the even one; its derivative is taken as 0",
        signature: Float(1),
        rust: "{0}.round()",
        cuda: "rint({0})",
        derivative: Zero,
        activation: None,
        flops: 1,
        domain: (0.6, 1.4),
    },
    Row {
        name: "maximum",
        doc: "y = the larger of a and b, NaN if either is; equal operands share the gradient",
        signature: Number(2),
        rust: "{0}.max({1})",
        cuda: "maximum({0}, {1})",
        derivative: Rule(|b, x, _, g| pick(b, [x[0], x[1]], ["lt", "gt"], g)),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "minimum",
        doc: "y = the smaller of a and b, NaN if either is; equal operands share the gradient",
        signature: Number(2),
        rust: "{0}.min({1})",
        cuda: "minimum({0}, {1})",
        derivative: Rule(|b, x, _, g| pick(b, [x[0], x[1]], ["gt", "lt"], g)),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "relu",
        doc: "y = max(x, 0), NaN stays NaN; the derivative at 0 is 0; reads its result backward",
        signature: Float(1),
        rust: "{0}.relu()",
        cuda: "relu({0})",
        derivative: Rule(|b, _, y, g| {
            let zero = b.fill_like(y, 0.0);
            let positive = b.pointwise("gt", &[y, zero]);
            vec![Some(b.select(positive, g, zero))]
        }),
        activation: Some("Relu"),
        flops: 1,
        domain: (0.1, 2.0),
    },
    Row {
        name: "detach",
        doc: "y = x, through which no gradient flows",
        signature: Float(1),
        rust: "{0}",
        cuda: "{0}",
        derivative: Zero,
        activation: None,
        flops: 0,
        domain: (-2.0, 2.0),
    },
];

/// `a_bar = g b a^(b-1)`, zero where `b` is; `b_bar = g y log(a)`, zero where `a` is and `b` is not negative: the
/// conventions of PyTorch's `pow_backward`.
fn pow(b: &mut Builder, x: &[Value], y: Value, g: Value) -> Vec<Option<Value>> {
    let (base, exponent) = (x[0], x[1]);
    let zero = b.fill_like(g, 0.0);
    let lower = b.offset(exponent, -1.0);
    let power = b.pointwise("pow", &[base, lower]);
    let slope = b.mul(exponent, power);
    let base_bar = b.mul(g, slope);
    let is_constant = b.pointwise("eq", &[exponent, zero]);
    let base_bar = b.select(is_constant, zero, base_bar);
    let log = b.pointwise("log", &[base]);
    let growth = b.mul(y, log);
    let exponent_bar = b.mul(g, growth);
    let (at_zero, grows) = (b.pointwise("eq", &[base, zero]), b.pointwise("ge", &[exponent, zero]));
    let is_flat = b.pointwise("and", &[at_zero, grows]);
    vec![Some(base_bar), Some(b.select(is_flat, zero, exponent_bar))]
}

/// The whole cotangent to the operand that was picked, half to each where both are equal; `loses[k]` is the comparison by
/// which operand `k` is not picked.
fn pick(b: &mut Builder, x: [Value; 2], loses: [&str; 2], g: Value) -> Vec<Option<Value>> {
    let zero = b.fill_like(g, 0.0);
    let half = b.scale(g, 0.5);
    let tied = b.pointwise("eq", &x);
    let share = b.select(tied, half, g);
    let mut bar = |comparison: &str| {
        let lost = b.pointwise(comparison, &x);
        Some(b.select(lost, zero, share))
    };
    vec![bar(loses[0]), bar(loses[1])]
}

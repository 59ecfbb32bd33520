//! Rows of arithmetic: sums, products, powers and piecewise linear functions.

use super::Derivative::{Rule, Zero};
use super::Row;
use super::Signature::{Float, Number};

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
        doc: "y = a / b",
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
        name: "sign",
        doc: "y = -1, 0 or 1; its derivative is taken as 0",
        signature: Float(1),
        rust: "{0}.sign()",
        cuda: "sign({0})",
        derivative: Zero,
        activation: None,
        flops: 1,
        domain: (0.1, 2.0),
    },
];

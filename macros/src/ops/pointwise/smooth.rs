//! Rows of smooth functions: exponentials, roots, circular and hyperbolic functions.

use super::Derivative::Rule;
use super::Row;
use super::Signature::Float;

/// The rows.
pub static ROWS: &[Row] = &[
    Row {
        name: "exp",
        doc: "y = e^x; reads its result backward",
        signature: Float(1),
        rust: "{0}.exp()",
        cuda: "exp({0})",
        derivative: Rule(|b, _, y, g| vec![Some(b.mul(g, y))]),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "tanh",
        doc: "y = (e^x - e^-x) / (e^x + e^-x); reads its result backward",
        signature: Float(1),
        rust: "{0}.tanh()",
        cuda: "tanh({0})",
        derivative: Rule(|b, _, y, g| {
            let square = b.mul(y, y);
            let one = b.fill_like(y, 1.0);
            let slope = b.sub(one, square);
            vec![Some(b.mul(g, slope))]
        }),
        activation: Some("Tanh"),
        flops: 1,
        domain: (-2.0, 2.0),
    },
];

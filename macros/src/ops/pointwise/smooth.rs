//! Rows of smooth functions: roots, exponentials, logarithms, circular and hyperbolic functions.

use std::f64::consts::FRAC_2_SQRT_PI;

use super::Derivative::Rule;
use super::Row;
use super::Signature::Float;

/// The rows.
pub static ROWS: &[Row] = &[
    Row {
        name: "sqrt",
        doc: "y = x^(1/2); reads its result backward",
        signature: Float(1),
        rust: "{0}.sqrt()",
        cuda: "sqrt({0})",
        derivative: Rule(|b, _, y, g| {
            let half = b.scale(g, 0.5);
            vec![Some(b.div(half, y))]
        }),
        activation: None,
        flops: 1,
        domain: (0.5, 2.0),
    },
    Row {
        name: "rsqrt",
        doc: "y = x^(-1/2); reads its result backward",
        signature: Float(1),
        rust: "{0}.rsqrt()",
        cuda: "rsqrt({0})",
        derivative: Rule(|b, _, y, g| {
            let square = b.mul(y, y);
            let cube = b.mul(square, y);
            let slope = b.scale(cube, -0.5);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 2,
        domain: (0.5, 2.0),
    },
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
        name: "expm1",
        doc: "y = e^x - 1, exact near 0; reads its result backward",
        signature: Float(1),
        rust: "{0}.expm1()",
        cuda: "expm1({0})",
        derivative: Rule(|b, _, y, g| {
            let slope = b.offset(y, 1.0);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "log",
        doc: "y = the natural logarithm of x",
        signature: Float(1),
        rust: "{0}.log()",
        cuda: "log({0})",
        derivative: Rule(|b, x, _, g| vec![Some(b.div(g, x[0]))]),
        activation: None,
        flops: 1,
        domain: (0.5, 2.0),
    },
    Row {
        name: "log1p",
        doc: "y = log(1 + x), exact near 0",
        signature: Float(1),
        rust: "{0}.log1p()",
        cuda: "log1p({0})",
        derivative: Rule(|b, x, _, g| {
            let above = b.offset(x[0], 1.0);
            vec![Some(b.div(g, above))]
        }),
        activation: None,
        flops: 1,
        domain: (-0.5, 2.0),
    },
    Row {
        name: "sin",
        doc: "y = sin x, in radians",
        signature: Float(1),
        rust: "{0}.sin()",
        cuda: "sin({0})",
        derivative: Rule(|b, x, _, g| {
            let slope = b.pointwise("cos", &[x[0]]);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "cos",
        doc: "y = cos x, in radians",
        signature: Float(1),
        rust: "{0}.cos()",
        cuda: "cos({0})",
        derivative: Rule(|b, x, _, g| {
            let sin = b.pointwise("sin", &[x[0]]);
            let slope = b.neg(sin);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "tan",
        doc: "y = tan x, in radians; reads its result backward",
        signature: Float(1),
        rust: "{0}.tan()",
        cuda: "tan({0})",
        derivative: Rule(|b, _, y, g| {
            let square = b.mul(y, y);
            let slope = b.offset(square, 1.0);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 1,
        domain: (-1.0, 1.0),
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
    Row {
        name: "sigmoid",
        doc: "y = 1 / (1 + e^-x); reads its result backward",
        signature: Float(1),
        rust: "{0}.sigmoid()",
        cuda: "sigmoid({0})",
        derivative: Rule(|b, _, y, g| {
            let one = b.fill_like(y, 1.0);
            let rest = b.sub(one, y);
            let slope = b.mul(y, rest);
            vec![Some(b.mul(g, slope))]
        }),
        activation: Some("Sigmoid"),
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "erf",
        doc: "y = 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x",
        signature: Float(1),
        rust: "{0}.erf()",
        cuda: "erf({0})",
        derivative: Rule(|b, x, _, g| {
            let square = b.mul(x[0], x[0]);
            let exponent = b.neg(square);
            let bell = b.pointwise("exp", &[exponent]);
            let slope = b.scale(bell, FRAC_2_SQRT_PI);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "softplus",
        doc: "y = log(1 + e^x), without overflow",
        signature: Float(1),
        rust: "{0}.softplus()",
        cuda: "softplus({0})",
        derivative: Rule(|b, x, _, g| {
            let slope = b.pointwise("sigmoid", &[x[0]]);
            vec![Some(b.mul(g, slope))]
        }),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
];

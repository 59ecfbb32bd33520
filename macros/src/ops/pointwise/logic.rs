//! Rows of comparisons, truth values, selection and conversion.

use super::Derivative::{Discrete, Rule};
use super::Row;
use super::Signature::{Compare, Select, ToFloat};

/// The rows.
pub static ROWS: &[Row] = &[
    Row {
        name: "gt",
        doc: "y = a > b; false where either is NaN",
        signature: Compare,
        rust: "({0} > {1})",
        cuda: "({0} > {1})",
        derivative: Discrete,
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "select",
        doc: "y = a where the mask holds, b elsewhere",
        signature: Select,
        rust: "(if {0} { {1} } else { {2} })",
        cuda: "({0} ? {1} : {2})",
        derivative: Rule(|b, x, _, g| {
            let zero = b.fill_like(g, 0.0);
            vec![None, Some(b.select(x[0], g, zero)), Some(b.select(x[0], zero, g))]
        }),
        activation: None,
        flops: 1,
        domain: (-2.0, 2.0),
    },
    Row {
        name: "to_float",
        doc: "y = x as a float; a truth value is 0 or 1",
        signature: ToFloat,
        rust: "T::from_i64(i64::from({0}))",
        cuda: "T({0})",
        derivative: Discrete,
        activation: None,
        flops: 0,
        domain: (-2.0, 2.0),
    },
];

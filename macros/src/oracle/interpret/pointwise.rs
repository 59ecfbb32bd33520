//! The rows of the pointwise table, by name, as textbook formulas.

use super::super::tensor::{Tensor, build};
use super::Node;
use crate::ir::DType;
use crate::ops::pointwise::Pointwise;

/// An element of any kind.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Element {
    Float(f64),
    Int(i64),
    Bool(bool),
}

use Element::{Bool, Float, Int};

impl Element {
    fn of(x: &Tensor, i: &[usize]) -> Self {
        match x {
            Tensor::Float(x) => Float(x[i]),
            Tensor::Int(x) => Int(x[i]),
            Tensor::Bool(x) => Bool(x[i]),
        }
    }
}

pub(super) fn pointwise(op: &Pointwise, node: &Node<'_>) -> Vec<Tensor> {
    let shape = &node.shapes[0];
    let elements = build(shape, |i| {
        let operands: Vec<Element> = node.inputs.iter().map(|x| Element::of(x, i)).collect();
        evaluate(op.0.name, &operands)
            .unwrap_or_else(|| panic!("`{}` has no naive twin for {operands:?}", op.0.name))
    });
    // Without elements there is nothing to see the kind by.
    let dtype = match elements.first() {
        Some(Float(_)) => DType::Float,
        Some(Int(_)) => DType::Int,
        Some(Bool(_)) => DType::Bool,
        None => {
            let kinds: Vec<DType> = node.inputs.iter().map(|x| x.dtype()).collect();
            op.0.signature.result(&kinds).expect("the node is well typed")
        }
    };
    let element = |i: &[usize]| elements[i];
    vec![match dtype {
        DType::Float => Tensor::Float(build(shape, |i| match element(i) {
            Float(x) => x,
            _ => unreachable!("elements of one kind"),
        })),
        DType::Int => Tensor::Int(build(shape, |i| match element(i) {
            Int(x) => x,
            _ => unreachable!("elements of one kind"),
        })),
        DType::Bool => Tensor::Bool(build(shape, |i| match element(i) {
            Bool(x) => x,
            _ => unreachable!("elements of one kind"),
        })),
    }]
}

/// The row of that name at one element; `None` where there is no formula for it.
pub fn evaluate(name: &str, operands: &[Element]) -> Option<Element> {
    match *operands {
        [Float(x)] => unary(name, x),
        [Float(a), Float(b)] => binary(name, a, b),
        [Int(x)] => integer(name, x),
        [Int(a), Int(b)] => integers(name, a, b),
        [Bool(x)] => truth(name, x),
        [Bool(a), Bool(b)] => truths(name, a, b),
        [Bool(mask), a, b] if name == "select" => Some(if mask { a } else { b }),
        _ => None,
    }
}

fn unary(name: &str, x: f64) -> Option<Element> {
    let y = match name {
        "neg" => -x,
        "square" => x * x,
        "sqrt" => x.sqrt(),
        "rsqrt" => 1.0 / x.sqrt(),
        "recip" => 1.0 / x,
        "exp" => x.exp(),
        "expm1" => x.exp_m1(),
        "log" => x.ln(),
        "log1p" => x.ln_1p(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "tanh" => x.tanh(),
        "sigmoid" => 1.0 / (1.0 + (-x).exp()),
        // log(1 + e^x) loses nothing in this form where e^x would overflow.
        "softplus" => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        "erf" => erf(x),
        "abs" => x.abs(),
        "relu" => {
            if x.is_nan() {
                x
            } else {
                x.max(0.0)
            }
        }
        "sign" => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "round" => x.round_ties_even(),
        "to_int" => return Some(Int(x as i64)),
        "stop_gradient" | "detach" => x,
        "is_nan" => return Some(Bool(x.is_nan())),
        "is_finite" => return Some(Bool(x.is_finite())),
        _ => return None,
    };
    Some(Float(y))
}

/// The error function by its Maclaurin series, `2 / sqrt(pi) sum (-1)^n x^(2n+1) / (n! (2n+1))`; exact in f64 to the
/// cancellation of its terms, which is harmless for the arguments of tests (up to 3).
fn erf(x: f64) -> f64 {
    let (mut power, mut sum) = (x, x);
    for n in 1..200 {
        power *= -x * x / f64::from(n);
        sum += power / f64::from(2 * n + 1);
    }
    if x.abs() > 5.0 {
        x.signum()
    } else {
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }
}

fn binary(name: &str, a: f64, b: f64) -> Option<Element> {
    let nan = a.is_nan() || b.is_nan();
    Some(match name {
        "add" => Float(a + b),
        "sub" => Float(a - b),
        "mul" => Float(a * b),
        "div" => Float(a / b),
        "pow" => Float(a.powf(b)),
        "maximum" | "max" => Float(if nan { f64::NAN } else { a.max(b) }),
        "minimum" | "min" => Float(if nan { f64::NAN } else { a.min(b) }),
        "gt" => Bool(a > b),
        "ge" => Bool(a >= b),
        "lt" => Bool(a < b),
        "le" => Bool(a <= b),
        "eq" => Bool(a == b),
        "ne" => Bool(a != b),
        _ => return None,
    })
}

fn integer(name: &str, x: i64) -> Option<Element> {
    Some(match name {
        "neg" => Int(-x),
        "abs" => Int(x.abs()),
        "sign" => Int(x.signum()),
        "square" => Int(x * x),
        "to_float" => Float(x as f64),
        _ => return None,
    })
}

fn integers(name: &str, a: i64, b: i64) -> Option<Element> {
    Some(match name {
        "add" => Int(a + b),
        "sub" => Int(a - b),
        "mul" => Int(a * b),
        "maximum" | "max" => Int(a.max(b)),
        "minimum" | "min" => Int(a.min(b)),
        "gt" => Bool(a > b),
        "ge" => Bool(a >= b),
        "lt" => Bool(a < b),
        "le" => Bool(a <= b),
        "eq" => Bool(a == b),
        "ne" => Bool(a != b),
        _ => return None,
    })
}

fn truth(name: &str, x: bool) -> Option<Element> {
    Some(match name {
        "not" => Bool(!x),
        "to_float" => Float(if x { 1.0 } else { 0.0 }),
        "to_int" => Int(i64::from(x)),
        _ => return None,
    })
}

fn truths(name: &str, a: bool, b: bool) -> Option<Element> {
    Some(Bool(match name {
        "and" => a && b,
        "or" => a || b,
        "eq" => a == b,
        "ne" => a != b,
        "gt" => a && !b,
        "ge" => a || !b,
        "lt" => !a && b,
        "le" => !a || b,
        _ => return None,
    }))
}

/// Operands for every row, of every kind that it takes.
#[cfg(test)]
pub fn operands_of(row: &crate::ops::pointwise::Row) -> Vec<Vec<Element>> {
    use crate::ops::pointwise::Signature;
    let (low, high) = row.domain;
    let floats = |n: usize| {
        (0..n)
            .map(|k| Float(low + (high - low) * (0.37 + 0.21 * k as f64)))
            .collect()
    };
    let ints = |n: usize| (0..n).map(|k| Int(3 - 2 * k as i64)).collect();
    let bools = |n: usize| (0..n).map(|k| Bool(k == 0)).collect::<Vec<_>>();
    match row.signature {
        Signature::Float(n) => vec![floats(n)],
        Signature::Number(n) => vec![floats(n), ints(n)],
        Signature::Compare => vec![floats(2), ints(2), bools(2)],
        Signature::Logic(n) => vec![bools(n)],
        Signature::Select => [floats(2), ints(2), bools(2)]
            .into_iter()
            .map(|pair: Vec<Element>| [vec![Bool(true)], pair].concat())
            .collect(),
        Signature::ToFloat => vec![ints(1), bools(1)],
        Signature::ToInt => vec![floats(1), bools(1)],
    }
}

#[test]
fn every_row_has_a_formula() {
    for row in crate::ops::pointwise::rows() {
        for operands in operands_of(row) {
            let value = evaluate(row.name, &operands);
            assert!(
                value.is_some(),
                "`{}` has no naive twin for {operands:?}",
                row.name
            );
        }
    }
}

#[test]
fn the_error_function_has_its_known_values() {
    // Abramowitz and Stegun, table 7.1.
    for (x, y) in [
        (0.5, 0.520_499_877_8),
        (1.0, 0.842_700_792_9),
        (2.0, 0.995_322_265_0),
    ] {
        assert!((erf(x) - y).abs() < 1e-10 && (erf(-x) + y).abs() < 1e-10);
    }
}

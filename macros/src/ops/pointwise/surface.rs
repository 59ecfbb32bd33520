//! How rows are written: operators, methods, and `select`.
//!
//! Operators and methods mean the same (`a + b`, `a.add(b)`); both come here. Two tensors broadcast, and a number takes
//! the shape of the tensor beside it. Floats and integers do not mix: a conversion is written out.

use super::{Derivative, Signature, named};
use crate::ir::{
    Args, Builder, DType, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface, Value, scalar::ScalarFn,
};

/// `lhs name rhs` for a row of two operands: what operators and methods of two operands build.
///
/// Numbers of the host give a number of the host; sizes stay sizes under `add`, `sub`, `mul` and `div` (which rounds
/// down).
///
/// # Errors
/// Where the shapes do not broadcast, the kinds differ, or an operand is no number.
pub fn binary(b: &mut Builder, name: &str, lhs: &Operand, rhs: &Operand) -> Result<Operand, ShapeError> {
    let (left, right) = match (lhs, rhs) {
        (Operand::Tensor(left), Operand::Tensor(right)) => (*left, *right),
        (Operand::Tensor(left), number) => (*left, beside(b, name, number, *left)?),
        (number, Operand::Tensor(right)) => (beside(b, name, number, *right)?, *right),
        (left, right) => return host_binary(name, left, right),
    };
    if b.is_poison(left) || b.is_poison(right) {
        return Ok(Operand::Tensor(b.poison()));
    }
    same_kind(b, name, left, right)?;
    if let Some(power) = small_power(b, name, left, rhs) {
        return Ok(Operand::Tensor(power));
    }
    let (left, right) = b.broadcast(left, right)?;
    Ok(Operand::Tensor(b.pointwise(name, &[left, right])))
}

/// `name operand` for a row of one operand.
///
/// # Errors
/// Where the operand is neither a tensor nor a number, or a number for which the row has no meaning.
pub fn unary(b: &mut Builder, name: &str, operand: &Operand) -> Result<Operand, ShapeError> {
    match (operand, name) {
        (Operand::Tensor(x), _) => Ok(Operand::Tensor(b.pointwise(name, &[*x]))),
        (Operand::Size(dim), "neg") => Ok(Operand::Size(-dim)),
        _ => {
            let function = ScalarFn::named(name, 1).ok_or_else(|| no_number(name))?;
            Ok(Operand::Scalar(Scalar::unary(function, host(name, operand)?)))
        }
    }
}

/// A number in the shape and kind of the tensor beside it.
fn beside(b: &mut Builder, name: &str, number: &Operand, tensor: Value) -> Result<Value, ShapeError> {
    let dtype = b.ty(tensor).dtype;
    let is_whole = matches!(number, Operand::Size(_));
    if dtype == DType::Float || (dtype == DType::Int && is_whole) || !is_number(number) || b.is_poison(tensor) {
        return b.as_tensor(number, tensor);
    }
    let message = format!("`{name}` of {} and a number", b.ty(tensor));
    let help = match dtype {
        DType::Int => "beside an int tensor stands a whole number; or convert the tensor with `.to_float()`",
        _ => "convert the tensor with `.to_float()` or `.to_int()`",
    };
    Err(ShapeError::new(message).help(help))
}

fn is_number(operand: &Operand) -> bool {
    matches!(operand, Operand::Size(_) | Operand::Scalar(_))
}

fn same_kind(b: &Builder, name: &str, left: Value, right: Value) -> Result<(), ShapeError> {
    let (left, right) = (b.ty(left), b.ty(right));
    if left.dtype == right.dtype {
        return Ok(());
    }
    let message = format!("`{name}` takes tensors of one kind, found {left} and {right}");
    let help = match (left.dtype, right.dtype) {
        (DType::Float, _) => "convert the second with `.to_float()`",
        (_, DType::Float) => "convert the first with `.to_float()`",
        _ => "convert the truth values with `.to_int()`",
    };
    Err(ShapeError::new(message).help(help))
}

/// Powers that products and roots give faster, and exactly: `x.pow(2.0)` is `x * x`.
fn small_power(b: &mut Builder, name: &str, x: Value, exponent: &Operand) -> Option<Value> {
    let exponent = match exponent {
        Operand::Size(dim) => dim.as_lit()? as f64,
        Operand::Scalar(scalar) => scalar.as_lit()?,
        _ => return None,
    };
    if name != "pow" {
        return None;
    }
    let square = |b: &mut Builder| b.mul(x, x);
    match exponent {
        1.0 => Some(x),
        2.0 => Some(square(b)),
        3.0 => {
            let square = square(b);
            Some(b.mul(square, x))
        }
        0.5 => Some(b.pointwise("sqrt", &[x])),
        -0.5 => Some(b.pointwise("rsqrt", &[x])),
        -1.0 => Some(b.pointwise("recip", &[x])),
        _ => None,
    }
}

fn host_binary(name: &str, left: &Operand, right: &Operand) -> Result<Operand, ShapeError> {
    if let (Operand::Size(left), Operand::Size(right)) = (left, right) {
        match name {
            "add" => return Ok(Operand::Size(left + right)),
            "sub" => return Ok(Operand::Size(left - right)),
            "mul" => return Ok(Operand::Size(left * right)),
            "div" if right.is_zero() => return Err(ShapeError::new(format!("`{left}` divided by zero"))),
            "div" => return Ok(Operand::Size(left.floor_div(right))),
            _ => {}
        }
    }
    let (left, right) = (host(name, left)?, host(name, right)?);
    let apply = |function: &str, left, right| {
        let function = ScalarFn::named(function, 2).ok_or_else(|| no_number(name))?;
        Ok(Scalar::binary(function, left, right))
    };
    let not = |scalar| Scalar::unary(ScalarFn::Not, scalar);
    Ok(Operand::Scalar(match name {
        "gt" => apply("lt", right, left)?,
        "ge" => apply("le", right, left)?,
        "ne" => not(apply("eq", left, right)?),
        "maximum" => apply("max", left, right)?,
        "minimum" => apply("min", left, right)?,
        // Truth values are 0 and 1.
        "and" => apply("mul", left, right)?,
        "or" => apply("max", left, right)?,
        _ => apply(name, left, right)?,
    }))
}

fn host(name: &str, operand: &Operand) -> Result<Scalar, ShapeError> {
    match operand {
        Operand::Size(dim) => Ok(Scalar::dim(dim)),
        Operand::Scalar(scalar) => Ok(scalar.clone()),
        _ => Err(ShapeError::new(format!("`{name}` takes tensors and numbers"))),
    }
}

fn no_number(name: &str) -> ShapeError {
    ShapeError::new(format!("`{name}` takes a tensor, found numbers"))
}

fn operand(args: &mut Args, index: usize, name: &str) -> Result<Operand, ShapeError> {
    args.any(index, name).ok_or_else(|| {
        let message = format!("`{name}` is missing");
        ShapeError::new(message).help(format!("it is written `{}`", args.usage))
    })
}

fn lower_unary(b: &mut Builder, args: &mut Args, name: &str) -> Result<Operand, ShapeError> {
    let x = operand(args, 0, "x")?;
    args.finish()?;
    unary(b, name, &x)
}

fn lower_binary(b: &mut Builder, args: &mut Args, name: &str) -> Result<Operand, ShapeError> {
    let (left, right) = (operand(args, 0, "x")?, operand(args, 1, "other")?);
    args.finish()?;
    binary(b, name, &left, &right)
}

/// `select(mask, a, b)`: of `a` and `b`, one may be a number.
fn lower_select(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let mask = args.tensor(0, "mask")?;
    let (yes, no) = (operand(args, 1, "a")?, operand(args, 2, "b")?);
    args.finish()?;
    let (yes, no) = match (&yes, &no) {
        (Operand::Tensor(yes), Operand::Tensor(no)) => (*yes, *no),
        (Operand::Tensor(yes), number) => (*yes, beside(b, "select", number, *yes)?),
        (number, Operand::Tensor(no)) => (beside(b, "select", number, *no)?, *no),
        (yes, no) => (b.as_tensor(yes, mask)?, b.as_tensor(no, mask)?),
    };
    same_kind(b, "select", yes, no)?;
    let (yes, no) = b.broadcast(yes, no)?;
    let (mask, yes) = b.broadcast(mask, yes)?;
    let (mask, no) = b.broadcast(mask, no)?;
    Ok(Operand::Tensor(b.select(mask, yes, no)))
}

macro_rules! rows {
    (unary: $($unary:literal)*; binary: $($binary:literal)*;) => {
        /// A method for every row, and `select`.
        pub(super) static SURFACES: &[Surface] = &[
            $(Surface {
                name: $unary,
                form: Form::Method,
                usage: concat!("x.", $unary, "()"),
                lower: |b, args| lower_unary(b, args, $unary),
            },)*
            $(Surface {
                name: $binary,
                form: Form::Method,
                usage: concat!("x.", $binary, "(other)"),
                lower: |b, args| lower_binary(b, args, $binary),
            },)*
            Surface {
                name: "select",
                form: Form::Function,
                usage: "select(mask, a, b)",
                lower: lower_select,
            },
        ];

        /// A sample of every row.
        pub(super) fn samples() -> Vec<Sample> {
            vec![
                $(sample($unary, concat!("x.", $unary, "()")),)*
                $(sample($binary, concat!("x.", $binary, "(other)")),)*
                sample("select", "select(mask, a, b)"),
            ]
        }
    };
}

rows! {
    unary: "neg" "recip" "abs" "sign" "floor" "ceil" "round" "relu" "detach" "sqrt" "rsqrt" "exp" "expm1" "log" "log1p"
        "sin" "cos" "tan" "tanh" "sigmoid" "erf" "softplus" "not" "to_float" "to_int";
    binary: "add" "sub" "mul" "div" "pow" "maximum" "minimum" "eq" "ne" "lt" "le" "gt" "ge" "and" "or";
}

/// A sample that applies a row to matrices of equal shape.
fn sample(name: &'static str, body: &'static str) -> Sample {
    let row = named(name).expect("every surface has its row").0;
    let (args, ret) = match row.signature {
        Signature::Float(1) | Signature::Number(1) => ("x: Tensor<B, N>", "Tensor<B, N>"),
        Signature::Float(_) | Signature::Number(_) => ("x: Tensor<B, N>, other: Tensor<B, N>", "Tensor<B, N>"),
        Signature::Compare => ("x: Tensor<B, N>, other: Tensor<B, N>", "Tensor<bool, B, N>"),
        Signature::Logic(1) => ("x: Tensor<bool, B, N>", "Tensor<bool, B, N>"),
        Signature::Logic(_) => ("x: Tensor<bool, B, N>, other: Tensor<bool, B, N>", "Tensor<bool, B, N>"),
        Signature::Select => ("mask: Tensor<bool, B, N>, a: Tensor<B, N>, b: Tensor<B, N>", "Tensor<B, N>"),
        Signature::ToFloat => ("x: Tensor<i64, B, N>", "Tensor<B, N>"),
        Signature::ToInt => ("x: Tensor<B, N>", "Tensor<i64, B, N>"),
    };
    let gradient = match row.derivative {
        Derivative::Rule(_) => SampleGradient::Checked,
        Derivative::Zero | Derivative::Discrete => SampleGradient::None,
    };
    Sample {
        name,
        dims: "B: Dim, N: Dim",
        args,
        ret,
        body,
        sizes: &[&[1, 1], &[3, 5], &[2, 67], &[0, 4]],
        domain: row.domain,
        gradient,
    }
}

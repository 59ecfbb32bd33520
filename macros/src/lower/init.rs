//! Values of `#[layer(..)]`: options of layers, and the first values of parameters.

use proc_macro2::Ident;

use crate::ast::{Expr, ExprKind, Lit, OptionArg, UnaryOp};
use crate::diag::{Diagnostic, SourceSpan};
use crate::ir::{Operand, Scalar};
use crate::lower::names::nearest;
use crate::lower::sizes::SizeError;
use crate::model::InitSpec;
use crate::shape::Dim;

/// Evaluates an option of a layer: a literal, a size, or several of them.
pub fn option(expr: &Expr, name: &dyn Fn(&Ident) -> Result<Dim, SizeError>) -> Result<Operand, SizeError> {
    let refused =
        || SizeError::Because("expected a number, a truth value, a string or a list of numbers".to_owned());
    match &expr.kind {
        ExprKind::Lit(Lit::Int(value)) => match i64::try_from(*value) {
            Ok(value) => Ok(Operand::Size(Dim::lit(value))),
            Err(_) => Err(SizeError::Because(format!("the number {value} is too large"))),
        },
        ExprKind::Lit(Lit::Float(value)) => Ok(Operand::Scalar(Scalar::lit(*value))),
        ExprKind::Lit(Lit::Bool(value)) => Ok(Operand::Scalar(Scalar::lit(f64::from(u8::from(*value))))),
        ExprKind::Lit(Lit::Str(text)) => Ok(Operand::Text(text.clone())),
        ExprKind::Name(ident) => Ok(Operand::Size(name(ident)?)),
        ExprKind::Tuple(parts) | ExprKind::Array(parts) => Ok(Operand::Tuple(
            parts
                .iter()
                .map(|part| option(part, name))
                .collect::<Result<_, _>>()?,
        )),
        ExprKind::Unary {
            op: UnaryOp::Neg,
            operand,
        } => match option(operand, name)? {
            Operand::Size(dim) => Ok(Operand::Size(-dim)),
            Operand::Scalar(value) => value
                .as_lit()
                .map(|x| Operand::Scalar(Scalar::lit(-x)))
                .ok_or_else(refused),
            _ => Err(refused()),
        },
        ExprKind::Error(_) => Err(SizeError::Reported),
        _ => Err(refused()),
    }
}

/// What is wrong with an initialiser.
pub struct InitError {
    message: String,
    help: String,
}

impl InitError {
    /// The report.
    pub fn diagnostic(self, place: SourceSpan) -> Diagnostic {
        Diagnostic::error(place, self.message).help(self.help)
    }
}

/// Name, usage, names of the numbers with their defaults.
type Initialiser = (&'static str, &'static str, &'static [(&'static str, Option<f64>)]);

/// The initialisers.
const INITS: &[Initialiser] = &[
    ("zeros", "zeros", &[]),
    ("ones", "ones", &[]),
    ("constant", "constant(value)", &[("value", None)]),
    ("uniform", "uniform(low, high)", &[("low", None), ("high", None)]),
    ("normal", "normal(mean, std)", &[("mean", None), ("std", None)]),
    (
        "truncated_normal",
        "truncated_normal(mean, std, low, high)",
        &[
            ("mean", Some(0.0)),
            ("std", Some(1.0)),
            ("low", Some(-2.0)),
            ("high", Some(2.0)),
        ],
    ),
    (
        "xavier_uniform",
        "xavier_uniform(gain = 1.0)",
        &[("gain", Some(1.0))],
    ),
    (
        "xavier_normal",
        "xavier_normal(gain = 1.0)",
        &[("gain", Some(1.0))],
    ),
    ("kaiming_uniform", "kaiming_uniform(a = 0.0)", &[("a", Some(0.0))]),
    ("kaiming_normal", "kaiming_normal(a = 0.0)", &[("a", Some(0.0))]),
    ("orthogonal", "orthogonal(gain = 1.0)", &[("gain", Some(1.0))]),
];

/// Reads an initialiser: `zeros`, `normal(0.0, 0.02)`, or a number.
pub fn spec(expr: &Expr) -> Result<InitSpec, InitError> {
    if let Some(value) = number(expr) {
        return Ok(InitSpec::Constant(value));
    }
    let (name, args, options): (String, &[Expr], &[OptionArg]) = match &expr.kind {
        ExprKind::Name(name) => (name.to_string(), &[], &[]),
        ExprKind::Call {
            callee,
            args,
            options,
        } => match callee.get_ident() {
            Some(name) => (name.to_string(), args, options),
            None => return Err(unknown("this")),
        },
        _ => return Err(unknown("this")),
    };
    let Some((_, usage, numbers)) = INITS.iter().find(|(known, ..)| *known == name) else {
        return Err(unknown(&format!("`{name}`")));
    };
    let refuse = |message: String| InitError {
        message,
        help: format!("it is written `{usage}`"),
    };
    if args.len() > numbers.len() {
        return Err(refuse(format!(
            "`{name}` takes {} numbers, found {}",
            numbers.len(),
            args.len()
        )));
    }
    if let Some(option) = options
        .iter()
        .find(|option| !numbers.iter().any(|(known, _)| option.name == known))
    {
        return Err(refuse(format!("`{name}` has no `{}`", option.name)));
    }
    let mut values = Vec::new();
    for (position, (number_name, default)) in numbers.iter().enumerate() {
        let given = options
            .iter()
            .find(|option| option.name == number_name)
            .map(|option| &option.value);
        let value = match args.get(position).or(given) {
            Some(expr) => number(expr).filter(|value| value.is_finite()),
            None => *default,
        };
        values.push(value.ok_or_else(|| refuse(format!("`{number_name}` of `{name}` should be a number")))?);
    }
    Ok(build(&name, &values))
}

fn build(name: &str, v: &[f64]) -> InitSpec {
    match name {
        "ones" => InitSpec::Ones,
        "constant" => InitSpec::Constant(v[0]),
        "uniform" => InitSpec::Uniform {
            low: v[0],
            high: v[1],
        },
        "normal" => InitSpec::Normal {
            mean: v[0],
            std: v[1],
        },
        "truncated_normal" => InitSpec::TruncatedNormal {
            mean: v[0],
            std: v[1],
            low: v[2],
            high: v[3],
        },
        "xavier_uniform" => InitSpec::XavierUniform { gain: v[0] },
        "xavier_normal" => InitSpec::XavierNormal { gain: v[0] },
        "kaiming_uniform" => InitSpec::KaimingUniform { a: v[0] },
        "kaiming_normal" => InitSpec::KaimingNormal { a: v[0] },
        "orthogonal" => InitSpec::Orthogonal { gain: v[0] },
        _ => InitSpec::Zeros,
    }
}

fn unknown(what: &str) -> InitError {
    let known: Vec<&str> = INITS.iter().map(|(name, ..)| *name).collect();
    let help = match nearest(what.trim_matches('`'), known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the initialisers are {}", known.join(", ")),
    };
    InitError {
        message: format!("{what} is not an initialiser"),
        help,
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Lit(Lit::Float(value)) => Some(*value),
        ExprKind::Lit(Lit::Int(value)) => Some(*value as f64),
        ExprKind::Unary {
            op: UnaryOp::Neg,
            operand,
        } => number(operand).map(|value| -value),
        _ => None,
    }
}

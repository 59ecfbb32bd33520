//! Host scalars: numbers that are known when a function is called, not before.
//!
//! Hyper-parameters (`f32`, `bool` and `usize` arguments) reach operations as expressions of this kind, so
//! that they need no rebuild; literals fold while the expression is made.

use std::rc::Rc;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use crate::shape::Dim;

/// A scalar expression, evaluated on the host in `f64` once per call.
///
/// Truth values are 0 and 1.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Scalar {
    /// A number, by its bits (so that scalars can be compared and hashed).
    Lit(u64),
    /// An argument of the function, by name.
    Arg(Rc<str>),
    /// The size of an axis, or a product of such.
    Dim(Dim),
    /// A function of one scalar.
    Unary(ScalarFn, Rc<Scalar>),
    /// A function of two scalars.
    Binary(ScalarFn, Rc<Scalar>, Rc<Scalar>),
    /// `if condition != 0 { a } else { b }`.
    If(Rc<Scalar>, Rc<Scalar>, Rc<Scalar>),
}

macro_rules! scalar_fns {
    ($($variant:ident $name:literal $arity:literal $eval:expr, $spell:literal;)*) => {
        /// The functions of [`Scalar`].
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
        pub enum ScalarFn { $(#[doc = concat!("`", $name, "`")] $variant),* }

        impl ScalarFn {
            /// The function of that name and number of arguments, if there is one.
            pub fn named(name: &str, arity: usize) -> Option<Self> {
                match (name, arity) { $(($name, $arity) => Some(Self::$variant),)* _ => None }
            }

            fn eval(self, a: f64, b: f64) -> f64 {
                let f: fn(f64, f64) -> f64 = match self { $(Self::$variant => $eval),* };
                f(a, b)
            }

            /// Rust text with `{0}` and `{1}` for the operands.
            fn spelling(self) -> &'static str {
                match self { $(Self::$variant => $spell),* }
            }
        }
    };
}

fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

scalar_fns! {
    Neg "neg" 1 |a, _| -a, "(-{0})";
    Not "not" 1 |a, _| truth(a == 0.0), "f64::from(u8::from({0} == 0.0))";
    Sqrt "sqrt" 1 |a, _| a.sqrt(), "f64::sqrt({0})";
    Exp "exp" 1 |a, _| a.exp(), "f64::exp({0})";
    Log "log" 1 |a, _| a.ln(), "f64::ln({0})";
    Abs "abs" 1 |a, _| a.abs(), "f64::abs({0})";
    Floor "floor" 1 |a, _| a.floor(), "f64::floor({0})";
    Recip "recip" 1 |a, _| 1.0 / a, "(1.0 / {0})";
    Add "add" 2 |a, b| a + b, "({0} + {1})";
    Sub "sub" 2 |a, b| a - b, "({0} - {1})";
    Mul "mul" 2 |a, b| a * b, "({0} * {1})";
    Div "div" 2 |a, b| a / b, "({0} / {1})";
    Pow "pow" 2 |a, b| a.powf(b), "f64::powf({0}, {1})";
    Max "max" 2 |a, b| a.max(b), "f64::max({0}, {1})";
    Min "min" 2 |a, b| a.min(b), "f64::min({0}, {1})";
    Lt "lt" 2 |a, b| truth(a < b), "f64::from(u8::from({0} < {1}))";
    Le "le" 2 |a, b| truth(a <= b), "f64::from(u8::from({0} <= {1}))";
    Eq "eq" 2 |a, b| truth(a == b), "f64::from(u8::from({0} == {1}))";
}

impl Scalar {
    /// A number.
    pub fn lit(value: f64) -> Self {
        // One zero, so that equal attributes have equal bits.
        Self::Lit(if value == 0.0 { 0 } else { value.to_bits() })
    }

    /// The size of an axis as a number.
    pub fn dim(dim: &Dim) -> Self {
        match dim.as_lit() {
            Some(n) => Self::lit(n as f64),
            None => Self::Dim(dim.clone()),
        }
    }

    /// The number, where it is known at compile time.
    pub fn as_lit(&self) -> Option<f64> {
        match self {
            Self::Lit(bits) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    /// `f(a)`, folded when `a` is a literal.
    pub fn unary(f: ScalarFn, a: Self) -> Self {
        match a.as_lit() {
            Some(x) => Self::lit(f.eval(x, 0.0)),
            None => Self::Unary(f, Rc::new(a)),
        }
    }

    /// `f(a, b)`, folded when both are literals.
    pub fn binary(f: ScalarFn, a: Self, b: Self) -> Self {
        match (a.as_lit(), b.as_lit()) {
            (Some(x), Some(y)) => Self::lit(f.eval(x, y)),
            _ => Self::Binary(f, Rc::new(a), Rc::new(b)),
        }
    }

    /// `if condition { a } else { b }`, folded when the condition is a literal.
    pub fn choose(condition: Self, a: Self, b: Self) -> Self {
        match condition.as_lit() {
            Some(0.0) => b,
            Some(_) => a,
            None => Self::If(Rc::new(condition), Rc::new(a), Rc::new(b)),
        }
    }

    /// `1 / self`.
    pub fn recip(self) -> Self {
        Self::unary(ScalarFn::Recip, self)
    }

    /// Names of the arguments it depends on.
    pub fn args(&self, found: &mut Vec<Rc<str>>) {
        match self {
            Self::Lit(_) | Self::Dim(_) => {}
            Self::Arg(name) => {
                if !found.contains(name) {
                    found.push(name.clone());
                }
            }
            Self::Unary(_, a) => a.args(found),
            Self::Binary(_, a, b) => {
                a.args(found);
                b.args(found);
            }
            Self::If(c, a, b) => {
                c.args(found);
                a.args(found);
                b.args(found);
            }
        }
    }

    /// Visits the sizes it depends on.
    pub fn dims(&self, visit: &mut dyn FnMut(&Dim)) {
        match self {
            Self::Lit(_) | Self::Arg(_) => {}
            Self::Dim(dim) => visit(dim),
            Self::Unary(_, a) => a.dims(visit),
            Self::Binary(_, a, b) => {
                a.dims(visit);
                b.dims(visit);
            }
            Self::If(c, a, b) => {
                c.dims(visit);
                a.dims(visit);
                b.dims(visit);
            }
        }
    }

    /// A Rust expression of type `f64`. Arguments are read from local variables of their name, which the
    /// emitted function binds as `f64`.
    pub fn to_tokens(&self) -> TokenStream {
        let spell = |f: &ScalarFn, operands: &[&Scalar]| -> TokenStream {
            let mut text = f.spelling().to_owned();
            for (k, operand) in operands.iter().enumerate() {
                text = text.replace(&format!("{{{k}}}"), &operand.to_tokens().to_string());
            }
            text.parse()
                .expect("spellings of scalar functions are Rust expressions")
        };
        match self {
            Self::Lit(bits) => {
                let value = f64::from_bits(*bits);
                if value.is_finite() {
                    let digits = Literal::f64_unsuffixed(value.abs());
                    if value < 0.0 {
                        quote!((-#digits))
                    } else {
                        quote!(#digits)
                    }
                } else if value.is_nan() {
                    quote!(f64::NAN)
                } else if value > 0.0 {
                    quote!(f64::INFINITY)
                } else {
                    quote!(f64::NEG_INFINITY)
                }
            }
            Self::Arg(name) => {
                let name = format_ident!("{}", &**name);
                quote!(#name)
            }
            Self::Dim(dim) => {
                let dim = dim.to_tokens();
                quote!(((#dim) as f64))
            }
            Self::Unary(f, a) => spell(f, &[a]),
            Self::Binary(f, a, b) => spell(f, &[a, b]),
            Self::If(c, a, b) => {
                let (c, a, b) = (c.to_tokens(), a.to_tokens(), b.to_tokens());
                quote!((if #c != 0.0 { #a } else { #b }))
            }
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::lit(value)
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lit(bits) => write!(f, "{}", f64::from_bits(*bits)),
            Self::Arg(name) => write!(f, "{name}"),
            Self::Dim(dim) => write!(f, "{dim}"),
            Self::Unary(op, a) => f.write_str(&op.spelling().replace("{0}", &a.to_string())),
            Self::Binary(op, a, b) => {
                let text = op.spelling().replace("{0}", &a.to_string());
                f.write_str(&text.replace("{1}", &b.to_string()))
            }
            Self::If(c, a, b) => write!(f, "if {c} {{ {a} }} else {{ {b} }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_fold() {
        let x = Scalar::binary(ScalarFn::Sub, 1.0.into(), 0.25.into());
        assert_eq!(x, Scalar::lit(0.75));
        assert_eq!(Scalar::lit(-0.0), Scalar::lit(0.0));
    }

    #[test]
    fn arguments_stay_symbolic_and_are_listed_once() {
        let p = Scalar::Arg("p".into());
        let keep = Scalar::binary(ScalarFn::Sub, 1.0.into(), p.clone());
        let x = Scalar::binary(ScalarFn::Mul, keep.recip(), p);
        let mut found = Vec::new();
        x.args(&mut found);
        assert_eq!(found, ["p".into()]);
        assert_eq!(x.to_tokens().to_string(), "((1.0 / (1.0 - p)) * p)");
    }
}

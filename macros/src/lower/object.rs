//! What an expression of the language denotes while a function is lowered.

use crate::ast::HostType;
use crate::ir::{Operand, Scalar, Value};
use crate::lower::collect::CollectionId;
use crate::lower::iterate::Iteration;
use crate::lower::tree::InstanceId;
use crate::shape::Dim;

/// The meaning of an expression.
#[derive(Clone, Debug)]
pub enum Object {
    /// A tensor.
    Tensor(Value),
    /// A whole number that the compiler calculates with.
    Size(Dim),
    /// A number or truth value of the host, and its type.
    Host(Scalar, HostType),
    /// `(a, b)`, `[2, 3]`
    Tuple(Vec<Object>),
    /// `a..b`; the end is not part of it.
    Range(Option<Dim>, Option<Dim>),
    /// A string literal.
    Text(String),
    /// `self`, a layer, or an array of layers.
    Instance(InstanceId),
    /// What a `for` goes through.
    Iteration(Iteration),
    /// `Steps`: values that a loop collects.
    Steps(CollectionId),
    /// The result of a mistake that is reported.
    Poison,
}

impl Object {
    /// The value of a block without a tail.
    pub fn unit() -> Self {
        Self::Tuple(Vec::new())
    }

    /// Whether it is the value of a block without a tail.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::Tuple(parts) if parts.is_empty())
    }

    /// A number of type `f32`.
    pub fn number(scalar: Scalar) -> Self {
        Self::Host(scalar, HostType::F32)
    }

    /// A truth value.
    pub fn truth(scalar: Scalar) -> Self {
        Self::Host(scalar, HostType::Bool)
    }

    /// Whether it, or a part of it, is the result of a mistake.
    pub fn is_poison(&self) -> bool {
        match self {
            Self::Poison => true,
            Self::Tuple(parts) => parts.iter().any(Object::is_poison),
            _ => false,
        }
    }

    /// Whether it is a truth value of the host.
    pub fn is_truth(&self) -> bool {
        matches!(self, Self::Host(_, HostType::Bool))
    }

    /// The number, where it is one.
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Size(dim) => Some(Scalar::dim(dim)),
            Self::Host(scalar, _) => Some(scalar.clone()),
            _ => None,
        }
    }

    /// The argument of an operation, if it can be one.
    pub fn operand(&self) -> Option<Operand> {
        Some(match self {
            Self::Tensor(value) => Operand::Tensor(*value),
            Self::Size(dim) => Operand::Size(dim.clone()),
            Self::Host(scalar, _) => Operand::Scalar(scalar.clone()),
            Self::Tuple(parts) => Operand::Tuple(parts.iter().map(Object::operand).collect::<Option<_>>()?),
            Self::Range(start, end) => Operand::Range(start.clone(), end.clone()),
            Self::Text(text) => Operand::Text(text.clone()),
            Self::Instance(_) | Self::Iteration(_) | Self::Steps(_) | Self::Poison => return None,
        })
    }

    /// The tensor, or the first of several.
    pub fn first_tensor(&self) -> Option<Value> {
        match self {
            Self::Tensor(value) => Some(*value),
            Self::Tuple(parts) => parts.iter().find_map(Self::first_tensor),
            _ => None,
        }
    }

    /// What an operation answered.
    pub fn of(operand: Operand) -> Self {
        match operand {
            Operand::Tensor(value) => Self::Tensor(value),
            Operand::Size(dim) => Self::Size(dim),
            Operand::Scalar(scalar) => Self::number(scalar),
            Operand::Tuple(parts) => Self::Tuple(parts.into_iter().map(Object::of).collect()),
            Operand::Range(start, end) => Self::Range(start, end),
            Operand::Text(text) => Self::Text(text),
        }
    }

    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Tensor(_) => "a tensor",
            Self::Size(_) | Self::Host(_, HostType::Usize) => "a whole number",
            Self::Host(_, HostType::F32) => "a number",
            Self::Host(_, HostType::Bool) => "a truth value",
            Self::Tuple(parts) if parts.is_empty() => "nothing",
            Self::Tuple(_) => "a tuple",
            Self::Range(..) => "a range",
            Self::Text(_) => "a string",
            Self::Instance(_) => "a layer",
            Self::Iteration(_) => "an iterator",
            Self::Steps(_) => "collected steps",
            Self::Poison => "an error",
        }
    }
}

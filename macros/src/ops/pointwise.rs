//! Pointwise operations: one scalar function applied to every element.
//!
//! A pointwise operation is one [`Row`] of a table in `ops/pointwise/`: its name, what it means, how it is
//! spelled in Rust and in CUDA C, and its derivative in IR terms. Fused groups, their gradients, both kernels
//! and the tests follow from the row. What has no kernel of its own (`silu`, `mish`, ...) is a composition in
//! `ops/compose.rs`.

mod arithmetic;
mod logic;
mod smooth;
mod surface;
#[cfg(test)]
mod tests;

use crate::ir::{
    Body, Builder, Constraints, Cotangents, DType, Kernel, Rule, Sample, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::{self, Dim};

pub use surface::binary;

/// A row of the pointwise table.
#[derive(Debug)]
pub struct Row {
    /// Name in the language and in the printed graph.
    pub name: &'static str,
    /// What it computes, as a formula for `y`; at its end, whether the derivative reads the result.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by those who read the table, and checked by its tests"))]
    pub doc: &'static str,
    /// Kinds of operands and result.
    pub signature: Signature,
    /// The Rust expression, with `{0}`, `{1}`, `{2}` for the operands. Floats are of a type `T: Real`, integers of the
    /// runtime's `rt::Int`, whose arithmetic wraps; truth values are `bool`.
    pub rust: &'static str,
    /// The CUDA C expression, likewise; floats are of a type `T`.
    #[cfg_attr(not(test), expect(dead_code, reason = "kernels are emitted for the CPU only; tests check the spelling"))]
    pub cuda: &'static str,
    /// Cotangents of the operands from (builder, operands, result, cotangent of the result).
    pub derivative: Derivative,
    /// The name of the runtime's `Activation` that does the same inside a matmul or convolution.
    pub activation: Option<&'static str>,
    /// Floating point operations an element, by the usual count (a transcendental function is one).
    pub flops: i64,
    /// Range of operands that tests draw from, away from kinks and poles.
    pub domain: (f64, f64),
}

impl Row {
    /// Whether it takes as long as the exponential, rather than as a sum.
    pub fn is_function(&self) -> bool {
        smooth::ROWS.iter().any(|row| row.name == self.name)
    }
}

/// The derivative of a row.
pub type Gradient = fn(&mut Builder, &[Value], Value, Value) -> Vec<Option<Value>>;

/// How a row is differentiated.
#[derive(Clone, Copy, Debug)]
pub enum Derivative {
    /// By this rule.
    Rule(Gradient),
    /// It is constant almost everywhere (`sign`, `floor`): no gradient flows.
    Zero,
    /// Its result is not a real number.
    Discrete,
}

/// Kinds of operands and result of a [`Row`]; all operands have one shape.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    /// Floats to float; the number of operands.
    Float(usize),
    /// All floats or all integers, to the same; the number of operands.
    Number(usize),
    /// Two of one kind, to bool.
    Compare,
    /// Bools to bool; the number of operands.
    Logic(usize),
    /// A bool and two of one kind, to that kind.
    Select,
    /// Integer or bool to float.
    ToFloat,
    /// Bool or float to integer.
    ToInt,
}

/// A pointwise operation.
#[derive(Clone, Copy, Debug)]
pub struct Pointwise(pub &'static Row);

impl PartialEq for Pointwise {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

/// Every row of the table.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    arithmetic::ROWS.iter().chain(smooth::ROWS).chain(logic::ROWS)
}

/// The operation of that name.
pub fn named(name: &str) -> Option<Pointwise> {
    rows().find(|row| row.name == name).map(Pointwise)
}

impl Signature {
    /// Number of operands.
    pub fn arity(self) -> usize {
        match self {
            Self::Float(n) | Self::Number(n) | Self::Logic(n) => n,
            Self::Compare => 2,
            Self::Select => 3,
            Self::ToFloat | Self::ToInt => 1,
        }
    }

    /// Kind of the result, where the operands have allowed kinds.
    pub fn result(self, operands: &[DType]) -> Option<DType> {
        let first = operands[0];
        let all_same = operands.iter().all(|d| *d == first);
        match self {
            Self::Float(_) => (all_same && first == DType::Float).then_some(DType::Float),
            Self::Number(_) => (all_same && first != DType::Bool).then_some(first),
            Self::Compare => all_same.then_some(DType::Bool),
            Self::Logic(_) => (all_same && first == DType::Bool).then_some(DType::Bool),
            Self::Select => (first == DType::Bool && operands[1] == operands[2]).then_some(operands[1]),
            Self::ToFloat => (first != DType::Float).then_some(DType::Float),
            Self::ToInt => (first != DType::Int).then_some(DType::Int),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Float(_) => "float tensors",
            Self::Number(_) => "tensors of one kind, float or int",
            Self::Compare => "two tensors of one kind",
            Self::Logic(_) => "bool tensors",
            Self::Select => "a bool tensor and two tensors of one kind",
            Self::ToFloat => "an int or bool tensor",
            Self::ToInt => "a float or bool tensor",
        }
    }
}

impl Rule for Pointwise {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn attributes(&self) -> String {
        String::new()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let Row { name, signature, .. } = self.0;
        if inputs.len() != signature.arity() {
            let message = format!("`{name}` takes {} operands, {} given", signature.arity(), inputs.len());
            return Err(ShapeError::new(message));
        }
        let kinds: Vec<DType> = inputs.iter().map(|ty| ty.dtype).collect();
        let Some(dtype) = signature.result(&kinds) else {
            let found: Vec<String> = inputs.iter().map(Type::to_string).collect();
            let message = format!("`{name}` takes {}, found {}", signature.expected(), found.join(" and "));
            return Err(ShapeError::new(message));
        };
        let first = &inputs[0];
        if let Some(other) = inputs[1..].iter().find(|ty| !constraints.equal_shapes(&first.shape, &ty.shape)) {
            let shapes = (shape::display(&first.shape), shape::display(&other.shape));
            let message = format!("`{name}` takes tensors of one shape, found {} and {}", shapes.0, shapes.1);
            return Err(ShapeError::new(message));
        }
        Ok(vec![first.with_dtype(dtype)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let none = vec![None; site.inputs.len()];
        let Some(g) = out_bars[0] else { return Cotangents::Flow(none) };
        match self.0.derivative {
            Derivative::Rule(rule) => Cotangents::Flow(rule(b, site.inputs, site.outputs[0], g)),
            Derivative::Zero | Derivative::Discrete => Cotangents::Flow(none),
        }
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        Kernel::Pointwise(Body::Row(self.0))
    }

    fn flops(&self, _: &[Type], outputs: &[Type]) -> Dim {
        outputs[0].numel() * self.0.flops
    }

    fn surfaces() -> &'static [Surface] {
        surface::SURFACES
    }

    fn samples() -> Vec<Sample> {
        surface::samples()
    }
}

//! Leaves: values that exist before the function runs.

use crate::ir::{
    Builder, Constraints, Cotangents, InputId, Kernel, ParamId, Rule, Sample, ShapeError, Site, StateId, Surface, Type, Value,
};
use crate::shape::Dim;

/// A value that no operation computes.
#[derive(Clone, PartialEq, Debug)]
pub struct Leaf {
    /// What it is.
    pub kind: LeafKind,
    /// Its declared type.
    pub ty: Type,
}

/// The kinds of leaf.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum LeafKind {
    /// An argument of the function.
    Input(InputId),
    /// A trained tensor.
    Param(ParamId),
    /// A carried tensor, as committed by the last step.
    State(StateId),
    /// The direction in which the gradient is differentiated, as far as it concerns that parameter.
    Direction(ParamId),
    /// In the body of a loop: what stands for an operand of the loop, by position.
    Arg(usize),
    /// Where a loop keeps what it carries or collects; the compiler's own, made when loops are laid open (as the next two).
    Buffer,
    /// A part of another value: what one step of a loop gets.
    Window,
    /// Reads what one step of a loop leaves.
    Sink,
    /// Stands for the result of a mistake that was reported.
    Poison,
}

impl Rule for Leaf {
    fn name(&self) -> &'static str {
        match self.kind {
            LeafKind::Input(_) => "input",
            LeafKind::Param(_) => "param",
            LeafKind::State(_) => "state",
            LeafKind::Direction(_) => "direction",
            LeafKind::Arg(_) => "arg",
            LeafKind::Buffer => "buffer",
            LeafKind::Window => "window",
            LeafKind::Sink => "sink",
            LeafKind::Poison => "poison",
        }
    }

    fn attributes(&self) -> String {
        match self.kind {
            LeafKind::Input(id) => id.to_string(),
            LeafKind::Param(id) => id.to_string(),
            LeafKind::State(id) => id.to_string(),
            LeafKind::Direction(id) => id.to_string(),
            LeafKind::Arg(k) => k.to_string(),
            LeafKind::Buffer | LeafKind::Window | LeafKind::Sink | LeafKind::Poison => String::new(),
        }
    }

    fn types(&self, _: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        Ok(vec![self.ty.clone()])
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Flow(Vec::new())
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        Kernel::Leaf
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        Dim::zero()
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

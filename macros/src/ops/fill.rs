//! Constant tensors: one number everywhere. They live inside pointwise groups and cost no memory there.

use crate::ir::{
    Body, Builder, Constraints, Cotangents, Kernel, Rule, Sample, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::Dim;

/// A tensor of one number.
#[derive(Clone, PartialEq, Debug)]
pub struct Fill {
    /// The number.
    pub value: Scalar,
    /// Type of the tensor.
    pub ty: Type,
}

impl Rule for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn attributes(&self) -> String {
        self.value.to_string()
    }

    fn types(&self, _: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        Ok(vec![self.ty.clone()])
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Flow(Vec::new())
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        Kernel::Pointwise(Body::Immediate(self.value.clone()))
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

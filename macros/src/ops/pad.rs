//! Placing a tensor inside a larger one: padding, and the gradient of slicing.

use crate::ir::{
    Builder, Call, CallArg, Constraints, Cotangents, DType, Kernel, Rule, Sample, Scalar, ShapeError, Site, Surface, Type,
    Value, ViewMap,
};
use crate::ops::view::View;
use crate::shape::{self, Dim};

/// `y[start + step * i] = x[i]`, and `value` everywhere else.
#[derive(Clone, PartialEq, Debug)]
pub struct Pad {
    /// Where the first element of `x` goes, along every axis.
    pub starts: Vec<Dim>,
    /// Distance of neighbours of `x` in `y`, along every axis.
    pub steps: Vec<usize>,
    /// Shape of the result.
    pub shape: Vec<Dim>,
    /// What fills the rest.
    pub value: Scalar,
}

impl Pad {
    /// Placement into zeros: the transpose of a slice.
    pub fn scatter(starts: Vec<Dim>, steps: Vec<usize>, shape: Vec<Dim>) -> Self {
        Self { starts, steps, shape, value: Scalar::lit(0.0) }
    }
}

impl Rule for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn attributes(&self) -> String {
        format!("at {} with {}", shape::display(&self.starts), self.value)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        let rank = self.shape.len();
        if x.dtype != DType::Float || x.rank() != rank || self.starts.len() != rank || self.steps.len() != rank {
            return Err(ShapeError::new(format!("cannot place {x} inside {}", shape::display(&self.shape))));
        }
        Ok(vec![x.with_shape(self.shape.clone())])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else { return Cotangents::Flow(vec![None]) };
        let (starts, steps) = (self.starts.clone(), self.steps.clone());
        let sizes = b.shape(site.inputs[0]);
        let bar = b.push(View(ViewMap::Slice { starts, steps, sizes }), &[g]);
        Cotangents::Flow(vec![Some(bar)])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let steps = self.steps.iter().map(|&step| Dim::lit(step as i64)).collect();
        let args = vec![
            CallArg::In(0),
            CallArg::Out(0),
            CallArg::Sizes(inputs[0].shape.clone()),
            CallArg::Sizes(self.shape.clone()),
            CallArg::Sizes(self.starts.clone()),
            CallArg::Sizes(steps),
            CallArg::Scalar(self.value.clone()),
        ];
        Kernel::Call(Call { function: "pad", args, scratch: Vec::new() })
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

//! Reductions over axes.

mod surface;
#[cfg(test)]
mod tests;

use crate::ir::{
    Builder, Call, CallArg, Constraints, Cotangents, DType, Kernel, Rule, Sample, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::Dim;

pub use surface::{around, float_with_axis};

/// A reduction; the reduced axes vanish from the shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Reduce {
    /// What is computed along the axes.
    pub kind: ReduceKind,
    /// The axes, ascending, without repetition.
    pub axes: Vec<usize>,
}

/// The kinds of reduction.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum ReduceKind {
    /// Sum; zero over an empty axis.
    Sum,
    /// Largest element; NaN where any element is NaN. An empty axis gives minus infinity.
    Max,
    /// Smallest element; NaN where any element is NaN. An empty axis gives infinity.
    Min,
    /// Product; one over an empty axis.
    Prod,
}

impl Rule for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            ReduceKind::Sum => "sum",
            ReduceKind::Max => "max_along",
            ReduceKind::Min => "min_along",
            ReduceKind::Prod => "prod",
        }
    }

    fn attributes(&self) -> String {
        format!("axes = {:?}", self.axes)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        if x.dtype != DType::Float {
            let message = format!("`{}` takes a float tensor, found {x}", self.name());
            return Err(ShapeError::new(message).help("convert it with `.to_float()`"));
        }
        if let Some(axis) = self.axes.iter().find(|&&axis| axis >= x.rank()) {
            return Err(ShapeError::new(format!("axis {axis} of {x}, which has {} axes", x.rank())));
        }
        let kept = x.shape.iter().enumerate().filter(|(k, _)| !self.axes.contains(k));
        Ok(vec![x.with_shape(kept.map(|(_, n)| n.clone()).collect())])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else { return Cotangents::Flow(vec![None]) };
        let x = site.inputs[0];
        let shape = b.shape(x);
        let spread = b.expand_axes(g, &self.axes, &shape);
        let bar = match self.kind {
            ReduceKind::Sum => spread,
            ReduceKind::Prod => {
                // d prod / d x_i = prod / x_i (undefined at an element that is exactly zero).
                let y = b.expand_axes(site.outputs[0], &self.axes, &shape);
                let others = b.div(y, x);
                b.mul(spread, others)
            }
            ReduceKind::Max | ReduceKind::Min => {
                // Ties share the gradient equally, as PyTorch's `amax` and `amin` do.
                let y = b.expand_axes(site.outputs[0], &self.axes, &shape);
                let hit = b.pointwise("eq", &[x, y]);
                let hit = b.pointwise("to_float", &[hit]);
                let count = b.sum(hit, &self.axes);
                let count = b.expand_axes(count, &self.axes, &shape);
                let share = b.div(hit, count);
                b.mul(spread, share)
            }
        };
        Cotangents::Flow(vec![Some(bar)])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let kind = match self.kind {
            ReduceKind::Sum => "Reduction::Sum",
            ReduceKind::Max => "Reduction::Max",
            ReduceKind::Min => "Reduction::Min",
            ReduceKind::Prod => "Reduction::Prod",
        };
        let axes = self.axes.iter().map(|&axis| Dim::lit(axis as i64)).collect();
        let args = vec![
            CallArg::Constant(kind),
            CallArg::In(0),
            CallArg::Out(0),
            CallArg::Sizes(inputs[0].shape.clone()),
            CallArg::Sizes(axes),
        ];
        Kernel::Call(Call { function: "reduce", args, scratch: Vec::new() })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel()
    }

    fn surfaces() -> &'static [Surface] {
        surface::SURFACES
    }

    fn samples() -> Vec<Sample> {
        surface::samples()
    }
}

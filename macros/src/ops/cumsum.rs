//! Running sums along an axis.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, Form, Kernel, Operand, Rule, Sample, SampleGradient, ShapeError,
    Site, Surface, Type, Value,
};
use crate::ops::reduce::{around, float_with_axis};
use crate::shape::Dim;

/// Running sums along an axis; the shape stays.
#[derive(Clone, PartialEq, Debug)]
pub struct Cumsum {
    /// Where the sums begin.
    pub direction: Direction,
    /// The axis.
    pub axis: usize,
}

/// Where a running sum begins.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Direction {
    /// `y_k = x_0 + ... + x_k`.
    Forward,
    /// `y_k = x_k + ... + x_(n-1)`: the gradient of the other.
    Backward,
}

impl Rule for Cumsum {
    fn name(&self) -> &'static str {
        match self.direction {
            Direction::Forward => "cumsum",
            Direction::Backward => "cumsum_backward",
        }
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        float_with_axis("cumsum", &inputs[0], self.axis)?;
        Ok(vec![inputs[0].clone()])
    }

    fn grad(&self, b: &mut Builder, _: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else { return Cotangents::Flow(vec![None]) };
        let direction = match self.direction {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        };
        Cotangents::Flow(vec![Some(b.push(Self { direction, axis: self.axis }, &[g]))])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let direction = match self.direction {
            Direction::Forward => "Direction::Forward",
            Direction::Backward => "Direction::Backward",
        };
        let mut args = vec![CallArg::Constant(direction), CallArg::In(0), CallArg::Out(0)];
        args.extend(around(&inputs[0].shape, self.axis).map(CallArg::Size));
        Kernel::Call(Call { function: "cumsum", args, scratch: Vec::new() })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel()
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface { name: "cumsum", form: Form::Method, usage: "x.cumsum(axis = 1)", lower }]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, body| Sample {
            name,
            dims: "A: Dim, B: Dim",
            args: "x: Tensor<A, B>",
            ret: "Tensor<A, B>",
            body,
            sizes: &[&[1, 1], &[5, 3], &[2, 67], &[0, 3]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        vec![sample("cumsum_first", "x.cumsum(axis = 0)"), sample("cumsum_last", "x.cumsum(axis = -1)")]
    }
}

fn lower(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let axis = args.axis(1, "axis", b.ty(x).rank())?;
    args.finish()?;
    Ok(Operand::Tensor(b.push(Cumsum { direction: Direction::Forward, axis }, &[x])))
}

//! The place of the largest or smallest element along an axis.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Flag, Form, Kernel, Operand, Rule, Sample, SampleGradient,
    ShapeError, Site, Surface, Type, Value,
};
use crate::ops::reduce::{around, float_with_axis};
use crate::shape::Dim;

/// The index of the extremum along an axis, which vanishes; the first of equal ones, the first NaN where there is any.
#[derive(Clone, PartialEq, Debug)]
pub struct Arg {
    /// Which element.
    pub which: Extremum,
    /// The axis.
    pub axis: usize,
}

/// Which element an [`Arg`] looks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Extremum {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl Rule for Arg {
    fn name(&self) -> &'static str {
        match self.which {
            Extremum::Max => "argmax",
            Extremum::Min => "argmin",
        }
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        float_with_axis(self.name(), x, self.axis)?;
        if x.shape[self.axis].is_zero() {
            let message = format!("`{}` along axis {} of {x}, which has no elements", self.name(), self.axis);
            return Err(ShapeError::new(message));
        }
        let mut shape = x.shape.clone();
        shape.remove(self.axis);
        Ok(vec![Type::new(DType::Int, shape)])
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Flow(vec![None])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let which = match self.which {
            Extremum::Max => "Extremum::Max",
            Extremum::Min => "Extremum::Min",
        };
        let mut args = vec![CallArg::Constant(which), CallArg::In(0), CallArg::Out(0)];
        args.extend(around(&inputs[0].shape, self.axis).map(CallArg::Size));
        Kernel::Call(Call { function: "arg", args, scratch: Vec::new() })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel()
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "argmax",
                form: Form::Method,
                usage: "x.argmax(axis = 1, keepdim = false)",
                lower: |b, args| lower(b, args, Extremum::Max),
            },
            Surface {
                name: "argmin",
                form: Form::Method,
                usage: "x.argmin(axis = 1, keepdim = false)",
                lower: |b, args| lower(b, args, Extremum::Min),
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, ret, body| Sample {
            name,
            dims: "A: Dim, B: Dim, C: Dim",
            args: "x: Tensor<A, B, C>",
            ret,
            body,
            sizes: &[&[1, 1, 1], &[2, 5, 3], &[3, 1, 66], &[0, 2, 3]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::None,
        };
        vec![
            sample("argmax_last", "Tensor<i64, A, B>", "x.argmax(axis = -1)"),
            sample("argmin_middle", "Tensor<i64, A, 1, C>", "x.argmin(axis = 1, keepdim = true)"),
        ]
    }
}

fn lower(b: &mut Builder, args: &mut Args, which: Extremum) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let axis = args.axis(1, "axis", b.ty(x).rank())?;
    let keepdim = args.flag_or("keepdim", Flag::No)?;
    args.finish()?;
    let y = b.push(Arg { which, axis }, &[x]);
    Ok(Operand::Tensor(b.keep_axes(y, &[axis], keepdim)))
}

//! Softmax and its logarithm along one axis, each a fused operation with a fused gradient.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, Form, Kernel, Operand, Rule, Sample, SampleGradient, ShapeError,
    Site, Surface, Type, Value,
};
use crate::ops::reduce::{around, float_with_axis};
use crate::shape::Dim;

/// Softmax of a float tensor along an axis; the shape stays. Backward reads its result only.
#[derive(Clone, PartialEq, Debug)]
pub struct Softmax {
    /// Which of the two.
    pub kind: SoftmaxKind,
    /// The axis whose elements add up to 1.
    pub axis: usize,
}

/// The two kinds of softmax.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SoftmaxKind {
    /// `y_k = exp(x_k) / sum_j exp(x_j)`.
    Probabilities,
    /// `y_k = x_k - log sum_j exp(x_j)`.
    Logarithms,
}

/// The cotangent of the operand of a [`Softmax`] from its result `y` and the result's cotangent `g`.
#[derive(Clone, PartialEq, Debug)]
pub struct SoftmaxGrad {
    /// Which of the two.
    pub kind: SoftmaxKind,
    /// The axis.
    pub axis: usize,
}

impl SoftmaxKind {
    fn constant(self) -> CallArg {
        CallArg::Constant(match self {
            Self::Probabilities => "Softmax::Probabilities",
            Self::Logarithms => "Softmax::Logarithms",
        })
    }
}

fn call(function: &'static str, first: Vec<CallArg>, shape: &[Dim], axis: usize) -> Kernel {
    let mut args = first;
    args.extend(around(shape, axis).map(CallArg::Size));
    Kernel::Call(Call { function, args, scratch: Vec::new() })
}

impl Rule for Softmax {
    fn name(&self) -> &'static str {
        match self.kind {
            SoftmaxKind::Probabilities => "softmax",
            SoftmaxKind::Logarithms => "log_softmax",
        }
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        float_with_axis(self.name(), &inputs[0], self.axis)?;
        Ok(vec![inputs[0].clone()])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else { return Cotangents::Flow(vec![None]) };
        let grad = SoftmaxGrad { kind: self.kind, axis: self.axis };
        Cotangents::Flow(vec![Some(b.push(grad, &[site.outputs[0], g]))])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let args = vec![self.kind.constant(), CallArg::In(0), CallArg::Out(0)];
        call("softmax", args, &inputs[0].shape, self.axis)
    }

    /// Comparison, subtraction, exponential, sum and division.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 5
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "softmax",
                form: Form::Method,
                usage: "x.softmax(axis = 1)",
                lower: |b, args| lower(b, args, SoftmaxKind::Probabilities),
            },
            Surface {
                name: "log_softmax",
                form: Form::Method,
                usage: "x.log_softmax(axis = 1)",
                lower: |b, args| lower(b, args, SoftmaxKind::Logarithms),
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, body| Sample {
            name,
            dims: "A: Dim, B: Dim, C: Dim",
            args: "x: Tensor<A, B, C>",
            ret: "Tensor<A, B, C>",
            body,
            sizes: &[&[1, 1, 1], &[2, 5, 3], &[3, 1, 66], &[0, 2, 3]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        vec![
            sample("softmax_last", "x.softmax(axis = -1)"),
            sample("softmax_middle", "x.softmax(axis = 1)"),
            sample("log_softmax_last", "x.log_softmax(axis = 2)"),
            sample("log_softmax_first", "x.log_softmax(axis = 0)"),
        ]
    }
}

impl Rule for SoftmaxGrad {
    fn name(&self) -> &'static str {
        match self.kind {
            SoftmaxKind::Probabilities => "softmax_grad",
            SoftmaxKind::Logarithms => "log_softmax_grad",
        }
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        float_with_axis(self.name(), &inputs[0], self.axis)?;
        if inputs[0] != inputs[1] {
            let message = format!("`{}` takes tensors of one type, found {} and {}", self.name(), inputs[0], inputs[1]);
            return Err(ShapeError::new(message));
        }
        Ok(vec![inputs[0].clone()])
    }

    /// With `c` the cotangent of the result, for probabilities: `g_bar = y (c - sum(c y))`, `y_bar = c (g - sum(g y)) -
    /// g sum(c y)`; for logarithms: `g_bar = c - sum(c exp y)`, `y_bar = -c exp(y) sum(g)`.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(c) = out_bars[0] else { return Cotangents::Flow(vec![None; 2]) };
        let (y, g) = (site.inputs[0], site.inputs[1]);
        let shape = b.shape(y);
        let along = |b: &mut Builder, x: Value| {
            let sum = b.sum(x, &[self.axis]);
            b.expand_axes(sum, &[self.axis], &shape)
        };
        let (y_bar, g_bar) = match self.kind {
            SoftmaxKind::Probabilities => {
                let (gy, cy) = (b.mul(g, y), b.mul(c, y));
                let (gy, cy) = (along(b, gy), along(b, cy));
                let (spread, centred) = (b.sub(g, gy), b.sub(c, cy));
                let (first, second) = (b.mul(c, spread), b.mul(g, cy));
                (b.sub(first, second), b.mul(y, centred))
            }
            SoftmaxKind::Logarithms => {
                let p = b.pointwise("exp", &[y]);
                let (cp, g_sum) = (b.mul(c, p), along(b, g));
                let (product, cp_sum) = (b.mul(cp, g_sum), along(b, cp));
                (b.neg(product), b.sub(c, cp_sum))
            }
        };
        Cotangents::Flow(vec![Some(y_bar), Some(g_bar)])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let args = vec![self.kind.constant(), CallArg::In(0), CallArg::In(1), CallArg::Out(0)];
        call("softmax_grad", args, &inputs[0].shape, self.axis)
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 4
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

fn lower(b: &mut Builder, args: &mut Args, kind: SoftmaxKind) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let axis = args.axis(1, "axis", b.ty(x).rank())?;
    args.finish()?;
    Ok(Operand::Tensor(b.push(Softmax { kind, axis }, &[x])))
}

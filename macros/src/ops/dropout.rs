//! Dropout of elements and of channels.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Mode, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::{self, Dim};

/// `y = x m / (1 - p)` with a random mask `m` that is 0 with probability `p`.
///
/// The mask is a function of the seed, the step, the stream and the element, so the gradient is the same operation applied to
/// the cotangent, with nothing saved. Only train mode has such nodes: in eval mode dropout is the identity.
///
/// Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout" (JMLR 2014), in the inverted form.
#[derive(Clone, PartialEq, Debug)]
pub struct Dropout {
    /// The probability `p`.
    pub rate: Scalar,
    /// Where the random numbers come from.
    pub stream: u64,
    /// What is dropped as one.
    pub unit: Unit,
}

/// What a dropout keeps or drops as one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Every element by itself.
    Element,
    /// All elements of one sample and channel (axes 0 and 1): what `torch.nn.Dropout2d` does.
    Channel,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Element => "dropout",
            Self::Channel => "dropout2d",
        }
    }
}

impl Rule for Dropout {
    fn name(&self) -> &'static str {
        self.unit.word()
    }

    fn attributes(&self) -> String {
        format!("rate = {}, stream = {:016x}", self.rate, self.stream)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        if x.dtype != DType::Float {
            let message = format!("`{}` takes a float tensor, found {x}", self.name());
            return Err(ShapeError::new(message).help("convert it with `.to_float()`"));
        }
        if self.unit == Unit::Channel && x.rank() < 3 {
            let message = format!("`dropout2d` takes a tensor [B, C, ...] of at least 3 axes, found {x}");
            return Err(ShapeError::new(message).help("single features are dropped by `.dropout(rate)`"));
        }
        Ok(vec![x.clone()])
    }

    fn grad(&self, b: &mut Builder, _: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        Cotangents::Flow(vec![out_bars[0].map(|g| b.push(self.clone(), &[g]))])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let rate = CallArg::Scalar(self.rate.clone());
        let mut args = vec![
            CallArg::In(0),
            CallArg::Out(0),
            rate,
            CallArg::Stream(self.stream),
        ];
        let function = match self.unit {
            Unit::Element => "dropout",
            Unit::Channel => {
                args.push(CallArg::Size(shape::numel(&inputs[0].shape[2..])));
                "dropout_channels"
            }
        };
        Kernel::Call(Call {
            function,
            args,
            scratch: Vec::new(),
        })
    }

    /// The generator's integer arithmetic is not counted.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel()
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "dropout",
                form: Form::Method,
                usage: "x.dropout(rate)",
                lower: |b, args| lower(b, args, Unit::Element),
            },
            Surface {
                name: "dropout2d",
                form: Form::Method,
                usage: "x.dropout2d(rate)",
                lower: |b, args| lower(b, args, Unit::Channel),
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body, sizes| Sample {
            name,
            dims: "B: Dim, N: Dim",
            args,
            ret,
            body,
            sizes,
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        let rows: &[&[usize]] = &[&[1, 1], &[0, 3], &[3, 65], &[7, 129]];
        let planes: &[&[usize]] = &[&[1, 1], &[0, 3], &[5, 7]];
        let plane = "Tensor<B, N, 2, 3>";
        vec![
            sample(
                "dropout",
                "x: Tensor<B, N>",
                "Tensor<B, N>",
                "x.dropout(0.3)",
                rows,
            ),
            sample(
                "dropout_of_all",
                "x: Tensor<B, N>",
                "Tensor<B, N>",
                "x.dropout(1.0)",
                rows,
            ),
            sample(
                "dropout2d",
                "x: Tensor<B, N, 2, 3>",
                plane,
                "x.dropout2d(0.5)",
                planes,
            ),
        ]
    }
}

impl Builder {
    /// Dropout in train mode, the identity in eval mode and at rate 0.
    pub fn dropout(&mut self, x: Value, rate: Scalar, unit: Unit) -> Value {
        if self.mode == Mode::Eval || rate.as_lit() == Some(0.0) {
            return x;
        }
        let stream = self.stream();
        self.push(Dropout { rate, stream, unit }, &[x])
    }
}

fn lower(b: &mut Builder, args: &mut Args, unit: Unit) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let rate = args.scalar(1, "rate")?;
    args.finish()?;
    let Some(rate) = rate else {
        let message = format!("`{}` needs the rate of what is dropped", unit.word());
        return Err(ShapeError::new(message).help(format!("for example `x.{}(0.5)`", unit.word())));
    };
    if let Some(p) = rate.as_lit()
        && !(0.0..=1.0).contains(&p)
    {
        return Err(ShapeError::new(format!(
            "the rate of `{}` must be in 0..=1, found {p}",
            unit.word()
        )));
    }
    Ok(Operand::Tensor(b.dropout(x, rate, unit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed};

    fn rate(p: f64) -> Operand {
        Operand::Scalar(Scalar::lit(p))
    }

    #[test]
    fn the_gradient_uses_the_same_stream() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "8"]);
        let y = call(&mut b, "dropout", &[Operand::Tensor(x), rate(0.2)], &[]).unwrap();
        assert_eq!(typed(&b, y), "float[B, 8]");
        let node = b.graph.node(y.node).clone();
        let Cotangents::Flow(bars) = node.op.rule().grad(
            &mut b,
            &Site {
                inputs: &[x],
                outputs: &[y],
            },
            &[Some(x)],
        ) else {
            panic!("dropout has a gradient");
        };
        assert_eq!(b.graph.node(bars[0].unwrap().node).op, node.op);
    }

    #[test]
    fn two_dropouts_have_two_streams() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "8"]);
        let mut attributes = || {
            let y = call(&mut b, "dropout", &[Operand::Tensor(x), rate(0.2)], &[]).unwrap();
            b.graph.node(y.node).op.rule().attributes()
        };
        assert_ne!(attributes(), attributes());
    }

    #[test]
    fn it_vanishes_in_eval_mode_and_at_rate_zero() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "8"]);
        assert_eq!(
            call(&mut b, "dropout", &[Operand::Tensor(x), rate(0.0)], &[]),
            Ok(x)
        );
        b.mode = Mode::Eval;
        assert_eq!(
            call(&mut b, "dropout", &[Operand::Tensor(x), rate(0.5)], &[]),
            Ok(x)
        );
    }

    #[test]
    fn an_argument_may_be_the_rate() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3", "4", "4"]);
        let y = call(
            &mut b,
            "dropout2d",
            &[Operand::Tensor(x), Operand::Scalar(Scalar::Arg("p".into()))],
            &[],
        );
        let Kernel::Call(kernel) = b
            .graph
            .node(y.unwrap().node)
            .op
            .rule()
            .kernel(&[b.ty(x).clone()], &[])
        else {
            panic!("dropout is a call");
        };
        assert_eq!(kernel.args[2], CallArg::Scalar(Scalar::Arg("p".into())));
        assert_eq!(kernel.args[4], CallArg::Size(Dim::lit(16)));
    }

    #[test]
    fn mistakes_are_explained() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "8"]);
        let refused = |b: &mut Builder, args: &[Operand]| text(&call(b, "dropout", args, &[]).unwrap_err());
        assert_eq!(
            refused(&mut b, &[Operand::Tensor(x), rate(1.5)]),
            "the rate of `dropout` must be in 0..=1, found 1.5"
        );
        assert_eq!(
            refused(&mut b, &[Operand::Tensor(x)]),
            "`dropout` needs the rate of what is dropped (for example `x.dropout(0.5)`)"
        );
        call(&mut b, "dropout2d", &[Operand::Tensor(x), rate(0.5)], &[]).unwrap();
        assert_eq!(
            error(&b),
            "`dropout2d` takes a tensor [B, C, ...] of at least 3 axes, found float[B, 8] (single features are dropped \
             by `.dropout(rate)`)"
        );
    }
}

//! Connectionist temporal classification: the loss of labels whose places in time are unknown, and its gradient.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Flag, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::loss::LossReduction;
use crate::shape::{self, Dim};

/// Minus the logarithm of the probability of all alignments that spell the target: one class for every frame, of which
/// the target is left after repeats are merged and blanks are dropped. What `torch.nn.functional.ctc_loss` computes, with
/// the batch as the first axis. Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal
/// classification" (2006).
///
/// Operands: log-probabilities `[B, T, C]`, targets `[B, S]`, the number of frames of every sample `[B]`, the length of
/// every target `[B]`. Gradients flow to the first.
#[derive(Clone, PartialEq, Debug)]
pub struct Ctc {
    /// The class that is no label.
    pub blank: Dim,
    /// Whether a target that no alignment spells counts as 0 instead of infinity.
    pub zero_infinity: Flag,
    /// How the samples' losses become one: the mean is that of the losses divided by the lengths of their targets.
    pub reduction: LossReduction,
}

impl Ctc {
    /// Checks the operands; gives the shape of the samples' losses.
    fn check(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Dim>, ShapeError> {
        let x = &inputs[0];
        if x.dtype != DType::Float || x.rank() != 3 {
            let message = format!("`ctc_loss` takes log-probabilities [B, T, C], found {x}");
            let help = "write `scores.log_softmax(axis = 2)`; the batch is the first axis";
            return Err(ShapeError::new(message).help(help));
        }
        let batch = &x.shape[..1];
        let integers = [
            ("targets", "[B, S]", 2),
            ("input lengths", "[B]", 1),
            ("target lengths", "[B]", 1),
        ];
        for ((what, axes, rank), ty) in integers.into_iter().zip(&inputs[1..]) {
            if ty.dtype != DType::Int || ty.rank() != rank {
                let message = format!("`ctc_loss` takes {what} {axes} of integers, found {ty}");
                let help = "declare them as `Tensor<u8, ..>` or another integer type";
                return Err(ShapeError::new(message).help(help));
            }
            if !constraints.equal_shapes(&ty.shape[..1], batch) {
                let message = format!(
                    "`ctc_loss` expects {what} of {} samples, as log-probabilities {} have, found {}",
                    batch[0],
                    shape::display(&x.shape),
                    shape::display(&ty.shape)
                );
                return Err(ShapeError::new(message));
            }
        }
        if let Some(blank) = self.blank.as_lit()
            && let classes = x.shape[2].as_lit().unwrap_or(i64::MAX)
            && !(0..classes).contains(&blank)
        {
            let message = format!("`blank` of `ctc_loss` is {blank}, but there are {} classes", x.shape[2]);
            let help = "classes are numbered from 0, and the blank is one of them";
            return Err(ShapeError::new(message).help(help));
        }
        Ok(batch.to_vec())
    }

    /// The options, as the kernels take them.
    fn spec(&self, inputs: &[Type]) -> CallArg {
        let impossible = match self.zero_infinity {
            Flag::Yes => "Impossible::Zero",
            Flag::No => "Impossible::Infinite",
        };
        let [batch, frames, classes] = [0, 1, 2].map(|k| CallArg::Size(inputs[0].shape[k].clone()));
        let fields = vec![
            ("batch", batch),
            ("frames", frames),
            ("classes", classes),
            ("labels", CallArg::Size(inputs[1].shape[1].clone())),
            ("blank", CallArg::Size(self.blank.clone())),
            ("impossible", CallArg::Constant(impossible)),
            ("reduction", CallArg::Constant(self.reduction.constant())),
        ];
        CallArg::Struct("Ctc", fields)
    }
}

/// The states that an alignment goes through: the labels, and the blanks around them.
fn states(inputs: &[Type]) -> Dim {
    &inputs[1].shape[1] * 2 + 1
}

/// Operations of one recursion: three exponentials, a logarithm and the sums for every state of every frame.
fn recursion(inputs: &[Type]) -> Dim {
    shape::numel(&inputs[0].shape[..2]) * states(inputs) * 10
}

impl Rule for Ctc {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn attributes(&self) -> String {
        let mut text = format!("reduction = {}", self.reduction.word());
        if !self.blank.is_zero() {
            text += &format!(", blank = {}", self.blank);
        }
        if self.zero_infinity == Flag::Yes {
            text += ", zero_infinity = true";
        }
        text
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let samples = self.check(inputs, constraints)?;
        Ok(vec![match self.reduction {
            LossReduction::Mean | LossReduction::Sum => Type::scalar(),
            LossReduction::None => Type::float(samples),
        }])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let mut bars = vec![None; 4];
        if let Some(g) = out_bars[0] {
            let mut operands = site.inputs.to_vec();
            operands.push(g);
            bars[0] = Some(b.push(CtcGrad(self.clone()), &operands));
        }
        Cotangents::Flow(bars)
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let batch = &inputs[0].shape[0];
        let mut scratch = vec![(DType::Float, batch * &states(inputs) * 3)];
        let (losses, loss) = match self.reduction {
            LossReduction::None => (CallArg::Out(0), CallArg::Absent),
            LossReduction::Mean | LossReduction::Sum => {
                scratch.push((DType::Float, batch.clone()));
                (CallArg::Scratch(1), CallArg::Present(Box::new(CallArg::Out(0))))
            }
        };
        let mut args: Vec<CallArg> = (0..4).map(CallArg::In).collect();
        args.extend([losses, loss, CallArg::Scratch(0), self.spec(inputs)]);
        Kernel::Call(Call {
            function: "ctc",
            args,
            scratch,
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        recursion(inputs)
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "ctc_loss",
            form: Form::Function,
            usage: "ctc_loss(log_probabilities, targets, input_lengths, target_lengths, blank = 0, \
                    zero_infinity = false, reduction = \"mean\")",
            lower,
        }]
    }

    fn samples() -> Vec<Sample> {
        // Integers of samples are drawn from 0..B, and a batch of three at most keeps labels in the range of classes.
        let batches: &'static [&'static [usize]] = &[&[1], &[2], &[3]];
        let with_empty: &'static [&'static [usize]] = &[&[0], &[3]];
        let sample = |name, args, ret, body, sizes| Sample {
            name,
            dims: "B: Dim",
            args,
            ret,
            body,
            sizes,
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        let args = "x: Tensor<B, 6, 4>, y: Tensor<i64, B, 2>, n: Tensor<i64, B>, m: Tensor<i64, B>";
        let mut samples = vec![
            sample(
                "ctc_loss_mean",
                args,
                "Scalar",
                "ctc_loss(x.log_softmax(axis = 2), y + 1, n + 4, m)",
                batches,
            ),
            sample(
                "ctc_loss_sum",
                args,
                "Scalar",
                "ctc_loss(x.log_softmax(axis = 2), y, n + 4, m, blank = 3, reduction = \"sum\")",
                with_empty,
            ),
            // Any numbers, so that the derivative by the log-probabilities themselves is seen.
            sample(
                "ctc_loss_none",
                args,
                "Tensor<B>",
                "ctc_loss(x, y + 1, n + 4, m, reduction = \"none\")",
                with_empty,
            ),
            sample(
                "ctc_loss_impossible",
                args,
                "Tensor<B>",
                "ctc_loss(x, y + 1, n * 3, m, zero_infinity = true, reduction = \"none\")",
                batches,
            ),
        ];
        samples.push(Sample {
            dims: "B: Dim, T: Dim, C: Dim, S: Dim",
            sizes: &[&[2, 5, 3, 2], &[2, 9, 7, 3]],
            ..sample(
                "ctc_loss_any_sizes",
                "x: Tensor<B, T, C>, y: Tensor<i64, B, S>, n: Tensor<i64, B>, m: Tensor<i64, B>",
                "Scalar",
                "ctc_loss(x, y + 1, n + 4, m)",
                &[],
            )
        });
        samples
    }
}

/// The cotangent of the log-probabilities. Operands: those of the loss, and the cotangent of its result.
#[derive(Clone, PartialEq, Debug)]
pub struct CtcGrad(pub Ctc);

impl Rule for CtcGrad {
    fn name(&self) -> &'static str {
        "ctc_loss_grad"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        self.0.check(&inputs[..4], constraints)?;
        Ok(vec![inputs[0].clone()])
    }

    /// Linear in the cotangent of the loss; by the log-probabilities the derivative is symmetric.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let mut bars = vec![None; 5];
        if let Some(direction) = out_bars[0] {
            let mut operands = site.inputs.to_vec();
            operands.push(direction);
            bars[0] = Some(b.push(CtcCurvature(self.0.clone()), &operands));
            operands.truncate(4);
            operands.push(b.fill_like(site.inputs[4], 1.0));
            let slope = b.push(self.clone(), &operands);
            let product = b.mul(direction, slope);
            bars[4] = Some(match self.0.reduction {
                LossReduction::None => b.sum(product, &[1, 2]),
                LossReduction::Mean | LossReduction::Sum => b.sum_to(product, &[]),
            });
        }
        Cotangents::Flow(bars)
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let (batch, frames) = (&inputs[0].shape[0], &inputs[0].shape[1]);
        let mut args: Vec<CallArg> = (0..5).map(CallArg::In).collect();
        args.extend([CallArg::Out(0), CallArg::Scratch(0), self.0.spec(inputs)]);
        Kernel::Call(Call {
            function: "ctc_grad",
            args,
            scratch: vec![(DType::Float, batch * &(frames + 4) * states(inputs))],
        })
    }

    /// Both recursions.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        recursion(inputs) * 2
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

/// The second derivative by the log-probabilities, multiplied with a direction. Operands: those of the gradient, and the
/// direction.
#[derive(Clone, PartialEq, Debug)]
pub struct CtcCurvature(pub Ctc);

impl Rule for CtcCurvature {
    fn name(&self) -> &'static str {
        "ctc_loss_curvature"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        self.0.check(&inputs[..4], constraints)?;
        Ok(vec![inputs[0].clone()])
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Blocked("third derivatives of ctc_loss are not written")
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let (batch, frames) = (&inputs[0].shape[0], &inputs[0].shape[1]);
        let mut args: Vec<CallArg> = (0..6).map(CallArg::In).collect();
        args.extend([CallArg::Out(0), CallArg::Scratch(0), self.0.spec(inputs)]);
        Kernel::Call(Call {
            function: "ctc_curvature",
            args,
            scratch: vec![(DType::Float, batch * &(frames * 2 + 7) * states(inputs))],
        })
    }

    /// Both recursions, with the means that they carry.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        recursion(inputs) * 4
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

fn lower(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let operands = [
        args.tensor(0, "log_probabilities")?,
        args.tensor(1, "targets")?,
        args.tensor(2, "input_lengths")?,
        args.tensor(3, "target_lengths")?,
    ];
    let op = Ctc {
        blank: args.size(usize::MAX, "blank")?.unwrap_or_else(Dim::zero),
        zero_infinity: args.flag_or("zero_infinity", Flag::No)?,
        reduction: LossReduction::take(args)?,
    };
    args.finish()?;
    Ok(Operand::Tensor(b.push(op, &operands)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    type Shapes<'a> = [(DType, &'a [&'a str]); 4];

    const GOOD: Shapes<'static> = [
        (DType::Float, &["B", "T", "29"]),
        (DType::Int, &["B", "S"]),
        (DType::Int, &["B"]),
        (DType::Int, &["B"]),
    ];

    fn loss(shapes: Shapes<'_>, named: &[(&str, Operand)]) -> String {
        let mut b = builder();
        let args = shapes.map(|(dtype, shape)| Operand::Tensor(input(&mut b, dtype, shape)));
        match call(&mut b, "ctc_loss", &args, named) {
            Ok(y) if b.errors.is_empty() => {
                let attributes = b.graph.node(y.node).op.rule().attributes();
                format!("{}: {attributes}", typed(&b, y))
            }
            Ok(_) => error(&b),
            Err(error) => text(&error),
        }
    }

    #[test]
    fn the_loss_is_a_scalar_or_one_a_sample() {
        assert_eq!(loss(GOOD, &[]), "float[]: reduction = mean");
        let options = [
            ("reduction", Operand::Text("none".into())),
            ("blank", whole(28)),
            ("zero_infinity", Operand::Scalar(1.0.into())),
        ];
        assert_eq!(
            loss(GOOD, &options),
            "float[B]: reduction = none, blank = 28, zero_infinity = true"
        );
    }

    #[test]
    fn mistakes_are_explained() {
        let with = |k: usize, dtype, shape| {
            let mut shapes = GOOD;
            shapes[k] = (dtype, shape);
            loss(shapes, &[])
        };
        assert_eq!(
            with(0, DType::Float, &["B", "29"]),
            "`ctc_loss` takes log-probabilities [B, T, C], found float[B, 29] (write `scores.log_softmax(axis = 2)`; the \
             batch is the first axis)"
        );
        assert_eq!(
            with(0, DType::Float, &["T", "B", "29"]),
            "`ctc_loss` expects targets of T samples, as log-probabilities [T, B, 29] have, found [B, S]"
        );
        assert_eq!(
            with(1, DType::Float, &["B", "S"]),
            "`ctc_loss` takes targets [B, S] of integers, found float[B, S] (declare them as `Tensor<u8, ..>` or another \
             integer type)"
        );
        assert_eq!(
            with(3, DType::Int, &["B", "1"]),
            "`ctc_loss` takes target lengths [B] of integers, found int[B, 1] (declare them as `Tensor<u8, ..>` or \
             another integer type)"
        );
        assert_eq!(
            loss(GOOD, &[("blank", whole(29))]),
            "`blank` of `ctc_loss` is 29, but there are 29 classes (classes are numbered from 0, and the blank is one of \
             them)"
        );
        assert!(loss(GOOD, &[("blanc", whole(1))]).starts_with("there is no option `blanc`"));
    }

    #[test]
    fn the_gradient_reads_the_operands_alone() {
        let mut b = builder();
        let values = GOOD.map(|(dtype, shape)| input(&mut b, dtype, shape));
        let y = call(&mut b, "ctc_loss", &values.map(Operand::Tensor), &[]).unwrap();
        let node = b.graph.node(y.node).clone();
        let g = b.fill_like(y, 1.0);
        let site = Site {
            inputs: &node.inputs,
            outputs: &[y],
        };
        let Cotangents::Flow(bars) = node.op.rule().grad(&mut b, &site, &[Some(g)]) else {
            panic!("ctc_loss has a gradient");
        };
        assert_eq!(typed(&b, bars[0].unwrap()), "float[B, T, 29]");
        assert_eq!(bars[1..], [None, None, None]);
    }
}

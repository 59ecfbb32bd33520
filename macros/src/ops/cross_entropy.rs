//! Cross-entropy of class labels and negative log-likelihood: one fused operation and its gradient.
//!
//! Soft targets (probabilities instead of labels) are a composition, in [`loss`](super::loss).

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::loss::LossReduction;
use crate::ops::softmax::{Softmax, SoftmaxKind};
use crate::shape::{self, Dim};

/// The loss of class labels. Operands: scores, labels, and perhaps class weights; results: the loss, the log-sum-exp of
/// every sample, and the number that the mean divides by (the latter two are what the gradient reads).
///
/// `loss = (1 - e) w[y] (lse - x[y]) + e / C * sum_c w[c] (lse - x[c])`, as `torch.nn.functional.cross_entropy`.
///
/// Shapes: scores `[B, C, d...]` (or `[C]`), labels `[B, d...]` (or `[]`), weights `[C]`. Class weights are constants: no
/// gradient flows to them.
#[derive(Clone, PartialEq, Debug)]
pub struct CrossEntropy {
    /// What the scores are.
    pub scores: Scores,
    /// Share `e` of the target that is spread evenly over all classes.
    pub smoothing: Scalar,
    /// Samples with this label do not count.
    pub ignore_index: i64,
    /// How the samples' losses become one.
    pub reduction: LossReduction,
}

/// What the scores of a [`CrossEntropy`] are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Scores {
    /// Any real numbers.
    Logits,
    /// Logarithms of probabilities.
    LogProbabilities,
}

/// PyTorch's default of `ignore_index`.
const IGNORE_INDEX: i64 = -100;

/// The axis of the classes: the second, or the only one.
pub fn class_axis(rank: usize) -> usize {
    usize::from(rank > 1)
}

impl CrossEntropy {
    fn word(&self) -> &'static str {
        match self.scores {
            Scores::Logits => "cross_entropy",
            Scores::LogProbabilities => "nll_loss",
        }
    }

    /// Checks scores, labels and weights; gives the shape of the labels.
    fn check(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Dim>, ShapeError> {
        let (scores, labels, word) = (&inputs[0], &inputs[1], self.word());
        if scores.dtype != DType::Float || scores.rank() == 0 {
            let message = format!("`{word}` takes float scores with an axis of classes, found {scores}");
            return Err(ShapeError::new(message)
                .help("scores are [B, C], or [B, C, d1, ...] with labels [B, d1, ...]"));
        }
        let axis = class_axis(scores.rank());
        let mut samples = scores.shape.clone();
        let classes = samples.remove(axis);
        if labels.dtype != DType::Int {
            let message = format!("`{word}` takes integer labels, found {labels}");
            return Err(
                ShapeError::new(message).help("declare them as `Tensor<u8, B>` or another integer type")
            );
        }
        if !constraints.equal_shapes(&samples, &labels.shape) {
            let (found, wanted) = (shape::display(&labels.shape), shape::display(&samples));
            let message = format!(
                "`{word}` expects labels {wanted} for scores {}, found labels {found}; losses never broadcast",
                shape::display(&scores.shape)
            );
            return Err(
                ShapeError::new(message).help(format!("axis {axis} of the scores counts the classes"))
            );
        }
        if let Some(weight) = inputs.get(2)
            && (weight.dtype != DType::Float
                || !constraints.equal_shapes(&weight.shape, std::slice::from_ref(&classes)))
        {
            let message =
                format!("`{word}` expects a weight for each of the {classes} classes, found {weight}");
            return Err(ShapeError::new(message));
        }
        Ok(samples)
    }

    /// The options, as the kernels take them.
    fn spec(&self, scores: &Type) -> CallArg {
        let axis = class_axis(scores.rank());
        let kind = match self.scores {
            Scores::Logits => "Scores::Logits",
            Scores::LogProbabilities => "Scores::LogProbabilities",
        };
        let fields = vec![
            ("outer", CallArg::Size(shape::numel(&scores.shape[..axis]))),
            ("classes", CallArg::Size(scores.shape[axis].clone())),
            ("inner", CallArg::Size(shape::numel(&scores.shape[axis + 1..]))),
            ("smoothing", CallArg::Scalar(self.smoothing.clone())),
            (
                "ignore_index",
                CallArg::Scalar(Scalar::lit(self.ignore_index as f64)),
            ),
            ("scores", CallArg::Constant(kind)),
            ("reduction", CallArg::Constant(self.reduction.constant())),
        ];
        CallArg::Struct("CrossEntropy", fields)
    }
}

/// `Some(input)` where there is an input of that number, `None` elsewhere.
fn optional(input: usize, is_given: bool) -> CallArg {
    if is_given {
        CallArg::Present(Box::new(CallArg::In(input)))
    } else {
        CallArg::Absent
    }
}

impl Rule for CrossEntropy {
    fn name(&self) -> &'static str {
        self.word()
    }

    fn attributes(&self) -> String {
        let mut text = format!("reduction = {}", self.reduction.word());
        if self.smoothing.as_lit() != Some(0.0) {
            text += &format!(", label_smoothing = {}", self.smoothing);
        }
        if self.ignore_index != IGNORE_INDEX {
            text += &format!(", ignore_index = {}", self.ignore_index);
        }
        text
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let samples = Type::float(self.check(inputs, constraints)?);
        let loss = match self.reduction {
            LossReduction::Mean | LossReduction::Sum => Type::scalar(),
            LossReduction::None => samples.clone(),
        };
        Ok(vec![loss, samples, Type::scalar()])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let mut bars = vec![None; site.inputs.len()];
        if let Some(g) = out_bars[0] {
            let mut operands = site.inputs.to_vec();
            operands.extend([site.outputs[1], site.outputs[2], g]);
            bars[0] = Some(b.push(CrossEntropyGrad(self.clone()), &operands));
        }
        Cotangents::Flow(bars)
    }

    fn kernel(&self, inputs: &[Type], outputs: &[Type]) -> Kernel {
        let (losses, loss, scratch) = match self.reduction {
            LossReduction::None => (CallArg::Out(0), CallArg::Absent, Vec::new()),
            LossReduction::Mean | LossReduction::Sum => {
                let loss = CallArg::Present(Box::new(CallArg::Out(0)));
                (
                    CallArg::Scratch(0),
                    loss,
                    vec![(DType::Float, outputs[1].numel())],
                )
            }
        };
        let weight = optional(2, inputs.len() > 2);
        let spec = self.spec(&inputs[0]);
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            weight,
            losses,
            loss,
            CallArg::Out(1),
            CallArg::Out(2),
            spec,
        ];
        Kernel::Call(Call {
            function: "cross_entropy",
            args,
            scratch,
        })
    }

    /// Maximum, difference, exponential and sum.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 4
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "cross_entropy",
                form: Form::Function,
                usage: "cross_entropy(scores, labels, weight = .., label_smoothing = 0.0, ignore_index = -100, \
                        reduction = \"mean\")",
                lower: lower_cross_entropy,
            },
            Surface {
                name: "nll_loss",
                form: Form::Function,
                usage: "nll_loss(log_probabilities, labels, weight = .., ignore_index = -100, reduction = \"mean\")",
                lower: lower_nll_loss,
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body, sizes| Sample {
            name,
            dims: "B: Dim, C: Dim",
            args,
            ret,
            body,
            sizes,
            domain: (-3.0, 3.0),
            gradient: SampleGradient::Checked,
        };
        let rows = "x: Tensor<B, C>, y: Tensor<i64, B>";
        let planes = "x: Tensor<B, C, 3>, y: Tensor<i64, B, 3>";
        // Class weights are constants: made of integers, so that nobody asks for their gradient.
        let weighted = "x: Tensor<B, C>, y: Tensor<i64, B>, w: Tensor<i64, C>";
        let sizes: &[&[usize]] = &[&[1, 1], &[5, 3], &[2, 17]];
        let with_empty: &[&[usize]] = &[&[1, 1], &[0, 3], &[5, 3], &[2, 17]];
        vec![
            sample("cross_entropy_mean", rows, "Scalar", "cross_entropy(x, y)", sizes),
            sample(
                "cross_entropy_sum",
                rows,
                "Scalar",
                "cross_entropy(x, y, reduction = \"sum\")",
                with_empty,
            ),
            sample(
                "cross_entropy_none",
                rows,
                "Tensor<B>",
                "cross_entropy(x, y, reduction = \"none\")",
                with_empty,
            ),
            sample(
                "cross_entropy_planes",
                planes,
                "Scalar",
                "cross_entropy(x, y, label_smoothing = 0.2)",
                sizes,
            ),
            sample(
                "cross_entropy_weight",
                weighted,
                "Scalar",
                "cross_entropy(x, y, weight = w.to_float() + 0.5, label_smoothing = 0.1)",
                sizes,
            ),
            sample("nll_loss_mean", rows, "Scalar", "nll_loss(x, y)", sizes),
        ]
    }
}

/// The cotangent of the scores. Operands: those of the loss, its second and third result, and the cotangent of the first.
#[derive(Clone, PartialEq, Debug)]
pub struct CrossEntropyGrad(pub CrossEntropy);

impl Rule for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        match self.0.scores {
            Scores::Logits => "cross_entropy_grad",
            Scores::LogProbabilities => "nll_loss_grad",
        }
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        self.0.check(&inputs[..inputs.len() - 3], constraints)?;
        Ok(vec![inputs[0].clone()])
    }

    /// With `t` the weighted share of each class in a label (over the divisor), the gradient is `g (p sum(t) - t)`. The gradient of
    /// `nll_loss` with `g = 1` is `-t`, so its kernel computes `t`; by the scores it is constant.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let n = site.inputs.len();
        let (scores, g) = (site.inputs[0], site.inputs[n - 1]);
        let shape = b.shape(scores);
        let axis = class_axis(shape.len());
        let mut operands = site.inputs.to_vec();
        operands[n - 1] = b.fill_like(g, 1.0);
        let of_logarithms = CrossEntropy {
            scores: Scores::LogProbabilities,
            ..self.0.clone()
        };
        let target = b.push(Self(of_logarithms), &operands);
        if self.0.scores == Scores::LogProbabilities {
            let mut bars = vec![None; n];
            bars[n - 1] = out_bars[0].map(|c| {
                let product = b.mul(c, target);
                match self.0.reduction {
                    LossReduction::None => b.sum(product, &[axis]),
                    LossReduction::Mean | LossReduction::Sum => b.sum_to(product, &[]),
                }
            });
            return Cotangents::Flow(bars);
        }
        let target = b.neg(target);
        let share = b.sum(target, &[axis]);
        let share = b.expand_axes(share, &[axis], &shape);
        let kind = SoftmaxKind::Probabilities;
        let probabilities = b.push(Softmax { kind, axis }, &[scores]);
        let predicted = b.mul(probabilities, share);
        let difference = b.sub(predicted, target);
        let g = match self.0.reduction {
            LossReduction::None => b.expand_axes(g, &[axis], &shape),
            LossReduction::Mean | LossReduction::Sum => b.expand(g, &shape),
        };
        Cotangents::Composed(vec![Some(b.mul(g, difference))])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let n = inputs.len();
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            optional(2, n > 5),
            CallArg::In(n - 3),
            CallArg::In(n - 2),
            CallArg::In(n - 1),
            CallArg::Out(0),
            self.0.spec(&inputs[0]),
        ];
        Kernel::Call(Call {
            function: "cross_entropy_grad",
            args,
            scratch: Vec::new(),
        })
    }

    /// Difference, exponential and factor.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 3
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

impl Builder {
    /// The loss of class labels: see [`CrossEntropy`].
    pub fn cross_entropy(
        &mut self,
        op: CrossEntropy,
        scores: Value,
        labels: Value,
        weight: Option<Value>,
    ) -> Value {
        let mut operands = vec![scores, labels];
        operands.extend(weight);
        let [loss, ..] = self.push_many::<3>(op, &operands);
        loss
    }
}

fn lower_cross_entropy(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (scores, target) = (args.tensor(0, "scores")?, args.tensor(1, "labels")?);
    let weight = args.tensor_named("weight")?;
    let smoothing = args.scalar_or(usize::MAX, "label_smoothing", 0.0)?;
    let ignore_index = args.literal(usize::MAX, "ignore_index")?;
    let reduction = LossReduction::take(args)?;
    args.finish()?;
    if let Some(share) = smoothing.as_lit()
        && !(0.0..=1.0).contains(&share)
    {
        return Err(ShapeError::new(format!(
            "`label_smoothing` must be in 0..=1, found {share}"
        )));
    }
    if b.ty(target).dtype == DType::Float && !b.is_poison(target) {
        if ignore_index.is_some() {
            let message = "`ignore_index` needs class labels, but the target is a tensor of probabilities";
            return Err(ShapeError::new(message));
        }
        return Ok(Operand::Tensor(
            b.soft_cross_entropy(scores, target, weight, smoothing, reduction),
        ));
    }
    let ignore_index = ignore_index.unwrap_or(IGNORE_INDEX);
    let op = CrossEntropy {
        scores: Scores::Logits,
        smoothing,
        ignore_index,
        reduction,
    };
    Ok(Operand::Tensor(b.cross_entropy(op, scores, target, weight)))
}

fn lower_nll_loss(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (scores, labels) = (args.tensor(0, "log_probabilities")?, args.tensor(1, "labels")?);
    let weight = args.tensor_named("weight")?;
    let ignore_index = args.literal(usize::MAX, "ignore_index")?.unwrap_or(IGNORE_INDEX);
    let reduction = LossReduction::take(args)?;
    args.finish()?;
    let op = CrossEntropy {
        scores: Scores::LogProbabilities,
        smoothing: Scalar::lit(0.0),
        ignore_index,
        reduction,
    };
    Ok(Operand::Tensor(b.cross_entropy(op, scores, labels, weight)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    #[test]
    fn the_loss_of_labels_is_a_scalar_or_one_a_sample() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "10", "H", "3"]);
        let y = input(&mut b, DType::Int, &["B", "H", "3"]);
        let operands = [Operand::Tensor(x), Operand::Tensor(y)];
        for (reduction, want) in [
            ("mean", "float[]"),
            ("sum", "float[]"),
            ("none", "float[B, H, 3]"),
        ] {
            let options = [
                ("reduction", Operand::Text(reduction.into())),
                ("ignore_index", whole(0)),
            ];
            let loss = call(&mut b, "cross_entropy", &operands, &options).unwrap();
            assert_eq!(typed(&b, loss), want);
            assert_eq!(
                b.graph.node(loss.node).op.rule().attributes(),
                format!("reduction = {reduction}, ignore_index = 0")
            );
        }
    }

    #[test]
    fn a_vector_of_scores_has_a_single_label() {
        let mut b = builder();
        let (x, y) = (
            input(&mut b, DType::Float, &["10"]),
            input(&mut b, DType::Int, &[]),
        );
        let loss = call(&mut b, "nll_loss", &[Operand::Tensor(x), Operand::Tensor(y)], &[]).unwrap();
        assert_eq!(typed(&b, loss), "float[]");
    }

    #[test]
    fn the_gradient_reads_the_log_sum_exps() {
        let mut b = builder();
        let (x, y) = (
            input(&mut b, DType::Float, &["B", "10"]),
            input(&mut b, DType::Int, &["B"]),
        );
        let w = input(&mut b, DType::Float, &["10"]);
        let options = [("weight", Operand::Tensor(w))];
        let loss = call(
            &mut b,
            "cross_entropy",
            &[Operand::Tensor(x), Operand::Tensor(y)],
            &options,
        )
        .unwrap();
        let node = b.graph.node(loss.node).clone();
        let outputs: Vec<Value> = (0..3)
            .map(|output| Value {
                node: loss.node,
                output,
            })
            .collect();
        let g = b.fill_like(loss, 1.0);
        let site = Site {
            inputs: &node.inputs,
            outputs: &outputs,
        };
        let Cotangents::Flow(bars) = node.op.rule().grad(&mut b, &site, &[Some(g), None, None]) else {
            panic!("cross_entropy has a gradient");
        };
        assert_eq!(typed(&b, bars[0].unwrap()), "float[B, 10]");
        assert_eq!(bars[1..], [None, None]);
        let inputs = &b.graph.node(bars[0].unwrap().node).inputs;
        assert_eq!(inputs[..], [x, y, w, outputs[1], outputs[2], g]);
    }

    #[test]
    fn mistakes_are_explained() {
        let cases: [(&[&str], DType, &[&str], &str); 4] = [
            (
                &["B", "10"],
                DType::Int,
                &["B", "1"],
                "`cross_entropy` expects labels [B] for scores [B, 10], found labels [B, 1]; losses never broadcast \
                 (axis 1 of the scores counts the classes)",
            ),
            (
                &["B", "10"],
                DType::Int,
                &["T"],
                "`cross_entropy` expects labels [B] for scores [B, 10], found labels [T]; losses never broadcast \
                 (axis 1 of the scores counts the classes)",
            ),
            (
                &["B", "10"],
                DType::Bool,
                &["B"],
                "`cross_entropy` takes integer labels, found bool[B] (declare them as `Tensor<u8, B>` or another \
                 integer type)",
            ),
            (
                &[],
                DType::Int,
                &["B"],
                "`cross_entropy` takes float scores with an axis of classes, found float[] (scores are [B, C], or \
                 [B, C, d1, ...] with labels [B, d1, ...])",
            ),
        ];
        for (scores, dtype, labels, want) in cases {
            let mut b = builder();
            let (x, y) = (input(&mut b, DType::Float, scores), input(&mut b, dtype, labels));
            let loss = call(
                &mut b,
                "cross_entropy",
                &[Operand::Tensor(x), Operand::Tensor(y)],
                &[],
            )
            .unwrap();
            assert!(b.is_poison(loss));
            assert_eq!(error(&b), want);
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        let mut b = builder();
        let (x, y) = (
            input(&mut b, DType::Float, &["B", "10"]),
            input(&mut b, DType::Int, &["B"]),
        );
        let operands = [Operand::Tensor(x), Operand::Tensor(y)];
        let mut refused =
            |name, value| text(&call(&mut b, "cross_entropy", &operands, &[(name, value)]).unwrap_err());
        assert_eq!(
            refused("reduction", Operand::Text("average".into())),
            "`reduction` must be \"mean\", \"sum\" or \"none\", found \"average\""
        );
        assert_eq!(
            refused("label_smoothing", Operand::Scalar(Scalar::lit(1.5))),
            "`label_smoothing` must be in 0..=1, found 1.5"
        );
        assert!(
            refused("smoothing", Operand::Scalar(Scalar::lit(0.5)))
                .starts_with("there is no option `smoothing`")
        );
    }
}

//! Losses that are compositions: binary and soft cross-entropy, Kullback-Leibler divergence; and how losses are reduced.
//!
//! Losses never broadcast their two main operands: a target of another shape is nearly always a mistake.

use crate::ir::scalar::ScalarFn;
use crate::ir::{
    Args, Builder, DType, Flag, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface, Value,
};
use crate::ops::cross_entropy::class_axis;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::shape::{self, Dim};

/// How the losses of the samples become one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LossReduction {
    /// Their mean; weighted where the loss says so.
    Mean,
    /// Their sum.
    Sum,
    /// Not at all.
    None,
}

impl LossReduction {
    /// Takes the option `reduction`, the mean by default.
    pub fn take(args: &mut Args) -> Result<Self, ShapeError> {
        match args.any(usize::MAX, "reduction") {
            None => Ok(Self::Mean),
            Some(Operand::Text(text)) => Self::named(&text).ok_or_else(|| {
                unknown(
                    "`reduction` must be \"mean\", \"sum\" or \"none\"",
                    &Operand::Text(text),
                )
            }),
            Some(other) => Err(unknown(
                "`reduction` must be \"mean\", \"sum\" or \"none\"",
                &other,
            )),
        }
    }

    fn named(text: &str) -> Option<Self> {
        match text {
            "mean" => Some(Self::Mean),
            "sum" => Some(Self::Sum),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// As users write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::None => "none",
        }
    }

    /// As the runtime spells it.
    pub fn constant(self) -> &'static str {
        match self {
            Self::Mean => "LossReduction::Mean",
            Self::Sum => "LossReduction::Sum",
            Self::None => "LossReduction::None",
        }
    }
}

fn unknown(rule: &str, found: &Operand) -> ShapeError {
    match found {
        Operand::Text(text) => ShapeError::new(format!("{rule}, found {text:?}")),
        _ => ShapeError::new(format!("{rule}, in quotes")),
    }
}

/// What users write.
pub static SURFACES: &[Surface] = &[
    Surface {
        name: "bce_with_logits",
        form: Form::Function,
        usage: "bce_with_logits(scores, target, weight = .., pos_weight = .., reduction = \"mean\")",
        lower: lower_bce,
    },
    Surface {
        name: "kl_div",
        form: Form::Function,
        usage: "kl_div(log_probabilities, target, log_target = false, reduction = \"mean\")",
        lower: lower_kl_div,
    },
];

/// Small programs that use them.
pub fn samples() -> Vec<Sample> {
    let sample = |name, args, ret, body, domain| Sample {
        name,
        dims: "B: Dim, C: Dim",
        args,
        ret,
        body,
        sizes: &[&[1, 1], &[5, 3], &[2, 17]],
        domain,
        gradient: SampleGradient::Checked,
    };
    let pair = "x: Tensor<B, C>, t: Tensor<B, C>";
    let (wide, positive) = ((-3.0, 3.0), (0.05, 1.0));
    vec![
        sample(
            "cross_entropy_soft",
            pair,
            "Scalar",
            "cross_entropy(x, t, label_smoothing = 0.1)",
            positive,
        ),
        sample(
            "cross_entropy_soft_weight",
            "x: Tensor<B, C>, t: Tensor<B, C>, w: Tensor<C>",
            "Tensor<B>",
            "cross_entropy(x, t, weight = w, reduction = \"none\")",
            positive,
        ),
        sample(
            "bce_with_logits_mean",
            pair,
            "Scalar",
            "bce_with_logits(x, t)",
            wide,
        ),
        sample(
            "bce_with_logits_weights",
            "x: Tensor<B, C>, t: Tensor<B, C>, w: Tensor<C>",
            "Scalar",
            "bce_with_logits(x, t, weight = w, pos_weight = 2.0, reduction = \"sum\")",
            wide,
        ),
        sample("kl_div_mean", pair, "Scalar", "kl_div(x, t)", positive),
        sample(
            "kl_div_batch",
            pair,
            "Scalar",
            "kl_div(x, t, log_target = true, reduction = \"batchmean\")",
            wide,
        ),
    ]
}

/// Constructors.
impl Builder {
    /// Reduces the losses of the elements to one number, or leaves them.
    pub fn reduce_loss(&mut self, losses: Value, reduction: LossReduction) -> Value {
        let shape = self.shape(losses);
        let all: Vec<usize> = (0..shape.len()).collect();
        match reduction {
            LossReduction::None => losses,
            LossReduction::Sum => self.sum(losses, &all),
            LossReduction::Mean => {
                let sum = self.sum(losses, &all);
                self.scale(sum, Scalar::dim(&shape::numel(&shape)).recip())
            }
        }
    }

    /// Cross-entropy with target probabilities `t` in the shape of the scores:
    /// `-sum_c w[c] ((1 - e) t[c] + e / C) log_softmax(x)[c]`; the mean is over the samples, unweighted, as in PyTorch.
    pub fn soft_cross_entropy(
        &mut self,
        scores: Value,
        target: Value,
        weight: Option<Value>,
        smoothing: Scalar,
        reduction: LossReduction,
    ) -> Value {
        if let Some(error) = self.loss_mismatch("cross_entropy", scores, target) {
            return error;
        }
        let shape = self.shape(scores);
        if shape.is_empty() {
            return self.fail(ShapeError::new(
                "`cross_entropy` takes scores with an axis of classes, found float[]",
            ));
        }
        let axis = class_axis(shape.len());
        let mut target = target;
        if smoothing.as_lit() != Some(0.0) {
            let even = Scalar::binary(ScalarFn::Div, smoothing.clone(), Scalar::dim(&shape[axis]));
            let own = self.scale(target, Scalar::binary(ScalarFn::Sub, Scalar::lit(1.0), smoothing));
            target = self.offset(own, even);
        }
        if let Some(weight) = weight {
            let classes = std::slice::from_ref(&shape[axis]);
            if !self.is_poison(weight) && self.ty(weight).shape != classes {
                let (classes, found) = (&shape[axis], self.ty(weight));
                let message = format!(
                    "`cross_entropy` expects a weight for each of the {classes} classes, found {found}"
                );
                return self.fail(ShapeError::new(message));
            }
            let weight = self.expand_channel(weight, axis, &shape);
            target = self.mul(target, weight);
        }
        let log = self.log_probabilities(scores, axis);
        let terms = self.mul(target, log);
        let gain = self.sum(terms, &[axis]);
        let losses = self.neg(gain);
        self.reduce_loss(losses, reduction)
    }

    /// `x - log sum exp(x)` along an axis. No gradient is lost by cutting the one through the maximum: it cancels.
    fn log_probabilities(&mut self, x: Value, axis: usize) -> Value {
        let shape = self.shape(x);
        let max = self.push(
            Reduce {
                kind: ReduceKind::Max,
                axes: vec![axis],
            },
            &[x],
        );
        let max = self.expand_axes(max, &[axis], &shape);
        let shifted = self.sub(x, max);
        let exp = self.pointwise("exp", &[shifted]);
        let sum = self.sum(exp, &[axis]);
        let log = self.pointwise("log", &[sum]);
        let log = self.expand_axes(log, &[axis], &shape);
        self.sub(shifted, log)
    }

    /// Reports float operands of different shapes, or of other kinds.
    pub(crate) fn loss_mismatch(&mut self, word: &str, x: Value, target: Value) -> Option<Value> {
        if let Some(&poison) = [x, target].iter().find(|v| self.is_poison(**v)) {
            return Some(poison);
        }
        let (left, right) = (self.ty(x).clone(), self.ty(target).clone());
        if left.dtype != DType::Float || right.dtype != DType::Float {
            let message = format!("`{word}` takes two float tensors, found {left} and {right}");
            return Some(self.fail(ShapeError::new(message).help("convert integers with `.to_float()`")));
        }
        if self.constraints.equal_shapes(&left.shape, &right.shape) {
            return None;
        }
        let message =
            format!("`{word}` takes tensors of one shape, found {left} and {right}; losses never broadcast");
        Some(self.fail(ShapeError::new(message).help("reshape or expand the target explicitly")))
    }
}

/// A factor of the loss: a number, or a tensor that broadcasts to the shape of `like`.
fn factor(b: &mut Builder, args: &mut Args, name: &str, like: Value) -> Result<Option<Value>, ShapeError> {
    let Some(operand) = args.any(usize::MAX, name) else {
        return Ok(None);
    };
    let value = b.as_tensor(&operand, like)?;
    if b.is_poison(value) || b.is_poison(like) {
        return Ok(Some(value));
    }
    let (own, shape) = (b.shape(value), b.shape(like));
    let fits = own.len() <= shape.len()
        && own
            .iter()
            .rev()
            .zip(shape.iter().rev())
            .all(|(n, m)| n.is_one() || b.constraints.equal(n, m));
    if !fits || b.ty(value).dtype != DType::Float {
        let message = format!(
            "`{name}` is {}, which does not broadcast to {}",
            b.ty(value),
            shape::display(&shape)
        );
        return Err(ShapeError::new(message));
    }
    Ok(Some(b.expand(value, &shape)))
}

/// `w ((1 - t) x + (1 + (p - 1) t) softplus(-x))`: stable for scores of any size.
fn lower_bce(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, target) = (args.tensor(0, "scores")?, args.tensor(1, "target")?);
    let weight = factor(b, args, "weight", x)?;
    let pos_weight = factor(b, args, "pos_weight", x)?;
    let reduction = LossReduction::take(args)?;
    args.finish()?;
    if let Some(error) = b.loss_mismatch("bce_with_logits", x, target) {
        return Ok(Operand::Tensor(error));
    }
    let minus_x = b.neg(x);
    let mut miss = b.pointwise("softplus", &[minus_x]);
    if let Some(pos_weight) = pos_weight {
        let surplus = b.offset(pos_weight, -1.0);
        let surplus = b.mul(surplus, target);
        let share = b.offset(surplus, 1.0);
        miss = b.mul(share, miss);
    }
    let minus_target = b.neg(target);
    let negative = b.offset(minus_target, 1.0);
    let negative = b.mul(negative, x);
    let mut losses = b.add(negative, miss);
    if let Some(weight) = weight {
        losses = b.mul(losses, weight);
    }
    Ok(Operand::Tensor(b.reduce_loss(losses, reduction)))
}

/// `t (log t - x)`, 0 where t is 0; `exp(t) (t - x)` where the target is logarithms.
fn lower_kl_div(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, target) = (args.tensor(0, "log_probabilities")?, args.tensor(1, "target")?);
    let log_target = args.flag_or("log_target", Flag::No)?;
    let reduction = match args.any(usize::MAX, "reduction") {
        None => Some(LossReduction::Mean),
        Some(Operand::Text(text)) if text == "batchmean" => None,
        Some(Operand::Text(text)) if LossReduction::named(&text).is_some() => LossReduction::named(&text),
        Some(other) => {
            return Err(unknown(
                "`reduction` must be \"mean\", \"batchmean\", \"sum\" or \"none\"",
                &other,
            ));
        }
    };
    args.finish()?;
    if let Some(error) = b.loss_mismatch("kl_div", x, target) {
        return Ok(Operand::Tensor(error));
    }
    let (probability, log) = match log_target {
        Flag::Yes => (b.pointwise("exp", &[target]), target),
        Flag::No => {
            // The logarithm of 1 instead of 0: its product with 0 must be 0.
            let (zero, one) = (b.fill_like(target, 0.0), b.fill_like(target, 1.0));
            let is_zero = b.pointwise("eq", &[target, zero]);
            let positive = b.select(is_zero, one, target);
            (target, b.pointwise("log", &[positive]))
        }
    };
    let gap = b.sub(log, x);
    let losses = b.mul(probability, gap);
    let Some(reduction) = reduction else {
        let batch = b.shape(x).first().map_or(Dim::one(), Dim::clone);
        let sum = b.reduce_loss(losses, LossReduction::Sum);
        return Ok(Operand::Tensor(b.scale(sum, Scalar::dim(&batch).recip())));
    };
    Ok(Operand::Tensor(b.reduce_loss(losses, reduction)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed};

    fn pair(b: &mut Builder, x: &[&str], t: &[&str]) -> [Operand; 2] {
        [
            Operand::Tensor(input(b, DType::Float, x)),
            Operand::Tensor(input(b, DType::Float, t)),
        ]
    }

    fn reduction(word: &str) -> (&'static str, Operand) {
        ("reduction", Operand::Text(word.into()))
    }

    #[test]
    fn reductions_give_a_scalar_or_the_shape() {
        for name in ["bce_with_logits", "kl_div"] {
            for (word, want) in [("mean", "float[]"), ("sum", "float[]"), ("none", "float[B, 3]")] {
                let mut b = builder();
                let operands = pair(&mut b, &["B", "3"], &["B", "3"]);
                let loss = call(&mut b, name, &operands, &[reduction(word)]).unwrap();
                assert_eq!(typed(&b, loss), want, "{name}");
            }
        }
        let mut b = builder();
        let operands = pair(&mut b, &["B", "3"], &["B", "3"]);
        let loss = call(&mut b, "kl_div", &operands, &[reduction("batchmean")]).unwrap();
        assert_eq!(typed(&b, loss), "float[]");
    }

    #[test]
    fn soft_targets_are_reduced_over_classes() {
        let mut b = builder();
        let operands = pair(&mut b, &["B", "3", "7"], &["B", "3", "7"]);
        let weight = ("weight", Operand::Tensor(input(&mut b, DType::Float, &["3"])));
        let smoothing = ("label_smoothing", Operand::Scalar(Scalar::lit(0.1)));
        let loss = call(
            &mut b,
            "cross_entropy",
            &operands,
            &[weight, smoothing, reduction("none")],
        )
        .unwrap();
        assert_eq!(typed(&b, loss), "float[B, 7]");
    }

    #[test]
    fn losses_never_broadcast() {
        for name in ["bce_with_logits", "kl_div", "cross_entropy"] {
            let mut b = builder();
            let operands = pair(&mut b, &["B", "3"], &["B", "1"]);
            let loss = call(&mut b, name, &operands, &[]).unwrap();
            assert!(b.is_poison(loss));
            let want = format!(
                "`{name}` takes tensors of one shape, found float[B, 3] and float[B, 1]; losses never broadcast \
                 (reshape or expand the target explicitly)"
            );
            assert_eq!(error(&b), want);
        }
    }

    #[test]
    fn weights_broadcast_to_the_scores_only() {
        let mut b = builder();
        let operands = pair(&mut b, &["B", "3"], &["B", "3"]);
        let good = Operand::Tensor(input(&mut b, DType::Float, &["3"]));
        let loss = call(&mut b, "bce_with_logits", &operands, &[("pos_weight", good)]).unwrap();
        assert_eq!(typed(&b, loss), "float[]");
        let bad = Operand::Tensor(input(&mut b, DType::Float, &["4"]));
        let refused = call(&mut b, "bce_with_logits", &operands, &[("weight", bad)]).unwrap_err();
        assert_eq!(
            text(&refused),
            "`weight` is float[4], which does not broadcast to [B, 3]"
        );
    }
}

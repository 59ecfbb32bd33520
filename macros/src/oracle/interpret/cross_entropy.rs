//! Cross-entropy of class labels, after the documentation of `torch.nn.CrossEntropyLoss` and `NLLLoss`.

use super::super::tensor::{Tensor, build, indices};
use super::Node;
use crate::ops::cross_entropy::{CrossEntropy, CrossEntropyGrad, Scores, class_axis};
use crate::ops::loss::LossReduction;

/// Operands with defaults filled in.
struct Problem<'a> {
    op: &'a CrossEntropy,
    node: &'a Node<'a>,
    weight: Vec<f64>,
    smoothing: f64,
    axis: usize,
}

impl<'a> Problem<'a> {
    fn new(op: &'a CrossEntropy, node: &'a Node<'a>, has_weight: bool) -> Self {
        let axis = class_axis(node.inputs[0].shape().len());
        let classes = node.inputs[0].shape()[axis];
        let weight = if has_weight {
            node.inputs[2].numbers()
        } else {
            vec![1.0; classes]
        };
        let smoothing = node.world.scalar(&op.smoothing);
        Self {
            op,
            node,
            weight,
            smoothing,
            axis,
        }
    }

    /// The scores of a sample.
    fn scores(&self, sample: &[usize]) -> Vec<f64> {
        let x = self.node.inputs[0].float();
        (0..self.weight.len())
            .map(|class| {
                let mut index = sample.to_vec();
                index.insert(self.axis, class);
                x[&index[..]]
            })
            .collect()
    }

    /// The label of a sample that counts.
    fn label(&self, sample: &[usize]) -> Option<usize> {
        let label = self.node.inputs[1].int()[sample];
        (label != self.op.ignore_index).then(|| usize::try_from(label).expect("a label that names a class"))
    }

    /// The logarithm of the sum of exponentials; scores that are logarithms of probabilities are taken as normalised.
    fn log_sum_exp(&self, sample: &[usize]) -> f64 {
        match self.op.scores {
            Scores::Logits => log_sum_exp(&self.scores(sample)),
            Scores::LogProbabilities => 0.0,
        }
    }

    fn loss(&self, sample: &[usize]) -> f64 {
        let Some(label) = self.label(sample) else {
            return 0.0;
        };
        let lse = self.log_sum_exp(sample);
        let losses: Vec<f64> = self.scores(sample).iter().map(|x| lse - x).collect();
        let even: f64 = losses.iter().zip(&self.weight).map(|(loss, w)| loss * w).sum();
        let share = self.smoothing / self.weight.len() as f64;
        (1.0 - self.smoothing) * self.weight[label] * losses[label] + share * even
    }

    fn samples(&self) -> &[usize] {
        self.node.inputs[1].shape()
    }

    /// The sum of the labels' weights where the loss is a mean, else 1.
    fn divisor(&self) -> f64 {
        if self.op.reduction != LossReduction::Mean {
            return 1.0;
        }
        let mut sum = 0.0;
        indices(self.samples(), |sample| {
            sum += self.label(sample).map_or(0.0, |label| self.weight[label]);
        });
        sum
    }
}

fn log_sum_exp(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

pub(super) fn loss(op: &CrossEntropy, node: &Node<'_>) -> Vec<Tensor> {
    let problem = Problem::new(op, node, node.inputs.len() > 2);
    let losses = build(problem.samples(), |sample| problem.loss(sample));
    let lse = build(problem.samples(), |sample| problem.log_sum_exp(sample));
    let divisor = problem.divisor();
    let loss = match op.reduction {
        LossReduction::None => Tensor::Float(losses),
        LossReduction::Sum | LossReduction::Mean => Tensor::scalar(losses.sum() / divisor),
    };
    vec![loss, Tensor::Float(lse), Tensor::scalar(divisor)]
}

/// The derivative of the formula above; the cotangent is the last operand.
pub(super) fn gradient(grad: &CrossEntropyGrad, node: &Node<'_>) -> Vec<Tensor> {
    let op = &grad.0;
    let problem = Problem::new(op, node, node.inputs.len() > 5);
    let g = node.inputs[node.inputs.len() - 1].float();
    let (divisor, share) = (problem.divisor(), problem.smoothing / problem.weight.len() as f64);
    let total: f64 = problem.weight.iter().sum();
    vec![Tensor::Float(build(&node.shapes[0], |index| {
        let (mut sample, class) = (index.to_vec(), index[problem.axis]);
        sample.remove(problem.axis);
        let Some(label) = problem.label(&sample) else {
            return 0.0;
        };
        let g = match op.reduction {
            LossReduction::None => g[&sample[..]],
            LossReduction::Sum | LossReduction::Mean => g.sum() / divisor,
        };
        let hit = if class == label { 1.0 } else { 0.0 };
        let own = (1.0 - problem.smoothing) * problem.weight[label];
        let probability = match op.scores {
            Scores::Logits => {
                let scores = problem.scores(&sample);
                (scores[class] - log_sum_exp(&scores)).exp()
            }
            Scores::LogProbabilities => 0.0,
        };
        g * ((own + share * total) * probability - own * hit - share * problem.weight[class])
    }))]
}

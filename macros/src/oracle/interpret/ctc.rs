//! Connectionist temporal classification by its definition: every alignment that spells the target, one after the other.

use ndarray::{ArrayD, IxDyn};

use super::super::tensor::{Tensor, build};
use super::Node;
use crate::ir::Flag;
use crate::ops::ctc::{Ctc, CtcCurvature, CtcGrad};
use crate::ops::loss::LossReduction;

/// One sample: its log-probabilities, its target, its frames.
struct Sample<'a> {
    x: &'a ArrayD<f64>,
    number: usize,
    target: Vec<usize>,
    frames: usize,
    blank: usize,
}

impl Sample<'_> {
    fn all<'a>(op: &Ctc, node: &'a Node<'a>) -> Vec<Sample<'a>> {
        let length =
            |k: usize, b: usize| usize::try_from(node.inputs[k].int()[[b].as_slice()]).expect("a length");
        (0..node.inputs[0].shape()[0])
            .map(|number| {
                let targets = node.inputs[1].int();
                let label = |s: usize| usize::try_from(targets[[number, s].as_slice()]).expect("a label");
                Sample {
                    x: node.inputs[0].float(),
                    number,
                    target: (0..length(3, number)).map(label).collect(),
                    frames: length(2, number),
                    blank: node.world.size(&op.blank),
                }
            })
            .collect()
    }

    /// Visits the alignments that begin with `word`, of which `done` labels of the target have been spelled.
    fn extend(&self, word: &mut Vec<usize>, done: usize, visit: &mut dyn FnMut(&[usize])) {
        if word.len() == self.frames {
            if done == self.target.len() {
                visit(word);
            }
            return;
        }
        let last = word.last().copied();
        let mut go_on = |class: usize, done: usize| {
            word.push(class);
            self.extend(word, done, visit);
            word.pop();
        };
        go_on(self.blank, done);
        if let Some(repeated) = last.filter(|&class| class != self.blank) {
            go_on(repeated, done);
        }
        if let Some(&next) = self.target.get(done).filter(|&&next| last != Some(next)) {
            go_on(next, done + 1);
        }
    }

    /// The probability of all alignments, and of those that have a class in a frame.
    fn probabilities(&self) -> (f64, ArrayD<f64>) {
        let classes = self.x.shape()[2];
        let (mut total, mut of_class) = (0.0, ArrayD::zeros(IxDyn(&[self.frames, classes])));
        self.extend(&mut Vec::new(), 0, &mut |word| {
            let log: f64 = (0..)
                .zip(word)
                .map(|(t, &c)| self.x[[self.number, t, c].as_slice()])
                .sum();
            total += log.exp();
            for (t, &c) in word.iter().enumerate() {
                of_class[[t, c].as_slice()] += log.exp();
            }
        });
        (total, of_class)
    }

    /// What its loss is divided by.
    fn divisor(&self, op: &Ctc) -> f64 {
        match op.reduction {
            LossReduction::Mean => (self.x.shape()[0] * self.target.len().max(1)) as f64,
            LossReduction::Sum | LossReduction::None => 1.0,
        }
    }
}

pub(super) fn loss(op: &Ctc, node: &Node<'_>) -> Vec<Tensor> {
    let samples = Sample::all(op, node);
    let loss = |sample: &Sample<'_>| match sample.probabilities().0 {
        0.0 if op.zero_infinity == Flag::Yes => 0.0,
        total => -total.ln() / sample.divisor(op),
    };
    vec![match op.reduction {
        LossReduction::None => Tensor::Float(build(&[samples.len()], |b| loss(&samples[b[0]]))),
        LossReduction::Mean if samples.is_empty() => Tensor::scalar(f64::NAN),
        LossReduction::Mean | LossReduction::Sum => Tensor::scalar(samples.iter().map(loss).sum()),
    }]
}

/// The derivative of `-ln total`; the cotangent is the last operand.
pub(super) fn gradient(grad: &CtcGrad, node: &Node<'_>) -> Vec<Tensor> {
    let op = &grad.0;
    let g = node.inputs[4].float();
    let samples = Sample::all(op, node);
    let found: Vec<_> = samples.iter().map(Sample::probabilities).collect();
    vec![Tensor::Float(build(&node.shapes[0], |index| {
        let (sample, (total, of_class)) = (&samples[index[0]], &found[index[0]]);
        let is_impossible = *total == 0.0 && op.zero_infinity == Flag::Yes;
        if index[1] >= sample.frames || is_impossible {
            return 0.0;
        }
        let g = match op.reduction {
            LossReduction::None => g[&index[..1]],
            LossReduction::Mean | LossReduction::Sum => g[[].as_slice()],
        };
        -g / sample.divisor(op) * of_class[&index[1..]] / total
    }))]
}

/// The derivative of the gradient along a direction, the last operand: minus the covariance of having a class in a frame and
/// of the direction's sum along the alignment.
pub(super) fn curvature(curvature: &CtcCurvature, node: &Node<'_>) -> Vec<Tensor> {
    let op = &curvature.0;
    let (g, direction) = (node.inputs[4].float(), node.inputs[5].float());
    let mut product = ArrayD::zeros(IxDyn(&node.shapes[0]));
    for (b, sample) in Sample::all(op, node).iter().enumerate() {
        let (total, of_class) = sample.probabilities();
        if total == 0.0 && op.zero_infinity == Flag::Yes {
            continue;
        }
        let g = match op.reduction {
            LossReduction::None => g[[b].as_slice()],
            LossReduction::Mean | LossReduction::Sum => g[[].as_slice()],
        };
        let along = |word: &[usize], x: &ArrayD<f64>| -> f64 {
            (0..).zip(word).map(|(t, &c)| x[[b, t, c].as_slice()]).sum()
        };
        let mut words = Vec::new();
        sample.extend(&mut Vec::new(), 0, &mut |word| words.push(word.to_vec()));
        let mean: f64 = words
            .iter()
            .map(|word| along(word, sample.x).exp() / total * along(word, direction))
            .sum();
        let scale = -g / sample.divisor(op);
        for word in &words {
            let share = along(word, sample.x).exp() / total;
            for (t, &c) in word.iter().enumerate() {
                product[[b, t, c].as_slice()] += scale * share * along(word, direction);
            }
        }
        for t in 0..sample.frames {
            for c in 0..of_class.shape()[1] {
                product[[b, t, c].as_slice()] -= scale * of_class[[t, c].as_slice()] / total * mean;
            }
        }
    }
    vec![Tensor::Float(product)]
}

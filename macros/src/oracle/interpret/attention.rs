//! Attention, after the documentation of `torch.nn.functional.scaled_dot_product_attention`, every probability written out.

use ndarray::ArrayD;
use tapeless_runtime::rng::Key;

use super::super::tensor::{Tensor, build, indices};
use super::Node;
use crate::ops::attention::{Attention, AttentionGrad, Reach};

/// An attention with its operands.
struct Problem<'a> {
    op: &'a Attention,
    node: &'a Node<'a>,
    mask: Option<&'a Tensor>,
    scale: f64,
    rate: f64,
}

/// A probability and the factor of its dropout.
#[derive(Clone, Copy)]
struct Weight {
    probability: f64,
    factor: f64,
}

impl<'a> Problem<'a> {
    fn new(op: &'a Attention, node: &'a Node<'a>, mask: Option<&'a Tensor>) -> Self {
        let (scale, rate) = (node.world.scalar(&op.scale), node.world.scalar(&op.dropout));
        Self {
            op,
            node,
            mask,
            scale,
            rate,
        }
    }

    fn operand(&self, k: usize) -> &ArrayD<f64> {
        self.node.inputs[k].float()
    }

    /// The element in row `row` and column `column` of the matrix of a head.
    fn at(x: &ArrayD<f64>, head: &[usize], row: usize, column: usize) -> f64 {
        x[&[head, &[row, column]].concat()[..]]
    }

    /// The number of queries and keys, and of the features of each and of a value.
    fn sizes(&self) -> [usize; 4] {
        let (k, v) = (self.operand(1).shape(), self.operand(2).shape());
        let rank = k.len();
        [
            self.operand(0).shape()[rank - 2],
            k[rank - 2],
            k[rank - 1],
            v[rank - 1],
        ]
    }

    /// The axes before the last two.
    fn heads(&self) -> &[usize] {
        let shape = self.operand(0).shape();
        &shape[..shape.len() - 2]
    }

    fn score(&self, head: &[usize], query: usize, key: usize) -> f64 {
        let (q, k) = (self.operand(0), self.operand(1));
        let [_, _, width, _] = self.sizes();
        let terms = (0..width).map(|c| Self::at(q, head, query, c) * Self::at(k, head, key, c));
        let score = self.scale * terms.sum::<f64>();
        let place = [head, &[query, key]].concat();
        let is_hidden = match self.mask {
            Some(Tensor::Bool(keep)) => !keep[&place[..]],
            _ => false,
        };
        match self.mask {
            _ if is_hidden || self.op.reach == Reach::Causal && key > query => f64::NEG_INFINITY,
            Some(Tensor::Float(add)) => score + add[&place[..]],
            _ => score,
        }
    }

    /// The logarithm of the sum of exponentials; infinite where no key is visible.
    fn lse(&self, head: &[usize], query: usize) -> f64 {
        let scores: Vec<f64> = (0..self.sizes()[1])
            .map(|key| self.score(head, query, key))
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            return f64::INFINITY;
        }
        max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln()
    }

    /// The probability of every key, and whether it is dropped.
    fn weights(&self, head: &[usize], query: usize) -> Vec<Weight> {
        let lse = self.lse(head, query);
        let [queries, keys, ..] = self.sizes();
        let number = head
            .iter()
            .zip(self.heads())
            .fold(0, |number, (k, n)| number * n + k);
        let first = (number * queries + query) * keys;
        (0..keys)
            .map(|key| Weight {
                probability: (self.score(head, query, key) - lse).exp(),
                factor: self.factor((first + key) as u64),
            })
            .collect()
    }

    /// The factor that the dropout gives to an element. The random words are part of what the operation means.
    fn factor(&self, element: u64) -> f64 {
        if self.rate == 0.0 {
            return 1.0;
        }
        let world = self.node.world;
        let key = Key {
            seed: world.seed,
            stream: self.op.stream,
        };
        let key = world.steps.iter().fold(key, |key, &step| key.at(step as u64));
        let word = key.stream(world.step).u32(element);
        if f64::from(word) < (self.rate * 2f64.powi(32)).round() {
            0.0
        } else {
            1.0 / (1.0 - self.rate)
        }
    }
}

pub(super) fn attention(op: &Attention, node: &Node<'_>) -> Vec<Tensor> {
    let problem = Problem::new(op, node, node.inputs.get(3).copied());
    let v = problem.operand(2);
    let y = build(&node.shapes[0], |index| {
        let (head, [query, column]) = index.split_last_chunk::<2>().expect("two axes");
        let weights = problem.weights(head, *query);
        let terms = weights.iter().enumerate();
        terms
            .map(|(key, w)| w.factor * w.probability * Problem::at(v, head, key, *column))
            .sum()
    });
    let lse = build(&node.shapes[1], |index| {
        let (query, head) = index.split_last().expect("an axis of queries");
        problem.lse(head, *query)
    });
    vec![Tensor::Float(y), Tensor::Float(lse)]
}

/// `sum_i g_i dy_i` along every operand: through the values directly, and through the probabilities, of which each depends
/// on every score of its row, `dp_l / ds_j = p_l ((j == l) - p_j)`.
pub(super) fn gradient(grad: &AttentionGrad, node: &Node<'_>) -> Vec<Tensor> {
    let n = node.inputs.len();
    let problem = Problem::new(&grad.0, node, (n > 6).then(|| node.inputs[3]));
    let (q, k, v, g) = (
        problem.operand(0),
        problem.operand(1),
        problem.operand(2),
        node.inputs[n - 1].float(),
    );
    let [queries, keys, width, value_width] = problem.sizes();
    let mut bars: Vec<ArrayD<f64>> = node.shapes.iter().map(|shape| build(shape, |_| 0.0)).collect();
    let rows = [problem.heads(), &[queries]].concat();
    indices(&rows, |row| {
        let (query, head) = row.split_last().expect("an axis of queries");
        let place = |row: usize, column: usize| [head, &[row, column]].concat();
        let weights = problem.weights(head, *query);
        let weight_bar = |key: usize| {
            let terms =
                (0..value_width).map(|c| Problem::at(g, head, *query, c) * Problem::at(v, head, key, c));
            weights[key].factor * terms.sum::<f64>()
        };
        for key in 0..keys {
            let terms = (0..keys).map(|l| {
                let same = if l == key { 1.0 } else { 0.0 };
                weight_bar(l) * weights[l].probability * (same - weights[key].probability)
            });
            let product_bar = problem.scale * terms.sum::<f64>();
            for c in 0..width {
                bars[0][&place(*query, c)[..]] += product_bar * Problem::at(k, head, key, c);
                bars[1][&place(key, c)[..]] += product_bar * Problem::at(q, head, *query, c);
            }
            for c in 0..value_width {
                let w = weights[key].factor * weights[key].probability;
                bars[2][&place(key, c)[..]] += w * Problem::at(g, head, *query, c);
            }
        }
    });
    bars.into_iter().map(Tensor::Float).collect()
}

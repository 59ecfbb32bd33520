//! The models of sequences in burn: GPTs and the LSTM.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Tensor, activation};

use crate::models::{Model, Rows, Tokens};
use crate::weights::{Bias, Weights};

/// Attention and a perceptron, each behind a norm and beside a shortcut.
#[derive(Module, Debug)]
struct Block {
    norms: [LayerNorm; 2],
    attention: [Linear; 2],
    perceptron: [Linear; 2],
    heads: usize,
}

impl Block {
    fn new(weights: &Weights, k: usize, width: usize, heads: usize) -> Self {
        let linear = |name, sizes| weights.linear(&format!("h.{k}.{name}"), sizes);
        let norm = |name| weights.layer_norm(&format!("h.{k}.{name}"), width);
        Self {
            norms: [norm("ln_1"), norm("ln_2")],
            attention: [
                linear("attn.c_attn", [width, 3 * width]),
                linear("attn.c_proj", [width, width]),
            ],
            perceptron: [
                linear("c_fc", [width, 4 * width]),
                linear("c_proj", [4 * width, width]),
            ],
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>, mask: &Tensor<2>) -> Tensor<3> {
        let x = x.clone() + self.attend(self.norms[0].forward(x), mask);
        let hidden = self.perceptron[0].forward(self.norms[1].forward(x.clone()));
        x + self.perceptron[1].forward(activation::gelu_approximate(hidden))
    }

    fn attend(&self, x: Tensor<3>, mask: &Tensor<2>) -> Tensor<3> {
        let [b, t, width] = x.dims();
        let size = width / self.heads;
        let parts = self.attention[0].forward(x);
        let part = |k: usize| {
            let part = parts.clone().narrow(2, k * width, width);
            part.reshape([b, t, self.heads, size]).swap_dims(1, 2)
        };
        let scores = part(0).matmul(part(1).transpose()) * (size as f64).powf(-0.5);
        let weights = activation::softmax(scores + mask.clone().unsqueeze(), 3);
        let y = weights.matmul(part(2)).swap_dims(1, 2).reshape([b, t, width]);
        self.attention[1].forward(y)
    }
}

/// A language model; without a last layer of its own, the table of tokens is one.
#[derive(Module, Debug)]
pub struct Gpt {
    tokens: Param<Tensor<2>>,
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Option<Linear>,
}

impl Gpt {
    /// The model of characters.
    pub fn of_characters(weights: &Weights) -> Self {
        let paths = ["lm_head.weight", "lm_head.bias"];
        let head = weights.linear_of(paths, [128, 65], Bias::Without);
        Self::new(weights, [65, 64, 4, 4, 128], Some(head))
    }

    /// GPT-2 small's shape.
    pub fn two(weights: &Weights) -> Self {
        Self::new(weights, [50304, 1024, 12, 12, 768], None)
    }

    fn new(weights: &Weights, sizes: [usize; 5], head: Option<Linear>) -> Self {
        let [vocabulary, positions, n_blocks, heads, width] = sizes;
        Self {
            tokens: weights.table("wte", [vocabulary, width]),
            positions: weights.table("wpe", [positions, width]),
            blocks: (0..n_blocks)
                .map(|k| Block::new(weights, k, width, heads))
                .collect(),
            norm: weights.layer_norm("ln_f", width),
            head,
        }
    }
}

impl Model for Gpt {
    type Input = Tokens;

    fn scores(&self, tokens: Tokens) -> Tensor<2> {
        let [_, t] = tokens.dims();
        // Minus infinity where a position may not look.
        let later = Tensor::<2>::full([t, t], f32::NEG_INFINITY, &tokens.device());
        let mask = later.triu(1);
        let positions = self.positions.val().narrow(0, 0, t).unsqueeze();
        let x = burn::tensor::module::embedding(self.tokens.val(), tokens) + positions;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x, &mask));
        let x = self.norm.forward(x).flatten(0, 1);
        match &self.head {
            Some(head) => head.forward(x),
            None => x.matmul(self.tokens.val().transpose()),
        }
    }
}

/// An LSTM of width 256 over 64 steps of 64 numbers, whose last state is classified. burn's own layer multiplies each step's input by each gate's
/// weights; here are one product of all inputs before the loop, and one in each step.
#[derive(Module, Debug)]
pub struct Classifier {
    inputs: Linear,
    states: Linear,
    fc: Linear,
}

impl Classifier {
    /// With the weights that there are.
    pub fn new(weights: &Weights) -> Self {
        Self {
            inputs: weights.linear_of(["rnn.weight_ih_l0", "rnn.bias_ih_l0"], [64, 1024], Bias::With),
            states: weights.linear_of(["rnn.weight_hh_l0", "rnn.bias_hh_l0"], [256, 1024], Bias::With),
            fc: weights.linear("fc", [256, 10]),
        }
    }
}

impl Model for Classifier {
    type Input = Rows;

    fn scores(&self, x: Rows) -> Tensor<2> {
        let [batch, _] = x.dims();
        let steps = x.reshape([batch, 64, 64]).swap_dims(0, 1);
        let inputs: Tensor<3> = self.inputs.forward(steps);
        let mut h = Tensor::<2>::zeros([batch, 256], &inputs.device());
        let mut c = h.clone();
        for step in inputs.iter_dim(0) {
            let gates = step.flatten::<2>(0, 1) + self.states.forward(h);
            let gate = |k: usize| gates.clone().narrow(1, 256 * k, 256);
            let new = activation::sigmoid(gate(0)) * activation::tanh(gate(2));
            c = activation::sigmoid(gate(1)) * c + new;
            h = activation::sigmoid(gate(3)) * activation::tanh(c.clone());
        }
        self.fc.forward(h)
    }
}

//! A character GPT: 4 layers, 4 heads, width 128, context 64, 65 characters, batch 12, AdamW.
//!
//! Its attention is that of the example `gpt`. Unlike there, gelu is GPT-2's approximation by tanh, and the last layer has a
//! table of its own.

// The example has more than attention.
#[path = "../../../examples/gpt/model.rs"]
mod model;

use model::Attention;
use tapeless::prelude::*;

use super::{Run, Setup, Training, Workload, batch};

/// Positions that the model sees.
const CONTEXT: usize = 64;

/// Characters.
const VOCAB: usize = 65;

/// Attention and a perceptron, each behind a norm and beside a shortcut.
#[model]
pub struct Block<const WIDTH: usize, const HEADS: usize> {
    ln_1: LayerNorm<WIDTH>,
    attn: Attention<WIDTH, HEADS>,
    ln_2: LayerNorm<WIDTH>,
    c_fc: Linear<WIDTH, { 4 * WIDTH }>,
    c_proj: Linear<{ 4 * WIDTH }, WIDTH>,
}

#[model]
impl<const WIDTH: usize, const HEADS: usize> Block<WIDTH, HEADS> {
    /// All positions at once.
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, WIDTH>) -> Tensor<B, T, WIDTH> {
        let x = x + self.attn(self.ln_1(x));
        x + self.c_proj(self.c_fc(self.ln_2(x)).gelu(approximate = "tanh"))
    }
}

/// The language model.
#[model]
pub struct CharGpt {
    #[layer(init = normal(0.0, 0.02))]
    wte: Param<VOCAB, 128>,
    #[layer(init = normal(0.0, 0.02))]
    wpe: Param<CONTEXT, 128>,
    h: [Block<128, 4>; 4],
    ln_f: LayerNorm<128>,
    #[layer(bias = false)]
    lm_head: Linear<128, VOCAB>,
}

#[model]
impl CharGpt {
    /// The mean cross entropy of the next character at every position.
    pub fn loss<B: Dim>(&self, x: Tensor<u16, B, CONTEXT>, y: Tensor<u16, B, CONTEXT>) -> Scalar {
        let mut x = self.wte.take(x, axis = 0) + self.wpe;
        for block in &self.h {
            x = block(x);
        }
        let scores = self.lm_head(self.ln_f(x));
        cross_entropy(scores.reshape((B * CONTEXT, VOCAB)), y.reshape((B * CONTEXT,)))
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "gpt",
    about: "4 layers, 4 heads, width 128, context 64, 65 characters, AdamW",
    batch: 12,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: CharGpt = setup.model()?;
    let work = model.loss_workspace(WORKLOAD.batch)?;
    let batch = |k| {
        let shape = (WORKLOAD.batch, CONTEXT);
        let draw = |name| batch::tokens(name, shape, VOCAB as u16, k);
        (draw("x"), draw("y"))
    };
    Ok(Run::start(
        (model, work),
        AdamW::new(1e-3).weight_decay(0.01),
        batch,
        setup,
        |model, work, adam, (x, y), _| model.train_step(work, adam, x, y),
    ))
}

//! GPT-2 small: 12 layers, 12 heads, width 768, a vocabulary padded to 50304, batch 4, AdamW, on 64 of 1024 positions.

use tapeless::prelude::*;

use super::gpt::Block;
use super::{Run, Setup, Training, Workload, batch};

/// Positions that a batch has.
const CONTEXT: usize = 64;

/// Tokens with padding; a batch has the first 50257 of them.
const VOCAB: usize = 50304;

/// The language model. The table of tokens is the last layer as well.
#[model]
pub struct Gpt2 {
    #[layer(init = normal(0.0, 0.02))]
    wte: Param<VOCAB, 768>,
    #[layer(init = normal(0.0, 0.02))]
    wpe: Param<1024, 768>,
    h: [Block<768, 12>; 12],
    ln_f: LayerNorm<768>,
}

#[model]
impl Gpt2 {
    /// The mean cross entropy of the next token at every position.
    pub fn loss<B: Dim>(&self, x: Tensor<u16, B, CONTEXT>, y: Tensor<u16, B, CONTEXT>) -> Scalar {
        let mut x = self.wte.take(x, axis = 0) + self.wpe.slice(0..64, ..);
        for block in &self.h {
            x = block(x);
        }
        let scores = self.ln_f(x).matmul(self.wte.transpose(0, 1));
        cross_entropy(scores.reshape((B * CONTEXT, VOCAB)), y.reshape((B * CONTEXT,)))
    }
}

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "gpt2",
    about: "12 layers, 12 heads, width 768, 64 of 1024 positions, 50304 tokens (tied), AdamW",
    batch: 4,
    start,
};

fn start(setup: &Setup) -> Result<Box<dyn Training>> {
    let model: Gpt2 = setup.model()?;
    let work = model.loss_workspace(WORKLOAD.batch)?;
    let batch = |k| {
        let shape = (WORKLOAD.batch, CONTEXT);
        let draw = |name| batch::tokens(name, shape, 50257, k);
        (draw("x"), draw("y"))
    };
    Ok(Run::start(
        (model, work),
        AdamW::new(1e-4).weight_decay(0.01),
        batch,
        setup,
        |model, work, adam, (x, y), _| model.train_step(work, adam, x, y),
    ))
}

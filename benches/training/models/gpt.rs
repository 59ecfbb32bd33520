//! A character GPT: 4 layers, 4 heads, width 128, context 64, 65 characters, batch 12, AdamW.
//!
//! Its blocks are those of the example `gpt`. Unlike there, the last layer has a table of its own.

// The example has more than the block.
#[path = "../../../examples/gpt/model.rs"]
pub mod model;

use model::Block;
use tapeless::prelude::*;

use super::{Dropout, Run, SEED, Training, Workload, batch};

/// Positions that the model sees.
const CONTEXT: usize = 64;

/// Characters.
const VOCAB: usize = 65;

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
            x = block(x, 0.0);
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

fn start(device: &Device, dropout: Dropout) -> Result<Box<dyn Training>> {
    let model = CharGpt::new(device, SEED)?;
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
        dropout,
        |model, work, adam, (x, y), _| model.train_step(work, adam, x, y),
    ))
}

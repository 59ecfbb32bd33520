//! The trainer: epochs, batches, validation, checkpoints.
//!
//! A training is a loop over epochs over batches; [`Trainer`] holds its settings. What it does in a step, loss and gradient
//! and optimizer, is what a hand-written loop does, with the same bits. After the first step nothing is allocated until the
//! epoch ends.
//!
//! An interrupted training continues bit for bit from its checkpoint, because everything that a step depends on is in
//! it: parameters, carried tensors, moments, the step counter (which with the seed determines every random number), and
//! the position in an epoch whose order is a function of seed and epoch.
//!
//! What this module does not do: it holds no data and no optimizer's formula, and it never changes a model but by the
//! optimizer's steps and, at the end, by putting the best parameters back.

mod bar;
mod callee;
mod history;
mod inputs;
mod path;
mod plan;
mod progress;
mod run;
mod settings;
mod watch;

pub use history::{End, EpochRecord, History};
pub use inputs::Inputs;
pub use path::{ByName, FunctionPath};
pub use settings::{EpochEnd, Flow, Trainer};

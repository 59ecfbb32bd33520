//! Checkpoints: models and interrupted trainings as files.
//!
//! Every file is in the safetensors format, so that other tools read it. A model's file holds its parameters and carried
//! tensors under their paths, which are PyTorch's where PyTorch has the layer. A training's file is a model's file with
//! more in it: under names with a `/`, which no path contains, lie the moments of the optimizer, the best parameters so
//! far and the history. So [`Model::load`](crate::Model::load) takes either.
//!
//! Two invariants hold throughout. A file is replaced all or nothing, so that a crash at any instant loses nothing
//! that was saved. And reading checks everything before it changes anything: a truncated or lying file is an error,
//! never a panic, a huge allocation or half a model.

mod atomic;
mod fields;
mod format;
mod half;
mod json;
mod model;
mod tensors;
pub(crate) mod training;

pub(crate) use atomic::replace;
pub use model::{Mismatch, Report};

/// The version of what the texts of the header mean.
const VERSION: &str = "1";

/// Keys of the texts in a file's header. Other tools may add theirs.
mod key {
    pub const VERSION: &str = "tapeless.version";
    pub const MODEL: &str = "tapeless.model";
    pub const PROGRAM: &str = "tapeless.program";
    pub const PRECISION: &str = "tapeless.precision";
    pub const PATH: &str = "tapeless.path";
    pub const SEED: &str = "tapeless.seed";
    pub const STEP: &str = "tapeless.step";
}

//! Everything that a file with a model needs: `use tapeless::prelude::*;`.

pub use crate::language::*;
pub use crate::layers::*;
pub use crate::{model, network};
pub use tapeless_runtime::optim::{Adam, AdamW, Clip, Optimizer, RmsProp, Schedule, Sgd};
pub use tapeless_runtime::train::{End, EpochEnd, Flow, Inputs};
pub use tapeless_runtime::{
    Accumulate, Device, Error, ErrorKind, History, Model, ParamVector, Precision, Result, Trace, Trainer,
    Workspace,
};
// Methods stay in reach where a local type takes the name of a trait.
pub use tapeless_runtime::{Model as _, optim::Optimizer as _};

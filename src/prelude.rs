//! Everything that a file with a model needs: `use tapeless::prelude::*;`.

pub use crate::language::*;
pub use crate::layers::*;
pub use crate::model;
pub use tapeless_runtime::optim::{Adam, AdamW, RmsProp, Sgd};
pub use tapeless_runtime::{Device, Model, Precision, Workspace};

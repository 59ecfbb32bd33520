//! Everything that a file with a model needs: `use tapeless::prelude::*;`.

pub use crate::language::*;
pub use crate::layers::*;
pub use crate::model;
pub use tapeless_runtime::{Device, Model as _, Precision, Workspace};

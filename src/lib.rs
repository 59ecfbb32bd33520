//! A deep-learning compiler that lives inside a Rust procedural macro.
//!
//! A model is a plain struct and plain functions. While `cargo build` runs, [`macro@model`] checks every shape, differentiates
//! the model, fuses and schedules both directions, and emits Rust that calls a small runtime of kernels.
//!
//! ```
//! use tapeless::prelude::*;
//!
//! #[model]
//! pub struct Mlp {
//!     fc1: Linear<4, 8>,
//!     fc2: Linear<_, 3>,
//! }
//!
//! #[model]
//! impl Mlp {
//!     /// Class scores of a batch.
//!     pub fn scores<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
//!         self.fc2(self.fc1(x).relu())
//!     }
//! }
//!
//! # fn main() -> tapeless::Result<()> {
//! let model = Mlp::new(&Device::cpu(), 42)?;
//! let scores = model.scores(&ndarray::Array2::<f32>::zeros((5, 4)))?;
//! assert_eq!(scores.dim(), (5, 3));
//! # Ok(())
//! # }
//! ```

pub mod language;
pub mod layers;
pub mod prelude;

pub use language::{Dim, MultipleOf, Param, Scalar, State, Tensor};
pub use layers::*;
pub use tapeless_macros::model;
#[doc(hidden)]
pub use tapeless_macros::op_samples;
pub use tapeless_runtime::*;

/// Continuations of the macro; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use tapeless_macros::{ask, compile};
}

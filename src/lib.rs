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
/// # As an item
///
/// ```
/// use tapeless::prelude::*;
///
/// network! {
///     /// LeNet-5.
///     pub struct LeNet(1, 28, 28) -> 10 {
///         Conv2d<_, 6, 5>(padding = 2), Tanh, AvgPool2d<2>,
///         Conv2d<_, 16, 5>, Tanh, AvgPool2d<2>,
///         Flatten, Linear<_, 120>, Tanh, Linear<_, 84>, Tanh, head: Linear<_, 10>,
///     }
///     loss = cross_entropy
/// }
///
/// # fn main() -> tapeless::Result<()> {
/// let model = LeNet::new(&Device::cpu(), 42)?;
/// let images = ndarray::Array4::<f32>::zeros((2, 1, 28, 28));
/// assert_eq!(model.forward(&images)?.dim(), (2, 10));
/// assert!(model.loss(&images, &ndarray::arr1(&[3_u8, 7]))? > 0.0);
/// assert_eq!(model.params()[0].0, "conv2d_1.weight");
/// # Ok(())
/// # }
/// ```
///
/// - In parentheses after the name stand the sizes of an input, behind the arrow those of an output (`10` or `(16, 5, 5)`),
///   both without the batch, which is a dynamic dimension in front. They are literals, constants, `{ expressions }` or const
///   generics of the struct. An input of integers names its type first: `(u32, 16)`.
/// - A layer is written as the type of a field of a [`macro@model`], with its options behind it in parentheses; where a
///   layer of the library has one option only, its value suffices: `Dropout(0.2)`. `[Block<64>; 4]` is an array of layers,
///   a loop. Other models are layers too, by their function `forward`.
/// - `name: Linear<_, 10>` names the field, and with it the paths of its parameters in files; attributes such as `#[freeze]`
///   stand before it. A layer without a name is called by its kind and by how many of the kind have none so far:
///   `conv2d_1`, `linear_1`, `linear_2`. (PyTorch's `Sequential` has numbers, which are no names of fields.)
/// - The functions are `forward`, and with `loss = name` also `loss(input, target)`; `cross_entropy` and `nll_loss`, whose
///   targets are the numbers of classes, bring `accuracy(input, target)`. The other losses are `mse`, `l1`, `smooth_l1`,
///   `huber`, `bce_with_logits` and `kl_div`; options follow in parentheses, as in
///   `cross_entropy(label_smoothing = 0.1, labels = i64)`. Labels are `u8` unless `labels` says otherwise.
/// - `#[model(hvp)]` before `loss` gives it a method `loss_hvp`: products of its Hessian with vectors.
/// - `#[model(…)]` above the struct holds its options, as `crate = path` for a renamed dependency.
///
/// A struct and an impl with [`macro@model`] can be written for every network, and must be where values do not flow in one
/// row. There is no `network!<…>`: Rust calls macros with `()`, `[]` and `{}` only.
///
/// # As an expression
///
/// ```
/// use tapeless::prelude::*;
///
/// # fn main() -> tapeless::Result<()> {
/// let model = network![(784) => Linear<_, 128>, Relu, Linear<_, 10>].new(&Device::cpu(), 42)?;
/// let scores = model.forward(&ndarray::Array2::<f32>::zeros((5, 784)))?;
/// assert_eq!(scores.dim(), (5, 10));
/// # Ok(())
/// # }
/// ```
///
/// The value is a [`Network`], which has no size and no name; `; loss = …` may follow the layers. The output is read off
/// the last layers; where they do not tell, it is written: `network![(1, 28, 28) -> (6, 12, 12) => …]`.
pub use tapeless_macros::network;
#[doc(hidden)]
pub use tapeless_macros::op_samples;
pub use tapeless_runtime::*;

/// Continuations of the macro; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use tapeless_macros::{ask, compile};

    // The words in what `network!` writes, which needs no import of the user's.
    pub use crate::language::*;
}

//! Words of the language of models that are no layers: types of arguments, of results and of parameters.
//!
//! They have no values in Rust. Inside of `#[model]` they are read by the compiler; here they are documented, and can be
//! imported by name.

/// A tensor: `Tensor<B, 1, 28, 28>`.
///
/// Its sizes are literals, constants, `{ expressions }`, const generics of the model, or dynamic dimensions of the
/// function (see [`Dim`]). Its elements are real numbers in the precision that is chosen when the model is made, or what
/// a leading element type says: `Tensor<u8, B>`, `Tensor<bool, B, T>`. In Rust, arguments are `ndarray` arrays or
/// views, and results are arrays.
#[derive(Debug)]
pub enum Tensor {}

/// A real number without dimensions, as a loss is; `f64` in Rust. A function that returns it can be differentiated.
#[derive(Debug)]
pub enum Scalar {}

/// A field that is trained: `Param<D, H>`, with an initialiser in `#[layer(init = …)]`.
#[derive(Debug)]
pub enum Param {}

/// A field that is carried from step to step without being trained, as running statistics are: `State<D>`.
#[derive(Debug)]
pub enum State {}

/// The bound of a dynamic dimension: `fn logits<B: Dim>(…)`. Its size is known when the function is called.
pub trait Dim {}

/// A further bound of a dynamic dimension: `H: Dim + MultipleOf<16>`, checked when the function is called.
pub trait MultipleOf<const N: usize> {}

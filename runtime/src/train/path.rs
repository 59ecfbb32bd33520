//! Which function of a model a user means: `Mnist::accuracy`, or `"accuracy"`.

use crate::call::{Probe, function_of};
use crate::error::{Error, Result};
use crate::model::Model;

/// A function of the model `M` that returns a `Scalar`, given as a path (`Mnist::accuracy`) or by its name (`"accuracy"`).
///
/// A function with host scalars among its arguments is given by its name. `Form` only keeps the implementations
/// apart; it is inferred.
#[diagnostic::on_unimplemented(
    message = "this is not a function of the model that returns a `Scalar`",
    label = "expected a path such as `{M}::accuracy`, or a function's name",
    note = "a function that takes `f32`, `bool` or `usize` arguments is given by its name"
)]
pub trait FunctionPath<M, Form> {
    /// The function's number.
    #[doc(hidden)]
    fn function(&self, model: &M) -> Result<usize>;
}

/// The form of a function's name.
#[derive(Debug)]
pub enum ByName {}

impl<M: Model> FunctionPath<M, ByName> for &str {
    fn function(&self, model: &M) -> Result<usize> {
        model.core().function(self)
    }
}

macro_rules! impl_function_path {
    ($($n:literal: $($probe:ident)+;)*) => {$(
        impl<M, F> FunctionPath<M, [Probe; $n]> for F
        where
            M: Model,
            F: Fn(&M, $($probe),+) -> Result<f64>,
        {
            fn function(&self, model: &M) -> Result<usize> {
                let answer = self(model, $($probe),+);
                function_of(model.core(), &answer).ok_or_else(no_function)
            }
        }
    )*};
}
impl_function_path! {
    1: Probe;
    2: Probe Probe;
    3: Probe Probe Probe;
    4: Probe Probe Probe Probe;
}

fn no_function() -> Error {
    Error::config("this path leads to no function of the model")
        .hint("pass the method itself (`Mnist::accuracy`), not a closure that computes something else")
}

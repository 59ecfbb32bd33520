//! The compiler of Tapeless: `#[model]` and the hidden macros that it expands to.
//!
//! Nothing is done here but opening doors; see [`door`] for what lies behind them, and `compile` for the pipeline.
#![forbid(unsafe_code)]
// The docs of a macro crate are for who reads its sources; to users only the macros exist.
#![allow(rustdoc::private_intra_doc_links)]

mod ast;
mod budget;
mod compile;
mod definition;
mod diag;
mod door;
mod emit;
mod fuse;
mod grad;
mod hoist;
mod ir;
mod layers;
mod layout;
mod lower;
mod map;
mod memory;
mod model;
mod network;
mod ops;
#[cfg(test)]
mod oracle;
mod parse;
mod plan;
mod samples;
mod shape;
mod simplify;

use proc_macro::TokenStream;

/// Compiles a model: on a struct it declares layers and parameters, on an impl its functions.
///
/// Both stand in the same module, each once for a model; other impls of the struct are free.
///
/// Options in `#[model(…)]`:
///
/// - `crate = path`, on both, where the library is not `::tapeless`;
/// - `max_memory = "64 MiB", dims(B = 32, T = 64)`, on the struct, on the impl or on a function (the nearest holds): a compile
///   error where a training step, or a plain call, needs more at these sizes in f32. Parameters count, carried tensors, gradients,
///   and the most bytes of the workspace that are alive at once, of which a table names the largest. Arguments and results,
///   which are the caller's, do not count, nor do optimizers. Constants in sizes are checked by rustc, without a table.
/// - `grad = "eval"`, on a function: its gradient is that of eval mode;
/// - `hvp`, on a function that returns a `Scalar`: it gets a method `<name>_hvp` for products of its Hessian with vectors.
///
/// Attributes of fields: `#[layer(name = value)]` for options; `#[freeze]` for what is not trained; `#[weights("h")]` for another
/// name in the paths of parameters and so in files, with dots for several levels and empty for none; `first = 1` after the name
/// where files give the first element of an array this number.
#[proc_macro_attribute]
pub fn model(attr: TokenStream, item: TokenStream) -> TokenStream {
    door::model(attr.into(), item.into()).into()
}

/// A model whose layers stand in a row, in short: as an item with a name, or as an expression.
#[proc_macro]
pub fn network(input: TokenStream) -> TokenStream {
    network::expand(input.into()).into()
}

/// Collects the definitions of a model's layers; called by generated code only.
#[doc(hidden)]
#[proc_macro]
pub fn ask(input: TokenStream) -> TokenStream {
    door::ask(input.into()).into()
}

/// Compiles a model whose definitions are all there; called by generated code only.
#[doc(hidden)]
#[proc_macro]
pub fn compile(input: TokenStream) -> TokenStream {
    door::finish(input.into()).into()
}

/// The types of the layers and the macros that know them; called once, by the library.
#[doc(hidden)]
#[proc_macro]
pub fn builtin_layers(_: TokenStream) -> TokenStream {
    door::builtin_layers().into()
}

/// A model `OpSamples` of all samples of the op table, and their list `SAMPLES`: for the library's own tests and benches.
#[doc(hidden)]
#[proc_macro]
pub fn op_samples(_: TokenStream) -> TokenStream {
    samples::expand().into()
}

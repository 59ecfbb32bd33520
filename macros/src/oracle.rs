//! The oracle: an independent opinion on what a graph means, and whether its schedule computes that.
//!
//! - [`interpret`] evaluates a graph node by node in f64, every operation by its definition, written to be obviously right
//!   and nothing else. It never calls a kernel of the runtime.
//! - [`execute`] runs a [`Plan`](crate::plan::Plan) as emitted code would - the runtime's kernels, its arena, its memory
//!   plan - but without rustc in between, so that hundreds of programs can be tried in a second. Memory that is not alive
//!   holds NaN, so that a wrong lifetime shows in the numbers.
//! - [`generate`] draws random programs from the op table: shared values, residuals, views of views, several results.
//! - [`source`] draws random models as a user would write them; `tests/random` compiles the first of them for real.
//! - [`tests`] holds them against each other, and gradients against differences of the interpreter.
//!
//! Not here: emitted text (its tests are snapshots and real macro expansions) and speed.

mod close;
mod differences;
mod execute;
mod generate;
mod interpret;
mod source;
mod tensor;
mod tests;
mod world;

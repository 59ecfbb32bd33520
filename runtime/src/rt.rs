//! The only names that emitted code may mention.
//!
//! The contract between the compiler and the runtime: a rule's kernel call `function(args...)` is emitted as
//! `rt::function(cx, args...)`.

pub use crate::arena::{Buf, Place};
pub use crate::cx::Cx;
pub use crate::dtype::Dtype;
pub use crate::init;
pub use crate::ops::cross_entropy::{CrossEntropy, LossReduction, Scores, cross_entropy, cross_entropy_grad};
pub use crate::ops::epilogue::{Activation, Epilogue};
pub use crate::ops::pointwise::{In, Ins, Int, Outs, Pointwise, pointwise};
pub use crate::ops::view::{View, copy};
pub use crate::program::{
    Code, DimSpec, Function, InputKind, InputSpec, KernelRow, LayerRow, Program, ResultSlot, ResultSpec, Sizes, SlotSpec,
    TensorSpec, TraceCode, TraceValue, shape,
};
pub use crate::real::Real;

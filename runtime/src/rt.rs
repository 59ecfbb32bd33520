//! The only names that emitted code may mention.
//!
//! The contract between the compiler and the runtime: a rule's kernel call `function(args...)` is emitted as
//! `rt::function(cx, args...)`.

pub use crate::arena::{Buf, Place};
pub use crate::cx::Cx;
pub use crate::dtype::Dtype;
pub use crate::init;
pub use crate::ops::arg::{Extremum, arg};
pub use crate::ops::attention::{Attention, Reach, attention, attention_grad};
pub use crate::ops::batch_norm::{Channels, batch_norm, batch_norm_grad};
pub use crate::ops::concat::concat;
pub use crate::ops::conv::{
    Conv2d, Filter, conv2d, conv2d_input_grad, conv2d_pool2d, conv2d_weight_grad, pack_window,
};
pub use crate::ops::cross_entropy::{CrossEntropy, LossReduction, Scores, cross_entropy, cross_entropy_grad};
pub use crate::ops::ctc::{Ctc, Impossible, ctc, ctc_curvature, ctc_grad};
pub use crate::ops::cumsum::{Direction, cumsum};
pub use crate::ops::dropout::{dropout, dropout_channels};
pub use crate::ops::embedding::{Lookup, Table, take, take_grad};
pub use crate::ops::epilogue::{Activation, Epilogue};
pub use crate::ops::gather::{Gather, gather, scatter};
pub use crate::ops::layer_norm::{layer_norm, layer_norm_grad};
pub use crate::ops::matmul::{Right, matmul, pack};
pub use crate::ops::one_hot::one_hot;
pub use crate::ops::pad::pad;
pub use crate::ops::pointwise::{In, Ins, Int, Outs, Pointwise, Row, pointwise, row};
pub use crate::ops::pool::{Pool, Pool2d, avg_pool2d_grad, max_pool2d_grad, max_pool2d_pick, pool2d};
pub use crate::ops::position::{Turn, rotary, sinusoid};
pub use crate::ops::reduce::{Reduction, reduce};
pub use crate::ops::softmax::{Softmax, softmax, softmax_grad};
pub use crate::ops::view::{View, copy};
pub use crate::program::{
    Code, Demand, DimSpec, Function, InputKind, InputSpec, KernelEntry, Lasts, LayerEntry, LoopEntry,
    PackForm, Program, ResultSlot, ResultSpec, Sizes, SlotEntry, TensorEntry, TraceCode, TraceValue,
};
pub use crate::real::Real;
pub use crate::rng::step_stream;
pub use crate::small;

// What the doors emit: methods, arguments, and what stands in for a model with errors.
mod stub;

pub use crate::call::{Accumulate, Arg, OutputElement, Outputs, Trace, kind};
pub use crate::error::Result;
pub use crate::model::{Core, Model};
pub use crate::optim::Optimizer;
pub use crate::vector::ParamVector;
pub use crate::workspace::Workspace;
pub use crate::workspace::plan::live_peak;
pub use ndarray;
pub use stub::{Fallback, Handle};

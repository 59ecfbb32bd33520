//! The CPU kernels that emitted code calls, one file a family.
//!
//! A kernel takes the context, its buffers and its sizes; it decides the type of floats once, asks the binder for
//! slices, and computes on them in safe code. What a kernel computes depends on its inputs and sizes alone: work is cut
//! into tasks by shape, never by the number of threads, so that results have the same bits for any team.

pub mod arg;
pub mod attention;
pub mod batch_norm;
pub mod concat;
pub mod conv;
pub mod cross_entropy;
pub mod ctc;
pub mod cumsum;
pub mod dropout;
pub mod embedding;
pub mod epilogue;
pub mod gather;
pub mod lanes;
pub mod layer_norm;
pub mod matmul;
pub mod one_hot;
pub(crate) mod packed;
pub mod pad;
pub mod pointwise;
pub mod pool;
pub mod position;
pub mod reduce;
pub mod softmax;
#[cfg(test)]
pub(crate) mod testbed;
#[cfg(test)]
pub mod testkit;
pub mod view;

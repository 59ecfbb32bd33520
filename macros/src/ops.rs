//! The op table: one line an operation family.
//!
//! To add an operation: write `ops/<name>.rs` (attributes, shape rule, gradient rule, kernel call, samples),
//! `runtime/src/ops/<name>.rs` (kernel and naive twin), and add its line here. A new *pointwise* function is
//! one row in `ops/pointwise.rs`. A fused gradient is an operation of the same file: `softmax::Softmax + SoftmaxGrad`.

use crate::ir::{Rule, Sample, Surface};

pub mod compose;
pub mod einsum;
pub mod line;
pub mod loss;
pub mod standardise;
#[cfg(test)]
pub mod testkit;
pub mod view_surface;
pub mod window;

macro_rules! ops {
    ($($(#[$doc:meta])* $module:ident :: $family:ident $(+ $more:ident)*,)*) => {
        $(pub mod $module;)*

        /// An operation with its attributes.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Op {
            $($(#[$doc])* $family($module::$family), $(#[doc = "Of the same file: a fused gradient, a transpose."] $more($module::$more),)*)*
        }

        /// Names of all families, for tests that must cover each.
        #[cfg(test)]
        pub const FAMILIES: &[&str] = &[$(stringify!($family), $(stringify!($more),)*)*];

        impl Op {
            /// What the compiler knows about it.
            pub fn rule(&self) -> &dyn Rule {
                match self { $(Self::$family(op) => op, $(Self::$more(op) => op,)*)* }
            }
        }

        $(impl From<$module::$family> for Op {
            fn from(op: $module::$family) -> Self { Self::$family(op) }
        } $(impl From<$module::$more> for Op {
            fn from(op: $module::$more) -> Self { Self::$more(op) }
        })*)*

        /// What users can write, of every family.
        pub fn surfaces() -> impl Iterator<Item = &'static Surface> {
            // A list of lists: a chain of forty iterators is a type whose every use is compiled as forty functions.
            let lists = [
                $($module::$family::surfaces(), $($module::$more::surfaces(),)*)*
                loss::SURFACES, compose::ACTIVATIONS, compose::REGRESSION, line::SURFACES, view_surface::SURFACES,
            ];
            lists.into_iter().flatten()
        }

        /// The samples of every family, for tests and benches.
        pub fn samples() -> Vec<Sample> {
            let mut samples = Vec::new();
            $(samples.extend($module::$family::samples()); $(samples.extend($module::$more::samples());)*)*
            samples.extend(loss::samples());
            samples.extend(compose::samples());
            samples.extend(line::samples());
            samples.extend(view_surface::samples());
            samples
        }
    };
}

ops! {
    /// Arguments, parameters, carried tensors.
    leaf::Leaf,
    /// A constant tensor.
    fill::Fill,
    /// A row of the pointwise table.
    pointwise::Pointwise,
    /// Reshape, permute, expand, slice, flip.
    view::View,
    /// Copies into a larger tensor of one number.
    pad::Pad,
    /// Sum, max, min, prod over axes.
    reduce::Reduce,
    /// Products of matrices.
    matmul::Matmul,
    /// Convolution of images.
    conv::Conv2d + Conv2dInputGrad + Conv2dWeightGrad,
    /// Maxima and averages of windows.
    pool::Pool2d + Pool2dGrad + Pool2dPick,
    /// Softmax and its logarithm along an axis.
    softmax::Softmax + SoftmaxGrad,
    /// Scaled dot product attention.
    attention::Attention + AttentionGrad,
    /// Sinusoidal and rotary positions.
    position::Sinusoid + Rotary,
    /// Index of the largest or smallest element.
    arg::Arg,
    /// Running sums along an axis.
    cumsum::Cumsum,
    /// Two tensors joined along an axis.
    concat::Concat,
    /// The fused loss of class labels.
    cross_entropy::CrossEntropy + CrossEntropyGrad,
    /// The loss of labels whose places in time are unknown.
    ctc::Ctc + CtcGrad + CtcCurvature,
    /// Elements or channels set to zero at random.
    dropout::Dropout,
    /// Layer norm and RMS norm.
    layer_norm::LayerNorm + LayerNormGrad,
    /// Batch norm by the statistics of the batch.
    batch_norm::BatchNorm + BatchNormGrad,
    /// Rows of a table, or slices along an axis, by number.
    embedding::Take + TakeGrad,
    /// Elements along an axis by number, and the transpose.
    gather::Gather + Scatter,
    /// Indicator vectors.
    one_hot::OneHot,
    /// The loop.
    scan::Scan,
}

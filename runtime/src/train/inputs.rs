//! From the batches of a data set to the arguments of a function.

use ndarray::Dimension;

use crate::call::{HostArg, HostNumber};
use crate::data::{Batch, BatchArray};

/// A batch whose arrays are the arguments of a model's function, in the order of declaration.
///
/// Implemented for the batches of this crate's data sets: tuples of one to four [`BatchArray`]s. A batch type of your own
/// makes a [`HostArg`] of each of its arrays:
///
/// ```
/// use ndarray::{ArrayView2, Ix2};
/// use tapeless_runtime::call::HostArg;
/// use tapeless_runtime::data::{Batch, BatchArray};
/// use tapeless_runtime::train::Inputs;
///
/// struct Points(BatchArray<f32, Ix2>);
///
/// impl Batch for Points {
///     type Views<'a> = ArrayView2<'a, f32>;
///
///     fn n_samples(&self) -> usize {
///         self.0.len()
///     }
///
///     fn views(&self) -> ArrayView2<'_, f32> {
///         self.0.view()
///     }
/// }
///
/// impl Inputs for Points {
///     fn with_args<R>(&self, call: impl FnOnce(&[HostArg<'_>]) -> R) -> R {
///         call(&[HostArg::of(&self.0.view())])
///     }
/// }
/// let points = Points(BatchArray::with_capacity(3, &[2])?);
/// assert_eq!(points.with_args(|args| args[0].shape().to_vec()), [0, 2]);
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
pub trait Inputs: Batch {
    /// Calls `call` with the arrays of the batch.
    fn with_args<R>(&self, call: impl FnOnce(&[HostArg<'_>]) -> R) -> R;
}

macro_rules! impl_inputs {
    ($($name:ident: $T:ident $D:ident),+) => {
        impl<$($T: HostNumber + Default, $D: Dimension),+> Inputs for ($(BatchArray<$T, $D>,)+) {
            fn with_args<R>(&self, call: impl FnOnce(&[HostArg<'_>]) -> R) -> R {
                let ($($name,)+) = self;
                call(&[$(HostArg::of(&$name.view())),+])
            }
        }
    };
}
impl_inputs! { a: A DA }
impl_inputs! { a: A DA, b: B DB }
impl_inputs! { a: A DA, b: B DB, c: C DC }
impl_inputs! { a: A DA, b: B DB, c: C DC, d: E DE }

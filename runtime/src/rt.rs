//! The only names that emitted code may mention.
//!
//! The contract between the compiler and the runtime: a rule's kernel call `function(args...)` is emitted as
//! `rt::function(cx, args...)`.

pub use crate::arena::{Buf, Place};
pub use crate::cx::Cx;
pub use crate::dtype::Dtype;
pub use crate::ops::arg::{Extremum, arg};
pub use crate::ops::concat::concat;
pub use crate::ops::cumsum::{Direction, cumsum};
pub use crate::ops::epilogue::{Activation, Epilogue};
pub use crate::ops::pad::pad;
pub use crate::ops::pointwise::{In, Ins, Int, Outs, Pointwise, pointwise};
pub use crate::ops::reduce::{Reduction, reduce};
pub use crate::ops::softmax::{Softmax, softmax, softmax_grad};
pub use crate::ops::view::{View, copy};
pub use crate::real::Real;

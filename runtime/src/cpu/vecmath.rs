//! Elementary functions of `f32` that a loop vectoriser can take apart.
//!
//! One family of functions a file, each with its method, its measured error bound and a test over samples of
//! all `f32` bit patterns against `f64`. Every function here
//!
//! - is free of branches (selects only), calls and table look-ups that could panic, and is `inline(always)`,
//!   so that a loop around it becomes SIMD code of whatever instruction set the enclosing function enables;
//! - uses no fused multiply-add, so that it gives the same bits on every instruction set;
//! - is right at infinities, NaNs, zeros and subnormal numbers, unless its documentation says otherwise.
//!
//! The polynomials were fitted for these files, in 50 digits, by interpolation at Chebyshev nodes, and then
//! rounded; the bounds in the documentation are of the functions as they stand, rounding included.
//!
//! `f64` counterparts are not here: [`Real`](crate::real::Real) takes them from the standard library, all
//! but [`erf64`].

mod erf;
mod erf64;
mod exp;
mod log;
mod pow;
mod tanh;
mod trig;
#[cfg(test)]
pub(crate) mod ulp;

pub use erf::erf;
pub use erf64::erf64;
pub use exp::{exp, expm1};
pub use log::{log, log1p};
pub use pow::pow;
pub use tanh::{sigmoid, tanh};
pub use trig::{cos, sin, tan};

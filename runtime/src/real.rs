//! The scalar vocabulary of pointwise kernels: [`Real`], implemented by `f32` and `f64`.
//!
//! A fused pointwise kernel is one generic function over `T: Real`, instantiated for the precision of the
//! model. Every operation that it may contain is a method here, so that the compiler's spelling of an
//! operation, its meaning and its error bound have one home.
//!
//! Invariants: methods are `inline(always)` and never panic; those of `f32` contain no call and no branch
//! that a loop vectoriser could not turn into selects (but `floor`, `ceil`, `round` and `pow` call libm on
//! x86-64 before SSE4.1); none fuses a multiplication with an addition, so that
//! the `f32` methods give the same bits on every instruction set. NaN in gives NaN out wherever the result
//! depends on the operand. The transcendental functions of `f64` are the standard library's (the platform's
//! libm), which is accurate to about 1 ULP and may differ in the last bit between platforms.
//!
//! Kernels that are generic over `T: Real` start by [`Real::run`], which knows for which instruction sets a precision is
//! compiled.
//!
//! Not here: conversions between tensors, reductions, anything that knows of more than one element.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::cpu::isa::{self, Isa, Kernel};
use crate::cpu::vecmath;

mod sealed {
    /// Keeps [`Real`](super::Real) to the types of this crate, so that methods can be added later.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A floating-point number of a model: `f32` or `f64`.
///
/// In code that is not generic, `x.exp()` on an `f32` is the inherent method of the standard library, which
/// is another function with other last bits; write `Real::exp(x)` there.
///
/// ```
/// use tapeless_runtime::real::Real;
///
/// fn silu<T: Real>(x: T) -> T {
///     x * x.sigmoid()
/// }
/// assert_eq!(silu(0.0f32), 0.0);
/// assert!((silu(1.0f64) - 0.731_058_578_630_004_9).abs() < 1e-15);
/// ```
pub trait Real:
    sealed::Sealed
    + Copy
    + Debug
    + Default
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;
    /// The largest finite number.
    const MAX: Self;
    /// The smallest positive number that has all digits; below it arithmetic is slow on many machines.
    const MIN_POSITIVE: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// A quiet NaN.
    const NAN: Self;

    /// Runs a kernel of this precision: in `f32` with the instructions of `isa`, in `f64` with those that every CPU of the
    /// target has. `f64` exists for checks: it need not be fast, and every instruction set more has to be compiled.
    fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output;

    /// As [`run`](Self::run), but with vectors of 256 bits at most: for kernels that gain nothing by wider ones, since memory or
    /// short rows bound them, so that they need not be compiled once more.
    fn run_narrow<K: Kernel>(isa: Isa, kernel: K) -> K::Output;

    /// The number nearest to `x`.
    fn from_f64(x: f64) -> Self;
    /// The number nearest to `x`.
    fn from_i64(x: i64) -> Self;
    /// This number as an `f64`, exactly.
    fn to_f64(self) -> f64;

    /// 1 / x, rounded correctly.
    fn recip(self) -> Self;
    /// Square root, rounded correctly; NaN below 0.
    fn sqrt(self) -> Self;
    /// 1 / sqrt(x), in two correctly rounded operations.
    fn rsqrt(self) -> Self;
    /// e^x. `f32`: within 1 ULP.
    fn exp(self) -> Self;
    /// Natural logarithm; -inf at 0, NaN below. `f32`: within 0.9 ULP.
    fn log(self) -> Self;
    /// log(1 + x) without the loss of digits near 0. `f32`: within 0.9 ULP.
    fn log1p(self) -> Self;
    /// e^x - 1 without the loss of digits near 0. `f32`: within 1.5 ULP.
    fn expm1(self) -> Self;
    /// Sine of radians. `f32`: within 0.501 ULP, however large the argument.
    fn sin(self) -> Self;
    /// Cosine of radians. `f32`: within 0.501 ULP, however large the argument.
    fn cos(self) -> Self;
    /// Tangent of radians. `f32`: within 0.501 ULP, however large the argument.
    fn tan(self) -> Self;
    /// Hyperbolic tangent. `f32`: within 1.5 ULP.
    fn tanh(self) -> Self;
    /// 1 / (1 + e^-x), with all digits in both tails. `f32`: within 2.5 ULP.
    fn sigmoid(self) -> Self;
    /// Error function. `f32`: within 1.5 ULP; `f64`: relative error 4e-16.
    fn erf(self) -> Self;
    /// x^y, with C's special cases. `f32`: within 0.51 ULP.
    fn pow(self, exponent: Self) -> Self;

    /// Absolute value.
    fn abs(self) -> Self;
    /// The largest whole number that is not above x.
    fn floor(self) -> Self;
    /// The smallest whole number that is not below x.
    fn ceil(self) -> Self;
    /// The nearest whole number, halves to the even one (as PyTorch and IEEE 754 round).
    fn round(self) -> Self;
    /// Whether x is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// -1, 0 or 1 as x is below, at or above 0; NaN stays NaN.
    #[inline(always)]
    fn sign(self) -> Self {
        let not_positive = Self::select(self < Self::ZERO, -Self::ONE, self);
        Self::select(self > Self::ZERO, Self::ONE, not_positive)
    }

    /// The larger of both; NaN if either is NaN (as PyTorch's `maximum`, unlike `f32::max`).
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // A NaN in `other` loses the comparison and is taken; one in `self` is taken by the outer selection.
        let larger = Self::select(self > other, self, other);
        Self::select(self.ne(self), self, larger)
    }

    /// The smaller of both; NaN if either is NaN (as PyTorch's `minimum`, unlike `f32::min`).
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let smaller = Self::select(self < other, self, other);
        Self::select(self.ne(self), self, smaller)
    }

    /// max(x, 0); NaN stays NaN.
    #[inline(always)]
    fn relu(self) -> Self {
        Self::select(self <= Self::ZERO, Self::ZERO, self)
    }

    /// log(1 + e^x), as max(x, 0) + log(1 + e^-|x|), which neither overflows nor loses digits. `f32`: within
    /// 2 ULP.
    #[inline(always)]
    fn softplus(self) -> Self {
        self.relu() + (-self.abs()).exp().log1p()
    }

    /// Whether self < other; false if either is NaN.
    #[inline(always)]
    fn lt(self, other: Self) -> bool {
        self < other
    }

    /// Whether self <= other; false if either is NaN.
    #[inline(always)]
    fn le(self, other: Self) -> bool {
        self <= other
    }

    /// Whether self > other; false if either is NaN.
    #[inline(always)]
    fn gt(self, other: Self) -> bool {
        self > other
    }

    /// Whether self >= other; false if either is NaN.
    #[inline(always)]
    fn ge(self, other: Self) -> bool {
        self >= other
    }

    /// Whether both are equal; false if either is NaN.
    #[inline(always)]
    fn eq(self, other: Self) -> bool {
        self == other
    }

    /// Whether both differ; true if either is NaN.
    #[inline(always)]
    fn ne(self, other: Self) -> bool {
        self != other
    }

    /// `a` where `condition` holds, `b` elsewhere. Both are evaluated; neither enters arithmetic, so that a
    /// NaN in the one not chosen does no harm.
    #[inline(always)]
    fn select(condition: bool, a: Self, b: Self) -> Self {
        if condition { a } else { b }
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const EPSILON: Self = f32::EPSILON;
    const MAX: Self = f32::MAX;
    const MIN_POSITIVE: Self = f32::MIN_POSITIVE;
    const INFINITY: Self = f32::INFINITY;
    const NAN: Self = f32::NAN;

    #[inline(always)]
    fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
        isa.run(kernel)
    }

    #[inline(always)]
    fn run_narrow<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
        match isa.vectors() {
            Isa::Avx2(avx2) => avx2.run(kernel),
            Isa::Avx512(avx512) => avx512.avx2().run(kernel),
            // What every CPU of AArch64 has is in the baseline. (All sets are named, lest a new one comes to run there unnoticed.)
            Isa::Portable | Isa::Neon(_) | Isa::Avx512Bf16(_) | Isa::Amx(_) => isa::run_portable(kernel),
        }
    }

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn from_i64(x: i64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn recip(self) -> Self {
        1.0 / self
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn rsqrt(self) -> Self {
        1.0 / f32::sqrt(self)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        vecmath::exp(self)
    }

    #[inline(always)]
    fn log(self) -> Self {
        vecmath::log(self)
    }

    #[inline(always)]
    fn log1p(self) -> Self {
        vecmath::log1p(self)
    }

    #[inline(always)]
    fn expm1(self) -> Self {
        vecmath::expm1(self)
    }

    #[inline(always)]
    fn sin(self) -> Self {
        vecmath::sin(self)
    }

    #[inline(always)]
    fn cos(self) -> Self {
        vecmath::cos(self)
    }

    #[inline(always)]
    fn tan(self) -> Self {
        vecmath::tan(self)
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        vecmath::tanh(self)
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        vecmath::sigmoid(self)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        vecmath::erf(self)
    }

    #[inline(always)]
    fn pow(self, exponent: Self) -> Self {
        vecmath::pow(self, exponent)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }

    #[inline(always)]
    fn floor(self) -> Self {
        f32::floor(self)
    }

    #[inline(always)]
    fn ceil(self) -> Self {
        f32::ceil(self)
    }

    #[inline(always)]
    fn round(self) -> Self {
        f32::round_ties_even(self)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const EPSILON: Self = f64::EPSILON;
    const MAX: Self = f64::MAX;
    const MIN_POSITIVE: Self = f64::MIN_POSITIVE;
    const INFINITY: Self = f64::INFINITY;
    const NAN: Self = f64::NAN;

    #[inline(always)]
    fn run<K: Kernel>(_: Isa, kernel: K) -> K::Output {
        isa::run_portable(kernel)
    }

    #[inline(always)]
    fn run_narrow<K: Kernel>(_: Isa, kernel: K) -> K::Output {
        isa::run_portable(kernel)
    }

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn from_i64(x: i64) -> Self {
        x as f64
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn recip(self) -> Self {
        1.0 / self
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn rsqrt(self) -> Self {
        1.0 / f64::sqrt(self)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }

    #[inline(always)]
    fn log(self) -> Self {
        f64::ln(self)
    }

    #[inline(always)]
    fn log1p(self) -> Self {
        f64::ln_1p(self)
    }

    #[inline(always)]
    fn expm1(self) -> Self {
        f64::exp_m1(self)
    }

    #[inline(always)]
    fn sin(self) -> Self {
        f64::sin(self)
    }

    #[inline(always)]
    fn cos(self) -> Self {
        f64::cos(self)
    }

    #[inline(always)]
    fn tan(self) -> Self {
        f64::tan(self)
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        let e = f64::exp(-f64::abs(self));
        (if self < 0.0 { e } else { 1.0 }) / (1.0 + e)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        vecmath::erf64(self)
    }

    #[inline(always)]
    fn pow(self, exponent: Self) -> Self {
        f64::powf(self, exponent)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }

    #[inline(always)]
    fn floor(self) -> Self {
        f64::floor(self)
    }

    #[inline(always)]
    fn ceil(self) -> Self {
        f64::ceil(self)
    }

    #[inline(always)]
    fn round(self) -> Self {
        f64::round_ties_even(self)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

#[cfg(test)]
mod tests;

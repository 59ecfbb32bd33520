//! Integers as pointwise groups see them.

use std::ops::{Add, Mul, Neg, Sub};

use crate::real::Real;

/// A 64-bit integer whose arithmetic wraps around, as a tensor's does: no element can make a kernel panic.
///
/// ```
/// use tapeless_runtime::rt::Int;
///
/// assert_eq!(Int(3) * Int(-2), Int(-6));
/// assert_eq!(Int(i64::MAX) + Int(1), Int(i64::MIN));
/// assert_eq!(Int::from(-2.7f32), Int(-2));
/// assert_eq!(i64::from(Int::from(true)), 1);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
#[repr(transparent)]
pub struct Int(pub i64);

impl Int {
    /// Absolute value; the least integer stays as it is.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self(self.0.wrapping_abs())
    }

    /// -1, 0 or 1.
    #[inline(always)]
    pub fn sign(self) -> Self {
        Self(self.0.signum())
    }

    /// The larger of both.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// The smaller of both.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl Add for Int {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Sub for Int {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl Mul for Int {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0.wrapping_mul(other.0))
    }
}

impl Neg for Int {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(self.0.wrapping_neg())
    }
}

impl<T: Real> From<T> for Int {
    /// The whole part: fractions are cut off, as PyTorch does; what no integer can hold becomes the nearest that can,
    /// and NaN becomes 0.
    #[inline(always)]
    fn from(x: T) -> Self {
        Self(x.to_f64() as i64)
    }
}

impl From<bool> for Int {
    /// 1 for true, 0 for false.
    #[inline(always)]
    fn from(b: bool) -> Self {
        Self(i64::from(b))
    }
}

impl From<Int> for i64 {
    #[inline(always)]
    fn from(n: Int) -> Self {
        n.0
    }
}

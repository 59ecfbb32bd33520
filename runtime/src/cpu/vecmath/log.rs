//! The natural logarithm, and that of 1 + x.
//!
//! Method: x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), a polynomial for log(1 + f), and k ln 2 added
//! in two pieces, as in Cody and Waite (1980) and the Cephes library's `logf`.

use super::exp::{LN_2_HIGH, LN_2_LOW};

/// The bits of sqrt(1/2), the lower end of the range to which arguments are brought.
const SQRT_HALF: i32 = 0x3f35_04f3;

/// (log(1 + f) - f + f^2 / 2) / f^3 for 1 + f in [sqrt(1/2), sqrt(2)]: relative error of log 2^-28.1.
const LOG: [f32; 9] = [
    0.333_333_3,
    -0.249_999_97,
    0.200_007_16,
    -0.166_678_03,
    0.142_490_58,
    -0.124_256_87,
    0.116_854_2,
    -0.114_797_34,
    0.069_716_12,
];

/// `(k, f)` of a normal positive `x = 2^k (1 + f)`.
#[inline(always)]
fn split(x: f32) -> (i32, f32) {
    let bits = x.to_bits() as i32;
    let k = bits.wrapping_sub(SQRT_HALF) >> 23;
    (k, f32::from_bits(bits.wrapping_sub(k << 23) as u32) - 1.0)
}

/// k ln 2 + log(1 + f) + correction, where `correction` is below an ULP of `f`.
#[inline(always)]
fn combine(k: i32, f: f32, correction: f32) -> f32 {
    let k = k as f32;
    let p = LOG[5] + f * (LOG[6] + f * (LOG[7] + f * LOG[8]));
    let p = LOG[0] + f * (LOG[1] + f * (LOG[2] + f * (LOG[3] + f * (LOG[4] + f * p))));
    let square = f * f;
    // From the smallest part to the largest.
    let small = (square * f) * p + (k * LN_2_LOW + correction);
    (f + (small - 0.5 * square)) + k * LN_2_HIGH
}

/// Natural logarithm.
///
/// Within 0.9 ULP for all `f32` (measured: 0.808), subnormal arguments included; -inf at both zeros, NaN below.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let (k, f) = split(if subnormal { x * 8_388_608.0 } else { x });
    let k = if subnormal { k - 23 } else { k };
    let value = combine(k, f, 0.0);
    let value = if x > f32::MAX { x } else { value };
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    if x >= 0.0 { value } else { f32::NAN }
}

/// log(1 + x), without the loss of digits near 0.
///
/// Within 0.9 ULP for all `f32` (measured: 0.834); -inf at -1, NaN below; keeps the sign of zero.
#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let (k, f) = split(u);
    // What the rounding of 1 + x lost; its share of the logarithm is lost / u. Where k is 0, x serves as f.
    let lost = if x < 1.0 { x - (u - 1.0) } else { 1.0 - (u - x) };
    let near_one = k == 0;
    let value = combine(
        k,
        if near_one { x } else { f },
        if near_one { 0.0 } else { lost / u },
    );
    let value = if x > f32::MAX { x } else { value };
    let value = if x == -1.0 { f32::NEG_INFINITY } else { value };
    // A tiny x is its own logarithm; the sum above would lose the sign of zero.
    let value = if x.abs() < 1.0e-8 { x } else { value };
    if x >= -1.0 { value } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::super::ulp::assert_within;
    use super::*;

    #[test]
    fn log_keeps_its_bound() {
        assert_within(0.9, 4.0, log, f64::ln);
        assert_within(0.9, 1000.0, log, f64::ln);
    }

    #[test]
    fn log_at_the_edges() {
        assert_eq!(log(1.0), 0.0);
        assert_eq!(log(-0.0), f32::NEG_INFINITY);
        assert_eq!(log(f32::INFINITY), f32::INFINITY);
        assert!(log(-1.0e-45).is_nan() && log(f32::NAN).is_nan());
    }

    #[test]
    fn log1p_keeps_its_bound() {
        assert_within(0.9, 4.0, log1p, f64::ln_1p);
        assert_within(0.9, 0.01, log1p, f64::ln_1p);
        assert_eq!(log1p(-0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(log1p(-1.0), f32::NEG_INFINITY);
    }
}

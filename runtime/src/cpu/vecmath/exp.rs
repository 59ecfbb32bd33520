//! The exponential function and its distance from 1.
//!
//! Method: x = k ln 2 + r with integer k and |r| <= ln 2 / 2 (Cody and Waite, "Software Manual for the
//! Elementary Functions", 1980: ln 2 in two pieces, the first short enough for exact products), a polynomial
//! for exp(r), and an exact scaling by 2^k.

/// 1 / ln 2.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The leading 10 bits of ln 2: products with |k| < 2^14 are exact.
pub(super) const LN_2_HIGH: f32 = 0.693_359_4;
/// What `LN_2_HIGH` leaves out (it is a little too large).
pub(super) const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 * 2^23: adding it rounds a number below 2^22 in size to the nearest integer, and leaves that integer
/// in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// (exp(r) - 1 - r) / r^2 on [-ln 2 / 2, ln 2 / 2]: relative error of exp 2^-30.3.
const EXP: [f32; 6] = [
    0.5,
    0.166_666_67,
    0.041_666_46,
    0.008_333_31,
    0.001_393_409,
    0.000_198_914_8,
];

/// An exponential in parts: `e^x = 2^k (1 + p)`.
#[derive(Copy, Clone)]
pub(super) struct Parts {
    /// `ROUND + k`, the low bits of which are those of `k`.
    shifted: f32,
    /// exp(r) - 1, where `x = k ln 2 + r`.
    pub(super) p: f32,
}

impl Parts {
    /// The parts of e^x; for |x| < 2^20. NaN gives a `p` that is NaN.
    #[inline(always)]
    pub(super) fn of(x: f32) -> Self {
        let shifted = x * LOG2_E + ROUND;
        let k = shifted - ROUND;
        let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
        let p = EXP[0] + r * (EXP[1] + r * (EXP[2] + r * (EXP[3] + r * (EXP[4] + r * EXP[5]))));
        Self {
            shifted,
            p: r + (r * r) * p,
        }
    }

    /// 2^(k + more) for -126 <= k + more <= 127; others (as a NaN's `k`) give some number.
    #[inline(always)]
    pub(super) fn power(self, more: i32) -> f32 {
        // What `ROUND` has in its bits beyond those of `k` is shifted out.
        f32::from_bits(
            self.shifted
                .to_bits()
                .wrapping_add(127u32.wrapping_add_signed(more))
                << 23,
        )
    }
}

/// `x` limited to `[low, high]`; NaN stays NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// 2^64, by which results are kept away from the ends of the exponents until they are complete.
pub(super) const FAR: f32 = 18_446_744_073_709_551_616.0;

/// e^x.
///
/// Within 1 ULP for all `f32` (measured: 0.954), subnormal results included; infinite above 88.72, 0 below -103.97.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is an infinity or zero already, and k keeps to what two factors can express.
    let parts = Parts::of(clamp(x, -104.0, 89.0));
    // Two factors: 2^k itself may be infinite or subnormal where the result is not.
    let is_below = x < 0.0;
    let near = parts.power(if is_below { 64 } else { -64 });
    (near * parts.p + near) * if is_below { 1.0 / FAR } else { FAR }
}

/// e^x - 1, without the loss of digits near 0.
///
/// Within 1.5 ULP for all `f32` (measured: 1.485); keeps the sign of zero.
#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    // Below -20 the result rounds to -1.
    let parts = Parts::of(clamp(x, -20.0, 89.0));
    // 2^k (1 + p) - 1, with half of 2^k throughout, because 2^128 is infinite where the result is not.
    let scale = parts.power(-1);
    let value = 2.0 * (scale * parts.p + (scale - 0.5));
    // The scaling would round subnormal numbers and lose the sign of zero.
    if x.abs() < 1.0e-8 { x } else { value }
}

#[cfg(test)]
mod tests {
    use super::super::ulp::assert_within;
    use super::*;

    #[test]
    fn exp_keeps_its_bound() {
        assert_within(1.0, 105.0, exp, f64::exp);
        assert_within(1.0, 1.0, exp, f64::exp);
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(88.722_84), f64::exp(f64::from(88.722_84f32)) as f32);
        assert_eq!(exp(88.73), f32::INFINITY);
        assert_eq!(exp(-103.9), 1.0e-45);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn expm1_keeps_its_bound() {
        assert_within(1.5, 89.0, expm1, f64::exp_m1);
        assert_within(1.5, 1.0, expm1, f64::exp_m1);
        assert_eq!(expm1(-0.0).to_bits(), (-0.0f32).to_bits());
    }
}

//! Powers of `f32`.

/// log2((1 + s) / (1 - s)) / s as a polynomial in s^2 for |s| <= 0.1716: relative error 2^-52.
const LOG2: [f64; 7] = [
    2.885390081777927,
    0.9617966939243245,
    0.5770780172508729,
    0.4121984013068434,
    0.3206164421244846,
    0.26144245557136553,
    0.24293824606326322,
];

/// 2^r on [-1/2, 1/2]: relative error 2^-39.8.
const EXP2: [f64; 9] = [
    1.0,
    0.6931471805458209,
    0.2402265069581221,
    0.055504109416557555,
    0.009618129159714186,
    0.001333345013657559,
    0.00015403455553573818,
    1.5310194339173322e-05,
    1.3255304503367413e-06,
];

/// The bits of sqrt(1/2) in `f64`, to the upper 32.
const SQRT_HALF: i64 = 0x3fe6_a09e_0000_0000;

/// See `trig::ROUND`.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Base-2 logarithm of a positive finite `x` that is a widened `f32`.
#[inline(always)]
fn log2(x: f64) -> f64 {
    let bits = x.to_bits() as i64;
    let k = bits.wrapping_sub(SQRT_HALF) >> 52;
    let m = f64::from_bits(bits.wrapping_sub(k << 52) as u64);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = LOG2[3] + z * (LOG2[4] + z * (LOG2[5] + z * LOG2[6]));
    // k is small: its conversion by way of 32 bits vectorises where one of 64 bits does not.
    f64::from(k as i32) + s * (LOG2[0] + z * (LOG2[1] + z * (LOG2[2] + z * p)))
}

/// 2^y, as an `f64` (so without overflow) for |y| <= 1000; NaN stays NaN.
#[inline(always)]
fn exp2(y: f64) -> f64 {
    let shifted = y + ROUND;
    let r = y - (shifted - ROUND);
    let p = EXP2[4] + r * (EXP2[5] + r * (EXP2[6] + r * (EXP2[7] + r * EXP2[8])));
    let p = EXP2[0] + r * (EXP2[1] + r * (EXP2[2] + r * (EXP2[3] + r * p)));
    p * f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52)
}

/// `x` to the power `y`.
///
/// Computed as 2^(y log2 |x|) in `f64` and rounded once: within 0.51 ULP for all `f32`. Special cases are C's
/// (and PyTorch's): `pow(x, 0) = pow(1, y) = 1` even for NaNs, a negative base with a whole exponent takes
/// its sign from the exponent's parity, and with any other exponent gives NaN.
#[inline(always)]
pub fn pow(x: f32, y: f32) -> f32 {
    let (a, b) = (f64::from(x.abs()), f64::from(y));
    let log = if a == 0.0 { f64::NEG_INFINITY } else { log2(a) };
    let log = if a > f64::from(f32::MAX) {
        f64::INFINITY
    } else {
        log
    };
    let log = if x.is_nan() { f64::NAN } else { log };
    let exponent = b * log;
    // Beyond +-1000 the result is an f32 infinity or zero already.
    let exponent = if exponent > 1000.0 { 1000.0 } else { exponent };
    let exponent = if exponent < -1000.0 { -1000.0 } else { exponent };
    let size = exp2(exponent) as f32;
    let whole = b.floor() == b;
    let odd = whole && (0.5 * b).floor() != 0.5 * b;
    let negative = x.is_sign_negative();
    let value = if negative && odd { -size } else { size };
    // The logarithm of 1 is 0, and 0 times an infinite exponent would be NaN.
    let value = if negative && a > 0.0 && a <= f64::from(f32::MAX) && !whole {
        f32::NAN
    } else {
        value
    };
    let value = if x == -1.0 && y.is_infinite() { 1.0 } else { value };
    if x == 1.0 || y == 0.0 { 1.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::super::ulp::{error, sweep};
    use super::*;

    #[test]
    fn pow_keeps_its_bound_against_f64() {
        let exponents = [
            -37.5f32,
            -3.0,
            -1.0,
            -0.5,
            1.0 / 3.0,
            0.5,
            0.9,
            1.0,
            1.5,
            2.0,
            2.5,
            3.0,
            7.0,
            20.25,
        ];
        for x in sweep().step_by(7) {
            for y in exponents {
                let e = error(pow(x, y), f64::from(x).powf(f64::from(y)));
                assert!(e <= 0.51, "pow({x:e}, {y:e}): {e} ULP");
            }
        }
        for i in 0..200_000 {
            let x = 1.0 + (i as f32 - 100_000.0) * 1.0e-6;
            let y = 800.0 * ((i % 997) as f32 / 498.5 - 1.0);
            let e = error(pow(x, y), f64::from(x).powf(f64::from(y)));
            assert!(e <= 0.51, "pow({x:e}, {y:e}): {e} ULP");
        }
    }

    /// Every pair of special values gives what the standard library gives, sign of zero included.
    #[test]
    fn special_cases_are_those_of_c() {
        let specials = [
            0.0,
            1.0,
            0.5,
            2.0,
            3.0,
            2.5,
            16_777_216.0,
            1.0e-45,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ];
        let signed = || specials.into_iter().flat_map(|v| [v, -v]);
        for x in signed() {
            for y in signed() {
                let (got, want) = (pow(x, y), f64::from(x).powf(f64::from(y)) as f32);
                assert!(
                    got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                    "pow({x:e}, {y:e}) is {got:e}, want {want:e}"
                );
            }
        }
    }
}

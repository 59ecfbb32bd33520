//! Sine, cosine and tangent of `f32`, exact to the last place for every finite argument.
//!
//! Method: the argument is multiplied by 2/pi and split into a quadrant and a fraction of one, as Payne and
//! Hanek (SIGNUM Newsletter 18, 1983) showed for large arguments: bits of 2/pi whose product with the
//! argument is a multiple of four turns of the quadrant cannot matter, so three `f64` pieces, chosen by the
//! argument's exponent, hold all that does. One table serves all magnitudes: there is no slow path and no
//! branch. The fraction goes into `f64` polynomials, and one rounding to `f32` ends the work.

/// Bits of 2/pi for arguments in `[2^(8 g), 2^(8 g + 8))`, row `g` (row 0 also serves everything smaller).
///
/// Such an argument is a multiple of `2^(8 g - 23)`, so bits of 2/pi worth `2^(25 - 8 g)` and more are left
/// out: they contribute multiples of 4 quadrants. The first two numbers of a row have 29 bits each (their
/// product with an `f32` is exact in `f64`), the third has 53.
const TWO_OVER_PI: [[f64; 3]; 16] = [
    [0.625, 0.011619772296398878, 7.118246497800087e-11],
    [0.636474609375, 0.00014516299233946484, 2.418782397124712e-13],
    [0.6366195678710938, 2.0449648729936598e-07, 2.93709554037182e-16],
    [0.6366197690367699, 3.3308114738561656e-09, 2.276010073078396e-18],
    [
        0.003807272354606539,
        1.2974804038242901e-11,
        2.6290565170974656e-20,
    ],
    [
        2.309268006683851e-05,
        1.450456423669538e-14,
        3.254380609134673e-23,
    ],
    [
        8.528719797062934e-08,
        7.166494882838848e-17,
        2.8376220177865265e-25,
    ],
    [
        7.118246443671428e-11,
        5.412865960671359e-19,
        1.0344533474420156e-27,
    ],
    [
        2.418782371388286e-13,
        2.5736426420755207e-21,
        5.778727033816148e-30,
    ],
    [
        2.937095479631555e-16,
        6.074026479468182e-24,
        1.018166438749971e-32,
    ],
    [
        1.6153797855624593e-17,
        2.526826028529932e-26,
        7.053217946672059e-35,
    ],
    [
        1.076057280826761e-19,
        2.4711388568522918e-29,
        1.9059751351490696e-37,
    ],
    [
        3.2543805834646035e-23,
        2.5670069622001645e-31,
        1.0490494448130901e-39,
    ],
    [
        1.1109428133944797e-24,
        9.372006500203007e-34,
        4.420676015940119e-42,
    ],
    [
        5.8812147387730434e-27,
        1.0346868700836215e-35,
        3.7832563882960676e-45,
    ],
    [
        2.4711388756602014e-29,
        2.518417366074184e-39,
        1.7266765423121933e-47,
    ],
];

/// Adding and subtracting this rounds an `f64` below 2^51 in size to the nearest integer, and leaves that
/// integer in the low bits of the sum.
const ROUND: f64 = 6_755_399_441_055_744.0;

#[expect(
    clippy::approx_constant,
    reason = "the fit's own coefficient, one place off pi/2"
)]
/// sin(pi s / 2) / s as a polynomial in s^2 on [0, 1/4]: Chebyshev interpolation, relative error 2^-47.
const SIN: [f64; 6] = [
    1.57079632679489,
    -0.6459640975043052,
    0.07969262615560159,
    -0.004681752589609857,
    0.00016042925554202335,
    -3.556369371360422e-06,
];

/// cos(pi s / 2) as a polynomial in s^2 on [0, 1/4]: Chebyshev interpolation, error 2^-53.
const COS: [f64; 7] = [
    1.0,
    -1.2337005501361513,
    0.25366950789986237,
    -0.02086348073490119,
    0.0009192599496528008,
    -2.5200133743820763e-05,
    4.655274077362189e-07,
];

#[inline(always)]
fn round(x: f64) -> f64 {
    (x + ROUND) - ROUND
}

/// The quadrant (its low two bits count) and the fraction `s` in about [-1/2, 1/2] of `x / (pi/2)`.
#[inline(always)]
fn reduce(x: f32) -> (u64, f64) {
    let exponent = ((x.to_bits() >> 23) & 0xff).saturating_sub(127);
    let [high, middle, low] = TWO_OVER_PI[(exponent >> 3) as usize & 15];
    let x = f64::from(x);
    // Both products are exact, and so are their distances from the nearest integer.
    let (p, q) = (x * high, x * middle);
    let (n, m) = (round(p), round(q));
    let (f, g) = (p - n, q - m);
    // `f` is a multiple of 2^-27, so that taking a whole from it first is exact, and a cancellation against
    // `g` leaves no error behind.
    let carry = round(f + g);
    let s = ((f - carry) + g) + x * low;
    ((n + m + carry + ROUND).to_bits(), s)
}

#[inline(always)]
fn sin_poly(s: f64) -> f64 {
    let z = s * s;
    s * (SIN[0] + z * (SIN[1] + z * (SIN[2] + z * (SIN[3] + z * (SIN[4] + z * SIN[5])))))
}

#[inline(always)]
fn cos_poly(s: f64) -> f64 {
    let z = s * s;
    COS[0] + z * (COS[1] + z * (COS[2] + z * (COS[3] + z * (COS[4] + z * (COS[5] + z * COS[6])))))
}

/// The sine of the angle in quadrant `quadrant` with fraction `s`.
#[inline(always)]
fn sin_of(quadrant: u64, s: f64) -> f32 {
    let value = if quadrant & 1 == 0 {
        sin_poly(s)
    } else {
        cos_poly(s)
    };
    (if quadrant & 2 == 0 { value } else { -value }) as f32
}

/// Sine of `x` radians.
///
/// Within 0.501 ULP for every finite `x`, however large; NaN for infinities; keeps the sign of zero.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let (quadrant, s) = reduce(x);
    sin_of(quadrant, s)
}

/// Cosine of `x` radians.
///
/// Within 0.501 ULP for every finite `x`, however large; NaN for infinities.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    let (quadrant, s) = reduce(x);
    sin_of(quadrant.wrapping_add(1), s)
}

/// Tangent of `x` radians.
///
/// Within 0.501 ULP for every finite `x`, however large; NaN for infinities; keeps the sign of zero.
#[inline(always)]
pub fn tan(x: f32) -> f32 {
    let (quadrant, s) = reduce(x);
    let (sin, cos) = (sin_poly(s), cos_poly(s));
    (if quadrant & 1 == 0 {
        sin / cos
    } else {
        -(cos / sin)
    }) as f32
}

#[cfg(test)]
mod tests {
    use super::super::ulp::assert_within;
    use super::*;

    #[test]
    fn sin_is_exact_to_the_last_place() {
        assert_within(0.501, 20.0, sin, f64::sin);
        assert_eq!(sin(-0.0).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn cos_is_exact_to_the_last_place() {
        assert_within(0.501, 20.0, cos, f64::cos);
    }

    #[test]
    fn tan_is_exact_to_the_last_place() {
        assert_within(0.501, 20.0, tan, f64::tan);
        assert_eq!(tan(-0.0).to_bits(), (-0.0f32).to_bits());
    }

    /// Next to a multiple of pi/2 the reduction must cancel nearly everything; 16,367,173 * 2^72 is the `f32`
    /// that comes closest to one, relative to its size.
    #[test]
    fn arguments_next_to_multiples_of_a_quarter_turn() {
        let near = (1..200_000u32).map(|k| (f64::from(k) * std::f64::consts::FRAC_PI_2) as f32);
        let hard = [16_367_173.0 * 2f32.powi(72)];
        for x in near.chain(hard) {
            assert!(
                super::super::ulp::error(sin(x), f64::from(x).sin()) <= 0.501,
                "sin {x:e}"
            );
            assert!(
                super::super::ulp::error(cos(x), f64::from(x).cos()) <= 0.501,
                "cos {x:e}"
            );
        }
    }
}

//! Floats of 16 bits, as files of other frameworks hold them; read only.

/// The value of an IEEE 754 binary16: 1 bit sign, 5 bits exponent (bias 15), 10 bits fraction.
pub(super) fn from_f16(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// The value of a bfloat16: the upper half of an `f32`.
pub(super) fn from_bf16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_standard() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333251953125),
            (0x7bff, 65504.0),
            (0x0400, 2_f64.powi(-14)),
            (0x0001, 2_f64.powi(-24)),
            (0x03ff, 1023.0 * 2_f64.powi(-24)),
            (0xfc00, f64::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(from_f16(bits), value, "{bits:#x}");
        }
        assert!(from_f16(0x8000).is_sign_negative() && from_f16(0x7e00).is_nan());
        assert_eq!((from_bf16(0x3f80), from_bf16(0xc2f7)), (1.0, -123.5));
        assert!(from_bf16(0x7fc0).is_nan());
    }

    #[test]
    fn every_finite_binary16_is_nearest_to_itself() {
        // Neighbours in bits are neighbours in value: the values of positive patterns increase.
        let values: Vec<_> = (0..0x7c00).map(from_f16).collect();
        assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

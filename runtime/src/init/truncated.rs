//! The truncated normal distribution, by inversion.

use std::f64::consts::{PI, SQRT_2};

use crate::cpu::vecmath::erf64;
use crate::real::Real;
use crate::rng::Stream;

/// Fills `out` from N(mean, std^2) on the condition of lying in `[low, high]`.
pub(super) fn fill<T: Real>(stream: &Stream, [mean, std]: [f64; 2], [low, high]: [f64; 2], out: &mut [T]) {
    if std == 0.0 {
        return out.fill(T::from_f64(mean.clamp(low, high)));
    }
    // erf((x - mean) / (std sqrt 2)) is evenly distributed between its values at the ends.
    let level = |x: f64| {
        if x == mean {
            0.0
        } else {
            erf64((x - mean) / (std * SQRT_2))
        }
    };
    let (from, to) = (level(low), level(high));
    for (i, x) in (0..).zip(out) {
        let u = from + (to - from) * stream.uniform_f64(i);
        // In an end so far out that all its levels are 1 the inverse is infinite, and the clamp decides.
        *x = T::from_f64((mean + std * SQRT_2 * erf_inverse(u)).clamp(low, high));
    }
}

/// The `x` with erf(x) = `y`; infinite at -1 and 1.
///
/// The single-precision polynomial of Giles, "Approximating the erfinv function" (GPU Computing Gems, 2012),
/// improved by two steps of Newton's method in `f64`.
pub(super) fn erf_inverse(y: f64) -> f64 {
    const CENTRE: [f64; 9] = [
        2.810_226_36e-8,
        3.432_739_39e-7,
        -3.523_387_7e-6,
        -4.391_506_54e-6,
        2.185_808_7e-4,
        -1.253_725_03e-3,
        -4.177_681_64e-3,
        0.246_640_727,
        1.501_409_41,
    ];
    const TAIL: [f64; 9] = [
        -2.002_142_57e-4,
        1.009_505_58e-4,
        1.349_343_22e-3,
        -3.673_428_44e-3,
        5.739_507_73e-3,
        -7.622_461_3e-3,
        9.438_870_47e-3,
        1.001_674_06,
        2.832_976_82,
    ];
    if y.abs() >= 1.0 {
        return y * f64::INFINITY;
    }
    let w = -((1.0 - y) * (1.0 + y)).ln();
    let (coefficients, w) = if w < 5.0 {
        (CENTRE, w - 2.5)
    } else {
        (TAIL, w.sqrt() - 3.0)
    };
    let mut x = y * coefficients.iter().fold(0.0, |sum, c| sum * w + c);
    for _ in 0..2 {
        x -= (erf64(x) - y) * 0.5 * PI.sqrt() * (x * x).exp();
    }
    x
}

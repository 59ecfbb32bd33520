//! Measures errors in units in the last place, for the tests of this folder.

/// The distance between `got` and the exact value `want`, in units of the last place of an `f32` at `want`.
///
/// Two NaNs agree (0), one alone is infinitely far off. A value that rounds to an infinity must be that
/// infinity. Zeros agree whatever their sign: tests of signs are written out where a function promises one.
pub(crate) fn error(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if want.is_nan() || got.is_nan() {
        return if want.is_nan() && got.is_nan() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    if got == rounded && (rounded.is_infinite() || want == 0.0) {
        return 0.0;
    }
    if got.is_infinite() || rounded.is_infinite() {
        // The last finite number is one unit away from where the infinity would be.
        let distance =
            f64::from(got.clamp(f32::MIN, f32::MAX)) - want.clamp(f32::MIN.into(), f32::MAX.into());
        return (distance.abs() / unit(f64::from(f32::MAX))).max(1.0);
    }
    (f64::from(got) - want).abs() / unit(want)
}

/// The spacing of `f32` numbers in the binade of `x`, which is 2^-149 for subnormal numbers.
fn unit(x: f64) -> f64 {
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    2f64.powi(exponent.max(-126) - 23)
}

/// `f32` numbers spread over all bit patterns (both signs, subnormals, infinities, NaNs included), about a
/// million of them: the stride is a prime, so that the low bits take every value.
pub(crate) fn sweep() -> impl Iterator<Item = f32> {
    const SPECIAL: [f32; 14] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::EPSILON,
        1.0e-45,
        -1.0e-45,
    ];
    (0..=u32::MAX).step_by(4099).map(f32::from_bits).chain(SPECIAL)
}

/// The largest error of `f` against `reference` over `points`, with the argument where it occurs.
pub(crate) fn worst(
    points: impl Iterator<Item = f32>,
    f: impl Fn(f32) -> f32,
    reference: impl Fn(f64) -> f64,
) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for x in points {
        let e = error(f(x), reference(f64::from(x)));
        if e > worst.0 {
            worst = (e, x);
        }
    }
    worst
}

/// Asserts that `f` stays within `bound` units of `reference`, on the sweep over all numbers and on a denser
/// one over `[-range, range]`, where the interesting part of the function lies.
pub(crate) fn assert_within(bound: f64, range: f32, f: impl Fn(f32) -> f32, reference: impl Fn(f64) -> f64) {
    let steps = 1_000_003;
    let dense = (0..=steps).map(|i| range * (2.0 * (i as f32 / steps as f32) - 1.0));
    for (error, at) in [worst(sweep(), &f, &reference), worst(dense, &f, &reference)] {
        assert!(
            error <= bound,
            "{error} ULP at {at:e} ({:#010x}), the bound is {bound}",
            at.to_bits()
        );
    }
}

#[test]
fn the_ruler_itself() {
    assert_eq!(error(1.0, 1.0), 0.0);
    assert_eq!(error(1.0 + f32::EPSILON, 1.0), 1.0);
    assert_eq!(error(1.0e-45, 0.0), 1.0);
    assert_eq!(error(f32::INFINITY, 1.0e39), 0.0);
    assert!(error(f32::INFINITY, 1.0e38) > 1.0);
    assert_eq!(error(f32::NAN, f64::NAN), 0.0);
    assert_eq!(error(f32::NAN, 1.0), f64::INFINITY);
}

/// The bounds that the documentation states, over every 17th of all `f32` numbers (minutes of work, so on
/// request only: `cargo test --release -p tapeless_runtime every_seventeenth -- --ignored --nocapture`).
#[test]
#[ignore = "takes minutes"]
fn every_seventeenth_number() {
    type Case = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f64);
    let sigmoid: fn(f64) -> f64 = crate::real::Real::sigmoid;
    let cases: [Case; 11] = [
        ("exp", super::exp, f64::exp, 1.0),
        ("expm1", super::expm1, f64::exp_m1, 1.5),
        ("log", super::log, f64::ln, 0.9),
        ("log1p", super::log1p, f64::ln_1p, 0.9),
        ("tanh", super::tanh, f64::tanh, 1.5),
        ("sigmoid", super::sigmoid, sigmoid, 2.5),
        ("erf", super::erf, super::erf64, 1.5),
        ("sin", super::sin, f64::sin, 0.501),
        ("cos", super::cos, f64::cos, 0.501),
        ("tan", super::tan, f64::tan, 0.501),
        (
            "softplus",
            crate::real::Real::softplus,
            crate::real::Real::softplus,
            2.0,
        ),
    ];
    for (name, f, reference, bound) in cases {
        let (error, at) = worst((0..=u32::MAX).step_by(17).map(f32::from_bits), f, reference);
        println!("{name}: {error:.3} ULP at {at:e}");
        assert!(
            error <= bound,
            "{name}: {error} ULP at {at:e}, the bound is {bound}"
        );
    }
}

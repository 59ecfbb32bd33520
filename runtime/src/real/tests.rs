//! What the methods promise beyond the accuracy of `cpu::vecmath`, in both precisions.

use super::*;
use crate::cpu::vecmath::ulp;

fn comparisons_and_choices<T: Real>() {
    let (two, nan) = (T::from_i64(2), T::NAN);
    assert_eq!(
        (two.max(T::ONE), T::ONE.max(two), two.min(T::ONE)),
        (two, two, T::ONE)
    );
    for (a, b) in [(nan, two), (two, nan), (nan, nan)] {
        assert!(
            a.max(b).ne(a.max(b)) && a.min(b).ne(a.min(b)),
            "NaN must survive max and min"
        );
        assert!(!(a.lt(b) || a.le(b) || a.gt(b) || a.ge(b) || Real::eq(a, b)));
    }
    assert_eq!([-two, T::ZERO, two].map(T::sign), [-T::ONE, T::ZERO, T::ONE]);
    assert_eq!([-two, T::ZERO, two].map(T::relu), [T::ZERO, T::ZERO, two]);
    assert!(
        [nan.sign(), nan.relu(), nan.softplus()]
            .into_iter()
            .all(|x| Real::ne(x, x))
    );
    assert_eq!(T::select(true, two, nan), two);
    assert_eq!(
        [0.5, 1.5, -2.5].map(T::from_f64).map(T::round),
        [0.0, 2.0, -2.0].map(T::from_f64)
    );
    assert_eq!(T::from_f64(-1.5).floor(), -two);
    assert_eq!(T::from_f64(-1.5).ceil(), -T::ONE);
    assert_eq!((two * two).rsqrt(), T::from_f64(0.5));
    assert_eq!(
        (T::INFINITY.softplus(), (-T::INFINITY).softplus()),
        (T::INFINITY, T::ZERO)
    );
}

#[test]
fn comparisons_and_choices_in_both_precisions() {
    comparisons_and_choices::<f32>();
    comparisons_and_choices::<f64>();
}

#[test]
fn softplus_keeps_its_bound() {
    ulp::assert_within(2.0, 30.0, Real::softplus, Real::softplus);
    // The f64 twin against the definition, where that neither overflows nor cancels.
    for i in -300..=300 {
        let x = f64::from(i) * 0.1;
        let want = x.exp().ln_1p();
        assert!((Real::softplus(x) - want).abs() <= 4.0e-16 * want, "at {x}");
    }
}

/// f32 methods against f64 methods at ordinary points: catches a method wired to the wrong function.
#[test]
fn both_precisions_mean_the_same() {
    type Pair = (&'static str, fn(f32) -> f32, fn(f64) -> f64);
    let pairs: [Pair; 20] = [
        ("recip", Real::recip, Real::recip),
        ("sqrt", Real::sqrt, Real::sqrt),
        ("rsqrt", Real::rsqrt, Real::rsqrt),
        ("exp", Real::exp, Real::exp),
        ("log", Real::log, Real::log),
        ("log1p", Real::log1p, Real::log1p),
        ("expm1", Real::expm1, Real::expm1),
        ("sin", Real::sin, Real::sin),
        ("cos", Real::cos, Real::cos),
        ("tan", Real::tan, Real::tan),
        ("tanh", Real::tanh, Real::tanh),
        ("sigmoid", Real::sigmoid, Real::sigmoid),
        ("erf", Real::erf, Real::erf),
        ("abs", Real::abs, Real::abs),
        ("sign", Real::sign, Real::sign),
        ("floor", Real::floor, Real::floor),
        ("ceil", Real::ceil, Real::ceil),
        ("round", Real::round, Real::round),
        ("relu", Real::relu, Real::relu),
        ("softplus", Real::softplus, Real::softplus),
    ];
    for (name, single, double) in pairs {
        for i in -400..=400 {
            let x = i as f32 * 0.0173;
            let error = ulp::error(single(x), double(f64::from(x)));
            assert!(error <= 2.5, "{name}({x}): {error} ULP");
        }
    }
}

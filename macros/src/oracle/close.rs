//! How near two tensors are.

use crate::map::Map;

use super::tensor::Tensor;
use crate::ir::OutputKind;

/// The norm of a list of numbers.
pub fn norm(x: &[f64]) -> f64 {
    // Scaled, so that no square overflows.
    let largest = x.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    largest * x.iter().map(|v| (v / largest).powi(2)).sum::<f64>().sqrt()
}

/// `‖a - b‖ / max(‖a‖, ‖b‖)`, where both are infinite or NaN at the same places; 0 for two zeros, infinity where they do not
/// agree on what is finite.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "tensors of one size are compared");
    let same_kind =
        |(x, y): (&f64, &f64)| x == y || (x.is_nan() && y.is_nan()) || (x.is_finite() && y.is_finite());
    if !a.iter().zip(b).all(same_kind) {
        return f64::INFINITY;
    }
    let finite = |(x, y): (&f64, &f64)| (x.is_finite() && y.is_finite()).then_some((*x, *y));
    let pairs: Vec<(f64, f64)> = a.iter().zip(b).filter_map(finite).collect();
    let difference: Vec<f64> = pairs.iter().map(|(x, y)| x - y).collect();
    let scale = norm(&pairs.iter().map(|p| p.0).collect::<Vec<_>>())
        .max(norm(&pairs.iter().map(|p| p.1).collect::<Vec<_>>()));
    if scale == 0.0 {
        0.0
    } else {
        norm(&difference) / scale
    }
}

/// Why two sets of outputs differ by more than `tolerance`, if they do. Tensors whose norm is below `floor` are compared
/// as if it were that.
pub fn difference(
    got: &Map<OutputKind, Tensor>,
    want: &Map<OutputKind, Tensor>,
    tolerance: f64,
    floor: f64,
) -> Option<String> {
    if !got.keys().eq(want.keys()) {
        return Some(format!("outputs {:?} instead of {:?}", got, want));
    }
    got.iter().zip(want.values()).find_map(|((kind, got), want)| {
        if (got.dtype(), got.shape()) != (want.dtype(), want.shape()) {
            let (a, b) = ((got.dtype(), got.shape()), (want.dtype(), want.shape()));
            return Some(format!("{kind} is a {a:?} instead of {b:?}"));
        }
        let (a, b) = (got.numbers(), want.numbers());
        let mut error = distance(&a, &b);
        let scale = norm(&b);
        if scale < floor && error.is_finite() {
            error *= norm(&a).max(scale) / floor;
        }
        (error > tolerance).then(|| format!("{kind} is off by {error:e}\n got {a:?}\nwant {b:?}"))
    })
}

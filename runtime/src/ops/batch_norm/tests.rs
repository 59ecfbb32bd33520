//! The kernels against the formula, and their gradient against differences.

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::ops::testkit::{Desk, PRECISIONS, assert_close, differences, normal, tolerance};

/// Large, so that the gradient of two values is no mere rounding.
const EPS: f64 = 0.1;

#[derive(Copy, Clone, PartialEq, Debug)]
enum Affine {
    None,
    Both,
}

struct Case {
    shape: Channels,
    affine: Affine,
    x: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    g: Vec<f64>,
}

fn case(outer: usize, count: usize, inner: usize, affine: Affine) -> Case {
    let shape = Channels { outer, count, inner };
    let is_affine = affine == Affine::Both;
    Case {
        shape,
        affine,
        x: normal(shape.numel(), 1).iter().map(|x| 2.0 * x + 3.0).collect(),
        weight: if is_affine {
            normal(count, 2)
        } else {
            vec![1.0; count]
        },
        bias: if is_affine {
            normal(count, 3)
        } else {
            vec![0.0; count]
        },
        g: normal(shape.numel(), 4),
    }
}

/// y, mean and unbiased variance.
fn naive(shape: Channels, x: &[f64], weight: &[f64], bias: &[f64]) -> [Vec<f64>; 3] {
    let Channels { outer, count, inner } = shape;
    let n = (outer * inner) as f64;
    let (mut y, mut means, mut variances) = (vec![0.0; x.len()], Vec::new(), Vec::new());
    for c in 0..count {
        let places = || (0..outer).flat_map(move |s| (0..inner).map(move |j| (s * count + c) * inner + j));
        let mean = places().map(|k| x[k]).sum::<f64>() / n;
        let m2 = places().map(|k| (x[k] - mean).powi(2)).sum::<f64>();
        for k in places() {
            y[k] = (x[k] - mean) / (m2 / n + EPS).sqrt() * weight[c] + bias[c];
        }
        means.push(mean);
        variances.push(m2 / (n - 1.0));
    }
    [y, means, variances]
}

/// y, mean, variance; dx, dweight, dbias.
fn run(case: &Case, desk: &mut Desk) -> ([Vec<f64>; 3], [Vec<f64>; 3], Option<Error>) {
    let shape = case.shape;
    let (n, c) = (shape.numel(), shape.count);
    let x = desk.floats(&case.x);
    let weight = (case.affine == Affine::Both).then(|| desk.floats(&case.weight));
    let bias = (case.affine == Affine::Both).then(|| desk.floats(&case.bias));
    let (y, mean, var, rstd) = (desk.blank(n), desk.blank(c), desk.blank(c), desk.blank(c));
    let factors = desk.blank(2 * c);
    let failure = desk.run(|cx| batch_norm(cx, x, weight, bias, y, mean, var, rstd, factors, shape, EPS));
    let (g, factors) = (desk.floats(&case.g), desk.blank(3 * c));
    let (dx, dweight, dbias) = (desk.blank(n), desk.blank(c), desk.blank(c));
    desk.run(|cx| batch_norm_grad(cx, x, weight, mean, rstd, g, dx, dweight, dbias, factors, shape));
    (
        [y, mean, var].map(|buf| desk.read(buf)),
        [dx, dweight, dbias].map(|buf| desk.read(buf)),
        failure,
    )
}

#[test]
fn values_and_gradients_in_every_shape() {
    let shapes = [
        (2, 1, 1),
        (7, 3, 1),
        (70, 65, 1),
        (5000, 6, 1),
        (1300, 23, 1),
        (3, 4, 10),
        (5, 17, 3),
        (2, 3, 16),
        (1, 2, 37),
        (65, 2, 15),
    ];
    for (outer, count, inner) in shapes {
        for affine in [Affine::None, Affine::Both] {
            let case = case(outer, count, inner, affine);
            for precision in PRECISIONS {
                let what = format!("{:?}, {affine:?}, {precision}", case.shape);
                let (values, [dx, dweight, dbias], failure) = run(&case, &mut Desk::new(precision));
                assert!(failure.is_none());
                let want = naive(case.shape, &case.x, &case.weight, &case.bias);
                for (got, want) in values.iter().zip(&want) {
                    assert_close(got, want, tolerance(precision), &what);
                }
                let tolerance = tolerance(precision).max(1e-7);
                let dot = |y: &[f64]| y.iter().zip(&case.g).map(|(y, g)| y * g).sum::<f64>();
                let loss = |x: &[f64], w: &[f64], b: &[f64]| dot(&naive(case.shape, x, w, b)[0]);
                if case.x.len() < 500 {
                    let want = differences(&case.x, |x| loss(x, &case.weight, &case.bias));
                    assert_close(&dx, &want, tolerance, &format!("dx, {what}"));
                }
                let want = differences(&case.weight, |w| loss(&case.x, w, &case.bias));
                assert_close(&dweight, &want, tolerance, &format!("dweight, {what}"));
                let want = differences(&case.bias, |b| loss(&case.x, &case.weight, b));
                assert_close(&dbias, &want, tolerance, &format!("dbias, {what}"));
            }
        }
    }
}

/// A mean of 10,000 deviations: a variance from the mean of squares would have no digit left in f32.
#[test]
fn a_large_mean_costs_no_digits() {
    for inner in [1, 300] {
        let mut case = case(300 / inner, 2, inner, Affine::None);
        case.x = normal(600, 5)
            .iter()
            .map(|x| f64::from((x + 10_000.0) as f32))
            .collect();
        let ([y, _, var], ..) = run(&case, &mut Desk::new(Precision::F32));
        let [want, _, want_var] = naive(case.shape, &case.x, &case.weight, &case.bias);
        assert_close(&y, &want, 2e-3, "y");
        assert_close(&var, &want_var, 1e-4, "variance");
    }
}

/// The first rows of an image, from which the center of a block is taken, may be nothing like the others.
#[test]
fn a_center_far_from_the_mean_costs_few_digits() {
    let mut case = case(6000, 3, 1, Affine::None);
    for (k, x) in case.x.iter_mut().enumerate() {
        let is_first = k / 3 % 400 < 64;
        *x = if is_first {
            0.0
        } else {
            f64::from((1000.0 + *x) as f32)
        };
    }
    let ([y, mean, var], ..) = run(&case, &mut Desk::new(Precision::F32));
    let want = naive(case.shape, &case.x, &case.weight, &case.bias);
    assert_close(&y, &want[0], 1e-5, "y");
    assert_close(&mean, &want[1], 1e-6, "mean");
    assert_close(&var, &want[2], 1e-5, "variance");
}

#[test]
fn equal_values_have_no_variance() {
    let mut case = case(3000, 5, 1, Affine::None);
    case.x.fill(f64::from(0.1f32));
    let ([y, _, var], ..) = run(&case, &mut Desk::new(Precision::F32));
    assert!(var.iter().all(|var| (0.0..1e-14).contains(var)), "{var:?}");
    assert!(y.iter().all(|y| y.abs() < 1e-6));
}

#[test]
fn one_value_a_channel_has_no_variance() {
    for (outer, inner) in [(1, 1), (0, 1), (0, 5)] {
        let (_, _, failure) = run(
            &case(outer, 3, inner, Affine::Both),
            &mut Desk::new(Precision::F32),
        );
        let error = failure.expect("there is no variance");
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert!(
            error
                .message()
                .starts_with("batch_norm: expected more than 1 value per channel"),
            "{error}"
        );
    }
}

#[test]
fn threads_and_instruction_sets_do_not_change_a_bit() {
    for (outer, count, inner) in [(500, 130, 1), (40, 33, 49), (300, 40, 4), (7000, 21, 1)] {
        let case = case(outer, count, inner, Affine::Both);
        let (values, gradients, _) = run(&case, &mut Desk::with(Precision::F32, 1, Isa::Portable));
        for &isa in Isa::available() {
            for threads in [1, 2, 5] {
                let (v, g, _) = run(&case, &mut Desk::with(Precision::F32, threads, isa));
                assert!(v == values && g == gradients, "{threads} threads, {isa}");
            }
        }
    }
}

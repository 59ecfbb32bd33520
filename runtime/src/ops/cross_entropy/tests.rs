//! The kernels against the formula, and their gradient against differences.

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::ops::testkit::{Desk, PRECISIONS, assert_close, differences, normal, tolerance, whole};

struct Case {
    spec: CrossEntropy,
    scores: Vec<f64>,
    labels: Vec<i64>,
    weight: Option<Vec<f64>>,
}

/// What the kernels give: losses of the samples, the loss, the cotangent of the scores.
struct Given {
    losses: Vec<f64>,
    loss: f64,
    dx: Vec<f64>,
}

fn spec(outer: usize, classes: usize, inner: usize) -> CrossEntropy {
    CrossEntropy {
        outer,
        classes,
        inner,
        smoothing: 0.0,
        ignore_index: -100.0,
        scores: Scores::Logits,
        reduction: LossReduction::Mean,
    }
}

/// By the definition, sample by sample and class by class.
fn naive(case: &Case, scores: &[f64]) -> (Vec<f64>, f64) {
    let CrossEntropy {
        outer,
        classes,
        inner,
        smoothing,
        ..
    } = case.spec;
    let weight = |c: usize| case.weight.as_ref().map_or(1.0, |w| w[c]);
    let (mut losses, mut total) = (Vec::new(), 0.0);
    for (sample, &label) in case.labels.iter().enumerate() {
        let at = |c: usize| scores[(sample / inner * classes + c) * inner + sample % inner];
        let max = (0..classes).map(at).fold(f64::NEG_INFINITY, f64::max);
        let lse = match case.spec.scores {
            Scores::Logits => max + (0..classes).map(|c| (at(c) - max).exp()).sum::<f64>().ln(),
            Scores::LogProbabilities => 0.0,
        };
        if label == case.spec.ignore_index as i64 {
            losses.push(0.0);
            continue;
        }
        let even: f64 = (0..classes).map(|c| weight(c) * (lse - at(c))).sum();
        let y = label as usize;
        losses.push((1.0 - smoothing) * weight(y) * (lse - at(y)) + smoothing / classes as f64 * even);
        total += weight(y);
    }
    assert_eq!(losses.len(), outer * inner);
    let sum: f64 = losses.iter().sum();
    (
        losses,
        if case.spec.reduction == LossReduction::Mean {
            sum / total
        } else {
            sum
        },
    )
}

/// Runs both kernels; `g` is 1.5 for the loss, or for every sample.
fn run(case: &Case, desk: &mut Desk) -> (Given, Option<Error>) {
    let spec = case.spec;
    let n = spec.outer * spec.inner;
    let (scores, labels) = (desk.floats(&case.scores), desk.ints(&case.labels));
    let weight = case.weight.as_ref().map(|w| desk.floats(w));
    let (losses, loss, lse, divisor) = (desk.blank(n), desk.blank(1), desk.blank(n), desk.blank(1));
    let is_reduced = spec.reduction != LossReduction::None;
    let failure = desk.run(|cx| {
        let loss = is_reduced.then_some(loss);
        cross_entropy(cx, scores, labels, weight, losses, loss, lse, divisor, spec);
    });
    let g = desk.floats(&vec![1.5; if is_reduced { 1 } else { n }]);
    let dx = desk.blank(case.scores.len());
    let none = desk.run(|cx| cross_entropy_grad(cx, scores, labels, weight, lse, divisor, g, dx, spec));
    assert!(none.is_none());
    let losses = desk.read(losses);
    let loss = if is_reduced {
        desk.read(loss)[0]
    } else {
        losses.iter().sum()
    };
    (
        Given {
            losses,
            loss,
            dx: desk.read(dx),
        },
        failure,
    )
}

fn case(spec: CrossEntropy, stream: u64) -> Case {
    let n = spec.outer * spec.inner;
    let scores = normal(n * spec.classes, stream).iter().map(|x| 3.0 * x).collect();
    Case {
        spec,
        scores,
        labels: whole(n, spec.classes, stream),
        weight: None,
    }
}

fn check(case: &Case, what: &str) {
    for precision in PRECISIONS {
        let (given, failure) = run(case, &mut Desk::new(precision));
        assert!(failure.is_none(), "{what}: {failure:?}");
        let (losses, loss) = naive(case, &case.scores);
        assert_close(&given.losses, &losses, tolerance(precision), what);
        if !case.labels.is_empty() {
            assert_close(&[given.loss], &[loss], tolerance(precision), what);
        }
        let dx = differences(&case.scores, |x| 1.5 * naive(case, x).1);
        let tolerance = tolerance(precision).max(1e-8);
        assert_close(
            &given.dx,
            &dx,
            tolerance,
            &format!("gradient of {what} in {precision}"),
        );
    }
}

#[test]
fn every_shape_option_and_reduction() {
    let shapes = [
        (1, 1, 1),
        (5, 3, 1),
        (2, 17, 1),
        (3, 4, 1),
        (2, 5, 3),
        (1, 3, 70),
        (3, 2, 1),
        (0, 4, 1),
        (0, 4, 3),
    ];
    for (k, (outer, classes, inner)) in shapes.into_iter().enumerate() {
        for reduction in [LossReduction::Mean, LossReduction::Sum, LossReduction::None] {
            for smoothing in [0.0, 0.3] {
                for weighted in [false, true] {
                    let spec = CrossEntropy {
                        smoothing,
                        reduction,
                        ..spec(outer, classes, inner)
                    };
                    let mut case = case(spec, k as u64);
                    case.weight = weighted.then(|| (0..classes).map(|c| 0.5 + c as f64).collect());
                    check(&case, &format!("{spec:?}, weighted: {weighted}"));
                    if let Some(last) = case.labels.last_mut().filter(|_| outer * inner > 1) {
                        *last = -100;
                        check(&case, &format!("{spec:?}, one sample ignored"));
                    }
                }
            }
        }
    }
}

#[test]
fn log_probabilities_are_taken_as_they_are() {
    for (outer, classes, inner) in [(4, 3, 1), (2, 3, 5)] {
        let spec = CrossEntropy {
            scores: Scores::LogProbabilities,
            ..spec(outer, classes, inner)
        };
        check(&case(spec, 3), "nll");
    }
}

#[test]
fn many_classes_take_several_blocks() {
    check(&case(spec(2, 2500, 1), 7), "2500 classes");
}

/// The first block holds only masked classes; the largest scores come last and are far from zero.
#[test]
fn masked_and_enormous_scores_are_no_trouble() {
    let mut scores = vec![f64::NEG_INFINITY; 1024];
    scores.extend([-800.0, 800.0, 801.0]);
    let case = Case {
        spec: spec(1, 1027, 1),
        scores,
        labels: vec![1026],
        weight: None,
    };
    for precision in PRECISIONS {
        let (given, _) = run(&case, &mut Desk::new(precision));
        assert_close(
            &[given.loss],
            &[(-1.0f64).exp().ln_1p()],
            tolerance(precision),
            "loss",
        );
        assert!(given.dx.iter().all(|d| d.is_finite()) && given.dx[0] == 0.0);
    }
}

#[test]
fn labels_out_of_range_are_named_and_do_no_harm() {
    for (inner, place) in [(1, "sample 3"), (2, "sample 1, position 1")] {
        let mut case = case(spec(8 / inner, 10, inner), 1);
        for label in [10, -1, i64::MAX, i64::MIN] {
            case.labels[3] = label;
            let (given, failure) = run(&case, &mut Desk::new(Precision::F32));
            let error = failure.expect("a label out of range is an error");
            assert_eq!(error.kind(), ErrorKind::Label);
            let want =
                format!("the label of {place} is {label}, but there are 10 classes: labels must be in 0..10");
            assert!(error.message().starts_with(&want), "{error}");
            assert!(given.dx.iter().all(|d| d.is_finite()));
        }
    }
}

#[test]
fn smoothing_must_be_a_share() {
    for smoothing in [-0.1, 1.5, f64::NAN] {
        let case = case(
            CrossEntropy {
                smoothing,
                ..spec(2, 3, 1)
            },
            1,
        );
        let (_, failure) = run(&case, &mut Desk::new(Precision::F32));
        assert_eq!(
            failure.expect("smoothing out of range is an error").kind(),
            ErrorKind::Config
        );
    }
}

#[test]
fn nan_scores_give_a_nan_loss_unless_ignored() {
    for inner in [1, 3] {
        let mut case = case(spec(2, 4, inner), 5);
        case.scores[0] = f64::NAN;
        assert!(run(&case, &mut Desk::new(Precision::F32)).0.loss.is_nan());
        case.labels[0] = -100;
        let (given, _) = run(&case, &mut Desk::new(Precision::F32));
        assert!(given.loss.is_finite() && given.dx.iter().all(|d| d.is_finite()));
        case.labels.fill(-100);
        assert!(
            run(&case, &mut Desk::new(Precision::F32)).0.loss.is_nan(),
            "the mean of nothing"
        );
    }
}

/// Large enough for many tasks, in both layouts.
#[test]
fn threads_and_instruction_sets_do_not_change_a_bit() {
    for (outer, classes, inner) in [(3000, 33, 1), (3, 33, 1000)] {
        let case = case(
            CrossEntropy {
                smoothing: 0.1,
                ..spec(outer, classes, inner)
            },
            2,
        );
        let bits = |threads, isa| {
            let (given, _) = run(&case, &mut Desk::with(Precision::F32, threads, isa));
            (given.loss, given.losses, given.dx)
        };
        let want = bits(1, Isa::Portable);
        for &isa in Isa::available() {
            for threads in [1, 2, 7] {
                assert!(bits(threads, isa) == want, "{threads} threads, {isa}");
            }
        }
    }
}

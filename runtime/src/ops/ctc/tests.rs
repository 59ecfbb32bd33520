//! The kernels against the definition (all words over the classes), differences, and what may go wrong.

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::ops::testkit::{Desk, PRECISIONS, assert_close, differences, normal, tolerance, whole};

struct Case {
    spec: Ctc,
    x: Vec<f64>,
    targets: Vec<i64>,
    frames: Vec<i64>,
    lengths: Vec<i64>,
}

fn spec(batch: usize, frames: usize, classes: usize, labels: usize) -> Ctc {
    Ctc {
        batch,
        frames,
        classes,
        labels,
        blank: 0,
        impossible: Impossible::Infinite,
        reduction: LossReduction::None,
    }
}

/// Log-probabilities that add up to 1.
fn log_probs(spec: Ctc, stream: u64) -> Vec<f64> {
    let mut x = normal(spec.batch * spec.frames * spec.classes, stream);
    for frame in x.chunks_mut(spec.classes.max(1)) {
        let log = frame.iter().map(|x| (2.0 * x).exp()).sum::<f64>().ln();
        // As f32 holds them, so that both precisions compute on the same numbers.
        frame
            .iter_mut()
            .for_each(|x| *x = f64::from((2.0 * *x - log) as f32));
    }
    x
}

/// Targets without blanks; lengths that leave room for them, where there is room.
fn case(spec: Ctc, stream: u64) -> Case {
    let labels = whole(spec.batch * spec.labels, spec.classes.max(2) - 1, stream);
    let targets = labels.iter().map(|&y| y + i64::from(y >= spec.blank as i64));
    let lengths = whole(spec.batch, spec.labels.min(spec.frames) + 1, stream + 1);
    let frames = lengths.iter().zip(whole(spec.batch, spec.frames + 1, stream + 2));
    Case {
        spec,
        x: log_probs(spec, stream),
        targets: targets.collect(),
        frames: frames
            .map(|(&length, frames)| frames.max((2 * length).min(spec.frames as i64)))
            .collect(),
        lengths,
    }
}

/// What is left of an alignment when repeats are merged and blanks dropped.
fn spelled(word: &[usize], blank: usize) -> Vec<i64> {
    let mut merged = word.to_vec();
    merged.dedup();
    merged
        .into_iter()
        .filter(|&c| c != blank)
        .map(|c| c as i64)
        .collect()
}

/// The losses by the definition: every word over the classes is an alignment of something.
fn naive(case: &Case, x: &[f64]) -> Vec<f64> {
    let Ctc {
        frames,
        classes,
        labels,
        ..
    } = case.spec;
    (0..case.spec.batch)
        .map(|b| {
            let n = case.frames[b] as usize;
            let target = &case.targets[b * labels..][..case.lengths[b] as usize];
            let mut total = 0.0;
            for number in 0..classes.pow(n as u32) {
                let word: Vec<usize> = (0..n).map(|t| number / classes.pow(t as u32) % classes).collect();
                if spelled(&word, case.spec.blank) == target {
                    let log: f64 = word
                        .iter()
                        .enumerate()
                        .map(|(t, c)| x[(b * frames + t) * classes + c])
                        .sum();
                    total += log.exp();
                }
            }
            -total.ln()
        })
        .collect()
}

/// The losses of the samples as one number.
fn reduced(case: &Case, losses: &[f64]) -> f64 {
    match case.spec.reduction {
        LossReduction::Mean => {
            let shares = losses.iter().zip(&case.lengths);
            shares.map(|(loss, &n)| loss / n.max(1) as f64).sum::<f64>() / losses.len() as f64
        }
        LossReduction::Sum | LossReduction::None => losses.iter().sum(),
    }
}

/// What the kernels give: losses of the samples, the loss, the cotangent of the log-probabilities.
struct Given {
    losses: Vec<f64>,
    loss: f64,
    dx: Vec<f64>,
    failure: Option<Error>,
}

fn run(case: &Case, desk: &mut Desk) -> Given {
    let spec = case.spec;
    let is_reduced = spec.reduction != LossReduction::None;
    let x = desk.floats(&case.x);
    let [targets, frames, lengths] = [&case.targets, &case.frames, &case.lengths].map(|ints| desk.ints(ints));
    let (losses, loss) = (desk.blank(spec.batch), desk.blank(1));
    let scratch = desk.blank(spec.batch * FORWARD_ROWS * spec.states());
    let failure = desk.run(|cx| {
        let loss = is_reduced.then_some(loss);
        ctc(cx, x, targets, frames, lengths, losses, loss, scratch, spec);
    });
    let g = desk.floats(&vec![1.5; if is_reduced { 1 } else { spec.batch }]);
    let dx = desk.blank(case.x.len());
    let scratch = desk.blank(spec.batch * (spec.frames + BACKWARD_ROWS) * spec.states());
    let none = desk.run(|cx| ctc_grad(cx, x, targets, frames, lengths, g, dx, scratch, spec));
    assert!(none.is_none(), "the forward kernel says what is wrong");
    let losses = desk.read(losses);
    let loss = match is_reduced {
        true => desk.read(loss)[0],
        false => losses.iter().sum(),
    };
    Given {
        losses,
        loss,
        dx: desk.read(dx),
        failure,
    }
}

const SHAPES: [(usize, usize, usize, usize); 9] = [
    (1, 1, 2, 1),
    (3, 4, 3, 2),
    (2, 7, 3, 3),
    (4, 6, 4, 2),
    (2, 5, 2, 2),
    (3, 3, 3, 0),
    (2, 0, 3, 2),
    (0, 4, 3, 2),
    (40, 5, 3, 2),
];

#[test]
fn the_loss_is_the_sum_over_all_alignments_and_the_gradient_its_difference() {
    for (k, (batch, frames, classes, labels)) in SHAPES.into_iter().enumerate() {
        for (blank, reduction) in [
            (0, LossReduction::None),
            (classes - 1, LossReduction::Mean),
            (classes / 2, LossReduction::Sum),
        ] {
            let spec = Ctc {
                blank,
                reduction,
                impossible: Impossible::Zero,
                ..spec(batch, frames, classes, labels)
            };
            let case = case(spec, 10 * k as u64);
            let finite = |x: &[f64]| -> Vec<f64> {
                let losses = naive(&case, x);
                losses
                    .iter()
                    .map(|&l| if l.is_finite() { l } else { 0.0 })
                    .collect()
            };
            for precision in PRECISIONS {
                let what = format!("{spec:?} in {precision}");
                let given = run(&case, &mut Desk::new(precision));
                assert!(given.failure.is_none(), "{what}: {:?}", given.failure);
                let want = finite(&case.x);
                assert_close(&given.losses, &want, tolerance(precision), &what);
                if batch > 0 {
                    assert_close(
                        &[given.loss],
                        &[reduced(&case, &want)],
                        tolerance(precision),
                        &what,
                    );
                }
                let dx = differences(&case.x, |x| 1.5 * reduced(&case, &finite(x)));
                assert_close(&given.dx, &dx, tolerance(precision).max(1e-8), &what);
            }
        }
    }
}

#[test]
fn repeated_labels_need_a_blank_between_them() {
    let mut case = Case {
        spec: spec(1, 3, 2, 2),
        x: vec![0.5f64.ln(); 6],
        targets: vec![1, 1],
        frames: vec![3],
        lengths: vec![2],
    };
    // Only 1, blank, 1.
    let given = run(&case, &mut Desk::new(Precision::F64));
    assert_close(
        &given.losses,
        &[8.0f64.ln()],
        1e-15,
        "one alignment of three frames",
    );
    case.frames[0] = 2;
    let given = run(&case, &mut Desk::new(Precision::F64));
    assert_eq!(given.losses, [f64::INFINITY]);
    assert!(given.dx[..4].iter().all(|x| x.is_nan()), "{:?}", given.dx);
    assert_eq!(given.dx[4..], [0.0, 0.0], "frames that do not count");
    case.spec.impossible = Impossible::Zero;
    let given = run(&case, &mut Desk::new(Precision::F64));
    assert_eq!((given.losses, given.dx), (vec![0.0], vec![0.0; 6]));
}

#[test]
fn an_empty_target_is_spelled_by_blanks_alone() {
    let case = Case {
        spec: spec(2, 2, 2, 1),
        x: [0.25f64, 0.75, 0.5, 0.5, 0.1, 0.9, 0.1, 0.9]
            .map(f64::ln)
            .to_vec(),
        targets: vec![1, 1],
        frames: vec![2, 0],
        lengths: vec![0, 0],
    };
    let given = run(&case, &mut Desk::new(Precision::F64));
    assert_close(&given.losses, &[8.0f64.ln(), 0.0], 1e-15, "losses");
    assert_eq!(given.dx, [-1.5, 0.0, -1.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

/// A loss of many frames: single precision keeps its digits, where sums of unshifted logarithms would lose them.
#[test]
fn long_sequences_keep_their_digits() {
    let mut spec = spec(2, 700, 30, 60);
    spec.reduction = LossReduction::Mean;
    let case = case(spec, 3);
    let exact = run(&case, &mut Desk::new(Precision::F64));
    let single = run(&case, &mut Desk::new(Precision::F32));
    assert!(exact.losses.iter().any(|&loss| loss > 500.0));
    assert_close(&single.losses, &exact.losses, 1e-6, "losses");
    assert_close(&single.dx, &exact.dx, 1e-4, "gradient");
    // In every frame that counts the shares of all alignments are one.
    for (b, dx) in exact.dx.chunks(700 * 30).enumerate() {
        let total: f64 = dx.iter().sum();
        let want = -1.5 * case.frames[b] as f64 / (2.0 * case.lengths[b].max(1) as f64);
        assert!(
            (total - want).abs() < 1e-9 * want.abs().max(1.0),
            "{total} and {want}"
        );
    }
}

#[test]
fn frames_and_labels_after_the_ends_do_not_matter() {
    let mut case = case(spec(3, 6, 4, 3), 5);
    (case.frames, case.lengths) = (vec![4, 6, 5], vec![2, 1, 3]);
    let before = run(&case, &mut Desk::new(Precision::F64));
    case.x[4 * 4..6 * 4].fill(f64::NAN);
    (case.targets[2], case.targets[4], case.targets[5]) = (-7, 99, 0);
    let after = run(&case, &mut Desk::new(Precision::F64));
    assert!(after.failure.is_none());
    assert_eq!((before.losses, before.dx), (after.losses, after.dx));
}

#[test]
fn mistakes_are_named_and_their_samples_do_not_count() {
    let good = || case(spec(3, 6, 4, 2), 6);
    type Spoil = fn(&mut Case);
    let cases: [(Spoil, ErrorKind, &str); 6] = [
        (
            |c| c.frames[1] = 7,
            ErrorKind::Index,
            "ctc_loss: the input length of sample 1 is 7, but there are 6 frames: lengths must be in 0..=6",
        ),
        (
            |c| c.lengths[1] = -1,
            ErrorKind::Index,
            "ctc_loss: the target length of sample 1 is -1, but there are 2 labels: lengths must be in 0..=2",
        ),
        (
            |c| (c.lengths[1], c.targets[3]) = (2, 4),
            ErrorKind::Label,
            "ctc_loss: label 1 of sample 1 is 4, but labels must be in 0..4 and not the blank, 0",
        ),
        (
            |c| (c.lengths[1], c.targets[2]) = (2, 0),
            ErrorKind::Label,
            "ctc_loss: label 0 of sample 1 is 0, but labels must be in 0..4 and not the blank, 0",
        ),
        (
            |c| (c.lengths[1], c.targets[2]) = (1, i64::MIN),
            ErrorKind::Label,
            "ctc_loss: label 0 of sample 1 is -9223372036854775808",
        ),
        (
            |c| c.spec.blank = 4,
            ErrorKind::Config,
            "ctc_loss: `blank` is 4, but there are 4 classes",
        ),
    ];
    for (spoil, kind, want) in cases {
        let mut case = good();
        spoil(&mut case);
        let given = run(&case, &mut Desk::new(Precision::F64));
        let failure = given.failure.expect("a mistake");
        assert_eq!(failure.kind(), kind);
        assert!(failure.to_string().starts_with(want), "{failure}");
        assert_eq!(given.losses[1], 0.0);
        assert!(given.dx[6 * 4..2 * 6 * 4].iter().all(|&x| x == 0.0));
    }
}

#[test]
fn nothing_counts_as_a_number() {
    let mut case = case(spec(1, 4, 3, 1), 7);
    (case.frames[0], case.lengths[0]) = (4, 1);
    case.x[3 + case.targets[0] as usize] = f64::NAN;
    for precision in PRECISIONS {
        assert!(run(&case, &mut Desk::new(precision)).losses[0].is_nan());
    }
}

#[test]
fn every_team_gives_the_same_bits() {
    let mut spec = spec(9, 40, 7, 11);
    spec.reduction = LossReduction::Mean;
    let case = case(spec, 8);
    let one = run(&case, &mut Desk::with(Precision::F32, 1, Isa::best()));
    for threads in [2, 3, 5] {
        let more = run(&case, &mut Desk::with(Precision::F32, threads, Isa::best()));
        assert_eq!((one.loss.to_bits(), &one.dx), (more.loss.to_bits(), &more.dx));
    }
    for &isa in Isa::available() {
        let other = run(&case, &mut Desk::with(Precision::F32, 1, isa));
        assert_close(&other.dx, &one.dx, 1e-4, isa.name());
    }
}

/// The gradient, and its derivative along a direction.
fn curvature(case: &Case, x: &[f64], direction: &[f64], precision: Precision) -> (Vec<f64>, Vec<f64>) {
    let (mut desk, spec) = (Desk::new(precision), case.spec);
    let (x, direction) = (desk.floats(x), desk.floats(direction));
    let [targets, frames, lengths] = [&case.targets, &case.frames, &case.lengths].map(|ints| desk.ints(ints));
    let is_reduced = spec.reduction != LossReduction::None;
    let g = desk.floats(&vec![1.5; if is_reduced { 1 } else { spec.batch }]);
    let (dx, product) = (desk.blank(case.x.len()), desk.blank(case.x.len()));
    let room = |rows: usize| spec.batch * rows * spec.states();
    let scratch = desk.blank(room(spec.frames + BACKWARD_ROWS));
    desk.run(|cx| ctc_grad(cx, x, targets, frames, lengths, g, dx, scratch, spec));
    let scratch = desk.blank(room(2 * spec.frames + curvature::ROWS));
    desk.run(|cx| {
        ctc_curvature(
            cx, x, targets, frames, lengths, g, direction, product, scratch, spec,
        )
    });
    (desk.read(dx), desk.read(product))
}

#[test]
fn the_second_derivative_is_the_difference_of_gradients() {
    for (k, (batch, frames, classes, labels)) in SHAPES.into_iter().enumerate() {
        let spec = Ctc {
            blank: k % classes,
            reduction: [LossReduction::None, LossReduction::Mean, LossReduction::Sum][k % 3],
            impossible: Impossible::Zero,
            ..spec(batch, frames, classes, labels)
        };
        let case = case(spec, 10 * k as u64);
        let direction = normal(case.x.len(), 99);
        let at = |h: f64| {
            let moved: Vec<f64> = case.x.iter().zip(&direction).map(|(x, v)| x + h * v).collect();
            curvature(&case, &moved, &direction, Precision::F64).0
        };
        let h = 1e-5;
        let slopes = at(h).into_iter().zip(at(-h)).map(|(a, b)| (a - b) / (2.0 * h));
        let want: Vec<f64> = slopes.collect();
        for precision in PRECISIONS {
            let got = curvature(&case, &case.x, &direction, precision).1;
            let tolerance = tolerance(precision).max(1e-8);
            assert_close(&got, &want, tolerance, &format!("{spec:?} in {precision}"));
        }
    }
}

//! The kernels against the definition, with every score written out, and the gradient against finite differences.

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::error::ErrorKind;
use crate::ops::testkit::{Desk, PRECISIONS, assert_close, differences, normal, tolerance};
use crate::rng::Key;

/// A problem in f64, all operands row-major.
#[derive(Clone)]
struct Case {
    /// Heads, queries, keys, width, width of values.
    size: [usize; 5],
    spec: Attention,
    mask: Masked,
}

#[derive(Clone)]
enum Masked {
    No,
    Keep(Vec<bool>),
    Add(Vec<f64>),
}

fn spec(size: [usize; 5], reach: Reach, dropout: f64) -> Attention {
    Attention {
        scale: 1.0 / (size[3] as f64).sqrt(),
        reach,
        dropout,
        stream: 5,
    }
}

impl Case {
    fn new(size: [usize; 5], reach: Reach) -> Self {
        Self {
            size,
            spec: spec(size, reach, 0.0),
            mask: Masked::No,
        }
    }

    /// The score of a query and a key, and the factor of the dropout.
    fn score(&self, q: &[f64], k: &[f64], [head, i, j]: [usize; 3]) -> (f64, f64) {
        let [_, m, n, d, _] = self.size;
        let place = (head * m + i) * n + j;
        let dot: f64 = (0..d)
            .map(|c| q[(head * m + i) * d + c] * k[(head * n + j) * d + c])
            .sum();
        let mut score = dot * self.spec.scale;
        match &self.mask {
            Masked::No => (),
            Masked::Keep(keep) if keep[place] => (),
            Masked::Keep(_) => score = f64::NEG_INFINITY,
            Masked::Add(add) => score += add[place],
        }
        if self.spec.reach == Reach::Causal && j > i {
            score = f64::NEG_INFINITY;
        }
        let rate = self.spec.dropout;
        let word = Key {
            seed: 42,
            stream: self.spec.stream,
        }
        .stream(3)
        .u32(place as u64);
        let is_dropped = f64::from(word) < (rate * 2f64.powi(32)).round();
        (score, if is_dropped { 0.0 } else { 1.0 / (1.0 - rate) })
    }

    /// Result and log-sum-exp by the definition.
    fn naive(&self, q: &[f64], k: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let [heads, m, n, _, w] = self.size;
        let (mut y, mut lse) = (vec![0.0; heads * m * w], vec![f64::INFINITY; heads * m]);
        for (head, i) in (0..heads).flat_map(|h| (0..m).map(move |i| (h, i))) {
            let scores: Vec<(f64, f64)> = (0..n).map(|j| self.score(q, k, [head, i, j])).collect();
            let sum: f64 = scores.iter().map(|(s, _)| s.exp()).sum();
            if sum == 0.0 {
                continue;
            }
            lse[head * m + i] = sum.ln();
            for (j, (s, factor)) in scores.iter().enumerate() {
                for c in 0..w {
                    y[(head * m + i) * w + c] += s.exp() / sum * factor * v[(head * n + j) * w + c];
                }
            }
        }
        (y, lse)
    }

    fn lens(&self) -> [usize; 4] {
        let [heads, m, n, d, w] = self.size;
        [heads * m * d, heads * n * d, heads * n * w, heads * m * w]
    }

    fn operands(&self) -> [Vec<f64>; 4] {
        let lens = self.lens();
        std::array::from_fn(|k| normal(lens[k], k as u64 + 1))
    }

    /// Places the operands on a desk.
    fn views(&self, desk: &mut Desk, [q, k, v, g]: &[Vec<f64>; 4]) -> (Operands<3>, View<3>) {
        let [heads, m, n, d, w] = self.size;
        let mask = match &self.mask {
            Masked::No => None,
            Masked::Keep(keep) => Some(View::contiguous(desk.bools(keep), [heads, m, n])),
            Masked::Add(add) => Some(View::contiguous(desk.floats(add), [heads, m, n])),
        };
        let operands = Operands {
            q: View::contiguous(desk.floats(q), [heads, m, d]),
            k: View::contiguous(desk.floats(k), [heads, n, d]),
            v: View::contiguous(desk.floats(v), [heads, n, w]),
            mask,
        };
        (operands, View::contiguous(desk.floats(g), [heads, m, w]))
    }

    /// `y`, `lse`, `dq`, `dk`, `dv` of the kernels.
    fn run(&self, desk: &mut Desk, operands: &[Vec<f64>; 4]) -> [Vec<f64>; 5] {
        desk.step = 3;
        let (o, g) = self.views(desk, operands);
        run_views(desk, o, g, self.size, self.spec).0
    }
}

fn run_views<const R: usize>(
    desk: &mut Desk,
    o: Operands<R>,
    g: View<R>,
    [heads, m, n, d, w]: [usize; 5],
    spec: Attention,
) -> ([Vec<f64>; 5], Option<Error>) {
    let (y, lse, rows) = (
        desk.blank(heads * m * w),
        desk.blank(heads * m),
        desk.blank(heads * m),
    );
    let (dq, dk, dv) = (
        desk.blank(heads * m * d),
        desk.blank(heads * n * d),
        desk.blank(heads * n * w),
    );
    let failure = desk.run(|cx| attention(cx, o.q, o.k, o.v, o.mask, y, lse, spec));
    desk.run(|cx| attention_grad(cx, o.q, o.k, o.v, o.mask, y, lse, g, dq, dk, dv, rows, spec));
    ([y, lse, dq, dk, dv].map(|buf| desk.read(buf)), failure)
}

/// The gradient of `sum(g y)` by central differences of the definition.
fn naive_gradients(case: &Case, [q, k, v, g]: &[Vec<f64>; 4]) -> [Vec<f64>; 3] {
    let loss = |q: &[f64], k: &[f64], v: &[f64]| -> f64 {
        case.naive(q, k, v).0.iter().zip(g).map(|(y, g)| y * g).sum()
    };
    [
        differences(q, |q| loss(q, k, v)),
        differences(k, |k| loss(q, k, v)),
        differences(v, |v| loss(q, k, v)),
    ]
}

/// Differences of exponentials in f64 are good to about this.
const DIFFERENCES: f64 = 1e-8;

fn check(case: &Case, with_gradient: bool) {
    let operands = case.operands();
    let (y, lse) = case.naive(&operands[0], &operands[1], &operands[2]);
    let gradients = with_gradient.then(|| naive_gradients(case, &operands));
    for precision in PRECISIONS {
        let mut desk = Desk::new(precision);
        let found = case.run(&mut desk, &operands);
        let what = format!("{:?} {:?}", case.size, case.spec);
        assert_close(&found[0], &y, tolerance(precision), &format!("y of {what}"));
        for (found, wanted) in found[1].iter().zip(&lse) {
            let same = found == wanted || (found - wanted).abs() < 1e-5 * wanted.abs().max(1.0);
            assert!(same, "lse of {what} is {found}, not {wanted}");
        }
        for (k, wanted) in gradients.iter().flatten().enumerate() {
            let tolerance = tolerance(precision).max(DIFFERENCES);
            assert_close(
                &found[k + 2],
                wanted,
                tolerance,
                &format!("gradient {k} of {what}"),
            );
        }
    }
}

const SMALL: [[usize; 5]; 6] = [
    [1, 1, 1, 1, 1],
    [2, 3, 5, 4, 2],
    [1, 7, 3, 2, 5],
    [3, 4, 4, 3, 3],
    [1, 1, 9, 2, 1],
    [35, 2, 3, 2, 2],
];

#[test]
fn results_and_gradients_follow_the_definition() {
    for (size, reach) in SMALL
        .into_iter()
        .flat_map(|s| [Reach::All, Reach::Causal].map(|r| (s, r)))
    {
        check(&Case::new(size, reach), true);
    }
}

/// Several tiles in each direction, few heads and many.
#[test]
fn tiles_make_no_difference() {
    let sizes = [
        [2, 130, 300, 5, 3],
        [1, 300, 130, 16, 33],
        [40, 65, 129, 3, 2],
        [3, 128, 128, 8, 8],
        [1, 70, 100, 64, 600],
        [2, 40, 100, 600, 8],
    ];
    for (size, reach) in sizes
        .into_iter()
        .flat_map(|s| [Reach::All, Reach::Causal].map(|r| (s, r)))
    {
        check(&Case::new(size, reach), false);
        let mut case = Case::new(size, reach);
        case.spec.dropout = 0.3;
        check(&case, false);
    }
}

/// The gradients of tiles against those of the definition, in closed form: `p` is written out.
#[test]
fn gradients_over_several_tiles() {
    for (size, reach) in [
        ([1, 70, 140, 2, 3], Reach::All),
        ([33, 66, 130, 2, 1], Reach::Causal),
        // Widths at which tiles have fewer keys, and those at which keys, values or both are read where they lie.
        ([1, 70, 90, 128, 128], Reach::All),
        ([1, 30, 90, 96, 40], Reach::Causal),
        ([1, 70, 100, 64, 600], Reach::All),
        ([1, 70, 100, 64, 600], Reach::Causal),
        ([2, 40, 100, 600, 8], Reach::Causal),
    ] {
        let mut case = Case::new(size, reach);
        case.spec.dropout = 0.2;
        let [q, k, v, g] = &case.operands();
        let [heads, m, n, d, w] = size;
        let (_, lse) = case.naive(q, k, v);
        let mut wanted = [vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]];
        for (h, i) in (0..heads).flat_map(|h| (0..m).map(move |i| (h, i))) {
            let row = h * m + i;
            let p: Vec<(f64, f64)> = (0..n).map(|j| case.score(q, k, [h, i, j])).collect();
            let p: Vec<(f64, f64)> = p.iter().map(|(s, f)| ((s - lse[row]).exp(), *f)).collect();
            let dp = |j: usize| {
                (0..w)
                    .map(|c| g[row * w + c] * v[(h * n + j) * w + c])
                    .sum::<f64>()
                    * p[j].1
            };
            let sum: f64 = (0..n).map(|j| p[j].0 * dp(j)).sum();
            for (j, (p, factor)) in p.iter().enumerate() {
                let key = h * n + j;
                let ds = p * (dp(j) - sum) * case.spec.scale;
                (0..w).for_each(|c| wanted[2][key * w + c] += p * factor * g[row * w + c]);
                (0..d).for_each(|c| wanted[0][row * d + c] += ds * k[key * d + c]);
                (0..d).for_each(|c| wanted[1][key * d + c] += ds * q[row * d + c]);
            }
        }
        for precision in PRECISIONS {
            let found = case.run(&mut Desk::new(precision), &case.operands());
            for (found, wanted) in found[2..].iter().zip(&wanted) {
                assert_close(
                    found,
                    wanted,
                    tolerance(precision),
                    "a gradient over several tiles",
                );
            }
        }
    }
}

#[test]
fn masks_hide_keys_or_move_scores() {
    for size in SMALL {
        let [heads, m, n, ..] = size;
        let draws = normal(heads * m * n, 9);
        for mask in [
            Masked::Keep(draws.iter().map(|x| *x > -0.5).collect()),
            Masked::Add(draws.clone()),
        ] {
            for reach in [Reach::All, Reach::Causal] {
                check(
                    &Case {
                        mask: mask.clone(),
                        ..Case::new(size, reach)
                    },
                    true,
                );
            }
        }
    }
}

#[test]
fn a_query_without_keys_gives_nothing_and_takes_nothing() {
    let size = [2, 3, 4, 2, 2];
    let keep: Vec<bool> = (0..2 * 3 * 4).map(|place| place / 4 != 1).collect();
    let add = keep
        .iter()
        .map(|keep| if *keep { 0.0 } else { f64::NEG_INFINITY })
        .collect();
    for mask in [Masked::Keep(keep), Masked::Add(add)] {
        let case = Case {
            mask,
            ..Case::new(size, Reach::All)
        };
        let found = case.run(&mut Desk::new(Precision::F32), &case.operands());
        assert_eq!(found[0][2..4], [0.0, 0.0]);
        assert_eq!(found[1][1], f64::INFINITY);
        assert_eq!(found[2][2..4], [0.0, 0.0]);
        assert!(found[2..].iter().flatten().all(|x| x.is_finite()));
        check(&case, true);
    }
}

#[test]
fn sizes_of_zero_are_fine() {
    for size in [
        [0, 3, 4, 2, 2],
        [2, 0, 4, 2, 2],
        [2, 3, 0, 2, 2],
        [40, 3, 0, 2, 2],
        [2, 3, 4, 2, 0],
    ] {
        for reach in [Reach::All, Reach::Causal] {
            let case = Case::new(size, reach);
            let found = case.run(&mut Desk::new(Precision::F64), &case.operands());
            let zeros = [&found[0], &found[2], &found[3]];
            assert!(zeros.into_iter().flatten().all(|x| *x == 0.0), "{size:?}");
        }
    }
}

#[test]
fn dropout_follows_its_stream() {
    for size in SMALL {
        let mut case = Case::new(size, Reach::All);
        for rate in [0.4, 1.0] {
            case.spec.dropout = rate;
            if rate < 1.0 {
                check(&case, true);
            } else {
                let found = case.run(&mut Desk::new(Precision::F64), &case.operands());
                assert!(found[0].iter().all(|y| *y == 0.0));
            }
        }
    }
}

#[test]
fn a_rate_that_is_none_is_an_error() {
    for rate in [-0.5, 1.5, f64::NAN] {
        let case = Case {
            spec: spec([1, 2, 2, 2, 2], Reach::All, rate),
            ..Case::new([1, 2, 2, 2, 2], Reach::All)
        };
        let mut desk = Desk::new(Precision::F32);
        let (o, g) = case.views(&mut desk, &case.operands());
        let (found, failure) = run_views(&mut desk, o, g, case.size, case.spec);
        let error = failure.expect("the rate is wrong");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error
                .message()
                .contains("attention: the dropout rate must be in 0..=1")
        );
        assert!(found[0].iter().all(|y| y.is_finite()));
    }
}

#[test]
fn large_scores_neither_overflow_nor_vanish() {
    let mut case = Case::new([1, 2, 200, 1, 1], Reach::All);
    case.spec.scale = 1.0;
    // The largest score comes last, far above the others.
    let k: Vec<f64> = (0..200).map(|j| f64::from(j) * 1000.0).collect();
    let v: Vec<f64> = (0..200).map(f64::from).collect();
    let found = case.run(
        &mut Desk::new(Precision::F32),
        &[vec![1.0, -1.0], k, v, vec![1.0, 1.0]],
    );
    assert_eq!(found[0], [199.0, 0.0]);
    assert!(found.iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn a_nan_among_the_keys_reaches_the_queries_that_see_it() {
    let case = Case::new([1, 2, 2, 1, 1], Reach::Causal);
    let operands = [
        vec![1.0, 1.0],
        vec![1.0, f64::NAN],
        vec![3.0, 4.0],
        vec![1.0, 1.0],
    ];
    let found = case.run(&mut Desk::new(Precision::F32), &operands);
    assert_eq!(found[0][0], 3.0);
    assert!(found[0][1].is_nan());
}

/// Queries, keys and values as the thirds of one tensor `[B, T, 3, H, D]`, and a mask that is the same for all heads.
#[test]
fn strided_operands_and_broadcast_masks_cost_no_copy() {
    let [b, t, h, d] = [2usize, 70, 3, 4];
    let size = [b * h, t, t, d, d];
    let all = normal(b * t * 3 * h * d, 1);
    let keep: Vec<bool> = normal(t * t, 2).iter().map(|x| *x > -1.0).collect();
    let third = |s: usize| -> Vec<f64> {
        let place = |x: usize| {
            let (c, i, head, batch) = (x % d, x / d % t, x / (d * t) % h, x / (d * t * h));
            (((batch * t + i) * 3 + s) * h + head) * d + c
        };
        (0..b * h * t * d).map(|x| all[place(x)]).collect()
    };
    let g = normal(b * h * t * d, 3);
    let plain = Case {
        mask: Masked::Keep(keep.repeat(b * h)),
        ..Case::new(size, Reach::All)
    };
    let wanted = plain.run(
        &mut Desk::new(Precision::F64),
        &[third(0), third(1), third(2), g.clone()],
    );

    let mut desk = Desk::new(Precision::F64);
    desk.step = 3;
    let buf = desk.floats(&all);
    let row = (3 * h * d) as isize;
    let strides = [t as isize * row, d as isize, row, 1];
    let view = |s: usize| View {
        buf,
        offset: s * h * d,
        shape: [b, h, t, d],
        strides,
    };
    let mask = View {
        buf: desk.bools(&keep),
        offset: 0,
        shape: [b, h, t, t],
        strides: [0, 0, t as isize, 1],
    };
    let operands = Operands {
        q: view(0),
        k: view(1),
        v: view(2),
        mask: Some(mask),
    };
    let g = View::contiguous(desk.floats(&g), [b, h, t, d]);
    let (found, failure) = run_views(&mut desk, operands, g, size, plain.spec);
    assert!(failure.is_none());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for size in [[2, 200, 300, 16, 16], [48, 40, 70, 8, 8], [3, 1000, 20, 4, 4]] {
        let mut case = Case::new(size, Reach::Causal);
        case.spec.dropout = 0.1;
        for isa in Isa::available() {
            let operands = case.operands();
            let alone = case.run(&mut Desk::with(Precision::F32, 1, *isa), &operands);
            for threads in [2, 5] {
                let found = case.run(&mut Desk::with(Precision::F32, threads, *isa), &operands);
                assert!(found == alone, "{size:?} on {threads} threads of {isa}");
            }
        }
    }
}

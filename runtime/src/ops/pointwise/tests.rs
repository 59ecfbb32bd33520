use std::array::from_fn;

use proptest::prelude::*;

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::{Dtype, Float, Precision};
use crate::ops::testbed::{Bed, PRECISIONS, numbers};
use crate::rt;

/// `tanh(a) * b + s0` and `a > b`.
struct TwoResults;

impl rt::Pointwise<2, 0, 0, 1, 0, 1, 1> for TwoResults {
    const FUNCTIONS: usize = 1;

    #[inline(always)]
    fn eval<T: rt::Real>(
        f: [T; 2],
        _: [Int; 0],
        _: [bool; 0],
        s: &[f64; 1],
    ) -> ([T; 1], [Int; 0], [bool; 1]) {
        let [a, b] = f;
        ([a.tanh() * b + T::from_f64(s[0])], [], [a > b])
    }
}

fn two_results(a: f64, b: f64, precision: Precision) -> (f64, u8) {
    let y = match precision.float() {
        Float::F32 => f64::from(Real::tanh(a as f32) * b as f32 + 0.5),
        Float::F64 => Real::tanh(a) * b + 0.5,
    };
    (y, u8::from(a > b))
}

/// Integers and truth values in, integers out: `if c { n + m } else { n * m }`.
struct Whole;

impl rt::Pointwise<0, 2, 1, 0, 1, 0, 0> for Whole {
    #[inline(always)]
    fn eval<T: rt::Real>(
        _: [T; 0],
        i: [Int; 2],
        b: [bool; 1],
        _: &[f64; 0],
    ) -> ([T; 0], [Int; 1], [bool; 0]) {
        let [n, m] = i;
        ([], [if b[0] { n + m } else { n * m }], [])
    }
}

/// The alternating sum of sixteen tensors.
struct Many;

impl rt::Pointwise<16, 0, 0, 2, 0, 0, 0> for Many {
    #[inline(always)]
    fn eval<T: rt::Real>(
        f: [T; 16],
        _: [Int; 0],
        _: [bool; 0],
        _: &[f64; 0],
    ) -> ([T; 2], [Int; 0], [bool; 0]) {
        let even = (0..8).fold(T::ZERO, |sum, k| sum + f[2 * k]);
        let odd = (0..8).fold(T::ZERO, |sum, k| sum + f[2 * k + 1]);
        ([even, odd], [], [])
    }
}

/// Some below, some above the lengths from which other threads help, with and without a function in the group.
const SIZES: [usize; 13] = [0, 1, 2, 63, 64, 65, 511, 512, 513, 1000, 3000, 16_384, 100_001];

#[test]
fn dense_groups_of_every_length() {
    for precision in PRECISIONS {
        for (threads, len) in [1, 3].into_iter().flat_map(|t| SIZES.map(|n| (t, n))) {
            let mut bed = Bed::new(precision, threads);
            let (a, b) = (numbers(len, 1), numbers(len, 2));
            let (fa, fb) = (bed.floats(&a), bed.floats(&b));
            let (y, mask) = (bed.output(Dtype::Float, len), bed.output(Dtype::Bool, len));
            bed.call(|cx| {
                let ins = Ins {
                    floats: [In::dense(fa), In::dense(fb)],
                    ints: [],
                    bools: [],
                };
                rt::pointwise(
                    cx,
                    TwoResults,
                    [len],
                    ins,
                    Outs {
                        floats: [y],
                        ints: [],
                        bools: [mask],
                    },
                    [0.5],
                );
            });
            let want: Vec<_> = a
                .iter()
                .zip(&b)
                .map(|(a, b)| two_results(*a, *b, precision))
                .collect();
            assert_eq!(
                bed.read_floats(y),
                want.iter().map(|w| w.0).collect::<Vec<_>>(),
                "{len} {precision}"
            );
            assert_eq!(
                bed.read_bools(mask),
                want.iter().map(|w| w.1).collect::<Vec<_>>(),
                "{len} {precision}"
            );
        }
    }
}

#[test]
fn an_output_may_replace_an_input_of_a_broadcast_group() {
    for (rows, cols) in [(1, 1), (3, 5), (7, 64), (64, 10), (129, 300)] {
        let mut bed = Bed::new(Precision::F64, 2);
        let (a, b) = (numbers(rows * cols, 3), numbers(cols, 4));
        let (y, bias) = (bed.floats(&a), bed.floats(&b));
        let mask = bed.output(Dtype::Bool, rows * cols);
        bed.call(|cx| {
            let ins = Ins {
                floats: [In::in_place(0), In::strided(bias, 0, [0, 1])],
                ints: [],
                bools: [],
            };
            let outs = Outs {
                floats: [y],
                ints: [],
                bools: [mask],
            };
            rt::pointwise(cx, TwoResults, [rows, cols], ins, outs, [0.5]);
        });
        let want = |k: usize| two_results(a[k], b[k % cols], Precision::F64);
        assert_eq!(
            bed.read_floats(y),
            (0..rows * cols).map(|k| want(k).0).collect::<Vec<_>>()
        );
        assert_eq!(
            bed.read_bools(mask),
            (0..rows * cols).map(|k| want(k).1).collect::<Vec<_>>()
        );
    }
}

#[test]
fn integers_and_truth_values() {
    for len in SIZES {
        let mut bed = Bed::new(Precision::F32, 2);
        let n: Vec<i64> = (0..len as i64).map(|k| k - 7).collect();
        let c: Vec<bool> = (0..len).map(|k| k % 3 == 0).collect();
        let (fn_, fc) = (bed.ints(&n), bed.bools(&c));
        let m = bed.ints(&[i64::MAX]);
        let y = bed.output(Dtype::Int, len);
        bed.call(|cx| {
            let ins = Ins {
                floats: [],
                ints: [In::dense(fn_), In::strided(m, 0, [0])],
                bools: [In::dense(fc)],
            };
            rt::pointwise(
                cx,
                Whole,
                [len],
                ins,
                Outs {
                    floats: [],
                    ints: [y],
                    bools: [],
                },
                [],
            );
        });
        let whole = |k: usize| {
            if c[k] {
                n[k].wrapping_add(i64::MAX)
            } else {
                n[k].wrapping_mul(i64::MAX)
            }
        };
        assert_eq!(bed.read_ints(y), (0..len).map(whole).collect::<Vec<_>>());
    }
}

#[test]
fn sixteen_inputs_all_strided() {
    for len in [1, 64, 700, 20_000] {
        let mut bed = Bed::new(Precision::F64, 2);
        let sources: Vec<Vec<f64>> = (0..16).map(|k| numbers(2 * len, k)).collect();
        let bufs: Vec<Buf> = sources.iter().map(|s| bed.floats(s)).collect();
        let (even, odd) = (bed.output(Dtype::Float, len), bed.output(Dtype::Float, len));
        bed.call(|cx| {
            let floats = from_fn(|k| In::strided(bufs[k], k % 2, [2]));
            let ins = Ins {
                floats,
                ints: [],
                bools: [],
            };
            rt::pointwise(
                cx,
                Many,
                [len],
                ins,
                Outs {
                    floats: [even, odd],
                    ints: [],
                    bools: [],
                },
                [],
            );
        });
        let sum = |parity: usize| -> Vec<f64> {
            (0..len)
                .map(|i| (0..8).fold(0.0, |s, k| s + sources[2 * k + parity][2 * i + parity]))
                .collect()
        };
        assert_eq!(bed.read_floats(even), sum(0));
        assert_eq!(bed.read_floats(odd), sum(1));
    }
}

#[test]
fn a_scalar_has_one_element() {
    let mut bed = Bed::new(Precision::F64, 1);
    let (a, b) = (bed.floats(&[0.25]), bed.floats(&[2.0]));
    let (y, mask) = (bed.output(Dtype::Float, 1), bed.output(Dtype::Bool, 1));
    bed.call(|cx| {
        let ins = Ins {
            floats: [In::dense(a), In::strided(b, 0, [])],
            ints: [],
            bools: [],
        };
        rt::pointwise(
            cx,
            TwoResults,
            [],
            ins,
            Outs {
                floats: [y],
                ints: [],
                bools: [mask],
            },
            [0.5],
        );
    });
    assert_eq!(bed.read_floats(y), [two_results(0.25, 2.0, Precision::F64).0]);
}

#[test]
#[should_panic(expected = "as many elements as its shape")]
fn an_output_of_another_length_is_refused() {
    let mut bed = Bed::new(Precision::F32, 1);
    let (a, y, mask) = (
        bed.floats(&[1.0; 4]),
        bed.floats(&[0.0; 3]),
        bed.bools(&[false; 4]),
    );
    bed.call(|cx| {
        let ins = Ins {
            floats: [In::dense(a), In::dense(a)],
            ints: [],
            bools: [],
        };
        rt::pointwise(
            cx,
            TwoResults,
            [4],
            ins,
            Outs {
                floats: [y],
                ints: [],
                bools: [mask],
            },
            [0.5],
        );
    });
}

proptest! {
    /// Instruction sets and threads change no bit.
    #[test]
    fn the_same_bits_everywhere(len in 1usize..40_000, seed in any::<u64>()) {
        let run = |isa: Isa, threads: usize| {
            let mut bed = Bed::new(Precision::F32, threads).with_isa(isa);
            let (a, b) = (numbers(len, seed), numbers(1, seed + 1));
            let (a, b) = (bed.floats(&a), bed.floats(&b));
            let (y, mask) = (bed.output(Dtype::Float, len), bed.output(Dtype::Bool, len));
            bed.call(|cx| {
                let ins = Ins { floats: [In::dense(a), In::strided(b, 0, [0])], ints: [], bools: [] };
                rt::pointwise(cx, TwoResults, [len], ins, Outs { floats: [y], ints: [], bools: [mask] }, [0.1]);
            });
            bed.read_floats(y)
        };
        let want = run(Isa::Portable, 1);
        for &isa in Isa::available() {
            prop_assert_eq!(&run(isa, 2), &want);
        }
    }
}

/// The float that a row means: by the name of its variant, from one element of every kind of operand.
fn float_row(name: &str, a: f64, b: f64, n: i64, c: bool) -> f64 {
    match name {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Neg" => -a,
        "Recip" => 1.0 / a,
        "Pow" => Real::pow(a, b),
        "Abs" => f64::abs(a),
        "Sign" => Real::sign(a),
        "Floor" => f64::floor(a),
        "Ceil" => f64::ceil(a),
        "Round" => a.round_ties_even(),
        "Maximum" => Real::max(a, b),
        "Minimum" => Real::min(a, b),
        "Relu" => Real::relu(a),
        "Detach" | "Fill" => a,
        "Sqrt" => f64::sqrt(a),
        "Rsqrt" => Real::rsqrt(a),
        "Exp" => Real::exp(a),
        "Expm1" => Real::expm1(a),
        "Log" => Real::log(a),
        "Log1p" => Real::log1p(a),
        "Sin" => Real::sin(a),
        "Cos" => Real::cos(a),
        "Tan" => Real::tan(a),
        "Tanh" => Real::tanh(a),
        "Sigmoid" => Real::sigmoid(a),
        "Erf" => Real::erf(a),
        "Softplus" => Real::softplus(a),
        "Select" => {
            if c {
                a
            } else {
                b
            }
        }
        "ToFloatInt" => n as f64,
        "ToFloatBool" => f64::from(u8::from(c)),
        other => panic!("{other} is no row of floats"),
    }
}

/// The integer that a row means.
fn int_row(name: &str, x: f64, a: i64, b: i64, c: bool) -> i64 {
    match name {
        "AddInt" => a.wrapping_add(b),
        "SubInt" => a.wrapping_sub(b),
        "MulInt" => a.wrapping_mul(b),
        "NegInt" => a.wrapping_neg(),
        "AbsInt" => a.wrapping_abs(),
        "SignInt" => a.signum(),
        "MaximumInt" => a.max(b),
        "MinimumInt" => a.min(b),
        "SelectInt" if c => a,
        "SelectInt" => b,
        "ToInt" => x as i64,
        "ToIntBool" => i64::from(c),
        "FillInt" => a,
        other => panic!("{other} is no row of integers"),
    }
}

/// The truth value that a row means: comparisons by their order, the rest by name.
fn bool_row(name: &str, order: Option<std::cmp::Ordering>, [a, b, c]: [bool; 3]) -> bool {
    let comparison = name.trim_end_matches("Int").trim_end_matches("Bool");
    match (name, comparison) {
        ("AndBool", _) => a && b,
        ("OrBool", _) => a || b,
        ("NotBool", _) => !a,
        ("FillBool", _) => a,
        ("SelectBool", _) => [c, b][usize::from(a)],
        (_, "Eq") => order.is_some_and(|o| o.is_eq()),
        (_, "Ne") => order.is_none_or(|o| o.is_ne()),
        (_, "Lt") => order.is_some_and(|o| o.is_lt()),
        (_, "Le") => order.is_some_and(|o| o.is_le()),
        (_, "Gt") => order.is_some_and(|o| o.is_gt()),
        (_, "Ge") => order.is_some_and(|o| o.is_ge()),
        _ => panic!("{name} is no row of truth values"),
    }
}

/// Every row gives what its name says, also where an operand is a number.
#[test]
fn rows_compute_what_they_are_called() {
    const LEN: usize = 700;
    // Equal elements, signs, and NaN.
    let mut floats = [numbers(LEN, 5), numbers(LEN, 6)];
    let [x, z] = &mut floats;
    z[..80].copy_from_slice(&x[..80]);
    x[99] = f64::NAN;
    let ints: [Vec<i64>; 2] = [7, 5].map(|m| (0..LEN as i64).map(|k| k * 31 % (2 * m + 1) - m).collect());
    let bools: [Vec<bool>; 3] = [2, 3, 5].map(|m| (0..LEN).map(|k| k % m == 0).collect());
    for (&row, number) in Row::ALL.iter().flat_map(|row| [(row, None), (row, Some(-1.75))]) {
        let (mut floats, mut ints, mut bools) = (floats.clone(), ints.clone(), bools.clone());
        let mut bed = Bed::new(Precision::F64, 1);
        let name = format!("{row:?}");
        let ([nf, ni, nb], result) = row.signature();
        let mut f: Vec<In> = floats[..nf].iter().map(|x| In::dense(bed.floats(x))).collect();
        let mut i: Vec<In> = ints[..ni].iter().map(|x| In::dense(bed.ints(x))).collect();
        let mut b: Vec<In> = bools[..nb].iter().map(|x| In::dense(bed.bools(x))).collect();
        // The number takes the place of the first operand of every kind.
        if let Some(value) = number {
            f.first_mut().into_iter().for_each(|x| *x = In::number(value));
            i.first_mut().into_iter().for_each(|x| *x = In::number(value));
            b.first_mut().into_iter().for_each(|x| *x = In::number(value));
            floats[0].fill(value);
            ints[0].fill(-1);
            bools[0].fill(true);
        }
        let y = bed.output(result, LEN);
        bed.call(|cx| rt::row(cx, row, &[LEN], [&f, &i, &b], y));
        for k in 0..LEN {
            let ([x, z], [n, m]) = ([floats[0][k], floats[1][k]], [ints[0][k], ints[1][k]]);
            let c = [bools[0][k], bools[1][k], bools[2][k]];
            match result {
                Dtype::Float => {
                    let (got, want) = (bed.read_floats(y)[k], float_row(&name, x, z, n, c[0]));
                    let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                    assert!(same, "{name} of {x}, {z}, {n}, {c:?} is {got}, not {want}");
                }
                Dtype::Int => assert_eq!(bed.read_ints(y)[k], int_row(&name, x, n, m, c[0]), "{name}"),
                Dtype::Bool => {
                    let order = match (nf, ni) {
                        (2, _) => x.partial_cmp(&z),
                        (_, 2) => Some(n.cmp(&m)),
                        _ => Some(c[0].cmp(&c[1])),
                    };
                    assert_eq!(
                        bed.read_bools(y)[k],
                        u8::from(bool_row(&name, order, c)),
                        "{name}"
                    );
                }
            }
        }
    }
}

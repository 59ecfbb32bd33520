//! Convolutions by tiles against their definition, and what their errors are.

use proptest::prelude::*;

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::ops::conv::SHARDS;
use crate::ops::conv::results::Results;
use crate::ops::conv::sums::Way;
use crate::ops::conv::tests::{for_each_term, moved, plain};
use crate::ops::conv::way::Work;
use crate::ops::epilogue::{Activation, Finish};
use crate::ops::testbed::numbers;
use crate::ops::testkit::Desk;

/// The unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;
/// How much larger the terms of the transforms are than those of a window, at most: the square of the largest
/// `sum over points of |A| |G| sum |B|`.
const GROWTH: f64 = 14.3125 * 14.3125;

/// Image, weight and cotangent of the result.
type Data = [Vec<f32>; 3];

fn data(conv: &Conv2d, f: impl Fn(f64) -> f64) -> Data {
    let lens = [
        conv.batch * Conv2d::area(conv.size) * conv.in_channels,
        conv.out_channels * conv.in_channels * Conv2d::area(conv.kernel),
        conv.batch * Conv2d::area(conv.out) * conv.out_channels,
    ];
    let mut seed = 0;
    lens.map(|len| {
        seed += 1;
        numbers(len, seed).into_iter().map(|x| f(x) as f32).collect()
    })
}

/// Results, the image's gradient and the weight's, all by tiles, whatever the cost model says.
fn by_tiles(conv: &Conv2d, [x, w, dy]: &Data, (isa, threads): (Isa, usize)) -> Data {
    let mut desk = Desk::with(Precision::High, threads, isa);
    let mut out = [dy.len(), x.len(), w.len()].map(|len| vec![f32::NAN; len]);
    desk.run(|cx| {
        let env = cx.env;
        let [y, dx, dw] = &mut out;
        let forward = |k, _| conv.forward_slide(k);
        let backward = |k, residue| conv.backward(k, residue);
        let run = |places: Places<'_>, weights: Weights<'_, f32>, from: &[f32], to: &mut [f32]| {
            assert!(Grid::of(&places).is_some(), "{conv:?} has no tiles");
            let mut values = vec![f32::NAN; values_len(env, places.channels, places.rows)];
            pack(&places, env, weights, &mut values);
            let finish = Finish::new(None, Activation::None);
            let work = Work {
                places,
                env,
                images: from,
                weights,
                finish,
            };
            super::run(&work, &values, Results::stored(to));
        };
        run(conv.forward_places(&forward), conv.forward_weights(w), x, y);
        run(conv.backward_places(&backward), conv.backward_weights(w), dy, dx);
        let mut scratch = vec![f32::NAN; SHARDS * w.len()];
        sums::run_in(env, (x, dy), (dw, &mut scratch), *conv, Way::Tiles);
    });
    out
}

/// The same in f64, with magnitudes in the place of numbers where `magnitudes` says so.
fn exact(conv: &Conv2d, data: &Data, f: impl Fn(f64) -> f64) -> [Vec<f64>; 3] {
    let [x, w, dy] = data;
    let mut out = [dy.len(), x.len(), w.len()].map(|len| vec![0.0; len]);
    for_each_term(conv, |at_x, at_w, at_y| {
        let [x, w, dy] = [x[at_x], w[at_w], dy[at_y]].map(|x| f(f64::from(x)));
        out[0][at_y] += x * w;
        out[1][at_x] += w * dy;
        out[2][at_w] += x * dy;
    });
    out
}

/// On some instruction sets, the largest error of each of the three, in 2^-24 of the largest sum of terms' magnitudes.
fn errors(conv: &Conv2d, data: &Data, isas: &[Isa]) -> Vec<[f64; 3]> {
    let (want, sizes) = (exact(conv, data, |x| x), exact(conv, data, f64::abs));
    let most = sizes.map(|size| size.into_iter().fold(f64::MIN_POSITIVE, f64::max));
    let errors = |isa: &Isa| {
        let got = by_tiles(conv, data, (*isa, 2));
        [0, 1, 2].map(|k| {
            let pairs = got[k].iter().zip(&want[k]);
            let off = pairs.map(|(got, want)| (f64::from(*got) - want).abs());
            off.fold(0.0, f64::max) / most[k] / U
        })
    };
    isas.iter().map(errors).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolutions_by_tiles_are_those_of_the_definition(
        batch in 1usize..4,
        channels in [1usize..70, 1usize..70],
        size in [1usize..15, 1usize..15],
        padding in 0usize..4,
    ) {
        prop_assume!(size.iter().all(|size| size + 2 * padding >= 3));
        let conv = plain(batch, channels, size, 3, padding);
        let data = data(&conv, |x| x);
        for (errors, isa) in errors(&conv, &data, Isa::available()).iter().zip(Isa::available()) {
            prop_assert!(errors.iter().all(|error| *error < 64.0), "{:?} on {}: {:?}", conv, isa, errors);
        }
    }
}

/// Sizes that are cut at every place where there is a cut: tasks, tiles that are multiplied together, blocks of columns and of channels.
#[test]
fn sizes_that_are_cut_are_right() {
    let sizes = [
        plain(6, [32, 64], [26, 26], 3, 0),
        plain(33, [48, 16], [8, 9], 3, 1),
        plain(1, [130, 100], [14, 17], 3, 1),
        plain(2, [65, 49], [70, 5], 3, 2),
        plain(1, [352, 17], [6, 7], 3, 1),
    ];
    for conv in sizes {
        let errors = errors(&conv, &data(&conv, |x| x), &[Isa::best()]);
        assert!(
            errors.as_flattened().iter().all(|error| *error < 64.0),
            "{conv:?}: {errors:?}"
        );
    }
}

/// The largest pixel of a channel that the tile of place `[v, u]` sees.
fn most(conv: &Conv2d, x: &[f32], image: usize, [v, u]: [usize; 2], c: usize) -> f64 {
    let [height, width] = conv.size;
    let pixels = (0..36).filter_map(|k| {
        let y = (v / 4 * 4 + k / 6)
            .checked_sub(conv.padding[0])
            .filter(|y| *y < height)?;
        let x = (u / 4 * 4 + k % 6)
            .checked_sub(conv.padding[1])
            .filter(|x| *x < width)?;
        Some(((image * height + y) * width + x) * conv.in_channels + c)
    });
    pixels.map(|at| f64::from(x[at].abs())).fold(0.0, f64::max)
}

/// What is promised of every result, and of every weight's gradient.
fn promised(conv: &Conv2d, [x, w, dy]: &Data) -> [Vec<f64>; 2] {
    let (ins, outs, [height, width]) = (conv.in_channels, conv.out_channels, conv.out);
    let tiles = conv.batch * height.div_ceil(4) * width.div_ceil(4);
    let [of_result, of_gradient] = [ins, tiles].map(|terms| GROWTH * (terms + 22) as f64 * U);
    let (mut results, mut gradients) = (Vec::new(), vec![0.0; w.len()]);
    for place in 0..conv.batch * height * width {
        let at = [place / width % height, place % width];
        let pixels: Vec<f64> = (0..ins)
            .map(|c| most(conv, x, place / width / height, at, c))
            .collect();
        for o in 0..outs {
            let mut result = 0.0;
            let cotangent = f64::from(dy[place * outs + o].abs());
            for (c, pixel) in pixels.iter().enumerate() {
                let window = (o * ins + c) * 9..(o * ins + c + 1) * 9;
                result += pixel * w[window.clone()].iter().map(|w| f64::from(w.abs())).sum::<f64>();
                gradients[window]
                    .iter_mut()
                    .for_each(|bound| *bound += of_gradient * pixel * cotangent);
            }
            results.push(of_result * result);
        }
    }
    [results, gradients]
}

#[test]
fn errors_are_no_larger_than_promised() {
    let kinds: [fn(f64) -> f64; 3] = [|x| x, f64::abs, |x| x * (24.0 * (x * 1e3).sin()).exp2()];
    for (conv, kind) in [
        plain(3, [7, 20], [13, 14], 3, 1),
        plain(2, [64, 32], [8, 9], 3, 0),
    ]
    .into_iter()
    .flat_map(|conv| kinds.map(|kind| (conv, kind)))
    {
        let data = data(&conv, kind);
        let ([results, gradients], want) = (promised(&conv, &data), exact(&conv, &data, |x| x));
        for &isa in Isa::available() {
            let [y, _, dw] = by_tiles(&conv, &data, (isa, 1));
            for (got, want, bounds) in [(&y, &want[0], &results), (&dw, &want[2], &gradients)] {
                for (at, ((got, want), bound)) in got.iter().zip(want).zip(bounds).enumerate() {
                    let off = (f64::from(*got) - want).abs();
                    assert!(
                        off <= *bound,
                        "{conv:?} on {isa} at {at}: {got} for {want}, off by {off:e} of {bound:e}"
                    );
                }
            }
        }
    }
}

/// What is not a finite number, or becomes none in the transforms, reaches what sees it and nothing else.
#[test]
fn numbers_that_are_not_finite_stay_in_their_windows() {
    let conv = plain(2, [16, 20], [14, 15], 3, 1);
    let mut data = data(&conv, |x| x);
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
    for (k, x) in strange.into_iter().enumerate() {
        data[0][k * 807 + 5] = x;
        data[2][k * 511 + 7] = x;
    }
    let [x, w, dy] = &data;
    let want = exact(&conv, &data, |x| x);
    for &isa in Isa::available() {
        let got = by_tiles(&conv, &data, (isa, 2));
        for (k, (got, want)) in got.iter().zip(&want).enumerate() {
            for (at, (got, want)) in got.iter().zip(want).enumerate() {
                let want = *want as f32;
                let is_same = match want.is_finite() {
                    true => (got - want).abs() <= 1e-4 * want.abs().max(1.0),
                    false => got.is_nan() == want.is_nan() && !got.is_finite(),
                };
                assert!(is_same, "{isa}, {k} at {at}: {got} for {want}");
            }
        }
    }
    assert!(x.len() > 807 * 4 && dy.len() > 511 * 4 && !w.is_empty());
}

/// The same bits in any number of threads, with packed weights and without, finished in registers and afterwards.
#[test]
fn sizes_alone_say_which_bits_come_out() {
    let conv = plain(9, [16, 40], [33, 18], 3, 1);
    let data = data(&conv, |x| x);
    for &isa in Isa::available() {
        assert_eq!(
            by_tiles(&conv, &data, (isa, 1)),
            by_tiles(&conv, &data, (isa, 4)),
            "{isa}"
        );
    }
}

#[test]
fn tiles_are_chosen_where_they_are_faster() {
    let serves = |conv: Conv2d, precision| {
        let mut found = [false; 3];
        Desk::with(precision, 1, Isa::best()).run(|cx| {
            let (forward, backward) = (
                |k, _| conv.forward_slide(k),
                |k, residue| conv.backward(k, residue),
            );
            found = [
                super::serves(&conv.forward_places(&forward), cx.env),
                super::serves(&conv.backward_places(&backward), cx.env),
                sums_serve(&conv, cx.env),
            ];
        });
        found
    };
    let has_tiles = Arithmetic::new(Precision::High, Isa::best()).unit().is_some();
    let layer = plain(64, [32, 64], [26, 26], 3, 0);
    assert_eq!(serves(layer, Precision::High), [!has_tiles; 3]);
    assert_eq!(serves(layer, Precision::F32), [false; 3]);
    assert_eq!(serves(layer, Precision::Bf16), [false; 3]);
    let first = plain(64, [1, 32], [28, 28], 3, 0);
    assert!(!serves(first, Precision::High)[0]);
    assert_eq!(serves(moved(layer, [2, 2], [1, 1]), Precision::High), [false; 3]);
    assert_eq!(serves(moved(layer, [1, 1], [2, 2]), Precision::High), [false; 3]);
    assert_eq!(
        serves(plain(64, [32, 64], [26, 26], 5, 0), Precision::High),
        [false; 3]
    );
}

//! Convolutions in pairs against their definition in f64, with the bound that is promised, on every unit that this CPU has and on
//! the instructions of tiles in plain Rust.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::cpu::gemm::{Arithmetic, Convolve, ways};
use crate::cpu::isa::{Avx512Bf16, Isa};
use crate::cpu::threads::Team;
use crate::dtype::Precision;
use crate::ops::conv::Conv2d;
use crate::ops::conv::results::Results;
use crate::ops::conv::tests::{for_each_term, moved, out, plain};
use crate::ops::epilogue::{Activation, Finish};
use crate::ops::testbed::numbers;

/// The unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The error relative to the sum of absolute values that is promised, for windows of so many numbers in so many pieces.
fn promise(parts: Parts, [depth, steps]: [usize; 2]) -> f64 {
    let (depth, steps) = (depth as f64, steps as f64);
    match parts {
        Parts::Three => (6.0 * steps + 22.0) * U,
        Parts::Two => 3.0 / 65536.0 + (depth + 3.0 * steps + 2.0) * U,
        Parts::One => 1.0 / 128.0 + 1.0 / 65536.0 + (depth + 2.0) * U,
    }
}

/// What is computed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Way {
    Results,
    Gradient,
}

/// Numbers that look random.
fn singles(len: usize, seed: u64) -> Vec<f32> {
    numbers(len, seed).into_iter().map(|x| x as f32).collect()
}

fn isa(unit: Unit) -> Isa {
    match unit {
        Unit::Dots(bf16) => Isa::Avx512Bf16(bf16),
        _ => Isa::best().vectors(),
    }
}

/// Whether vectors read weights that are packed for blocks of 32 columns, as on all CPUs with a unit of pairs.
fn has_wide_vectors() -> bool {
    <f32 as Convolve>::columns(Isa::best(), BLOCK) == BLOCK
}

fn precision(parts: Parts) -> Precision {
    match parts {
        Parts::One => Precision::Bf16,
        Parts::Two => Precision::High,
        Parts::Three => Precision::F32,
    }
}

/// Computes results (or the gradient of the image from what `x` then is) in pairs, whatever is fastest.
fn computed(
    conv: &Conv2d,
    way: Way,
    (unit, parts): (Unit, Parts),
    [x, w]: [&[f32]; 2],
    threads: usize,
    finish: Finish<'_, f32>,
) -> Vec<f32> {
    let forward = |k, _| conv.forward_slide(k);
    let backward = |k, residue| conv.backward(k, residue);
    let (places, weights) = match way {
        Way::Results => (conv.forward_places(&forward), conv.forward_weights(w)),
        Way::Gradient => (conv.backward_places(&backward), conv.backward_weights(w)),
    };
    let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
    let env = Env {
        team: &team,
        isa: isa(unit),
        precision: precision(parts),
        seed: 0,
        step: 0,
    };
    let mut out = vec![f32::NAN; places.batch * places.area() * places.rows];
    let kernel = conv.kernel[0] * conv.kernel[1];
    let steps = kernel * places.channels.div_ceil(BLOCK) * places.rows.div_ceil(BLOCK);
    let mut packed = vec![f32::NAN; kernel * places.channels * places.rows.next_multiple_of(16) + 15];
    packed.resize(packed.len() + steps * 6 * 256 + 15, f32::NAN);
    let work = Work {
        places,
        env,
        images: x,
        weights,
        finish,
    };
    run(&work, (unit, parts), &mut packed, Results::stored(&mut out));
    out
}

/// Sums, those of absolute values, in f64.
fn expected(conv: &Conv2d, way: Way, [x, w]: [&[f32]; 2], len: usize) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); len];
    for_each_term(conv, |at_x, at_w, at_y| {
        let (from, to) = match way {
            Way::Results => (at_x, at_y),
            Way::Gradient => (at_y, at_x),
        };
        let term = f64::from(x[from]) * f64::from(w[at_w]);
        sums[to].0 += term;
        sums[to].1 += term.abs();
    });
    sums
}

fn sizes(conv: &Conv2d, way: Way) -> [usize; 2] {
    let [x, y] = [
        conv.batch * conv.in_channels * Conv2d::area(conv.size),
        conv.batch * conv.out_channels * Conv2d::area(conv.out),
    ];
    match way {
        Way::Results => [x, y],
        Way::Gradient => [y, x],
    }
}

/// The most numbers of a window, and pieces of 32.
fn depth(conv: &Conv2d, way: Way) -> [usize; 2] {
    let (channels, residues) = match way {
        Way::Results => (conv.in_channels, [1, 1]),
        Way::Gradient => (conv.out_channels, conv.stride),
    };
    let mut most = [0; 2];
    for (y, x) in (0..residues[0]).flat_map(|y| (0..residues[1]).map(move |x| (y, x))) {
        let axes = match way {
            Way::Results => [conv.forward(0), conv.forward(1)],
            Way::Gradient => [conv.backward(0, y).axis, conv.backward(1, x).axis],
        };
        let depth = axes[0].taps * axes[1].taps * channels;
        most = [most[0].max(depth), most[1].max(gemm::steps_of(&axes, channels))];
    }
    most
}

fn weights_len(conv: &Conv2d) -> usize {
    conv.in_channels * conv.out_channels * Conv2d::area(conv.kernel)
}

/// Both directions on all units keep the promise for these numbers.
fn check_numbers(conv: &Conv2d, make: impl Fn(usize, u64) -> Vec<f32>) {
    for way in [Way::Results, Way::Gradient] {
        let [from, to] = sizes(conv, way);
        let (x, w) = (make(from, 1), make(weights_len(conv), 2));
        let want = expected(conv, way, [&x, &w], to);
        for unit in ways() {
            let bound = promise(unit.1, depth(conv, way));
            let finish = Finish::new(None, Activation::None);
            let given = computed(conv, way, unit, [&x, &w], 2, finish);
            for (at, (given, (sum, size))) in given.iter().zip(&want).enumerate() {
                let off = (f64::from(*given) - sum).abs();
                assert!(
                    off <= bound * size,
                    "{unit:?} {way:?} {conv:?} at {at}: {given} for {sum}, off by {:.2} of {size:e} (in 2^-24)",
                    off / size / U
                );
            }
        }
    }
}

fn check(conv: &Conv2d) {
    check_numbers(conv, singles);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn convolutions_in_pairs_are_those_of_the_definition(
        (batch, ins, outs) in (0usize..3, 1usize..40, 1usize..40),
        size in prop::array::uniform2(1usize..12),
        kernel in prop::array::uniform2(1usize..4),
        stride in prop::array::uniform2(1usize..4),
        padding in prop::array::uniform2(0usize..4),
        dilation in prop::array::uniform2(1usize..3),
    ) {
        let places = |k: usize| out(size[k], kernel[k], stride[k], padding[k], dilation[k]);
        let (Some(height), Some(width)) = (places(0), places(1)) else { return Ok(()) };
        check(&Conv2d {
            batch,
            in_channels: ins,
            out_channels: outs,
            groups: 1,
            size,
            out: [height, width],
            kernel,
            stride,
            padding,
            dilation,
        });
    }
}

#[test]
fn sizes_that_are_cut_are_right_in_pairs() {
    let line = |channels, len: usize, kernel: usize| Conv2d {
        size: [1, len],
        out: [1, len - kernel + 1],
        kernel: [1, kernel],
        ..plain(1, channels, [len, len], kernel, 0)
    };
    let sizes = [
        // Several images in a band, and a part of the last.
        plain(23, [16, 19], [8, 8], 3, 1),
        // Lines of an image in several bands; more columns than one block.
        plain(1, [24, 36], [60, 50], 3, 1),
        moved(plain(1, [64, 20], [67, 45], 3, 1), [2, 2], [1, 1]),
        // A line that is cut itself.
        line([32, 20], 2000, 5),
        moved(line([16, 10], 3000, 3), [1, 2], [1, 1]),
        // Windows that have more elements than the image has pixels, and that see mostly padding.
        plain(2, [10, 12], [2, 3], 5, 3),
        plain(2, [10, 12], [1, 1], 1, 2),
        // Tasks that share an image, each with some of the columns.
        plain(1, [96, 72], [9, 9], 3, 1),
        // Residues that see nothing.
        moved(plain(2, [8, 9], [9, 9], 2, 0), [3, 3], [1, 1]),
        plain(0, [16, 16], [8, 8], 3, 1),
    ];
    for conv in sizes {
        check(&conv);
    }
    if has_wide_vectors() {
        // A line of places that does not fit.
        check(&plain(1, [700, 2], [3, 80], 3, 1));
    }
}

#[test]
fn hard_numbers_keep_the_promise() {
    let conv = plain(2, [32, 24], [9, 11], 3, 1);
    // Positive: no term makes up for the rounding of another.
    check_numbers(&conv, |len, seed| {
        singles(len, seed).iter().map(|x| x.abs() + 0.1).collect()
    });
    // Exponents from -40 to 40.
    check_numbers(&conv, |len, seed| {
        let exponents = singles(len, seed + 7);
        let numbers = singles(len, seed);
        numbers
            .iter()
            .zip(exponents)
            .map(|(x, e)| x * (e.clamp(-1.0, 1.0) * 40.0).exp2())
            .collect()
    });
    // Large terms that cancel, and small ones that are left.
    check_numbers(&conv, |len, seed| {
        let terms = singles(len, seed).into_iter();
        match seed {
            1 => terms
                .enumerate()
                .map(|(at, x)| if at / 2 % 2 == 0 { 1000.0 + x } else { x - 1000.0 })
                .collect(),
            _ => terms.map(f32::abs).collect(),
        }
    });
}

/// Results as vectors compute them.
fn on_vectors(conv: &Conv2d, (unit, parts): (Unit, Parts), [x, w]: [&[f32]; 2]) -> Vec<f32> {
    let slide = |k, _| conv.forward_slide(k);
    let places = conv.forward_places(&slide);
    let team = Team::new(NonZeroUsize::new(1).unwrap()).unwrap();
    let env = Env {
        team: &team,
        isa: isa(unit).vectors(),
        precision: precision(parts),
        seed: 0,
        step: 0,
    };
    let mut out = vec![f32::NAN; sizes(conv, Way::Results)[1]];
    let mut packed = vec![0.0; w.len() / places.rows * places.rows.next_multiple_of(32)];
    let work = Work {
        places,
        env,
        images: x,
        weights: conv.forward_weights(w),
        finish: Finish::new(None, Activation::None),
    };
    work.packed_on_lanes(&mut packed, Results::stored(&mut out));
    out
}

#[test]
fn numbers_that_parts_would_lose_come_out_as_vectors_give_them() {
    if !has_wide_vectors() {
        return;
    }
    let conv = plain(2, [32, 24], [60, 60], 3, 1);
    let [from, _] = sizes(&conv, Way::Results);
    let finish = Finish::new(None, Activation::None);
    let image = from / 2;
    for hard in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, 1e-33] {
        for (unit, parts) in ways() {
            let (mut x, w) = (singles(from, 1), singles(weights_len(&conv), 2));
            x[5] = hard;
            let given = computed(&conv, Way::Results, (unit, parts), [&x, &w], 2, finish);
            let want = on_vectors(&conv, (unit, parts), [&x, &w]);
            let same = |(y, want): (&f32, &f32)| {
                let is_equal = y.to_bits() == want.to_bits() || y.is_nan() && want.is_nan();
                usize::from(is_equal)
            };
            let on_vectors: usize = given.iter().zip(&want).map(same).sum();
            // Rounded to bf16, the tiny numbers are zero or no trouble.
            let is_lost = parts != Parts::One || hard.is_nan() || hard >= f32::MAX;
            match is_lost {
                // The first band at least, and not the other image.
                true => assert!(
                    given[..24 * 60].iter().zip(&want).map(same).sum::<usize>() == 24 * 60,
                    "{hard:e} {unit:?} {parts:?}"
                ),
                false => assert!(on_vectors < given.len(), "{hard:e} {unit:?} {parts:?}"),
            }
            if parts != Parts::One {
                let second = given[given.len() / 2..].iter().zip(&want[given.len() / 2..]);
                assert!(
                    second.map(same).sum::<usize>() < image / 32 * 24,
                    "{hard:e}: all on vectors"
                );
            }
            // A pixel is seen by its neighbours alone.
            for (at, y) in given.iter().enumerate() {
                let (place, is_odd) = (
                    at / 24,
                    !hard.is_finite() || hard == f32::MAX && parts == Parts::One,
                );
                let sees = place < 3600 && place % 60 <= 1 && place / 60 <= 1;
                assert_eq!(
                    y.is_finite(),
                    !(sees && is_odd),
                    "{hard:e} {unit:?} {parts:?}: place {place}"
                );
            }
        }
    }
}

#[test]
fn weights_that_parts_would_lose_come_out_as_vectors_give_them() {
    if !has_wide_vectors() {
        return;
    }
    let conv = plain(2, [32, 24], [10, 10], 3, 1);
    let [from, _] = sizes(&conv, Way::Results);
    for hard in [f32::NAN, f32::INFINITY, 1e-45] {
        for unit in ways()
            .into_iter()
            .filter(|way| way.1 != Parts::One || !hard.is_finite())
        {
            let (x, mut w) = (singles(from, 1), singles(weights_len(&conv), 2));
            w[100] = hard;
            let given = computed(
                &conv,
                Way::Results,
                unit,
                [&x, &w],
                2,
                Finish::new(None, Activation::None),
            );
            let want = on_vectors(&conv, unit, [&x, &w]);
            let same = |(y, want): (&f32, &f32)| y.to_bits() == want.to_bits() || y.is_nan() && want.is_nan();
            assert!(given.iter().zip(&want).all(same), "{hard:e} {unit:?}");
        }
    }
}

#[test]
fn bias_and_activation_follow() {
    for rows in [5, 16, 32, 45] {
        let conv = plain(2, [24, rows], [7, 7], 3, 1);
        let [from, to] = sizes(&conv, Way::Results);
        let (x, w, bias) = (singles(from, 1), singles(weights_len(&conv), 2), singles(rows, 3));
        for unit in ways() {
            let bare = computed(
                &conv,
                Way::Results,
                unit,
                [&x, &w],
                1,
                Finish::new(None, Activation::None),
            );
            for activation in [Activation::None, Activation::Relu, Activation::Tanh] {
                let finish = Finish::new(Some(&bias), activation);
                let given = computed(&conv, Way::Results, unit, [&x, &w], 1, finish);
                for at in 0..to {
                    let y = bare[at] + bias[at % rows];
                    let (y, off) = match activation {
                        Activation::Relu => (y.max(0.0), 0.0),
                        Activation::Tanh => (y.tanh(), 1e-6),
                        _ => (y, 0.0),
                    };
                    assert!(
                        (given[at] - y).abs() <= off,
                        "{unit:?} {activation:?}: {} for {y}",
                        given[at]
                    );
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_in_pairs() {
    let shapes = [
        plain(5, [24, 20], [20, 20], 3, 1),
        moved(plain(2, [32, 40], [33, 30], 3, 1), [2, 2], [1, 1]),
    ];
    for (conv, way) in shapes
        .iter()
        .flat_map(|conv| [Way::Results, Way::Gradient].map(|way| (conv, way)))
    {
        let (x, w) = (singles(sizes(conv, way)[0], 1), singles(weights_len(conv), 2));
        for unit in ways() {
            let run = |threads| {
                let finish = Finish::new(None, Activation::None);
                let y = computed(conv, way, unit, [&x, &w], threads, finish);
                y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
            };
            let alone = run(1);
            assert!(alone == run(2) && alone == run(8), "{unit:?} {way:?}");
        }
    }
}

/// Whether windows of a convolution are summed in pairs, and in how many parts.
fn chosen(arithmetic: Arithmetic, conv: &Conv2d) -> Option<Parts> {
    let slide = |k, _| conv.forward_slide(k);
    let places = conv.forward_places(&slide);
    method(&places, arithmetic).map(|(_, parts)| parts)
}

#[test]
fn shapes_decide_where_windows_are_summed() {
    let Some(avx512) = crate::cpu::isa::Avx512::detect() else {
        return;
    };
    // SAFETY: choosing executes nothing.
    let tiles = Isa::Amx(unsafe { crate::cpu::amx::Amx::assume(avx512) });
    let on = |precision, conv: &Conv2d| chosen(Arithmetic::new(precision, tiles), conv);
    let conv = plain(64, [32, 64], [26, 26], 3, 0);
    assert_eq!(on(Precision::F32, &conv), Some(Parts::Three));
    assert_eq!(on(Precision::High, &conv), Some(Parts::Two));
    assert_eq!(on(Precision::Bf16, &conv), Some(Parts::One));
    assert_eq!(on(Precision::F64, &conv), None);
    // ResNet-20.
    for (channels, size) in [(16, 32), (32, 16), (64, 8)] {
        let conv = plain(32, [channels; 2], [size; 2], 3, 1);
        assert_eq!(
            on(Precision::F32, &conv),
            Some(Parts::Three),
            "{channels} channels"
        );
    }
    for channels in [1, 3] {
        assert_eq!(
            on(Precision::F32, &plain(64, [channels, 32], [28, 28], 3, 0)),
            None
        );
    }
    // VGG's widest lines have room in three parts; longer ones do not.
    for (channels, size) in [(64, 224), (128, 112), (256, 56)] {
        let conv = plain(1, [channels; 2], [size; 2], 3, 1);
        assert_eq!(
            on(Precision::F32, &conv),
            Some(Parts::Three),
            "{channels} channels"
        );
    }
    assert_eq!(on(Precision::F32, &plain(1, [64; 2], [512; 2], 3, 1)), None);
    let grouped = Conv2d { groups: 2, ..conv };
    assert_eq!(on(Precision::F32, &grouped), None);
    for &isa in Isa::available().iter().filter(|isa| !matches!(isa, Isa::Amx(_))) {
        assert_eq!(chosen(Arithmetic::new(Precision::F32, isa), &conv), None);
    }
    if let Some(bf16) = Avx512Bf16::detect() {
        let arithmetic = Arithmetic::new(Precision::Bf16, Isa::Avx512Bf16(bf16));
        assert_eq!(chosen(arithmetic, &conv), Some(Parts::One));
    }
}

/// How many tiles of so many places the results of an image are cut into.
fn tiles(conv: &Conv2d, unit: usize) -> usize {
    let slide = |k, _| conv.forward_slide(k);
    let places = conv.forward_places(&slide);
    let sheet = sheet(&places, 1, 0..places.area());
    Walk::new(sheet, axes([slide(0, 0), slide(1, 0)]), unit).count()
}

#[test]
fn tiles_end_with_lines_where_that_makes_fewer() {
    // 24 places in lines of 26 pixels: three tiles a line, or 78 over their ends.
    assert_eq!(tiles(&plain(1, [32, 64], [26, 26], 3, 0), 8), 24 * 3);
    // 8 places and one of padding.
    assert_eq!(tiles(&plain(1, [64, 64], [8, 8], 3, 1), 8), 8);
    // 14 places and one of padding: two tiles a line, or 209 places in a row, of which a tile that ends in the padding leaves one out.
    assert_eq!(tiles(&plain(1, [16, 16], [14, 14], 3, 1), 8), 26);
    // Every second pixel: only by lines.
    assert_eq!(
        tiles(&moved(plain(1, [16, 16], [29, 29], 3, 1), [2, 2], [1, 1]), 8),
        15 * 2
    );
}

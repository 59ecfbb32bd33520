//! Gradients of weights in pairs against their definition, on every unit that can be tried here.

use proptest::prelude::*;

use super::*;
use crate::cpu::gemm::{Arithmetic, Parts, Tiling, Unit, ways};
use crate::dtype::Precision;
use crate::ops::conv::tests::{for_each_term, moved, out, plain};
use crate::ops::testbed::numbers;
use crate::ops::testkit::Desk;

/// The unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The error of an element relative to the sum of its terms' magnitudes that is promised, for `k` places as they are padded.
fn promise(parts: Parts, k: usize) -> f64 {
    let k = k as f64;
    match parts {
        Parts::Three => (k / 5.0 + 28.0) * U,
        Parts::Two => 3.0 / 65536.0 + (k + 2.0) * U,
        Parts::One => 1.0 / 128.0 + 1.0 / 65536.0 + (k + 2.0) * U,
    }
}

fn precision(parts: Parts) -> Precision {
    match parts {
        Parts::One => Precision::Bf16,
        Parts::Two => Precision::High,
        Parts::Three => Precision::F32,
    }
}

fn singles(len: usize, seed: u64) -> Vec<f32> {
    numbers(len, seed).into_iter().map(|x| x as f32).collect()
}

fn image_len(conv: &Conv2d) -> usize {
    conv.batch * conv.in_channels * Conv2d::area(conv.size)
}

fn cotangent_len(conv: &Conv2d) -> usize {
    conv.batch * conv.out_channels * Conv2d::area(conv.out)
}

/// The gradient in these bands, or on vectors.
fn gradient(
    conv: &Conv2d,
    (x, dy): (&[f32], &[f32]),
    bands: Option<Bands>,
    (precision, threads): (Precision, usize),
) -> Vec<f32> {
    let len = conv.out_channels * conv.in_channels * Conv2d::area(conv.kernel);
    let (mut dw, mut scratch) = (vec![f32::NAN; len], vec![f32::NAN; SHARDS * len]);
    let mut desk = Desk::with(precision, threads, crate::cpu::isa::Isa::best());
    desk.run(|cx| run_in(cx.env, (x, dy), (&mut dw, &mut scratch), *conv, bands));
    dw
}

/// The gradient, and the sums of the terms' magnitudes, in f64.
fn exact(conv: &Conv2d, x: &[f32], dy: &[f32]) -> Vec<(f64, f64)> {
    let len = conv.out_channels * conv.in_channels * Conv2d::area(conv.kernel);
    let mut sums = vec![(0.0, 0.0); len];
    for_each_term(conv, |at_x, at_w, at_y| {
        let term = f64::from(x[at_x]) * f64::from(dy[at_y]);
        sums[at_w].0 += term;
        sums[at_w].1 += term.abs();
    });
    sums
}

/// The gradient is as near as is promised on every unit; how many of them computed it.
fn check(conv: &Conv2d, x: &[f32], dy: &[f32]) -> usize {
    let expected = exact(conv, x, dy);
    let mut tried = 0;
    for (unit, parts) in ways() {
        let Some(bands) = Bands::new(conv, (unit, parts)) else {
            continue;
        };
        tried += 1;
        let k = bands.padded(conv);
        let dw = gradient(conv, (x, dy), Some(bands), (precision(parts), 2));
        for (at, (dw, (sum, size))) in dw.iter().zip(&expected).enumerate() {
            let (off, bound) = ((f64::from(*dw) - sum).abs(), promise(parts, k) * size);
            assert!(
                off <= bound,
                "{unit:?} {parts:?} {conv:?} at {at}: {dw} for {sum}, off by {:.2} of {size:e}, allowed {:.2} (in 2^-24)",
                off / size / U,
                bound / size / U
            );
        }
    }
    tried
}

fn check_noise(conv: &Conv2d) -> usize {
    check(
        conv,
        &singles(image_len(conv), 1),
        &singles(cotangent_len(conv), 2),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_are_those_of_the_definition(
        batch in 1usize..7,
        (ins, outs) in (1usize..40, 1usize..70),
        size in prop::array::uniform2(1usize..13),
        kernel in prop::array::uniform2(1usize..5),
        stride in prop::array::uniform2(1usize..5),
        padding in prop::array::uniform2(0usize..4),
        dilation in prop::array::uniform2(1usize..4),
    ) {
        let places = |k: usize| out(size[k], kernel[k], stride[k], padding[k], dilation[k]);
        let (Some(height), Some(width)) = (places(0), places(1)) else { return Ok(()) };
        let conv = Conv2d {
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
        };
        // One part at least can be computed at any of these sizes.
        prop_assert!(check_noise(&conv) >= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(9))]

    #[test]
    fn gradients_keep_their_promise_on_hard_numbers(kind in 0usize..3, seed in 0u64..1000) {
        let conv = plain(5, [17, 33], [12, 11], 3, 1);
        let hard = |len: usize, seed: u64| -> Vec<f32> {
            let x = singles(len, seed);
            match kind {
                // Positive: no term makes up for the rounding of another.
                0 => x.iter().map(|x| x.abs() + 0.1).collect(),
                // Exponents from -40 to 40.
                1 => x.iter().zip(singles(len, seed + 7)).map(|(x, e)| x * (e.clamp(-1.0, 1.0) * 40.0).exp2()).collect(),
                // Large terms that cancel, and small ones that are left.
                _ => x.iter().enumerate().map(|(at, x)| {
                    let sign = if at / 17 % 2 == 0 { 1.0 } else { -1.0 };
                    sign * 1000.0 + x
                }).collect(),
            }
        };
        let (x, dy) = (hard(image_len(&conv), seed), hard(cotangent_len(&conv), seed + 1));
        let dy: Vec<f32> = if kind == 2 { dy.iter().map(|y| y.abs()).collect() } else { dy };
        prop_assert!(check(&conv, &x, &dy) >= 3);
    }
}

/// Sizes that are cut at every place where there is a cut.
fn cut_sizes() -> Vec<Conv2d> {
    vec![
        // Lines, several channels' vectors and strips, blocks of channels, shards.
        plain(1, [80, 33], [24, 26], 3, 0),
        plain(6, [16, 70], [9, 7], 3, 0),
        plain(5, [16, 16], [33, 32], 3, 1),
        moved(plain(2, [33, 20], [31, 45], 3, 1), [2, 2], [1, 1]),
        moved(plain(2, [20, 34], [45, 31], 5, 2), [3, 2], [1, 2]),
        // Small images, several of which are a band, and a last band of fewer.
        plain(23, [20, 19], [6, 5], 3, 1),
        plain(9, [64, 64], [8, 8], 3, 1),
        // Lines that are cut, and so wide that channels are.
        plain(1, [3, 20], [3, 900], 3, 1),
        plain(1, [200, 8], [3, 300], 3, 1),
        // One place; nothing but padding at most places; a window that is larger than the image.
        plain(1, [16, 16], [3, 3], 3, 0),
        plain(2, [3, 2], [1, 2], 3, 2),
        plain(4, [18, 5], [2, 3], 7, 3),
        moved(plain(2, [16, 33], [9, 9], 1, 0), [2, 2], [1, 1]),
    ]
}

#[test]
fn sizes_that_are_cut_are_right() {
    for conv in cut_sizes() {
        assert!(check_noise(&conv) >= 1, "{conv:?}");
    }
}

#[test]
fn numbers_that_pairs_would_lose_are_summed_on_vectors() {
    let conv = plain(3, [17, 33], [9, 8], 3, 1);
    let hard = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
        1e-33,
    ];
    for (x, is_image) in hard.iter().flat_map(|x| [(*x, true), (*x, false)]) {
        let mut given = [singles(image_len(&conv), 1), singles(cotangent_len(&conv), 2)];
        // In the last column: the elements at the left of the window do not see it in the image, those at its right have no place
        // for it in the cotangent.
        match is_image {
            true => given[0][(conv.size[1] * 4 - 1) * 17 + 5] = x,
            false => given[1][(conv.out[1] * 4 - 1) * 33 + 5] = x,
        }
        let given = (&given[0][..], &given[1][..]);
        for (unit, parts) in ways() {
            let bands = Bands::new(&conv, (unit, parts)).unwrap();
            let want = gradient(&conv, given, None, (precision(parts), 1));
            let found = gradient(&conv, given, Some(bands), (precision(parts), 1));
            let alike = |(y, want): (&f32, &f32)| match want.is_finite() {
                true => (y - want).abs() <= 1e-3 * want.abs().max(1.0),
                false => y.to_bits() == want.to_bits() || y.is_nan() && want.is_nan(),
            };
            assert!(
                found.iter().zip(&want).all(alike),
                "{x:e} on {unit:?} in {parts:?}"
            );
            let strays = want.iter().filter(|y| !y.is_finite()).count();
            assert!(strays < want.len() && (x.is_finite() || strays > 0), "{x:e}");
        }
    }
}

/// With three parts, a band with a tiny number is summed exactly as vectors sum it.
#[test]
fn tiny_numbers_are_kept() {
    let conv = plain(1, [16, 16], [8, 8], 3, 1);
    let x: Vec<f32> = singles(image_len(&conv), 1).iter().map(|x| x * 1e-30).collect();
    let dy: Vec<f32> = singles(cotangent_len(&conv), 2)
        .iter()
        .map(|x| x * 1e-8)
        .collect();
    for parts in [Parts::Two, Parts::Three] {
        let bands = Bands::new(&conv, (Unit::Tiles(Tiling::Software), parts));
        let found = gradient(&conv, (&x, &dy), bands, (Precision::F32, 1));
        assert_eq!(found, gradient(&conv, (&x, &dy), None, (Precision::F32, 1)));
        assert!(found.iter().any(|y| *y != 0.0));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_in_pairs() {
    for conv in [
        plain(7, [20, 40], [20, 20], 3, 1),
        plain(13, [65, 34], [8, 8], 3, 1),
    ] {
        let (x, mut dy) = (singles(image_len(&conv), 1), singles(cotangent_len(&conv), 2));
        // One band is refused.
        dy[3] = f32::INFINITY;
        for (unit, parts) in ways() {
            let bands = Bands::new(&conv, (unit, parts));
            let run = |threads| -> Vec<u32> {
                let dw = gradient(&conv, (&x, &dy), bands, (precision(parts), threads));
                dw.iter().map(|y| y.to_bits()).collect()
            };
            let one = run(1);
            assert!(one == run(2) && one == run(8), "{unit:?} {parts:?} {conv:?}");
        }
    }
}

#[test]
fn sizes_decide_where_gradients_run() {
    let on = |precision, isa, conv: &Conv2d| Bands::chosen(conv, Arithmetic::new(precision, isa)).is_some();
    let large = plain(64, [32, 64], [26, 26], 3, 0);
    let first = plain(64, [1, 32], [28, 28], 3, 0);
    let few = plain(16, [8, 8], [24, 24], 3, 1);
    let grouped = Conv2d { groups: 2, ..large };
    for &isa in crate::cpu::isa::Isa::available() {
        assert!(!on(Precision::F64, isa, &large));
        for conv in [first, few, grouped, Conv2d { batch: 0, ..large }] {
            assert!(!on(Precision::F32, isa, &conv), "{conv:?} on {isa}");
        }
        if let crate::cpu::isa::Isa::Avx512Bf16(_) = isa {
            assert!(on(Precision::Bf16, isa, &large) && !on(Precision::F32, isa, &large));
        }
    }
    let Some(avx512) = crate::cpu::isa::Avx512::detect() else {
        return;
    };
    // SAFETY: choosing executes nothing.
    let amx = unsafe { crate::cpu::amx::Amx::assume(avx512) };
    let isa = crate::cpu::isa::Isa::Amx(amx);
    for precision in [Precision::F32, Precision::High, Precision::Bf16] {
        assert!(on(precision, isa, &large), "{precision}");
        assert!(!on(precision, isa, &first), "{precision}");
    }
}

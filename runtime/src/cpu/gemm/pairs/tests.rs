use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::software::ways;
#[cfg(target_arch = "x86_64")]
use super::splits::Rounder;
use super::splits::{Splits, Splitter};
use super::words::{Words, rounded};
use super::*;
use crate::cpu::amx::Amx;
use crate::cpu::gemm::tests::{Lie, factor, lie, noise};
use crate::cpu::gemm::{Arithmetic, Matrix, products};
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::Avx512Bf16;
use crate::cpu::isa::{self, Kernel};
use crate::cpu::threads::Team;
use crate::dtype::Precision;

/// The unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The error of an element relative to `|A||B|` that is promised, for an inner size `k`.
fn promise(parts: Parts, k: usize) -> f64 {
    let k = k as f64;
    match parts {
        Parts::Three => (k / 5.0 + 28.0) * U,
        Parts::Two => 3.0 / 65536.0 + (k + 2.0) * U,
        Parts::One => 1.0 / 128.0 + 1.0 / 65536.0 + (k + 2.0) * U,
    }
}

fn multiplied(method: Method, a: Matrix<'_, f32>, b: Matrix<'_, f32>, c: &mut [f32], start: Start) {
    let (m, n) = (a.rows(), b.cols());
    f32::product(method, a.into(), b.into(), &mut Block::whole(c, m, n), start);
}

/// The product and that of the absolute values, in f64.
fn exact(a: &Matrix<'_, f32>, b: &Matrix<'_, f32>) -> Vec<(f64, f64)> {
    let cell = |i: usize, j: usize| {
        let terms = (0..a.cols()).map(|p| f64::from(a.at(i, p)) * f64::from(b.at(p, j)));
        terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()))
    };
    (0..a.rows())
        .flat_map(|i| (0..b.cols()).map(move |j| (i, j)))
        .map(|(i, j)| cell(i, j))
        .collect()
}

/// Every element of the product is as near as is promised, also where it is added to what is there.
fn check(a: Matrix<'_, f32>, b: Matrix<'_, f32>, what: &str) {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    let expected = exact(&a, &b);
    for (unit, parts) in ways() {
        let method = Method::Pairs(unit, parts);
        let mut c = vec![f32::NAN; m * n];
        multiplied(method, a, b, &mut c, Start::Overwrite);
        let once = c.clone();
        multiplied(method, a, b, &mut c, Start::Accumulate);
        for ((once, twice), (sum, size)) in once.iter().zip(&c).zip(&expected) {
            let bound = promise(parts, k) * size;
            let (off, off_twice) = (
                (f64::from(*once) - sum).abs(),
                (f64::from(*twice) - 2.0 * sum).abs(),
            );
            assert!(
                off <= bound,
                "{method:?} {m}x{k}x{n} {what}: {once} for {sum}, off by {:.2} of {size:e}, allowed {:.2} (in 2^-24)",
                off / size / U,
                bound / size / U
            );
            assert!(
                off_twice <= 2.1 * bound,
                "{method:?} {what}: {twice} for twice {sum}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_keep_their_promise_on_every_size_and_layout(
        size in (0usize..70, 0usize..150, 0usize..70),
        lies in prop::array::uniform2(lie()),
    ) {
        let (m, k, n) = size;
        let (x, y) = (noise::<f32>(3 * m * k + 2, 1), noise::<f32>(3 * k * n + 2, 2));
        check(factor(&x, [m, k], lies[0]), factor(&y, [k, n], lies[1]), "noise");
    }

    #[test]
    fn products_keep_their_promise_on_hard_numbers(kind in 0usize..3, seed in 0u64..1000) {
        let (m, k, n) = (35, 290, 33);
        let numbers = |len: usize, seed: u64| -> Vec<f32> {
            let x = noise::<f32>(len, seed);
            match kind {
                // Positive: no term makes up for the rounding of another.
                0 => x.iter().map(|x| x.abs() + 0.1).collect(),
                // Exponents from -40 to 40.
                1 => x.iter().zip(noise::<f32>(len, seed + 7)).map(|(x, e)| x * (e * 40.0).exp2()).collect(),
                // Large terms that cancel, and small ones that are left.
                _ => x.iter().enumerate().map(|(at, x)| {
                    let sign = if at / 2 % 2 == 0 { 1.0 } else { -1.0 };
                    sign * 1000.0 + x
                }).collect(),
            }
        };
        let (x, y) = (numbers(m * k, seed), numbers(k * n, seed + 1));
        let y: Vec<f32> = if kind == 2 { y.iter().map(|y| y.abs()).collect() } else { y };
        check(Matrix::row_major(&x, m, k), factor(&y, [k, n], Lie::Transposed), "hard numbers");
    }

    #[test]
    fn three_parts_are_the_number(bits in any::<u32>()) {
        let x = f32::from_bits(bits);
        prop_assume!(x == 0.0 || x.abs() >= (-103f32).exp2() && x.abs() < 127f32.exp2());
        let portable = crate::cpu::gemm::lanes::Portable;
        let part = |x: f32| f32::from_bits(portable.part([x.to_bits(); SIDE])[0]);
        let first = part(x);
        let second = part(x - first);
        let third = part(x - first - second);
        prop_assert_eq!(f64::from(first) + f64::from(second) + f64::from(third), f64::from(x));
        prop_assert!(second.abs() <= x.abs() / 256.0 && third.abs() <= x.abs() / 65536.0);
    }

    #[test]
    fn rounding_goes_to_the_nearest_and_to_even(bits in any::<u32>()) {
        let x = f32::from_bits(bits);
        let given = rounded(bits);
        prop_assert_eq!(given & 0xffff, 0);
        let y = f32::from_bits(given);
        if x.is_nan() {
            prop_assert!(y.is_nan());
        } else if x.is_subnormal() {
            prop_assert_eq!(given, 0);
        } else if x.is_finite() && y.is_finite() {
            // The neighbours in bf16, below and above in magnitude.
            let [low, high] = [bits & 0xffff_0000, (bits & 0xffff_0000) + 0x1_0000].map(f32::from_bits);
            let off = |y: f32| (f64::from(y) - f64::from(x)).abs();
            let nearest = if off(low) < off(high) || off(low) == off(high) && low.to_bits() >> 16 & 1 == 0 {
                low
            } else {
                high
            };
            prop_assert!(nearest.is_infinite() || y == nearest, "{} for {}", y, nearest);
        } else if x.is_infinite() {
            prop_assert_eq!(y, x);
        }
    }
}

/// The vectors of AVX-512 do what plain Rust does.
#[test]
fn words_are_the_same_on_every_set() {
    struct All<W>(W);
    impl<W: Words> Kernel for All<W> {
        type Output = Vec<[u32; SIDE]>;

        #[inline(always)]
        fn run(self) -> Self::Output {
            let w = self.0;
            let special = [
                f32::NAN,
                f32::INFINITY,
                -0.0,
                1e-40,
                f32::MAX,
                1.0 + 1.0 / 256.0,
                -1e-38,
                f32::MIN_POSITIVE,
            ];
            let numbers: Vec<f32> = noise::<f32>(16 * SIDE - 8, 5)
                .into_iter()
                .chain(special)
                .collect();
            let (lines, _) = numbers.as_chunks::<SIDE>();
            let mut rows = [w.zero(); SIDE];
            for i in 0..SIDE {
                rows[i] = w.load(&lines[i]);
            }
            let (x, y) = (rows[14], rows[15]);
            let part = w.part(rows[3]);
            let ends = w.span(w.span([w.read(&[u32::MAX; SIDE]), w.zero()], x), rows[2]);
            let mut out = vec![[0; SIDE]; 5];
            let singles = [
                w.rounded(y),
                part,
                w.minus(rows[3], part),
                w.along(x, y),
                w.across(x, y),
            ];
            for (out, x) in out.iter_mut().zip(singles) {
                w.write(x, out);
            }
            for column in w.transpose(rows) {
                let mut to = [0; SIDE];
                w.write(column, &mut to);
                out.push(to);
            }
            let [low, high] = w.ends(ends);
            out.push(std::array::from_fn(|i| [low, high][i % 2]));
            out
        }
    }
    let portable = isa::run_portable(All(crate::cpu::gemm::lanes::Portable));
    assert_eq!(portable.len(), 5 + SIDE + 1);
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = crate::cpu::isa::Avx512::detect() {
        assert_eq!(avx512.run(All(avx512)), portable);
    }
}

/// A product of two parts whose factors have a number in one place, beside ones.
fn with_one(x: f32) -> [Vec<f32>; 2] {
    let (m, k, n) = (40, 64, 48);
    let mut numbers = [noise::<f32>(m * k, 3), noise::<f32>(k * n, 4)];
    numbers[0][7 * k + 5] = x;
    numbers
}

#[test]
fn numbers_that_parts_would_lose_are_multiplied_on_vectors() {
    let (m, k, n) = (40, 64, 48);
    let hard = [
        f32::NAN,
        f32::INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
        1e-33,
        2.0f32.powi(100),
    ];
    for x in hard {
        let [a, b] = with_one(x);
        let (a, b) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, k, n));
        let mut want = vec![0.0; m * n];
        let lanes = Method::Lanes(Isa::Portable, Operands::Exact);
        multiplied(lanes, a, b, &mut want, Start::Overwrite);
        for parts in [Parts::Two, Parts::Three] {
            let mut c = vec![0.0; m * n];
            multiplied(
                Method::Pairs(Unit::Tiles(Tiling::Software), parts),
                a,
                b,
                &mut c,
                Start::Overwrite,
            );
            let same = |(c, want): (&f32, &f32)| c.to_bits() == want.to_bits() || c.is_nan() && want.is_nan();
            let on_vectors = c.iter().zip(&want).filter(|&pair| same(pair)).count();
            // 2^100 alone overflows nothing here.
            let expected = if x == 2.0f32.powi(100) {
                0..m * n
            } else {
                m * n..m * n + 1
            };
            assert!(expected.contains(&on_vectors), "{x:e}: {on_vectors} of {}", m * n);
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row_in_bf16() {
    let (m, k, n) = (40, 64, 48);
    for (x, is_right) in [
        (f32::NAN, f32::is_nan as fn(f32) -> bool),
        (f32::INFINITY, f32::is_infinite),
    ] {
        let [a, b] = with_one(x);
        let (a, b) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, k, n));
        let rounded_lanes = Method::Lanes(Isa::best(), Operands::Rounded);
        let one_part = ways().into_iter().filter(|way| way.1 == Parts::One);
        let methods = one_part.map(|(unit, parts)| Method::Pairs(unit, parts));
        for method in methods.chain([rounded_lanes]) {
            let mut c = vec![0.0; m * n];
            multiplied(method, a, b, &mut c, Start::Overwrite);
            for (at, y) in c.iter().enumerate() {
                let expected = if at / n == 7 { is_right(*y) } else { y.is_finite() };
                assert!(expected, "{method:?}: {y} in row {} for {x}", at / n);
            }
        }
    }
}

/// `Bf16` means the same on all units: exact sums of products of rounded operands, but for the roundings of the sum.
#[test]
fn bf16_means_the_same_on_every_unit() {
    let (m, k, n) = (50, 300, 70);
    let (x, y) = (noise::<f32>(m * k, 8), noise::<f32>(k * n, 9));
    let rounded =
        |x: &[f32]| -> Vec<f32> { x.iter().map(|x| f32::from_bits(rounded(x.to_bits()))).collect() };
    let (rx, ry) = (rounded(&x), rounded(&y));
    assert_ne!(x, rx);
    let expected = exact(&Matrix::row_major(&rx, m, k), &Matrix::row_major(&ry, k, n));
    let units = ways().into_iter().filter(|way| way.1 == Parts::One);
    let pairs = units.map(|(unit, parts)| Method::Pairs(unit, parts));
    let lanes = Isa::available()
        .iter()
        .map(|&isa| Method::Lanes(isa, Operands::Rounded));
    for method in pairs.chain(lanes) {
        let mut c = vec![f32::NAN; m * n];
        let (a, b) = (Matrix::row_major(&x, m, k), Matrix::row_major(&y, k, n));
        multiplied(method, a, b, &mut c, Start::Overwrite);
        for (c, (sum, size)) in c.iter().zip(&expected) {
            let off = (f64::from(*c) - sum).abs();
            assert!(off <= (k + 2) as f64 * U * size, "{method:?}: {c} for {sum}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_in_any_precision() {
    let (m, k, n) = (300, 260, 330);
    let (x, y) = (noise::<f32>(m * k, 3), noise::<f32>(k * n, 4));
    let (a, b) = (Matrix::row_major(&x, m, k), Matrix::row_major(&y, k, n));
    for &precision in Precision::ALL {
        for &isa in Isa::available() {
            let arithmetic = Arithmetic::new(precision, isa);
            let run = |threads: usize| {
                let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
                let mut c = vec![f32::NAN; m * n];
                products((&team, arithmetic), 1, |_| (a, b), &mut c, (m, n), |_, _| {});
                c
            };
            let one = run(1);
            for threads in [2, 8] {
                assert!(one == run(threads), "{precision} on {isa} with {threads} threads");
            }
        }
    }
}

#[test]
fn shapes_decide_where_products_run() {
    let on = |precision, isa, shape| match Arithmetic::new(precision, isa).method(shape) {
        Method::Pairs(unit, parts) => Some((unit, parts)),
        Method::Lanes(..) | Method::Inner(..) => None,
    };
    let (large, thin, small) = ([256, 1024, 1024], [64, 10, 128], [8, 8, 8]);
    for &isa in Isa::available() {
        assert_eq!(on(Precision::F64, isa, large), None);
        if !matches!(isa, Isa::Amx(_)) {
            assert_eq!(on(Precision::F32, isa, large), None);
            assert_eq!(on(Precision::High, isa, large), None);
        }
        let rounds = Arithmetic::new(Precision::Bf16, isa).operands() == Operands::Rounded;
        assert!(rounds && Arithmetic::from(isa).operands() == Operands::Exact);
    }
    let Some(avx512) = crate::cpu::isa::Avx512::detect() else {
        return;
    };
    // SAFETY: choosing executes nothing.
    let amx = unsafe { crate::cpu::amx::Amx::assume(avx512) };
    let (isa, tiles) = (Isa::Amx(amx), Unit::Tiles(Tiling::Amx(amx)));
    assert_eq!(on(Precision::F32, isa, large), Some((tiles, Parts::Three)));
    assert_eq!(on(Precision::High, isa, large), Some((tiles, Parts::Two)));
    assert_eq!(on(Precision::Bf16, isa, large), Some((tiles, Parts::One)));
    assert_eq!(
        on(Precision::F32, isa, [64, 128, 784]),
        Some((tiles, Parts::Three))
    );
    for shape in [thin, small, [1, 1024, 1024], [512, 512, 16]] {
        assert_eq!(on(Precision::F32, isa, shape), None, "{shape:?}");
    }
    assert_eq!(on(Precision::F64, isa, large), None);
}

/// Numbers as pairs along and across, and whether sums in one part would take them.
struct Paired<'x, S>(S, &'x [[f32; BLOCK]]);

impl<S: Splits> Kernel for Paired<'_, S> {
    type Output = (Vec<u32>, bool);

    #[inline(always)]
    fn run(mut self) -> Self::Output {
        let mut words = Vec::new();
        for numbers in self.1 {
            let (halves, _) = numbers.as_chunks::<SIDE>();
            let (low, high) = (self.0.half(&halves[0]), self.0.half(&halves[1]));
            for pairs in [self.0.along(&low, &high, 0), self.0.across(&low, &high, 0)] {
                let mut row = [0; SIDE];
                self.0.write(pairs, &mut row);
                words.extend(row);
            }
        }
        let none = Span::between([u32::MAX, 0]);
        (words, self.0.span().serves(none, Parts::One, 1))
    }
}

/// A pair without the signs of zeros.
#[cfg(target_arch = "x86_64")]
fn without_signs(word: u32) -> u32 {
    let half = |half: u32| if half & 0x7fff == 0 { 0 } else { half };
    half(word & 0xffff) | half(word >> 16) << 16
}

#[cfg(target_arch = "x86_64")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What rounds numbers as it pairs them gives the pairs of what rounds them first, signs of zeros aside, and refuses the same
    /// numbers.
    #[test]
    fn numbers_are_rounded_alike(
        bits in prop::collection::vec(any::<u32>(), BLOCK),
        near in prop::collection::vec(0u32..4, BLOCK),
        hard in 0usize..4,
    ) {
        // Near one where nothing is hard; else of every kind, at the edges of the smallest and the largest numbers too.
        let number = |n: usize| f32::from_bits(match hard {
            0 => 0x3f80_0000 | bits[n] & 0x803f_ffff,
            1 => bits[n],
            2 => 0x007f_fffe + near[n],
            _ => 0x7f7f_7ffe + near[n] % 2 + (bits[n] & 0x8000_0000),
        });
        let numbers = [std::array::from_fn(number)];
        let portable = crate::cpu::gemm::lanes::Portable;
        let (words, serves) = isa::run_portable(Paired(Splitter::<_, 1>::new(portable), &numbers));
        let words: Vec<u32> = words.into_iter().map(without_signs).collect();
        let mut all = vec![isa::run_portable(Paired(Rounder::new(portable), &numbers))];
        all.extend(Avx512Bf16::detect().map(|bf16| bf16.run(Paired(Rounder::new(bf16), &numbers))));
        for (rounded, takes) in all {
            let rounded: Vec<u32> = rounded.into_iter().map(without_signs).collect();
            prop_assert_eq!(&rounded, &words);
            prop_assert_eq!(takes, serves);
        }
        prop_assert!(serves || hard == 1);
    }
}

/// Tiles of pairs that look random: of all magnitudes, zeros and denormals among them, or of those around 1.
fn random_tiles(len: usize, seed: u64, magnitudes: Range<u32>) -> Vec<Tile> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut half = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let exponent = magnitudes.start + (state >> 40) as u32 % (magnitudes.end - magnitudes.start);
        (state >> 20) as u32 & 0x807f | exponent << 7
    };
    let mut tile = |_| Tile([(); SIDE].map(|()| [(); SIDE].map(|()| half() | half() << 16)));
    (0..len).map(&mut tile).collect()
}

/// What the CPU does with tiles is what the manual says, to the last bit: sums of even and of odd products apart, denormals as zeros,
/// also where sums overflow. Where a CPU has no tiles, the tests in `tests/amx.rs` carry out their instructions.
#[test]
fn tiles_of_the_cpu_have_the_bits_of_those_in_plain_rust() {
    let Some(amx) = Amx::detect() else { return };
    for parts in [Parts::One, Parts::Two, Parts::Three] {
        for (steps, magnitudes) in [(1, 0..255), (3, 100..140), (4, 0..30), (2, 60..68)] {
            let len = 2 * parts.count() * steps;
            let (a, b) = (
                random_tiles(len, 1, magnitudes.clone()),
                random_tiles(len, 2, magnitudes.clone()),
            );
            let bits = |tiling| -> Vec<u32> {
                let mut sums = Sums([[1.0; BLOCK]; BLOCK]);
                Engine::with(tiling, |engine| engine.multiply(parts, &a, &b, &mut sums));
                let bits = |x: &f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
                sums.0.as_flattened().iter().map(bits).collect()
            };
            let [cpu, rust] = [Tiling::Amx(amx), Tiling::Software].map(bits);
            assert!(
                cpu == rust,
                "{parts:?}, {steps} steps of magnitudes {magnitudes:?}"
            );
        }
    }
}

#[test]
fn numbers_that_round_to_infinity_are_refused() {
    for (bits, is_finite) in [
        (0x7f7f_7fff, true),
        (0x7f7f_8000, false),
        (0xff80_0000, false),
        (0x7fc0_0000, false),
    ] {
        let mut numbers = [[1.0; BLOCK]];
        numbers[0][21] = f32::from_bits(bits);
        let portable = crate::cpu::gemm::lanes::Portable;
        let (_, serves) = isa::run_portable(Paired(Splitter::<_, 1>::new(portable), &numbers));
        assert_eq!(serves, is_finite, "{bits:x}");
        #[cfg(target_arch = "x86_64")]
        if let Some(bf16) = Avx512Bf16::detect() {
            let (_, serves) = bf16.run(Paired(Rounder::new(bf16), &numbers));
            assert_eq!(serves, is_finite, "{bits:x}");
        }
    }
}

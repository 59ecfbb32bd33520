//! The machine code of products on tiles: on machines with AMX as it is, on others instruction by instruction in software.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod gradient;
mod tiles;

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use gradient::WeightGradient;
use tapeless_runtime::Precision;
use tapeless_runtime::cpu::amx::Amx;
use tapeless_runtime::cpu::gemm::{
    self, Arithmetic, Axis, Block, Factor, Matrix, Method, Operands, PairWindows, Parts, PlaneRoom, Product,
    Sheet, Start, Steps, Strips, Tile, Tiling, Unit,
};
use tapeless_runtime::cpu::isa::Isa;
use tapeless_runtime::cpu::threads::Team;
use tapeless_runtime::ops::conv::Conv2d;
use tapeless_runtime::ops::epilogue::Simple;
use tiles::Executed;

/// Tests that count instructions take turns.
static TURN: Mutex<()> = Mutex::new(());

/// The unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

const PARTS: [(Parts, usize); 3] = [(Parts::One, 1), (Parts::Two, 3), (Parts::Three, 6)];

/// The error of an element relative to `|A||B|` that is promised, for an inner size `k`.
fn promise(parts: Parts, k: usize) -> f64 {
    match parts {
        Parts::Three => (k as f64 / 5.0 + 28.0) * U,
        Parts::Two => 3.0 / 65536.0 + (k + 2) as f64 * U,
        Parts::One => 1.0 / 128.0 + 1.0 / 65536.0 + (k + 2) as f64 * U,
    }
}

/// Numbers in [-1, 1] that look random.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(next).collect()
}

fn with_tiles(test: impl FnOnce(Amx, Executed)) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((amx, executed)) = tiles::tiles() {
        test(amx, executed);
    }
}

fn counts() -> [usize; 5] {
    [
        &tiles::CONFIGURED,
        &tiles::RELEASED,
        &tiles::LOADED,
        &tiles::MULTIPLIED,
        &tiles::STORED,
    ]
    .map(|count| count.load(Ordering::Relaxed))
}

fn multiply(method: Method, a: Matrix<'_, f32>, b: Matrix<'_, f32>, c: &mut [f32], start: Start) {
    let (m, n) = (a.rows(), b.cols());
    f32::product(method, a.into(), b.into(), &mut Block::whole(c, m, n), start);
}

/// For machines that must have tiles, as the one that `.ci/amx` emulates: then none of these tests runs in software.
#[test]
#[ignore = "fails where the CPU has no tiles"]
fn the_cpu_has_tiles() {
    println!("instruction sets: {:?}", Isa::available());
    assert_eq!(Isa::best().name(), "amx");
    with_tiles(|_, executed| assert_eq!(executed, Executed::ByTheCpu));
}

#[test]
fn products_keep_their_promise() {
    with_tiles(|amx, executed| {
        for [m, k, n] in [
            [1, 1, 1],
            [32, 32, 32],
            [33, 65, 31],
            [70, 150, 40],
            [5, 300, 100],
            [390, 40, 17],
        ] {
            let (x, y) = (numbers(m * k, 1), numbers(k * n, 2));
            for (parts, products) in PARTS {
                let a = Matrix::row_major(&x, m, k);
                // `b` once as it lies, once transposed.
                for b in [
                    Matrix::row_major(&y, k, n),
                    Matrix::row_major(&y, n, k).transposed(),
                ] {
                    let before = counts();
                    let mut c = vec![f32::NAN; m * n];
                    let method = Method::Pairs(Unit::Tiles(Tiling::Amx(amx)), parts);
                    multiply(method, a, b, &mut c, Start::Overwrite);
                    let [configured, released, loaded, multiplied, stored] =
                        std::array::from_fn(|i| counts()[i] - before[i]);
                    if executed == Executed::InSoftware {
                        let blocks = m.div_ceil(32) * n.div_ceil(32) * k.div_ceil(32);
                        let loads = match parts {
                            Parts::One => 4,
                            Parts::Two => 8,
                            Parts::Three => 14,
                        };
                        assert_eq!([configured, released], [1, 1]);
                        assert_eq!([loaded, multiplied], [loads * blocks, 4 * products * blocks]);
                        assert!(stored >= 4 * m.div_ceil(32) * n.div_ceil(32) && stored.is_multiple_of(4));
                    }
                    let once = c.clone();
                    multiply(method, a, b, &mut c, Start::Accumulate);
                    for i in 0..m {
                        for j in 0..n {
                            let terms = (0..k).map(|p| f64::from(a.at(i, p)) * f64::from(b.at(p, j)));
                            let (sum, size) = terms.fold((0.0, 0.0), |(s, t), x| (s + x, t + x.abs()));
                            let bound = promise(parts, k) * size;
                            let (y, twice) = (f64::from(once[i * n + j]), f64::from(c[i * n + j]));
                            assert!(
                                (y - sum).abs() <= bound,
                                "{parts:?} {m}x{k}x{n} at {i}, {j}: {y} for {sum}"
                            );
                            assert!(
                                (twice - 2.0 * sum).abs() <= 2.1 * bound,
                                "{parts:?}: {twice} for twice {sum}"
                            );
                        }
                    }
                }
            }
        }
    });
}

/// Windows of `taps` over images of `size` pixels and so many channels, and columns.
#[derive(Copy, Clone, Debug)]
struct Windows {
    size: [usize; 2],
    channels: usize,
    columns: usize,
    taps: usize,
    stride: usize,
    padding: usize,
}

const IMAGES: usize = 2;

impl Windows {
    fn axes(&self) -> [Axis; 2] {
        self.size.map(|size| Axis {
            size,
            start: -(self.padding as isize),
            stride: self.stride,
            taps: self.taps,
            step: 1,
            places: (size + 2 * self.padding - self.taps) / self.stride + 1,
        })
    }

    /// Sums over the windows in parts, and the pieces of 32 numbers that they have.
    fn sums(&self, unit: Unit, parts: Parts, images: &[f32], weights: &[f32]) -> (Vec<f32>, usize) {
        let axes = self.axes();
        let sheet = Sheet::new(IMAGES, self.channels, &mut [axes].into_iter());
        let mut room = PlaneRoom::new();
        let planes = gemm::split(unit, parts, sheet, (images, self.size), &mut room);
        let steps = gemm::steps_of(&axes, self.channels);
        let mut tiles = vec![Tile::ZERO; gemm::weight_tiles(unit, parts, &axes, self.channels)];
        let runs = gemm::runs(&axes, self.channels);
        gemm::split_weights(unit, parts, runs, (weights, self.columns), &mut tiles);
        let area = axes[0].places * axes[1].places;
        let mut out = vec![f32::NAN; IMAGES * area * self.columns];
        let work = PairWindows {
            planes: &planes,
            axes,
            steps: &Steps::new(unit, &sheet, &axes),
            weights: &tiles,
            out: Block::whole(&mut out, IMAGES * area, self.columns),
            rows: [0, axes[1].places, 1, area],
            finish: Simple::NONE,
        };
        gemm::windows(unit, work);
        (out, steps)
    }

    /// The sum of a place and that of absolute values.
    fn exact(&self, images: &[f32], weights: &[f32], [image, v, u, o]: [usize; 4]) -> (f64, f64) {
        let (mut sum, mut size) = (0.0, 0.0);
        for tap in 0..self.taps * self.taps * self.channels {
            let (c, j, i) = (
                tap % self.channels,
                tap / self.channels % self.taps,
                tap / self.channels / self.taps,
            );
            let y = (v * self.stride + i).checked_sub(self.padding);
            let x = (u * self.stride + j).checked_sub(self.padding);
            let inside = |at: Option<usize>, k: usize| at.filter(|at| *at < self.size[k]);
            if let (Some(y), Some(x)) = (inside(y, 0), inside(x, 1)) {
                let pixel = (image * self.size[0] + y) * self.size[1] + x;
                let term =
                    f64::from(images[pixel * self.channels + c]) * f64::from(weights[tap * self.columns + o]);
                (sum, size) = (sum + term, size + term.abs());
            }
        }
        (sum, size)
    }
}

#[test]
fn windows_keep_their_promise() {
    let plain = Windows {
        size: [9, 13],
        channels: 32,
        columns: 32,
        taps: 3,
        stride: 1,
        padding: 1,
    };
    let shapes = [
        plain,
        // Pieces that are not full, an odd number of channels, few columns.
        Windows {
            channels: 13,
            columns: 7,
            ..plain
        },
        Windows {
            size: [20, 21],
            channels: 16,
            columns: 16,
            ..plain
        },
        Windows {
            stride: 2,
            columns: 27,
            ..plain
        },
        Windows {
            taps: 1,
            channels: 70,
            padding: 2,
            ..plain
        },
    ];
    with_tiles(|amx, executed| {
        for shape in shapes {
            let images = numbers(IMAGES * shape.size[0] * shape.size[1] * shape.channels, 7);
            let depth = shape.taps * shape.taps * shape.channels;
            let weights = numbers(depth * shape.columns, 8);
            for (parts, products) in PARTS {
                let before = counts();
                let (out, steps) = shape.sums(Unit::Tiles(Tiling::Amx(amx)), parts, &images, &weights);
                if executed == Executed::InSoftware {
                    let [configured, released, loaded, multiplied, stored] =
                        std::array::from_fn(|i| counts()[i] - before[i]);
                    let loads = match (parts, shape.columns > 16) {
                        (Parts::One, true) => 4,
                        (Parts::Two, true) => 8,
                        (Parts::Three, true) => 14,
                        (Parts::One, false) => 5,
                        (Parts::Two, false) => 14,
                        (Parts::Three, false) => 27,
                    };
                    let blocks = stored / 4;
                    assert_eq!([configured, released], [1, 1]);
                    assert!(blocks > 0 && stored.is_multiple_of(4));
                    assert_eq!(
                        [loaded, multiplied],
                        [loads * steps * blocks, 4 * products * steps * blocks]
                    );
                }
                let [lines, places] = shape.axes().map(|axis| axis.places);
                for (at, y) in out.iter().enumerate() {
                    let (o, place) = (at % shape.columns, at / shape.columns);
                    let (u, v) = (place % places, place / places % lines);
                    let (sum, size) = shape.exact(&images, &weights, [place / places / lines, v, u, o]);
                    let bound = match parts {
                        Parts::Three => (6 * steps + 22) as f64 * U,
                        parts => promise(parts, 32 * steps),
                    };
                    let bound = bound * size;
                    assert!(
                        (f64::from(*y) - sum).abs() <= bound,
                        "{parts:?} {shape:?} at {place}, {o}: {y} for {sum}"
                    );
                }
            }
        }
    });
}

#[test]
fn what_tiles_would_lose_is_multiplied_on_vectors() {
    with_tiles(|amx, _| {
        let (m, k, n) = (40, 64, 48);
        let lanes = Method::Lanes(Isa::Avx512(amx.avx512()), Operands::Exact);
        for odd in [f32::NAN, f32::INFINITY, 1e-40] {
            let (mut x, y) = (numbers(m * k, 3), numbers(k * n, 4));
            x[7 * k + 5] = odd;
            let (a, b) = (Matrix::row_major(&x, m, k), Matrix::row_major(&y, k, n));
            let (mut c, mut want) = (vec![0.0; m * n], vec![0.0; m * n]);
            multiply(
                Method::Pairs(Unit::Tiles(Tiling::Amx(amx)), Parts::Three),
                a,
                b,
                &mut c,
                Start::Overwrite,
            );
            multiply(lanes, a, b, &mut want, Start::Overwrite);
            let bits = |x: &[f32]| -> Vec<u32> { x.iter().map(|x| x.to_bits()).collect() };
            assert!(bits(&c) == bits(&want), "{odd}");
        }
    });
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    with_tiles(|amx, executed| {
        let (m, k, n) = (130, 160, 100);
        let (x, y) = (numbers(m * k, 5), numbers(k * n, 6));
        let (a, b) = (Matrix::row_major(&x, m, k), Matrix::row_major(&y, k, n));
        for precision in [Precision::F32, Precision::High, Precision::Bf16] {
            let arithmetic = Arithmetic::new(precision, Isa::Amx(amx));
            assert!(matches!(
                arithmetic.method([m, n, k]),
                Method::Pairs(Unit::Tiles(_), _)
            ));
            let run = |threads: usize| {
                let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
                let mut c = vec![f32::NAN; m * n];
                // Two matrices, so that there are tasks to share.
                let mut both = vec![f32::NAN; 2 * m * n];
                gemm::products((&team, arithmetic), 1, |_| (a, b), &mut c, (m, n), |_, _| {});
                gemm::products((&team, arithmetic), 2, |_| (a, b), &mut both, (m, n), |_, _| {});
                assert!(c == both[..m * n] && c == both[m * n..]);
                c
            };
            let before = counts();
            let one = run(1);
            if executed == Executed::InSoftware {
                assert!(counts()[3] > before[3], "{precision} ran on tiles");
            }
            for threads in [2, 8] {
                assert!(one == run(threads), "{precision} with {threads} threads");
            }
        }
    });
}

#[test]
fn a_factor_that_was_packed_before_changes_no_bit() {
    with_tiles(|amx, executed| {
        let team = Team::new(NonZeroUsize::new(2).unwrap()).unwrap();
        for [m, k, n] in [[32, 160, 96], [33, 65, 31], [5, 300, 100]] {
            for odd in [0.5, 1e-40] {
                let (x, mut y) = (numbers(m * k, 7), numbers(k * n, 8));
                y[k * n / 2] = odd;
                let (a, b) = (
                    Matrix::row_major(&x, m, k),
                    Matrix::row_major(&y, n, k).transposed(),
                );
                for (parts, products) in PARTS {
                    let method = Method::Pairs(Unit::Tiles(Tiling::Amx(amx)), parts);
                    let mut room = vec![f32::NAN; gemm::strips_len::<f32>(method, [k, n]) + 16];
                    let first = room.as_ptr().align_offset(64);
                    gemm::pack_right(&team, method, b, &mut room[first..]);
                    let strips = Strips::of(method, b, &room[first..]).unwrap();
                    let (mut plain, mut packed) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
                    multiply(method, a, b, &mut plain, Start::Overwrite);
                    let before = counts();
                    let c = &mut Block::whole(&mut packed, m, n);
                    f32::product(method, a.into(), Factor::Strips(strips), c, Start::Overwrite);
                    if executed == Executed::InSoftware && odd == 0.5 {
                        let blocks = m.div_ceil(32) * n.div_ceil(32) * k.div_ceil(32);
                        assert_eq!(counts()[3] - before[3], 4 * products * blocks);
                    }
                    let bits = |x: &[f32]| -> Vec<u32> { x.iter().map(|x| x.to_bits()).collect() };
                    assert!(bits(&plain) == bits(&packed), "{parts:?} {m}x{k}x{n} with {odd}");
                }
            }
        }
    });
}

/// A weight gradient, and the sums of its terms' magnitudes, in f64.
fn exact_gradient(conv: &Conv2d, x: &[f32], dy: &[f32]) -> Vec<(f64, f64)> {
    let [ins, outs] = [conv.in_channels, conv.out_channels];
    let mut sums = vec![(0.0, 0.0); ins * outs * 9];
    for place in 0..conv.batch * conv.out[0] * conv.out[1] {
        let [b, v, u] = [
            place / conv.out[1] / conv.out[0],
            place / conv.out[1] % conv.out[0],
            place % conv.out[1],
        ];
        for tap in 0..9 {
            let pixel = |k: usize, place: usize, tap: usize| {
                let at = (place * conv.stride[k] + tap).checked_sub(conv.padding[k]);
                at.filter(|at| *at < conv.size[k])
            };
            let (Some(line), Some(at)) = (pixel(0, v, tap / 3), pixel(1, u, tap % 3)) else {
                continue;
            };
            let pixel = (b * conv.size[0] + line) * conv.size[1] + at;
            for (o, y) in dy[place * outs..][..outs].iter().enumerate() {
                for (c, x) in x[pixel * ins..][..ins].iter().enumerate() {
                    let term = f64::from(*x) * f64::from(*y);
                    let sum = &mut sums[(o * ins + c) * 9 + tap];
                    *sum = (sum.0 + term, sum.1 + term.abs());
                }
            }
        }
    }
    sums
}

#[test]
fn weight_gradients_keep_their_promise_with_any_number_of_threads() {
    let conv = |batch, channels: [usize; 2], size: [usize; 2], stride: usize, padding: usize| Conv2d {
        batch,
        in_channels: channels[0],
        out_channels: channels[1],
        groups: 1,
        size,
        out: size.map(|n| (n + 2 * padding - 3) / stride + 1),
        kernel: [3, 3],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1, 1],
    };
    with_tiles(|amx, executed| {
        for conv in [
            conv(3, [48, 64], [13, 14], 1, 0),
            conv(2, [64, 60], [25, 33], 2, 1),
            conv(1, [46, 64], [10, 33], 1, 1),
        ] {
            let places = conv.batch * conv.out[0] * conv.out[1];
            let x = numbers(conv.batch * conv.size[0] * conv.size[1] * conv.in_channels, 7);
            let dy = numbers(places * conv.out_channels, 8);
            let exact = exact_gradient(&conv, &x, &dy);
            for (parts, products) in PARTS {
                let precision = [Precision::Bf16, Precision::High, Precision::F32][parts.count() - 1];
                let on = |threads| WeightGradient::new(conv, [&x, &dy], (precision, Isa::Amx(amx), threads));
                let before = counts()[3];
                let dw = on(1).compute().to_vec();
                let multiplied = counts()[3] - before;
                if executed == Executed::InSoftware {
                    // With a stride, packing for three parts takes longer than it saves.
                    let must_run = conv.stride == [1, 1] || parts != Parts::Three;
                    assert!(
                        multiplied > 0 || !must_run,
                        "{precision} of {conv:?} ran on tiles"
                    );
                    assert!(multiplied.is_multiple_of(4 * products));
                }
                assert!(dw == on(2).compute(), "{precision} of {conv:?} with two threads");
                for (dw, (sum, size)) in dw.iter().zip(&exact) {
                    // Places are padded to no more than twice as many.
                    let bound = promise(parts, 2 * places) * size;
                    let off = (f64::from(*dw) - sum).abs();
                    assert!(off <= bound, "{precision} of {conv:?}: {dw} for {sum}");
                }
            }
        }
    });
}

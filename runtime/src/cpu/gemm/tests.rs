use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::ops::epilogue::{Activation, Finish};

/// Numbers in [-1, 1] that look random and are exact in f32.
pub(super) fn noise<T: Product>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 48) as f64 / 32768.0 - 1.0
    };
    (0..len).map(|_| T::from_f64(next())).collect()
}

/// By the definition, in f64.
fn naive<T: Product>(a: &Matrix<'_, T>, b: &Matrix<'_, T>) -> Vec<f64> {
    let cell = |i: usize, j: usize| {
        (0..a.cols())
            .map(|p| a.at(i, p).to_f64() * b.at(p, j).to_f64())
            .sum()
    };
    (0..a.rows())
        .flat_map(|i| (0..b.cols()).map(move |j| (i, j)))
        .map(|(i, j)| cell(i, j))
        .collect()
}

/// Ways in which a factor may lie in memory.
#[derive(Copy, Clone, Debug)]
pub(super) enum Lie {
    RowMajor,
    Transposed,
    Spread,
    Reversed,
    Broadcast,
}

pub(super) fn lie() -> impl Strategy<Value = Lie> {
    prop::sample::select(vec![
        Lie::RowMajor,
        Lie::Transposed,
        Lie::Spread,
        Lie::Reversed,
        Lie::Broadcast,
    ])
}

pub(super) fn factor<T: Product>(data: &[T], [m, n]: [usize; 2], lie: Lie) -> Matrix<'_, T> {
    let (rows, cols) = (m as isize, n as isize);
    match lie {
        Lie::RowMajor => Matrix::new(data, 0, [m, n], [cols, 1]),
        Lie::Transposed => Matrix::new(data, 0, [m, n], [1, rows]),
        Lie::Spread => Matrix::new(data, 1, [m, n], [3 * cols, 3]),
        Lie::Reversed => Matrix::new(data, (m * n).saturating_sub(1), [m, n], [-cols, -1]),
        Lie::Broadcast => Matrix::new(data, 0, [m, n], [0, 1]),
    }
}

fn check<T: Product>(size: [usize; 3], lies: [Lie; 2]) {
    check_within::<T>(size, lies, 4.0);
}

/// Within so many units of the last place of a sum that wanders from zero as far as random numbers do.
fn check_within<T: Product>([m, k, n]: [usize; 3], lies: [Lie; 2], units: f64) {
    let (x, y) = (noise::<T>(3 * m * k + 2, 1), noise::<T>(3 * k * n + 2, 2));
    let (a, b) = (factor(&x, [m, k], lies[0]), factor(&y, [k, n], lies[1]));
    let expected = naive(&a, &b);
    let tolerance = (k as f64).sqrt().max(1.0) * units * T::EPSILON.to_f64();
    for &isa in Isa::available() {
        let mut c = vec![T::NAN; m * n];
        product(isa, a, b, &mut Block::whole(&mut c, m, n), Start::Overwrite);
        let once = c.clone();
        product(isa, a, b, &mut Block::whole(&mut c, m, n), Start::Accumulate);
        for ((once, twice), want) in once.iter().zip(&c).zip(&expected) {
            assert!(
                (once.to_f64() - want).abs() <= tolerance,
                "{isa} {m}x{k}x{n} {lies:?}: {once} for {want}"
            );
            assert!(
                (twice.to_f64() - 2.0 * want).abs() <= 2.0 * tolerance,
                "{isa}: {twice} for twice {want}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn products_are_those_of_the_definition(
        size in (0usize..40, 0usize..40, 0usize..70),
        lies in prop::array::uniform2(lie()),
    ) {
        check::<f32>([size.0, size.1, size.2], lies);
        check::<f64>([size.0, size.1, size.2], lies);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Short factors are read where they lie, edges through masks.
    #[test]
    fn products_of_few_rows_or_columns_are_those_of_the_definition(
        few in 1usize..10,
        many in 1usize..300,
        depth in prop::sample::select(vec![1usize, 3, 4, 8, 15, 16, 17, 64, 100, 257, 1030]),
        lies in prop::array::uniform2(lie()),
    ) {
        for [m, n] in [[few, many], [many, few]] {
            // Many more numbers than below, of longer sums.
            check_within::<f32>([m, depth, n], lies, 8.0);
            check_within::<f64>([m, depth, n], lies, 8.0);
        }
    }
}

#[test]
fn inner_products_round_their_operands_as_packed_products_do() {
    let [few, k, many] = [3, 1100, 21];
    let (x, y) = (noise::<f32>(few * k, 8), noise::<f32>(k * many, 9));
    let (mut rounded_x, mut rounded_y) = (x.clone(), y.clone());
    f32::round_operands(&mut rounded_x);
    f32::round_operands(&mut rounded_y);
    assert_ne!(x, rounded_x, "the numbers have more bits than bf16");
    let run = |isa: Isa, operands: Operands, x: &[f32], y: &[f32]| {
        let (a, b) = (Matrix::row_major(x, few, k), Matrix::row_major(y, many, k));
        let mut rows = vec![f32::NAN; few * many];
        let to = &mut Block::whole(&mut rows, few, many);
        f32::product(
            Method::Inner(isa, operands, Short::Rows),
            a.into(),
            b.transposed().into(),
            to,
            Start::Overwrite,
        );
        let mut columns = vec![f32::NAN; few * many];
        let to = &mut Block::whole(&mut columns, many, few);
        f32::product(
            Method::Inner(isa, operands, Short::Columns),
            b.into(),
            a.transposed().into(),
            to,
            Start::Overwrite,
        );
        (rows, columns)
    };
    for &isa in Isa::available() {
        let (rows, columns) = run(isa, Operands::Rounded, &x, &y);
        let expected = run(isa, Operands::Exact, &rounded_x, &rounded_y);
        assert_eq!((&rows, &columns), (&expected.0, &expected.1), "{isa}");
        for (at, value) in rows.iter().enumerate() {
            let turned = columns[at % many * few + at / many];
            assert_eq!(
                *value, turned,
                "{isa}: an element is computed alike in either direction"
            );
        }
    }
}

#[test]
fn few_rows_are_inner_products_where_operands_are_not_rounded() {
    for &isa in Isa::available() {
        for precision in [Precision::F32, Precision::High] {
            for (shape, is_inner) in [([1, 128, 784], true), ([784, 4, 1], true), ([64, 64, 64], false)] {
                let method = Arithmetic::new(precision, isa).method(shape);
                assert_eq!(
                    matches!(method, Method::Inner(..)),
                    is_inner,
                    "{method:?} for {shape:?}"
                );
            }
        }
    }
}

#[test]
fn sizes_beyond_one_block_are_right() {
    for size in [
        [1, 1, 1],
        [200, 300, 40],
        [13, 700, 33],
        [400, 5, 7],
        [3, 257, 65],
    ] {
        check::<f32>(size, [Lie::RowMajor, Lie::Transposed]);
        check::<f64>(size, [Lie::Transposed, Lie::RowMajor]);
    }
}

#[test]
fn the_number_of_threads_and_the_cut_into_tasks_change_no_bit() {
    for [m, k, n] in [[130, 300, 150], [1, 1100, 400], [400, 1100, 3], [7, 200, 500]] {
        for lies in [Lie::RowMajor, Lie::Transposed]
            .map(|a| [Lie::RowMajor, Lie::Transposed].map(|b| [a, b]))
            .as_flattened()
        {
            cut_into_tasks([m, k, n], *lies);
        }
    }
}

fn cut_into_tasks([m, k, n]: [usize; 3], lies: [Lie; 2]) {
    let (x, y) = (noise::<f32>(m * k, 3), noise::<f32>(k * n, 4));
    let (a, b) = (factor(&x, [m, k], lies[0]), factor(&y, [k, n], lies[1]));
    let bias = noise::<f32>(n, 5);
    for &isa in Isa::available() {
        let mut whole = vec![0.0; m * n];
        let mut block = Block::whole(&mut whole, m, n);
        product(isa, a, b, &mut block, Start::Overwrite);
        f32::finish_columns(
            isa,
            &mut block,
            Finish::new(Some(&bias), Activation::Tanh),
            [0, 0],
        );
        for threads in [1, 2, 3] {
            let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
            let mut c = vec![f32::NAN; m * n];
            let finish = Finish::new(Some(&bias), Activation::Tanh);
            products(
                (&team, isa),
                1,
                |_| (a, b),
                &mut c,
                (m, n),
                |at, block| {
                    f32::finish_columns(isa, block, finish, [at.row, at.col]);
                },
            );
            assert_eq!(c, whole, "{isa} with {threads} threads");
        }
    }
}

#[test]
fn not_a_number_spreads_to_its_row_only() {
    let mut x = vec![1.0f32; 6];
    x[4] = f32::NAN;
    let y = [1.0f32; 6];
    let mut c = [0.0; 4];
    let (a, b) = (Matrix::row_major(&x, 2, 3), Matrix::row_major(&y, 3, 2));
    product(
        Isa::best(),
        a,
        b,
        &mut Block::whole(&mut c, 2, 2),
        Start::Overwrite,
    );
    assert_eq!(c[..2], [3.0, 3.0]);
    assert!(c[2].is_nan() && c[3].is_nan());
}

#[test]
#[should_panic(expected = "leave a slice")]
fn a_matrix_stays_inside_its_slice() {
    Matrix::new(&[0.0f32; 5], 0, [2, 3], [3, 1]);
}

#[test]
fn blocks_cover_every_size() {
    let methods = [
        (Method::Lanes(Isa::Portable, Operands::Exact), MAX_BLOCK),
        (
            Method::Pairs(Unit::Tiles(Tiling::Software), Parts::Three),
            MAX_BLOCK_OF_PAIRS,
        ),
    ];
    let threads = [1, 2, 8, 64];
    let depths = [0, 1, 64, 4096];
    for m in [1, 7, 48, 64, 193, 1000] {
        for n in [1, 10, 63, 128, 784, 2000] {
            for (k, threads) in depths.iter().flat_map(|k| threads.map(|threads| (*k, threads))) {
                for (method, max) in methods {
                    let sharing = Sharing { threads, products: 1 };
                    let (rows, cols) = task_block(method, sharing, m, n, k);
                    assert!(
                        rows >= 1 && cols >= 1 && rows <= m.max(12) && cols <= n.max(32),
                        "{method:?} {m} {n} {k}: {rows} {cols}"
                    );
                    let tasks = m.div_ceil(rows) * n.div_ceil(cols);
                    let most = (TASKS * threads).max(TASKS_OF_PAIRS).max(m * n / (max.0 * max.1));
                    assert!(tasks <= 4 * most, "{method:?} {m} {n} {k}: {tasks} tasks");
                }
            }
        }
    }
}

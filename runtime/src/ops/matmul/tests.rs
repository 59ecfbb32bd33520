//! Products against the definition, packed and not.

use super::*;
use crate::cpu::isa::Isa;
use crate::cx::Packs;
use crate::dtype::Precision;
use crate::ops::epilogue::Activation;
use crate::ops::testbed::{assert_close, numbers};
use crate::ops::testkit::Desk;
use crate::program::PackForm;

/// `[batch, m, k] x [batch, k, n]` by the definition; both row-major.
fn naive(a: &[f64], b: &[f64], [batch, m, k, n]: [usize; 4]) -> Vec<f64> {
    let mut y = vec![0.0; batch * m * n];
    for (at, y) in y.iter_mut().enumerate() {
        let (q, i, j) = (at / (m * n), at / n % m, at % n);
        *y = (0..k)
            .map(|p| a[(q * m + i) * k + p] * b[(q * k + p) * n + j])
            .sum();
    }
    y
}

#[test]
fn batches_are_multiplied_matrix_by_matrix() {
    for precision in [Precision::F32, Precision::F64] {
        for size in [
            [1, 1, 1, 1],
            [3, 5, 7, 2],
            [2, 64, 100, 33],
            [0, 2, 2, 2],
            [4, 3, 0, 2],
        ] {
            let [batch, m, k, n] = size;
            let (x, w) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
            let mut desk = Desk::new(precision);
            let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(batch * m * n));
            let a = View::contiguous(a, [batch, m, k]);
            let b = View::contiguous(b, [batch, k, n]);
            desk.run(|cx| matmul(cx, a, b, y, Epilogue::NONE));
            assert_close(&desk.read(y), &naive(&x, &w, size), 1e-5);
            // The transposed product of the transposed factors is the same.
            let z = desk.blank(batch * m * n);
            desk.run(|cx| matmul(cx, b.t(), a.t(), z, Epilogue::NONE));
            let transposed = View::contiguous(z, [batch, n, m]).t();
            let back = desk.blank(batch * m * n);
            desk.run(|cx| crate::ops::view::copy(cx, transposed, back));
            assert_close(&desk.read(back), &naive(&x, &w, size), 1e-5);
        }
    }
}

/// Short and deep, small and not, however the factors lie: as inner products, as chains, and packed.
#[test]
fn products_of_few_rows_or_columns_are_right_however_they_lie() {
    for size in [
        [1, 128, 10],
        [1, 65, 1],
        [3, 100, 13],
        [4, 700, 5],
        [9, 130, 2],
        [70, 66, 4],
        [1, 2000, 2],
    ] {
        let [m, k, n] = size;
        let (x, w, bias) = (numbers(m * k, 15), numbers(k * n, 16), numbers(n, 17));
        let sums = naive(&x, &w, [1, m, k, n]).into_iter().enumerate();
        let expected: Vec<f64> = sums.map(|(at, y)| (y + bias[at % n]).max(0.0)).collect();
        let turned = |x: &[f64], [rows, cols]: [usize; 2]| -> Vec<f64> {
            (0..rows * cols)
                .map(|at| x[at % rows * cols + at / rows])
                .collect()
        };
        for precision in [Precision::F32, Precision::F64] {
            let mut desk = Desk::new(precision);
            let (rows, cols) = (desk.floats(&x), desk.floats(&turned(&x, [m, k])));
            let firsts = [View::contiguous(rows, [m, k]), View::contiguous(cols, [k, m]).t()];
            let (rows, cols) = (desk.floats(&w), desk.floats(&turned(&w, [k, n])));
            let seconds = [View::contiguous(rows, [k, n]), View::contiguous(cols, [n, k]).t()];
            let epilogue = Epilogue::NONE
                .bias(desk.floats(&bias))
                .activation(Activation::Relu);
            for (a, b) in firsts.into_iter().flat_map(|a| seconds.map(|b| (a, b))) {
                let y = desk.blank(m * n);
                desk.run(|cx| matmul(cx, a, b, y, epilogue));
                assert_close(&desk.read(y), &expected, 1e-4);
            }
        }
    }
}

#[test]
fn a_broadcast_batch_axis_costs_no_copy() {
    let size = [3, 4, 5, 6];
    let (x, w) = (numbers(3 * 4 * 5, 3), numbers(5 * 6, 4));
    let mut desk = Desk::new(Precision::F64);
    let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(3 * 4 * 6));
    let b = View {
        buf: b,
        offset: 0,
        shape: [3, 5, 6],
        strides: [0, 6, 1],
    };
    desk.run(|cx| matmul(cx, View::contiguous(a, [3, 4, 5]), b, y, Epilogue::NONE));
    assert_close(&desk.read(y), &naive(&x, &w.repeat(3), size), 1e-14);
}

#[test]
fn the_epilogue_adds_the_bias_of_each_column_and_activates() {
    let (m, k, n) = (70, 9, 130);
    let (x, w, bias) = (numbers(m * k, 5), numbers(k * n, 6), numbers(n, 7));
    let expected = naive(&x, &w, [1, m, k, n]).into_iter().enumerate();
    let expected: Vec<f64> = expected.map(|(at, y)| (y + bias[at % n]).max(0.0)).collect();
    for precision in [Precision::F32, Precision::F64] {
        let mut desk = Desk::new(precision);
        let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(m * n));
        let epilogue = Epilogue::NONE
            .bias(desk.floats(&bias))
            .activation(Activation::Relu);
        let (a, b) = (View::contiguous(a, [m, k]), View::contiguous(b, [k, n]));
        desk.run(|cx| matmul(cx, a, b, y, epilogue));
        assert_close(&desk.read(y), &expected, 1e-5);
    }
}

#[test]
fn a_residual_is_added_to_every_matrix_of_a_batch() {
    for [batch, m, k, n] in [
        [1, 33, 20, 70],
        [3, 5, 9, 2],
        [2, 1, 100, 40],
        [1, 4, 0, 3],
        [0, 2, 2, 2],
    ] {
        let (x, w) = (numbers(batch * m * k, 5), numbers(batch * k * n, 6));
        let (bias, other) = (numbers(n, 7), numbers(batch * m * n, 8));
        let products = naive(&x, &w, [batch, m, k, n]).into_iter().enumerate();
        let expected: Vec<f64> = products
            .map(|(at, y)| (y + bias[at % n] + other[at]).max(0.0))
            .collect();
        for precision in [Precision::F32, Precision::F64] {
            let mut desk = Desk::new(precision);
            let (a, b, y) = (desk.floats(&x), desk.floats(&w), desk.blank(batch * m * n));
            let epilogue = Epilogue::NONE
                .bias(desk.floats(&bias))
                .residual(desk.floats(&other))
                .activation(Activation::Relu);
            let a = View::contiguous(a, [batch, m, k]);
            let b = View::contiguous(b, [batch, k, n]);
            desk.run(|cx| matmul(cx, a, b, y, epilogue));
            assert_close(&desk.read(y), &expected, 1e-5);
        }
    }
}

/// On every path and with every method: strips for vectors, in pairs, and also where nothing is packed and the product must not
/// read it.
#[test]
fn a_packed_factor_gives_the_bits_of_the_plain_one() {
    for size in [
        [32, 256, 96],
        [64, 600, 200],
        [13, 300, 17],
        [40, 64, 65],
        [1, 70, 33],
        [6, 9, 16],
        [70, 1, 1],
        [3, 0, 5],
        [2, 5, 0],
    ] {
        for transposed in [false, true] {
            same_bits_packed(size, transposed);
        }
    }
}

/// The bits of a product by a copy in which the rows lie as they are read, packed beforehand and not; with a few rows those of a
/// product in the order of the factor.
#[test]
fn interleaved_rows_are_read_as_a_copy_would_be() {
    for size in [
        [32, 64, 144, 40],
        [70, 3, 100, 33],
        [1, 33, 10, 96],
        [8, 16, 20, 300],
        [64, 16, 49, 4],
        [13, 5, 7, 17],
        [2, 6, 0, 5],
        [9, 1, 40, 64],
    ] {
        for dense in [Dense::Rows, Dense::Columns] {
            same_as_permuted(size, dense);
        }
    }
}

/// What of a factor follows each other in memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Dense {
    Rows,
    Columns,
}

/// The rows of a view that lie in runs, a run an axis.
fn in_runs(view: View<2>, [runs, len]: [usize; 2]) -> View<3> {
    View {
        buf: view.buf,
        offset: 0,
        shape: [len, runs, view.shape[1]],
        strides: [view.strides[0], view.strides[0] * len as isize, view.strides[1]],
    }
}

fn same_as_permuted([m, runs, len, n]: [usize; 4], dense: Dense) {
    let k = runs * len;
    let (x, w) = (numbers(m * k, 13), numbers(k * n, 14));
    let precisions = [Precision::F32, Precision::High, Precision::Bf16, Precision::F64];
    for (precision, &isa) in precisions
        .iter()
        .flat_map(|p| Isa::available().iter().map(move |isa| (*p, isa)))
    {
        let mut desk = Desk::with(precision, 2, isa);
        let (a, w) = (desk.floats(&x), desk.floats(&w));
        let (a, w) = (
            View::contiguous(a, [m, k]),
            match dense {
                Dense::Rows => View::contiguous(w, [k, n]),
                Dense::Columns => View::contiguous(w, [n, k]).t(),
            },
        );
        // Copies of what is read interleaved, turned back where its columns were dense.
        let (moved, turned) = (desk.blank(k * n), desk.blank(k * n));
        let rows = desk.blank(m * k);
        desk.run(|cx| crate::ops::view::copy(cx, in_runs(w, [runs, len]), moved));
        desk.run(|cx| crate::ops::view::copy(cx, View::contiguous(moved, [k, n]).t(), turned));
        desk.run(|cx| {
            crate::ops::view::copy(cx, in_runs(a.t(), [len, runs]), rows);
        });
        let is_short = matches!(
            Arithmetic::new(precision, isa).method([m, n, k]),
            Method::Inner(_, _, Short::Rows)
        );
        let (left, right) = match (is_short, dense) {
            (true, _) => (View::contiguous(rows, [k, m]).t(), w),
            (false, Dense::Rows) => (a, View::contiguous(moved, [k, n])),
            (false, Dense::Columns) => (a, View::contiguous(turned, [n, k]).t()),
        };
        let [expected, plain, packed] = [(); 3].map(|()| desk.blank(m * n));
        let strips = desk.blank(PackForm::Factor.len(precision, isa, [m, k, n, 1, 1], Lasts::Calls));
        desk.run(|cx| matmul(cx, left, right, expected, Epilogue::NONE));
        desk.run(|cx| matmul(cx, a, w.interleaved(runs), plain, Epilogue::NONE));
        desk.run(|cx| pack(cx, w.interleaved(runs), strips, m, Lasts::Calls));
        desk.run(|cx| {
            matmul(
                cx,
                a,
                w.interleaved(runs).packed(strips, 0),
                packed,
                Epilogue::NONE,
            )
        });
        let what = format!("{precision:?} on {isa}, {m} x ({runs} x {len}) x {n}, dense {dense:?}");
        assert_eq!(desk.read(plain), desk.read(packed), "{what}");
        assert_eq!(desk.read(plain), desk.read(expected), "{what}");
    }
}

#[test]
fn what_is_packed_already_stays() {
    let (m, k, n) = (16, 40, 200);
    let (x, w) = (numbers(m * k, 11), numbers(k * n, 12));
    for lasts in [Lasts::Loop, Lasts::Calls] {
        let mut desk = Desk::with(Precision::F32, 1, Isa::best());
        let (a, b) = (desk.floats(&x), desk.floats(&w));
        let (a, b) = (View::contiguous(a, [m, k]), View::contiguous(b, [k, n]));
        let sizes = [m, k, n, 1, 1];
        let (strips, y) = (
            desk.blank(PackForm::Factor.len(Precision::F32, Isa::best(), sizes, lasts)),
            desk.blank(m * n),
        );
        assert!(strips.len >= k * n, "the factor is packed");
        // What nobody has packed is not a number here.
        desk.run(|cx| {
            cx.packs = Packs::Present;
            pack(cx, b, strips, m, lasts);
            matmul(cx, a, b.packed(strips, 0), y, Epilogue::NONE);
        });
        let is_nan = desk.read(y).iter().all(|y| y.is_nan());
        assert_eq!(is_nan, lasts == Lasts::Calls, "{lasts:?}");
    }
}

#[test]
fn factors_of_long_products_are_not_kept() {
    let len = |rows, lasts| PackForm::Factor.len(Precision::F32, Isa::best(), [rows, 300, 100, 3, 1], lasts);
    assert!(len(64, Lasts::Calls) >= 3 * 300 * 100);
    assert_eq!(len(100_000, Lasts::Calls), 0);
    assert!(len(100_000, Lasts::Loop) > 0);
}

fn same_bits_packed([m, k, n]: [usize; 3], transposed: bool) {
    let (x, w) = (numbers(m * k, 9), numbers(2 * k * n, 10));
    let precisions = [Precision::F32, Precision::High, Precision::Bf16, Precision::F64];
    for (precision, &isa) in precisions
        .iter()
        .flat_map(|p| Isa::available().iter().map(move |isa| (*p, isa)))
    {
        let mut desk = Desk::with(precision, 2, isa);
        let (a, b) = (desk.floats(&x), desk.floats(&w));
        let a = View::contiguous(a, [m, k]);
        // Two factors one behind the other.
        let both = match transposed {
            true => View::contiguous(b, [2, n, k]).t(),
            false => View::contiguous(b, [2, k, n]),
        };
        let of = |index: usize| View {
            buf: b,
            offset: index * k * n,
            shape: [k, n],
            strides: [both.strides[1], both.strides[2]],
        };
        let (plain, packed) = (desk.blank(2 * m * n), desk.blank(2 * m * n));
        let strips = desk.blank(PackForm::Factor.len(precision, isa, [m, k, n, 2, 1], Lasts::Calls));
        desk.run(|cx| pack(cx, both, strips, m, Lasts::Calls));
        for index in 0..2 {
            let [plain, packed] = [plain, packed].map(|y| y.at(index * m * n, m * n));
            desk.run(|cx| matmul(cx, a, of(index), plain, Epilogue::NONE));
            desk.run(|cx| matmul(cx, a, of(index).packed(strips, index), packed, Epilogue::NONE));
        }
        assert_eq!(
            desk.read(packed),
            desk.read(plain),
            "{precision:?} on {isa}, {m} x {k} x {n}, transposed: {transposed}"
        );
    }
}

//! Products so small that packing and cutting into blocks would take longer than multiplying.
//!
//! Columns lie along the lanes of a register, some rows at a time; `k` is walked once. A second factor whose rows do not lie dense
//! (the weights `[out, in]` of a layer, transposed) is turned into a buffer first, and so is a first factor that is dense in neither
//! direction. Nothing else is made: no strips, no tasks, no blocks.
//!
//! An element of the result is one chain of multiply-adds over `k`, wherever it stands, so that its error is that of a plain loop, and
//! its bits depend on the sizes and the instruction set alone. Whether a product is computed here follows from its sizes
//! ([`is_few`]) and from the precision; how the factors lie decides where one chain would be much too long for its few elements
//! ([`is_deep`](super::is_deep)).

#![expect(
    clippy::needless_range_loop,
    reason = "adaptors between sums and their registers are inlined in some profiles only"
)]

use std::marker::PhantomData;

use super::band::Band;
use super::lanes::{Lanes, Portable, SQUARE};
use super::{Matrix, Product};
use crate::cpu::isa::{self, Isa, Kernel};
use crate::ops::epilogue::{Activation, Finish};

/// The most multiply-adds of such a product. Twice as many are computed as fast in packed blocks.
const MOST: usize = 1 << 15;
/// The most elements of a factor: what is turned has to find room.
pub const FACTOR: usize = 1 << 12;
/// Rows that are taken at a time: enough chains to hide that each waits for itself.
const ROWS: usize = 8;

/// Whether a product of `m x k` and `k x n` is computed as a small one.
#[inline(always)]
pub fn is_few([m, n, k]: [usize; 3]) -> bool {
    // No factor is above `MOST` where the product is not, so that nothing overflows.
    let below = |x: usize, y: usize| x <= MOST && y <= MOST && x * y <= MOST;
    below(m, n) && below(m * n, k) && (1..=FACTOR).contains(&(m * k)) && (1..=FACTOR).contains(&(k * n))
}

/// What follows a small product.
#[derive(Copy, Clone, Debug)]
pub struct Ending<'x, T> {
    /// Added to every row.
    pub bias: Option<&'x [T]>,
    /// Added to the result, row-major.
    pub residual: Option<&'x [T]>,
    /// Applied last.
    pub activation: Activation,
}

/// `y = activation(a b + bias + residual)`, row-major.
///
/// # Panics
/// Where sizes do not fit together.
pub struct Few<'x, 'y, T> {
    /// `m x k`.
    pub a: Matrix<'x, T>,
    /// `k x n`.
    pub b: Matrix<'x, T>,
    /// `m x n`.
    pub y: &'y mut [T],
    /// What follows.
    pub ending: Ending<'x, T>,
}

/// Floats of which small products are compiled.
pub trait SmallProduct: Product {
    /// Runs something that is compiled for all vectors that small products know.
    fn on_vectors<V: OnVectors<Self>>(isa: Isa, work: V) -> V::Output;

    /// Computes a product for which [`is_few`] holds.
    #[inline]
    fn few(isa: Isa, product: Few<'_, '_, Self>) {
        if left(product.a).is_none() {
            copied(isa, product);
        } else {
            Self::on_vectors(isa, product);
        }
    }
}

/// Code to be compiled for every kind of vectors: a [`Kernel`] that is told which they are.
pub trait OnVectors<T> {
    /// What it gives back.
    type Output;

    /// The work. Implementations are `#[inline(always)]`, as those of [`Kernel`] are.
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output;
}

/// The same with the vectors at hand.
struct On<L, V, T> {
    lanes: L,
    work: V,
    numbers: PhantomData<T>,
}

impl<T, L: Lanes<T>, V: OnVectors<T>> Kernel for On<L, V, T> {
    type Output = V::Output;

    #[inline(always)]
    fn run(self) -> V::Output {
        self.work.run(self.lanes)
    }
}

macro_rules! products {
    ($($t:ident: $($arch:literal $set:pat => $lanes:expr),*;)*) => {$(
        impl SmallProduct for $t {
            #[inline]
            fn on_vectors<V: OnVectors<$t>>(isa: Isa, work: V) -> V::Output {
                let numbers = PhantomData;
                match isa.vectors() {
                    $(#[cfg(target_arch = $arch)]
                    $set => {
                        let lanes = $lanes;
                        lanes.run(On { lanes, work, numbers })
                    })*
                    _ => isa::run_portable(On { lanes: Portable, work, numbers }),
                }
            }
        }
    )*};
}
products! {
    f32: "x86_64" Isa::Avx512(lanes) => lanes, "x86_64" Isa::Avx2(lanes) => lanes, "aarch64" Isa::Neon(lanes) => lanes;
}
#[cfg(feature = "f64")]
products! {
    f64: "x86_64" Isa::Avx512(lanes) => lanes.avx2(), "x86_64" Isa::Avx2(lanes) => lanes, "aarch64" Isa::Neon(lanes) => lanes;
}

impl<T: SmallProduct> OnVectors<T> for Few<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let mut band = Band::<T, FACTOR>::new();
        let room = match lies(self.b) {
            Some(_) => &mut [],
            None => band.push(self.b.rows() * self.b.cols()),
        };
        compute(lanes, self, room);
    }
}

/// How the first factor lies.
#[derive(Copy, Clone)]
enum Left<'x, T> {
    /// Rows are dense, each so far behind the one before.
    Rows(&'x [T], usize),
    /// Columns are, likewise.
    Columns(&'x [T], usize),
}

/// The second factor, of which as many columns as a register has are dense in every row.
#[derive(Copy, Clone)]
struct Right<'x, T> {
    numbers: &'x [T],
    /// From a row to the next.
    step: usize,
    /// From a column to the next, where a register ends.
    across: usize,
}

/// Computes a product on some vectors, in whose function this is inlined. The second factor is turned into `room` where its rows do not
/// lie dense.
///
/// # Panics
/// Where sizes do not fit together, or [`is_few`] does not hold, or the first factor is dense in neither direction.
#[inline(always)]
pub fn compute<T: Product, L: Lanes<T>>(lanes: L, product: Few<'_, '_, T>, room: &mut [T]) {
    let Few { a, b, y, ending } = product;
    let [m, n, k] = [a.rows(), b.cols(), a.cols()];
    assert!(
        b.rows() == k && y.len() == m * n && is_few([m, n, k]),
        "the sizes of a small product do not fit"
    );
    let ends = |more: Option<&[T]>, len: usize| more.is_none_or(|more| more.len() == len);
    assert!(
        ends(ending.bias, n) && ends(ending.residual, m * n),
        "what is added to a small product does not fit"
    );
    let left = left(a).expect("the first factor is dense in one direction");
    let right = match lies(b) {
        Some(right) => right,
        None => turn(lanes, b, &mut room[..k * n]),
    };
    let sums = Sums {
        lanes,
        left,
        right,
        sizes: [m, n, k],
        ending,
    };
    for col in (0..n).step_by(L::LANES) {
        let mut row = 0;
        while row + ROWS <= m {
            sums.tile::<ROWS>(y, row, col);
            row += ROWS;
        }
        if row + 4 <= m {
            sums.tile::<4>(y, row, col);
            row += 4;
        }
        if row + 2 <= m {
            sums.tile::<2>(y, row, col);
            row += 2;
        }
        if row < m {
            sums.tile::<1>(y, row, col);
        }
    }
    if !matches!(ending.activation, Activation::None | Activation::Relu) {
        Finish::new(None, ending.activation).within_channel(y, 0);
    }
}

/// The first factor as it lies, if it is dense in one direction.
#[inline(always)]
fn left<T: Product>(a: Matrix<'_, T>) -> Option<Left<'_, T>> {
    let [down, across] = a.step();
    let [m, k] = [a.rows(), a.cols()];
    let (down, across) = (usize::try_from(down).ok(), usize::try_from(across).ok());
    if across == Some(1) || k == 1 {
        let step = if m == 1 { Some(0) } else { down };
        return step.map(|step| Left::Rows(a.from(0, 0), step));
    }
    let is_dense = down == Some(1) || m == 1;
    across
        .filter(|_| is_dense)
        .map(|across| Left::Columns(a.from(0, 0), across))
}

/// A product whose first factor is dense in neither direction: from a copy.
#[cold]
#[inline(never)]
fn copied<T: SmallProduct>(isa: Isa, product: Few<'_, '_, T>) {
    let a = product.a;
    let [m, k] = [a.rows(), a.cols()];
    let mut room = Band::<T, FACTOR>::new();
    let rows = room.push(m * k);
    for i in 0..m {
        for p in 0..k {
            rows[i * k + p] = a.at(i, p);
        }
    }
    let a = Matrix::row_major(rows, m, k);
    T::few(isa, Few { a, ..product });
}

/// The second factor as it lies, if its rows are dense.
#[inline(always)]
fn lies<T: Product>(b: Matrix<'_, T>) -> Option<Right<'_, T>> {
    let [down, across] = b.step();
    let [k, n] = [b.rows(), b.cols()];
    let step = usize::try_from(down).ok().filter(|_| across == 1 || n == 1)?;
    Some(Right {
        numbers: b.from(0, 0),
        step: if k == 1 { 0 } else { step },
        across: 1,
    })
}

/// Lays out a factor as it is read: in strips as wide as a register where it has whole ones, and dense columns; else in rows.
#[inline(always)]
fn turn<'x, T: Product, L: Lanes<T>>(lanes: L, b: Matrix<'_, T>, rows: &'x mut [T]) -> Right<'x, T> {
    let [k, n] = [b.rows(), b.cols()];
    let across = usize::try_from(b.step()[1]).ok();
    if let (1, Some(across)) = (b.step()[0], across)
        && n % L::LANES == 0
        && k % L::LANES == 0
    {
        let square = L::LANES * L::LANES;
        for col in (0..n).step_by(L::LANES) {
            let from = b.from(0, col);
            for p in (0..k).step_by(L::LANES) {
                let to = col * k + p * L::LANES;
                lanes.turn(&from[p..], across, L::LANES - 1, &mut rows[to..to + square]);
            }
        }
        return Right {
            numbers: rows,
            step: L::LANES,
            across: k,
        };
    }
    turn_to_rows(b, rows);
    Right {
        numbers: rows,
        step: n,
        across: 1,
    }
}

/// Lays out a factor in dense rows: where its columns are dense in squares, then what is left of them.
#[inline(always)]
fn turn_to_rows<T: Product>(b: Matrix<'_, T>, rows: &mut [T]) {
    let [k, n] = [b.rows(), b.cols()];
    if b.step()[0] != 1 {
        for p in 0..k {
            for j in 0..n {
                rows[p * n + j] = b.at(p, j);
            }
        }
        return;
    }
    let [whole_k, whole_n] = [k / SQUARE * SQUARE, n / SQUARE * SQUARE];
    for j in (0..whole_n).step_by(SQUARE) {
        let columns = [
            b.run(0, j, k),
            b.run(0, j + 1, k),
            b.run(0, j + 2, k),
            b.run(0, j + 3, k),
        ];
        for p in (0..whole_k).step_by(SQUARE) {
            let zeros = [T::ZERO; SQUARE];
            let mut square = [&zeros; SQUARE];
            for i in 0..SQUARE {
                square[i] = columns[i][p..].first_chunk().expect("four numbers");
            }
            let turned = T::transpose(square);
            for i in 0..SQUARE {
                let to = rows[(p + i) * n + j..].first_chunk_mut();
                *to.expect("four numbers") = turned[i];
            }
        }
        for p in whole_k..k {
            for i in 0..SQUARE {
                rows[p * n + j + i] = columns[i][p];
            }
        }
    }
    for j in whole_n..n {
        let column = b.run(0, j, k);
        for p in 0..k {
            rows[p * n + j] = column[p];
        }
    }
}

/// What the tiles of a result have in common.
struct Sums<'x, T, L> {
    lanes: L,
    left: Left<'x, T>,
    right: Right<'x, T>,
    sizes: [usize; 3],
    ending: Ending<'x, T>,
}

impl<T: Product, L: Lanes<T>> Sums<'_, T, L> {
    /// Rows `row .. row + R` of the columns from `col` on, as many as a register has.
    #[inline(always)]
    fn tile<const R: usize>(&self, y: &mut [T], row: usize, col: usize) {
        let (lanes, [_, n, _]) = (self.lanes, self.sizes);
        let width = (n - col).min(L::LANES);
        let mut sums = if width == L::LANES {
            self.chains::<R, true>(row, col, width)
        } else {
            self.chains::<R, false>(row, col, width)
        };
        let one = lanes.splat(T::ONE);
        let relu = self.ending.activation == Activation::Relu;
        if let Some(bias) = self.ending.bias {
            let bias = self.some(&bias[col..col + width]);
            for r in 0..R {
                sums[r] = lanes.mul_add(sums[r], one, bias);
            }
        }
        for r in 0..R {
            let at = (row + r) * n + col;
            if let Some(residual) = self.ending.residual {
                sums[r] = lanes.mul_add(sums[r], one, self.some(&residual[at..at + width]));
            }
            if relu {
                sums[r] = lanes.relu(sums[r]);
            }
            let to = &mut y[at..at + width];
            if width == L::LANES {
                lanes.store(sums[r], to);
            } else {
                lanes.store_part(sums[r], to);
            }
        }
    }

    /// As many numbers as there are.
    #[inline(always)]
    fn some(&self, numbers: &[T]) -> L::Vector {
        if numbers.len() == L::LANES {
            self.lanes.load(numbers)
        } else {
            self.lanes.load_part(numbers)
        }
    }

    /// Columns from `col` on of row `p` of the second factor, as many as `width`: a register of them, or fewer.
    #[inline(always)]
    fn next<const WHOLE: bool>(&self, p: usize, col: usize, width: usize) -> Option<L::Vector> {
        let at = p * self.right.step + col * self.right.across;
        if WHOLE {
            Some(self.lanes.load(self.right.numbers.get(at..at + L::LANES)?))
        } else {
            Some(self.lanes.load_part(self.right.numbers.get(at..at + width)?))
        }
    }

    /// The sums of products, before anything is added.
    ///
    /// No loop ends early: matrices have all their numbers, and [`compute`] has checked that these fit together. None panics either, for
    /// then the sums would be stored at every step, where whoever caught the panic might look for them.
    #[inline(always)]
    fn chains<const R: usize, const WHOLE: bool>(
        &self,
        row: usize,
        col: usize,
        width: usize,
    ) -> [L::Vector; R] {
        let (lanes, k) = (self.lanes, self.sizes[2]);
        let mut sums = [lanes.splat(T::ZERO); R];
        match self.left {
            Left::Rows(a, step) => {
                let mut rows: [&[T]; R] = [&[]; R];
                for r in 0..R {
                    rows[r] = &a[(row + r) * step..][..k];
                }
                for p in 0..k {
                    let Some(b) = self.next::<WHOLE>(p, col, width) else {
                        return sums;
                    };
                    for r in 0..R {
                        sums[r] = lanes.mul_add(lanes.splat(rows[r][p]), b, sums[r]);
                    }
                }
            }
            Left::Columns(a, step) => {
                for p in 0..k {
                    let Some(b) = self.next::<WHOLE>(p, col, width) else {
                        return sums;
                    };
                    let Some(column) = a.get(p * step + row..p * step + row + R) else {
                        return sums;
                    };
                    for r in 0..R {
                        sums[r] = lanes.mul_add(lanes.splat(column[r]), b, sums[r]);
                    }
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Lie, factor, noise};
    use super::*;

    const LIES: [Lie; 5] = [
        Lie::RowMajor,
        Lie::Transposed,
        Lie::Spread,
        Lie::Reversed,
        Lie::Broadcast,
    ];

    /// By the definition, in f64.
    fn naive<T: Product>(a: &Matrix<'_, T>, b: &Matrix<'_, T>, ending: &Ending<'_, T>) -> Vec<f64> {
        let n = b.cols();
        let cell = |at: usize| {
            let (i, j) = (at / n, at % n);
            let products = (0..a.cols()).map(|p| a.at(i, p).to_f64() * b.at(p, j).to_f64());
            let bias = ending.bias.map_or(0.0, |bias| bias[j].to_f64());
            let residual = ending.residual.map_or(0.0, |residual| residual[at].to_f64());
            let y = products.sum::<f64>() + bias + residual;
            match ending.activation {
                Activation::Relu => y.max(0.0),
                _ => y,
            }
        };
        (0..a.rows() * n).map(cell).collect()
    }

    fn check<T: SmallProduct>(isa: Isa, [m, n, k]: [usize; 3], lies: [Lie; 2], ending: Ending<'_, T>) {
        let (x, w) = (noise::<T>(4 * m * k + 4, 1), noise::<T>(4 * k * n + 4, 2));
        let (a, b) = (factor(&x, [m, k], lies[0]), factor(&w, [k, n], lies[1]));
        let mut y = vec![T::NAN; m * n];
        let product = Few {
            a,
            b,
            y: &mut y,
            ending,
        };
        T::few(isa, product);
        // Two roundings at each of k + 2 steps, of sums of at most that many numbers below 1.
        let tolerance = 2.0 * ((k + 2) * (k + 2)) as f64 * T::EPSILON.to_f64();
        for (got, want) in y.iter().zip(naive(&a, &b, &ending)) {
            let off = (got.to_f64() - want).abs();
            assert!(
                off <= tolerance,
                "{m} x {n} x {k}, {lies:?} on {isa}: {got} for {want}"
            );
        }
    }

    fn all_small_sizes<T: SmallProduct>() {
        let sizes = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 33];
        let mut n_cases = 0;
        for &isa in Isa::available() {
            for (m, n, k) in sizes
                .into_iter()
                .flat_map(|m| sizes.into_iter().flat_map(move |n| sizes.map(|k| (m, n, k))))
            {
                if !is_few([m, n, k]) {
                    continue;
                }
                // Every pair of layouts comes with many sizes.
                let lies = [LIES[n_cases % 5], LIES[n_cases / 5 % 5]];
                let (bias, residual) = (noise::<T>(n, 3), noise::<T>(m * n, 4));
                let ending = Ending {
                    bias: (n_cases % 2 == 0).then_some(&bias[..]),
                    residual: (n_cases % 3 == 0).then_some(&residual[..]),
                    activation: [Activation::None, Activation::Relu][n_cases % 7 % 2],
                };
                check::<T>(isa, [m, n, k], lies, ending);
                n_cases += 1;
            }
        }
        assert!(n_cases > 1000);
    }

    #[test]
    fn small_products_are_those_of_the_definition() {
        all_small_sizes::<f32>();
        #[cfg(feature = "f64")]
        all_small_sizes::<f64>();
    }

    /// Strips and rows are the same chains.
    #[test]
    fn a_turned_factor_gives_the_bits_of_a_dense_one() {
        for &isa in Isa::available() {
            for [m, n, k] in [[1, 48, 16], [3, 32, 32], [4, 24, 8], [1, 24, 16], [2, 40, 12]] {
                let (x, w) = (noise::<f32>(m * k, 1), noise::<f32>(k * n, 2));
                let turned: Vec<f32> = (0..n * k).map(|at| w[at % k * n + at / k]).collect();
                let bits = |b: Matrix<'_, f32>| {
                    let (a, mut y) = (Matrix::row_major(&x, m, k), vec![f32::NAN; m * n]);
                    let ending = Ending {
                        bias: None,
                        residual: None,
                        activation: Activation::None,
                    };
                    let y_mut = &mut y[..];
                    f32::few(
                        isa,
                        Few {
                            a,
                            b,
                            y: y_mut,
                            ending,
                        },
                    );
                    y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let dense = bits(Matrix::row_major(&w, k, n));
                let strips = bits(Matrix::new(&turned, 0, [k, n], [1, k as isize]));
                assert_eq!(dense, strips, "{m} x {n} x {k} on {isa}");
            }
        }
    }

    #[test]
    fn only_products_that_find_room_are_small() {
        assert!(is_few([1, 1, 1]) && is_few([32, 48, 16]) && is_few([1, 1, FACTOR]));
        for size in [
            [0, 4, 4],
            [4, 0, 4],
            [4, 4, 0],
            [33, 33, 33],
            [1, 2, FACTOR],
            [usize::MAX, 2, 1],
            [2, usize::MAX, usize::MAX],
            [1 << 33, 1 << 33, 1],
        ] {
            assert!(!is_few(size), "{size:?}");
        }
    }
}

//! Channels that lie side by side, as those of images do: a matrix with a row for every value of a channel, a column for every channel.
//!
//! Rows are cut into blocks, at most [`BLOCKS`]; one task adds up a block in a single pass, and the sums of blocks are joined in
//! order. So threads share the work of few channels as well, and results depend on the shape only.
//!
//! The moments of a block are sums of distances, and of their squares, from a center: the mean of the block's first [`PIECE`] rows,
//! which the cache holds. What is far from the mean of the block by chance cannot be far by much: the mean of `m` of `n` numbers is at
//! most `sqrt(n / m)` deviations from that of all, since the `m` alone have squared distances of `m` times its own from there.

use std::marker::PhantomData;
use std::ops::Range;

use super::Moments;
use super::apply::rows_a_pass;
use crate::cpu::isa::Kernel;
use crate::cx::Env;
use crate::ops::lanes;
use crate::real::Real;

/// Blocks at most.
const BLOCKS: usize = 32;

/// Rows that are added up in the precision of the model; the sums of pieces are added in `f64`.
const PIECE: usize = 64;

/// Columns whose sums are kept at a time, so that a piece is read in whole lines of the cache.
const TILE: usize = 64;

/// Columns of a pass: two vectors of 256 bits. What they leave is done by fours, and then one by one.
const LANES: usize = 16;

/// Rows of a block.
fn rows_a_block(rows: usize, columns: usize) -> usize {
    let least = lanes::rows_per_task(columns).max(PIECE);
    rows.div_ceil(BLOCKS).max(least)
}

/// Where two numbers for every column of every block are kept: in `one` if there is one block, else in `many`, which has the size of
/// the matrix.
pub fn parts<'a, T>(columns: usize, one: &'a mut [T], many: &'a mut [T]) -> &'a mut [T] {
    let rows = many.len() / columns.max(1);
    match rows.div_ceil(rows_a_block(rows, columns)) {
        0 | 1 => &mut one[..2 * columns],
        // Blocks have at least `PIECE` rows, the last excepted: there is room.
        blocks => &mut many[..2 * columns * blocks],
    }
}

/// Gives `keep` the moments of every column of `x`, in order.
pub fn moments<T: Real>(
    env: Env<'_>,
    columns: usize,
    x: &[T],
    parts: &mut [T],
    mut keep: impl FnMut(usize, Moments),
) {
    let rows = each_block(env, columns, x.len(), parts, |block, part| {
        let (x, g, center, terms) = (&x[block.clone()], &x[block], &[][..], PhantomData::<Distances>);
        T::run_narrow(
            env.isa,
            Block {
                x,
                g,
                center,
                part,
                columns,
                terms,
            },
        );
    });
    let (blocks, n) = (
        parts.chunks_exact(2 * columns.max(1)),
        (x.len() / columns.max(1)) as f64,
    );
    let n_of = |block: usize| (n - (block * rows) as f64).min(rows as f64);
    for c in 0..columns {
        let (mut mean, mut m2) = (0.0, 0.0);
        for (k, part) in blocks.clone().enumerate() {
            mean += part[c].to_f64() * n_of(k);
        }
        mean /= n;
        for (k, part) in blocks.clone().enumerate() {
            let gap = part[c].to_f64() - mean;
            m2 += part[columns + c].to_f64() + gap * gap * n_of(k);
        }
        keep(c, Moments { n, mean, m2 });
    }
}

/// Gives `keep` the sums of `g` and `g (x - center)` of every column, in order.
pub fn products<T: Real>(
    env: Env<'_>,
    center: &[T],
    [x, g]: [&[T]; 2],
    parts: &mut [T],
    mut keep: impl FnMut(usize, [f64; 2]),
) {
    let columns = center.len();
    each_block(env, columns, x.len(), parts, |block, part| {
        let (x, g, terms) = (&x[block.clone()], &g[block], PhantomData::<Products>);
        T::run_narrow(
            env.isa,
            Block {
                x,
                g,
                center,
                part,
                columns,
                terms,
            },
        );
    });
    for c in 0..columns {
        let mut sums = [0.0; 2];
        for part in parts.chunks_exact(2 * columns) {
            sums[0] += part[c].to_f64();
            sums[1] += part[columns + c].to_f64();
        }
        keep(c, sums);
    }
}

/// Calls `body` with the elements of every block and the place of its sums; gives the number of rows of a block.
fn each_block<T: Real>(
    env: Env<'_>,
    columns: usize,
    numel: usize,
    parts: &mut [T],
    body: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> usize {
    let rows = rows_a_block(numel / columns.max(1), columns);
    env.team.chunks_mut(parts, 2 * columns, |task, part| {
        let first = task * rows * columns;
        body(first..(first + rows * columns).min(numel), part);
    });
    rows
}

/// Two numbers to be added up over the rows.
trait Terms {
    /// Of elements of `x`, their neighbours in `g`, and the centers of their columns.
    fn of<T: Real, const N: usize>(x: [T; N], g: [T; N], center: [T; N]) -> [[T; N]; 2];
}

/// The distance from the center, and its square.
struct Distances;

impl Terms for Distances {
    #[inline(always)]
    fn of<T: Real, const N: usize>(x: [T; N], _: [T; N], center: [T; N]) -> [[T; N]; 2] {
        let distances = combine(x, center, |x, center| x - center);
        [distances, combine(distances, distances, |a, b| a * b)]
    }
}

/// `g` and `g (x - center)`.
struct Products;

impl Terms for Products {
    #[inline(always)]
    fn of<T: Real, const N: usize>(x: [T; N], g: [T; N], center: [T; N]) -> [[T; N]; 2] {
        let distances = combine(x, center, |x, center| x - center);
        [g, combine(g, distances, |g, d| g * d)]
    }
}

/// What `f` makes of neighbours. From arrays to an array: sums of several columns in one loop were not vectorised.
#[inline(always)]
fn combine<T: Real, const N: usize>(a: [T; N], b: [T; N], f: impl Fn(T, T) -> T + Copy) -> [T; N] {
    let mut out = a;
    for l in 0..N {
        out[l] = f(a[l], b[l]);
    }
    out
}

/// `N` elements from `at` on.
#[inline(always)]
fn load<T: Real, const N: usize>(x: &[T], at: usize) -> [T; N] {
    *x[at..].first_chunk().expect("rows have all their columns")
}

/// The sums of a block.
struct Block<'a, T, P> {
    x: &'a [T],
    g: &'a [T],
    /// A number a column; where there is none, the center is found, and moments are wanted.
    center: &'a [T],
    /// The results: the first sums of all columns, then the second.
    part: &'a mut [T],
    columns: usize,
    terms: PhantomData<P>,
}

impl<T: Real, P: Terms> Kernel for Block<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (columns, rows) = (self.columns, self.x.len() / self.columns);
        let pass = rows_a_pass(columns);
        let (x, is_found) = (self.x, self.center.is_empty());
        let (firsts, seconds) = self.part.split_at_mut(columns);
        for from in (0..columns).step_by(TILE) {
            let width = TILE.min(columns - from);
            let mut center = [T::ZERO; TILE];
            match self.center.get(from..from + width) {
                Some(given) => center[..width].copy_from_slice(given),
                None => center = first_mean(x, columns, from, width),
            }
            let mut sums = [[0.0f64; TILE]; 2];
            for first in (0..rows).step_by(PIECE) {
                let mut parts = [[T::ZERO; TILE]; 2];
                let end = (first + PIECE).min(rows);
                for row in (first..end).step_by(pass) {
                    let some = row * columns + from..(row + pass).min(end) * columns;
                    let (x, g) = (&x[some.clone()], &self.g[some]);
                    let mut c = 0;
                    while c + LANES <= width {
                        add_columns::<T, P, LANES>(&x[c..], &g[c..], columns, &center, &mut parts, c);
                        c += LANES;
                    }
                    while c + 4 <= width {
                        add_columns::<T, P, 4>(&x[c..], &g[c..], columns, &center, &mut parts, c);
                        c += 4;
                    }
                    while c < width {
                        add_columns::<T, P, 1>(&x[c..], &g[c..], columns, &center, &mut parts, c);
                        c += 1;
                    }
                }
                for k in 0..2 {
                    lanes::each(&mut sums[k], &parts[k], |sum, part| *sum += part.to_f64());
                }
            }
            for c in 0..width {
                let mut sums = [sums[0][c], sums[1][c]];
                if is_found {
                    let Moments { mean, m2, .. } =
                        Moments::about(center[c].to_f64(), rows as f64, sums[0], sums[1]);
                    sums = [mean, m2];
                }
                firsts[from + c] = T::from_f64(sums[0]);
                seconds[from + c] = T::from_f64(sums[1]);
            }
        }
    }
}

/// The mean of the first rows of some columns.
#[inline(always)]
fn first_mean<T: Real>(x: &[T], columns: usize, from: usize, width: usize) -> [T; TILE] {
    let mut mean = [T::ZERO; TILE];
    let rows = (x.len() / columns).min(PIECE);
    for row in 0..rows {
        let x = &x[row * columns + from..][..width];
        lanes::each(&mut mean[..width], x, |sum, x| *sum += x);
    }
    let share = T::from_f64(1.0 / rows as f64);
    for sum in &mut mean {
        *sum *= share;
    }
    mean
}

/// Adds the terms of some rows, of `N` columns from `at` on, which the rows begin with.
#[inline(always)]
fn add_columns<T: Real, P: Terms, const N: usize>(
    x: &[T],
    g: &[T],
    columns: usize,
    center: &[T; TILE],
    [firsts, seconds]: &mut [[T; TILE]; 2],
    at: usize,
) {
    let center = load(center, at);
    let (mut first, mut second) = (load::<T, N>(firsts, at), load::<T, N>(seconds, at));
    let mut row = 0;
    while row < x.len() {
        let [a, b] = P::of::<T, N>(load(x, row), load(g, row), center);
        first = combine(first, a, |sum, a| sum + a);
        second = combine(second, b, |sum, b| sum + b);
        row += columns;
    }
    for (sums, values) in [(firsts, first), (seconds, second)] {
        *sums[at..].first_chunk_mut().expect("a tile has all its columns") = values;
    }
}

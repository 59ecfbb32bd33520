//! Scaled dot product attention, forward and backward, without the matrix of probabilities.
//!
//! ```text
//! s = scale q k^T + mask        p = softmax over keys of s        y = dropout(p) v
//! ```
//!
//! Queries and keys are taken in tiles. A tile of scores lives on the stack of its thread; the maximum and the sum of a
//! row are carried from tile to tile, and what was added up before is scaled whenever a larger maximum turns up. What is
//! kept is the result and, for every query, the logarithm of its sum of exponentials, from which backward computes the
//! probabilities of a tile again. Source: Dao, Fu, Ermon, Rudra, Ré, "FlashAttention: fast and memory-efficient exact
//! attention with IO-awareness" (2022), after Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
//!
//! Invariants:
//!
//! - Operands may lie in any strided way; the products are those of [`gemm`], which pack what they read.
//! - A query that may attend to no key has the result 0 and gives no gradient (PyTorch's plain form gives NaN).
//! - Tiles are cut by shapes alone, and every sum is taken by one task, so the bits do not depend on the number of threads.
//! - Nothing is allocated, and no memory grows with the product of queries and keys.
//!
//! Not here: broadcasting (the compiler makes views), key-value caches, queries that share keys between heads.

mod backward;
mod scores;
mod strip;
#[cfg(test)]
mod tests;

pub use backward::attention_grad;

use std::ops::Range;

use crate::arena::{Binder, Buf};
use crate::cpu::gemm::{self, Block, Matrix, Product, Start};
use crate::cpu::isa::{Isa, Kernel};
use crate::cx::float;
use crate::cx::{Cx, Env};
use crate::error::Error;
use crate::ops::dropout;
use crate::ops::matmul::matrix;
use crate::ops::view::View;
use crate::program::MAX_RANK;
use crate::real::Real;
use scores::{Head, Mask, Tile};
use strip::{Absorb, STRIP, Seen, VECTOR, strips};

/// What an attention computes beside its operands.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Attention {
    /// What the products of queries and keys are multiplied with: `1 / sqrt(D)`, as a rule.
    pub scale: f64,
    /// Which keys a query may attend to, before any mask.
    pub reach: Reach,
    /// The probability with which a probability is dropped; 0 outside of training.
    pub dropout: f64,
    /// Where the random numbers come from. The number of an element is its place in `[.., Tq, Tk]`.
    pub stream: u64,
}

/// Which keys a query may attend to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// All of them.
    All,
    /// Those that are not behind it: query `i` attends to the keys `0..=i`, also where there are more keys than queries.
    Causal,
}

/// Most queries of a tile.
const QUERIES: usize = 64;
/// Most keys of a tile.
const KEYS: usize = 128;
/// Elements of the largest tile.
const TILE: usize = QUERIES * KEYS;
/// Multiply-adds that are worth a task of their own, about.
const TASK: usize = 1 << 20;

/// Attends with the queries `q` `[.., Tq, D]` to the keys `k` `[.., Tk, D]` and their values `v` `[.., Tk, Dv]`.
///
/// Writes `y` `[.., Tq, Dv]` and `lse` `[.., Tq]`, the logarithm of every query's sum of exponentials (infinity for a query
/// without keys). `mask` `[.., Tq, Tk]` holds truth values (true: may attend) or floats that are added to the scores.
///
/// # Errors
/// A dropout rate outside 0..=1 is recorded in the context, and nothing is dropped.
///
/// # Panics
/// Where the sizes do not fit together: a mistake of the compiler.
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn attention<const R: usize>(
    cx: &mut Cx<'_>,
    q: View<R>,
    k: View<R>,
    v: View<R>,
    mask: Option<View<R>>,
    y: Buf,
    lse: Buf,
    spec: Attention,
) {
    forward_padded(cx, &Operands { q, k, v, mask }.padded(), y, lse, spec);
}

#[inline(never)]
fn forward_padded(cx: &mut Cx<'_>, views: &Operands<MAX_RANK>, y: Buf, lse: Buf, spec: Attention) {
    float!(cx, T => forward::<MAX_RANK, T>(cx, *views, y, lse, spec));
}

/// The operands of both directions.
#[derive(Copy, Clone)]
struct Operands<const R: usize> {
    q: View<R>,
    k: View<R>,
    v: View<R>,
    mask: Option<View<R>>,
}

impl<const R: usize> Operands<R> {
    fn padded(&self) -> Operands<MAX_RANK> {
        assert!(R >= 2, "attention takes matrices");
        Operands {
            q: self.q.padded(),
            k: self.k.padded(),
            v: self.v.padded(),
            mask: self.mask.as_ref().map(View::padded),
        }
    }
}

/// Numbers of heads (all leading axes together), queries, keys, and elements of a query and of a value.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Sizes {
    heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
}

impl Sizes {
    /// Keys of a tile: as many as there is room for, turned around.
    fn keys_of_tile(&self) -> usize {
        match TILE / self.width.max(self.value_width).max(1) {
            // They are not turned around.
            ..VECTOR => KEYS,
            keys => (keys - keys % VECTOR).min(KEYS),
        }
    }

    /// Rows that make a task, where every row meets `others` rows of the other side: whole tiles at least.
    fn rows_per_task(&self, tile: usize, others: usize) -> usize {
        let row = others.saturating_mul(self.width + self.value_width).max(1);
        (TASK / row).max(tile)
    }
}

/// One call, its operands laid open.
struct Problem<'a, const R: usize, T> {
    env: Env<'a>,
    views: Operands<R>,
    sizes: Sizes,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    mask: MaskData<'a, T>,
    spec: Attention,
    /// Absent where nothing is dropped.
    dropout: Option<dropout::Mask>,
}

/// The buffer of a mask.
#[derive(Copy, Clone)]
enum MaskData<'a, T> {
    None,
    Keep(&'a [u8]),
    Add(&'a [T]),
}

impl<'a, const R: usize, T: Product> Problem<'a, R, T> {
    fn new(
        env: Env<'a>,
        bind: &mut Binder<'a, '_>,
        views: Operands<R>,
        spec: Attention,
        dropout: Option<dropout::Mask>,
    ) -> Self {
        let mask = match views.mask {
            None => MaskData::None,
            Some(view) if view.buf.width == 1 => MaskData::Keep(bind.read(view.buf)),
            Some(view) => MaskData::Add(bind.read(view.buf)),
        };
        Self {
            env,
            views,
            sizes: sizes(&views),
            q: bind.read(views.q.buf),
            k: bind.read(views.k.buf),
            v: bind.read(views.v.buf),
            mask,
            spec,
            dropout,
        }
    }

    /// The matrices of one head.
    fn head(&self, number: usize) -> Head<'_, T> {
        let view = |view: Option<View<R>>| view.expect("a mask with data has a view");
        Head {
            number,
            q: matrix(self.q, &self.views.q, number),
            k: matrix(self.k, &self.views.k, number),
            v: matrix(self.v, &self.views.v, number),
            mask: match self.mask {
                MaskData::None => Mask::None,
                MaskData::Keep(data) => Mask::Keep(matrix(data, &view(self.views.mask), number)),
                MaskData::Add(data) => Mask::Add(matrix(data, &view(self.views.mask), number)),
            },
            reach: self.spec.reach,
            scale: T::from_f64(self.spec.scale),
            dropout: self.dropout,
            sizes: self.sizes,
        }
    }

    /// The keys that some of these queries may attend to, by the order of both alone.
    fn keys_of(&self, queries: &Range<usize>) -> Range<usize> {
        match self.spec.reach {
            Reach::All => 0..self.sizes.keys,
            Reach::Causal => 0..queries.end.min(self.sizes.keys),
        }
    }

    /// The queries that may attend to some of these keys.
    fn queries_of(&self, keys: &Range<usize>) -> Range<usize> {
        match self.spec.reach {
            Reach::All => 0..self.sizes.queries,
            Reach::Causal => keys.start.min(self.sizes.queries)..self.sizes.queries,
        }
    }
}

/// Checks that the operands fit together.
fn sizes<const R: usize>(views: &Operands<R>) -> Sizes {
    let Operands { q, k, v, mask } = views;
    assert!(R >= 2, "attention needs axes of positions and of features");
    let leading = &q.shape[..R - 2];
    let fit = *leading == k.shape[..R - 2]
        && *leading == v.shape[..R - 2]
        && q.shape[R - 1] == k.shape[R - 1]
        && k.shape[R - 2] == v.shape[R - 2];
    let mask_fits = mask.is_none_or(|mask| {
        mask.shape[..R - 2] == *leading && mask.shape[R - 2..] == [q.shape[R - 2], k.shape[R - 2]]
    });
    assert!(
        fit && mask_fits,
        "attention of {:?} to {:?} with values {:?} and mask {:?}",
        q.shape,
        k.shape,
        v.shape,
        mask.map(|mask| mask.shape)
    );
    Sizes {
        heads: leading.iter().product(),
        queries: q.shape[R - 2],
        keys: k.shape[R - 2],
        width: q.shape[R - 1],
        value_width: v.shape[R - 1],
    }
}

/// The mask of the dropout, if there is one. A rate that is none is recorded in the context.
fn dropout_mask(cx: &mut Cx<'_>, spec: &Attention) -> Option<dropout::Mask> {
    if !(0.0..=1.0).contains(&spec.dropout) {
        let message = format!(
            "attention: the dropout rate must be in 0..=1, found {}",
            spec.dropout
        );
        cx.fail(Error::config(message));
        return None;
    }
    (spec.dropout > 0.0).then(|| dropout::Mask::new(cx, spec.dropout, spec.stream))
}

/// Cuts rows `first..first + n`, counted through matrices of `rows` rows each, at the ends of matrices and into tiles:
/// number of the matrix, rows within it, rows counted from `first`.
fn tiles(
    first: usize,
    n: usize,
    rows: usize,
    tile: usize,
) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut at = first;
    std::iter::from_fn(move || {
        let left = first + n - at;
        (left > 0).then(|| {
            let (number, start) = (at / rows, at % rows);
            let len = left.min(tile).min(rows - start);
            let local = at - first..at - first + len;
            at += len;
            (number, start..start + len, local)
        })
    })
}

fn forward<const R: usize, T: Product>(
    cx: &mut Cx<'_>,
    views: Operands<R>,
    y: Buf,
    lse: Buf,
    spec: Attention,
) {
    let dropout = dropout_mask(cx, &spec);
    let env = cx.env;
    let mut bind = cx.bind();
    let problem = Problem::<R, T>::new(env, &mut bind, views, spec, dropout);
    let (y, lse) = (bind.write::<T>(y), bind.write::<T>(lse));
    let sizes = problem.sizes;
    let (queries, width) = (sizes.queries, sizes.value_width);
    assert_eq!(
        [y.len(), lse.len()],
        [sizes.heads * queries * width, sizes.heads * queries],
        "results of an attention"
    );
    let n = sizes.rows_per_task(QUERIES, sizes.keys);
    env.team.chunks_mut2(y, n * width, lse, n, |task, y, lse| {
        let mut memory = Memory {
            keys: [T::ZERO; TILE],
            scores: [T::ZERO; STRIP * KEYS],
        };
        for (head, rows, local) in tiles(task * n, lse.len(), queries, QUERIES) {
            let y = &mut y[local.start * width..local.end * width];
            attend(
                &problem,
                &problem.head(head),
                rows,
                &mut memory,
                y,
                &mut lse[local],
            );
        }
    });
}

/// The results of some queries of one head, at most [`QUERIES`].
fn attend<const R: usize, T: Product>(
    problem: &Problem<'_, R, T>,
    head: &Head<'_, T>,
    queries: Range<usize>,
    memory: &mut Memory<T>,
    y: &mut [T],
    lse: &mut [T],
) {
    let isa = problem.env.isa;
    let (n, width) = (queries.len(), problem.sizes.value_width);
    let mut seen = Seen::nothing();
    let visible = problem.keys_of(&queries);
    if visible.is_empty() {
        y.fill(T::ZERO);
    }
    let tile = problem.sizes.keys_of_tile();
    for first in visible.clone().step_by(tile) {
        let keys = first..(first + tile).min(visible.end);
        let across = head.keys_across(isa, &keys, n, &mut memory.keys);
        for rows in strips(0..n, T::rows(isa)) {
            let strip = Tile {
                queries: queries.start + rows.start..queries.start + rows.end,
                keys: keys.clone(),
            };
            let y = &mut y[rows.start * width..rows.end * width];
            let (largest, sums) = (&mut seen.largest[rows.clone()], &mut seen.sums[rows]);
            attend_strip(isa, head, strip, across, &mut memory.scores, (largest, sums), y);
        }
    }
    let (largest, sums) = (&seen.largest[..n], &seen.sums[..n]);
    T::run(
        isa,
        Finish {
            largest,
            sums,
            y,
            lse,
            width,
        },
    );
}

/// Memory of a task.
struct Memory<T> {
    keys: [T; TILE],
    scores: [T; STRIP * KEYS],
}

/// Takes the keys of a tile into the results of a strip of queries: `across` holds these keys.
fn attend_strip<T: Product>(
    isa: Isa,
    head: &Head<'_, T>,
    tile: Tile,
    across: Matrix<'_, T>,
    memory: &mut [T; STRIP * KEYS],
    (largest, sums): (&mut [T], &mut [f64]),
    y: &mut [T],
) {
    let Some(tile) = head.seen(&tile) else { return };
    let start = if tile.keys.start == 0 {
        Start::Overwrite
    } else {
        Start::Accumulate
    };
    let (n, width) = (tile.queries.len(), head.sizes.value_width);
    let cols = tile.keys.len().next_multiple_of(VECTOR).min(across.cols());
    // Whole vectors, whatever is computed of them.
    let step = cols.next_multiple_of(VECTOR);
    let scores = &mut memory[..n * step];
    let mut products = Block::whole(scores, n, step);
    head.products(isa, &tile.queries, across, &mut products.part(0..n, 0..cols));
    let values = head.v.part(tile.keys.clone(), 0..width);
    let some = 0..tile.keys.len();
    T::run(
        isa,
        Absorb {
            head,
            tile,
            scores,
            largest,
            sums,
            y,
            start,
        },
    );
    let weights = Matrix::row_major(scores, n, step).part(0..n, some);
    gemm::product(isa, weights, values, &mut Block::whole(y, n, width), start);
}

/// Divides by the sums and writes their logarithms.
struct Finish<'x, T> {
    largest: &'x [T],
    sums: &'x [f64],
    y: &'x mut [T],
    lse: &'x mut [T],
    width: usize,
}

impl<T: Product> Kernel for Finish<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (r, lse) in self.lse.iter_mut().enumerate() {
            let (largest, sum) = (self.largest[r], self.sums[r]);
            let y = &mut self.y[r * self.width..][..self.width];
            if sum == 0.0 {
                // With infinity in place of the logarithm of 0, backward finds probabilities of 0.
                *lse = T::INFINITY;
                y.fill(T::ZERO);
            } else {
                *lse = T::from_f64(largest.to_f64() + Real::log(sum));
                let factor = T::from_f64(1.0 / sum);
                for y in y {
                    *y *= factor;
                }
            }
        }
    }
}

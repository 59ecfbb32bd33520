//! The gradient of attention, from probabilities that are computed again tile by tile.
//!
//! With `p` the probabilities, `f` the factors of the dropout (0 or 1 / (1 - rate)), `g` the cotangent of the result `y`
//! and `r` the sums over a row of `g y`:
//!
//! ```text
//! dv = (f p)^T g      ds = p (f (g v^T) - r) scale      dq = ds k      dk = ds^T q
//! ```
//!
//! Where there are many heads, a task takes whole heads and goes over their tiles once. Where there are few, queries and
//! keys are cut as well: one pass makes `dq`, another `dk` and `dv`, and both compute the probabilities. Which it is depends
//! on shapes alone.

use std::ops::Range;

use super::scores::{Head, Tile};
use super::strip::{STRIP, VECTOR, across, strips};
use super::{Attention, KEYS, Operands, Problem, QUERIES, Reach, TASK, TILE, dropout_mask, tiles};
use crate::arena::Buf;
use crate::cpu::gemm::{self, Block, Matrix, Product, Start};
use crate::cpu::isa::Kernel;
use crate::cx::Cx;
use crate::cx::float;
use crate::ops::lanes;
use crate::ops::matmul::matrix;
use crate::ops::view::View;
use crate::program::MAX_RANK;

/// As many heads are work enough for the threads without cutting them.
const MANY_HEADS: usize = 32;

/// The cotangents `dq`, `dk` and `dv` of the operands of [`attention`](super::attention), all contiguous, from what it wrote
/// (`y` and `lse`) and the cotangent `g` of `y`. `rows` is scratch memory of the size of `lse`.
///
/// # Errors
/// As for [`attention`](super::attention).
///
/// # Panics
/// Where the sizes do not fit together: a mistake of the compiler.
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn attention_grad<const R: usize>(
    cx: &mut Cx<'_>,
    q: View<R>,
    k: View<R>,
    v: View<R>,
    mask: Option<View<R>>,
    y: Buf,
    lse: Buf,
    g: View<R>,
    dq: Buf,
    dk: Buf,
    dv: Buf,
    rows: Buf,
    spec: Attention,
) {
    let operands = Operands { q, k, v, mask }.padded();
    let saved = Saved {
        y,
        lse,
        g: g.padded(),
    };
    backward_padded(cx, &operands, saved, [dq, dk, dv], rows, spec);
}

#[inline(never)]
fn backward_padded(
    cx: &mut Cx<'_>,
    operands: &Operands<MAX_RANK>,
    saved: Saved<MAX_RANK>,
    gradients: [Buf; 3],
    rows: Buf,
    spec: Attention,
) {
    float!(cx, T => backward::<MAX_RANK, T>(cx, *operands, saved, gradients, rows, spec));
}

/// What forward wrote, and the cotangent of its result.
struct Saved<const R: usize> {
    y: Buf,
    lse: Buf,
    g: View<R>,
}

/// One call of the gradient.
struct Gradient<'a, const R: usize, T> {
    problem: Problem<'a, R, T>,
    lse: &'a [T],
    g: &'a [T],
    g_view: View<R>,
    /// The sums over rows of `g y`.
    sums: &'a [T],
}

fn backward<const R: usize, T: Product>(
    cx: &mut Cx<'_>,
    operands: Operands<R>,
    saved: Saved<R>,
    [dq, dk, dv]: [Buf; 3],
    rows: Buf,
    spec: Attention,
) {
    let dropout = dropout_mask(cx, &spec);
    let env = cx.env;
    let mut bind = cx.bind();
    let problem = Problem::<R, T>::new(env, &mut bind, operands, spec, dropout);
    let (y, lse): (&[T], &[T]) = (bind.read(saved.y), bind.read(saved.lse));
    let g: &[T] = bind.read(saved.g.buf);
    let sums = bind.write::<T>(rows);
    let (dq, dk, dv) = (bind.write::<T>(dq), bind.write::<T>(dk), bind.write::<T>(dv));
    let sizes = problem.sizes;
    let [width, value_width] = [sizes.width, sizes.value_width];
    let (n_queries, n_keys) = (sizes.heads * sizes.queries, sizes.heads * sizes.keys);
    let mut shape = operands.q.shape;
    shape[R - 1] = value_width;
    assert_eq!(saved.g.shape, shape, "the cotangent of an attention");
    assert_eq!(
        [y.len(), lse.len(), sums.len(), dq.len(), dk.len(), dv.len()],
        [
            n_queries * value_width,
            n_queries,
            n_queries,
            n_queries * width,
            n_keys * width,
            n_keys * value_width
        ],
        "buffers of the gradient of an attention"
    );
    let n = lanes::rows_per_task(value_width);
    env.team.chunks_mut(sums, n, |task, sums| {
        for (head, rows, local) in tiles(task * n, sums.len(), sizes.queries, QUERIES) {
            let g = matrix(g, &saved.g, head).part(rows, 0..value_width);
            let y = &y[(task * n + local.start) * value_width..][..local.len() * value_width];
            T::run(
                env.isa,
                RowSums {
                    g,
                    y,
                    sums: &mut sums[local],
                },
            );
        }
    });
    let gradient = Gradient {
        problem,
        lse,
        g,
        g_view: saved.g,
        sums,
    };
    if sizes.heads >= MANY_HEADS {
        gradient.by_heads(dq, dk, dv);
    } else {
        gradient.of_queries(dq);
        gradient.of_keys(dk, dv);
    }
}

impl<const R: usize, T: Product> Gradient<'_, R, T> {
    /// All three, a task taking whole heads.
    fn by_heads(&self, dq: &mut [T], dk: &mut [T], dv: &mut [T]) {
        let s = self.problem.sizes;
        let work = s
            .queries
            .saturating_mul(s.keys)
            .saturating_mul(s.width + s.value_width);
        let n = (TASK / work.max(1)).clamp(1, s.heads.max(1));
        let lens = [s.queries * s.width, s.keys * s.width, s.keys * s.value_width];
        let parts = ((dq, n * lens[0]), (dk, n * lens[1]), (dv, n * lens[2]));
        self.problem
            .env
            .team
            .chunks_mut3(parts.0, parts.1, parts.2, |task, dq, dk, dv| {
                let mut memory = Memory::new();
                self.clear_unseen([dq, dk, dv]);
                for local in 0..n.min(s.heads - task * n) {
                    let part = |of: usize| local * lens[of]..(local + 1) * lens[of];
                    let (dq, dk, dv) = (&mut dq[part(0)], &mut dk[part(1)], &mut dv[part(2)]);
                    self.whole_head(task * n + local, &mut memory, dq, dk, dv);
                }
            });
    }

    fn whole_head(&self, number: usize, memory: &mut Memory<T>, dq: &mut [T], dk: &mut [T], dv: &mut [T]) {
        let s = self.problem.sizes;
        let head = self.head(number);
        for keys in pieces(0..s.keys, s.keys_of_tile()) {
            let dk = &mut dk[keys.start * s.width..keys.end * s.width];
            let dv = &mut dv[keys.start * s.value_width..keys.end * s.value_width];
            let (across, tiles) = head.across(&keys, s.queries, memory);
            for queries in pieces(self.problem.queries_of(&keys), QUERIES) {
                let dq = &mut dq[queries.start * s.width..queries.end * s.width];
                let tile = Tile {
                    queries,
                    keys: keys.clone(),
                };
                head.visit(&tile, across, tiles);
                head.add_query_part(&tile, tiles, dq);
                head.add_key_part(&tile, tiles, dk, dv);
            }
        }
    }

    /// `dq` alone, in tasks of some queries.
    fn of_queries(&self, dq: &mut [T]) {
        let s = self.problem.sizes;
        let n = s.rows_per_task(QUERIES, s.keys);
        self.problem.env.team.chunks_mut(dq, n * s.width, |task, dq| {
            let mut memory = Memory::new();
            self.clear_unseen([dq, &mut [], &mut []]);
            for (number, queries, local) in tiles(task * n, dq.len() / s.width, s.queries, QUERIES) {
                let dq = &mut dq[local.start * s.width..local.end * s.width];
                let head = self.head(number);
                for keys in pieces(self.problem.keys_of(&queries), s.keys_of_tile()) {
                    let (across, tiles) = head.across(&keys, queries.len(), &mut memory);
                    let tile = Tile {
                        queries: queries.clone(),
                        keys,
                    };
                    head.visit(&tile, across, tiles);
                    head.add_query_part(&tile, tiles, dq);
                }
            }
        });
    }

    /// `dk` and `dv`, in tasks of some keys.
    fn of_keys(&self, dk: &mut [T], dv: &mut [T]) {
        let s = self.problem.sizes;
        let n = s.rows_per_task(KEYS, s.queries);
        let all = s.heads * s.keys;
        let lens = [n * s.width, n * s.value_width];
        self.problem
            .env
            .team
            .chunks_mut2(dk, lens[0], dv, lens[1], |task, dk, dv| {
                let mut memory = Memory::new();
                self.clear_unseen([&mut [], dk, dv]);
                let some = tiles(task * n, n.min(all - task * n), s.keys, s.keys_of_tile());
                for (number, keys, local) in some {
                    let dk = &mut dk[local.start * s.width..local.end * s.width];
                    let dv = &mut dv[local.start * s.value_width..local.end * s.value_width];
                    let head = self.head(number);
                    let (across, tiles) = head.across(&keys, s.queries, &mut memory);
                    for queries in pieces(self.problem.queries_of(&keys), QUERIES) {
                        let tile = Tile {
                            queries,
                            keys: keys.clone(),
                        };
                        head.visit(&tile, across, tiles);
                        head.add_key_part(&tile, tiles, dk, dv);
                    }
                }
            });
    }

    /// Clears what no tile writes: the first tile that a query or a key belongs to overwrites its cotangents.
    fn clear_unseen(&self, [dq, dk, dv]: [&mut [T]; 3]) {
        let s = self.problem.sizes;
        if s.keys == 0 {
            dq.fill(T::ZERO);
        }
        if self
            .problem
            .queries_of(&(s.keys.saturating_sub(1)..s.keys))
            .is_empty()
        {
            dk.fill(T::ZERO);
            dv.fill(T::ZERO);
        }
    }

    fn head(&self, number: usize) -> GradientHead<'_, T> {
        let n = self.problem.sizes.queries;
        GradientHead {
            isa: self.problem.env.isa,
            head: self.problem.head(number),
            g: matrix(self.g, &self.g_view, number),
            lse: &self.lse[number * n..][..n],
            sums: &self.sums[number * n..][..n],
        }
    }
}

/// Consecutive pieces of a range, of at most `len`.
fn pieces(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |first| first..(first + len).min(end))
}

/// One head and what the gradient reads of it.
struct GradientHead<'a, T> {
    isa: crate::cpu::isa::Isa,
    head: Head<'a, T>,
    g: Matrix<'a, T>,
    lse: &'a [T],
    sums: &'a [T],
}

/// Memory of a task.
struct Memory<T> {
    keys: [T; TILE],
    values: [T; TILE],
    tiles: Tiles<T>,
}

impl<T: Product> Memory<T> {
    fn new() -> Self {
        Self {
            keys: [T::ZERO; TILE],
            values: [T::ZERO; TILE],
            tiles: Tiles {
                weights: [T::ZERO; TILE],
                ds: [T::ZERO; TILE],
            },
        }
    }
}

/// The dropped-out probabilities of a tile and the cotangents of its products, in rows of [`step`] elements. What lies behind the
/// last key that a strip of queries may see is 0 as far as strips of keys reach that one of its queries sees.
struct Tiles<T> {
    weights: [T; TILE],
    ds: [T; TILE],
}

/// Elements of a row of [`Tiles`].
fn step(tile: &Tile) -> usize {
    tile.keys.len().next_multiple_of(VECTOR)
}

/// Keys and values of a tile, transposed.
#[derive(Copy, Clone)]
struct Across<'m, T> {
    keys: Matrix<'m, T>,
    values: Matrix<'m, T>,
}

impl<'a, T: Product> GradientHead<'a, T> {
    /// Lays out keys and values for tiles of `rows` queries in all.
    fn across<'m>(
        &self,
        keys: &Range<usize>,
        rows: usize,
        memory: &'m mut Memory<T>,
    ) -> (Across<'m, T>, &'m mut Tiles<T>)
    where
        'a: 'm,
    {
        let values = self.head.v.part(keys.clone(), 0..self.head.sizes.value_width);
        let across = Across {
            keys: self.head.keys_across(self.isa, keys, rows, &mut memory.keys),
            values: across(self.isa, values, rows, &mut memory.values),
        };
        (across, &mut memory.tiles)
    }

    /// The strips of a tile: rows within it, and what of the tile they see.
    fn strips(&self, tile: &Tile) -> impl Iterator<Item = (Range<usize>, Tile)> {
        let first = tile.queries.start;
        strips(0..tile.queries.len(), T::rows(self.isa)).filter_map(move |rows| {
            let seen = self.head.seen(&Tile {
                queries: first + rows.start..first + rows.end,
                keys: tile.keys.clone(),
            });
            seen.map(|seen| (rows, seen))
        })
    }

    /// Computes the dropped-out probabilities of a tile and the cotangents of its products.
    fn visit(&self, tile: &Tile, across: Across<'_, T>, Tiles { weights, ds }: &mut Tiles<T>) {
        let (step, width) = (step(tile), self.head.sizes.value_width);
        for (rows, seen) in self.strips(tile) {
            let (n, place) = (rows.len(), rows.start * step..rows.end * step);
            let (weights, ds) = (&mut weights[place.clone()], &mut ds[place]);
            // Turned operands have whole vectors of columns; where one of both lies as it is, its keys end the tile.
            let whole = across.keys.cols().min(across.values.cols());
            let cols = seen.keys.len().next_multiple_of(VECTOR).min(whole);
            self.head.products(
                self.isa,
                &seen.queries,
                across.keys,
                &mut Block::whole(weights, n, step).part(0..n, 0..cols),
            );
            let g = self.g.part(seen.queries.clone(), 0..width);
            let values = across.values.part(0..width, 0..cols);
            let mut to = Block::whole(ds, n, step);
            gemm::product(self.isa, g, values, &mut to.part(0..n, 0..cols), Start::Overwrite);
            let read = tile.keys.len().min(seen.keys.len() + STRIP);
            T::run(
                self.isa,
                Cotangents {
                    of: self,
                    tile: seen,
                    weights,
                    ds,
                    step,
                    cols: [cols, read],
                },
            );
        }
    }

    /// `dq += ds k` for the queries of a tile; the first keys overwrite.
    fn add_query_part(&self, tile: &Tile, tiles: &Tiles<T>, dq: &mut [T]) {
        let (step, width) = (step(tile), self.head.sizes.width);
        let ds = Matrix::row_major(&tiles.ds, tile.queries.len(), step);
        for (rows, seen) in self.strips(tile) {
            let left = ds.part(rows.clone(), 0..seen.keys.len());
            let k = self.head.k.part(seen.keys, 0..width);
            let dq = &mut dq[rows.start * width..rows.end * width];
            let mut dq = Block::whole(dq, rows.len(), width);
            let start = match tile.keys.start {
                0 => Start::Overwrite,
                _ => Start::Accumulate,
            };
            gemm::product(self.isa, left, k, &mut dq, start);
        }
    }

    /// `dk += ds^T q` and `dv += (f p)^T g` for the keys of a tile; the first queries that see a key overwrite.
    fn add_key_part(&self, tile: &Tile, tiles: &Tiles<T>, dk: &mut [T], dv: &mut [T]) {
        let (sizes, n) = (self.head.sizes, tile.queries.len());
        for keys in strips(0..tile.keys.len(), T::rows(self.isa)) {
            // Those before it see none of these keys.
            let seeing = match self.head.reach {
                Reach::All => 0,
                Reach::Causal => tile.keys.start + keys.start,
            };
            let first = seeing.max(tile.queries.start);
            if first >= tile.queries.end {
                continue;
            }
            let start = match tile.queries.start <= seeing {
                true => Start::Overwrite,
                false => Start::Accumulate,
            };
            for (left, right, width, to) in [
                (&tiles.ds, self.head.q, sizes.width, &mut *dk),
                (&tiles.weights, self.g, sizes.value_width, &mut *dv),
            ] {
                let left = Matrix::row_major(left, n, step(tile));
                let left = left.part(first - tile.queries.start..n, keys.clone());
                let right = right.part(first..tile.queries.end, 0..width);
                let to = &mut to[keys.start * width..keys.end * width];
                let mut to = Block::whole(to, keys.len(), width);
                gemm::product(self.isa, left.transposed(), right, &mut to, start);
            }
        }
    }
}

/// From products of queries with keys (`weights`) and of cotangents with values (`ds`): the dropped-out probabilities, and
/// the cotangents of the former products.
struct Cotangents<'x, 'a, T> {
    of: &'x GradientHead<'a, T>,
    /// The queries of a strip, and the keys that they see.
    tile: Tile,
    weights: &'x mut [T],
    ds: &'x mut [T],
    /// Elements from a row to the next.
    step: usize,
    /// Columns that were computed, and those that will be read.
    cols: [usize; 2],
}

impl<T: Product> Kernel for Cotangents<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (head, keys, [cols, read]) = (&self.of.head, &self.tile.keys, self.cols);
        let whole = cols.next_multiple_of(VECTOR);
        let mut factors = [T::ONE; KEYS];
        for (r, query) in self.tile.queries.clone().enumerate() {
            let p = &mut self.weights[r * self.step..][..self.step];
            let ds = &mut self.ds[r * self.step..][..self.step];
            let (lse, sum) = (self.of.lse[query], self.of.sums[query]);
            head.score(query, keys, p[..whole].as_chunks_mut().0);
            let (ps, dss) = (p[..whole].as_chunks_mut().0, ds[..whole].as_chunks_mut().0);
            if head.dropout.is_some() {
                factors.fill(T::ONE);
                head.drop_out(query, keys, &mut factors[..keys.len()]);
            }
            let factors: &[[T; VECTOR]] = factors.as_chunks().0;
            for v in 0..ps.len() {
                cotangents(&mut ps[v], &mut dss[v], &factors[v], [lse, sum, head.scale]);
            }
            if whole < read {
                p[whole..read].fill(T::ZERO);
                ds[whole..read].fill(T::ZERO);
            }
        }
    }
}

/// Those of a vector of keys, from scores and cotangents of probabilities.
#[inline(always)]
fn cotangents<T: Product>(
    weights: &mut [T; VECTOR],
    ds: &mut [T; VECTOR],
    factors: &[T; VECTOR],
    [lse, sum, scale]: [T; 3],
) {
    // Copies, which overlap nothing.
    let (scores, of_p, factors) = (*weights, *ds, *factors);
    let (mut left, mut right) = ([T::ZERO; VECTOR], [T::ZERO; VECTOR]);
    for l in 0..VECTOR {
        let p = (scores[l] - lse).exp();
        left[l] = p * factors[l];
        right[l] = p * (of_p[l] * factors[l] - sum) * scale;
    }
    (*weights, *ds) = (left, right);
}

/// The sum of `g y` over every row.
struct RowSums<'x, T> {
    g: Matrix<'x, T>,
    y: &'x [T],
    sums: &'x mut [T],
}

impl<T: Product> Kernel for RowSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.g.cols();
        for (r, sum) in self.sums.iter_mut().enumerate() {
            let y = &self.y[r * width..][..width];
            *sum = T::from_f64(match self.g.step()[1] {
                1 if width > 0 => lanes::sum_map2(self.g.run(r, 0, width), y, |g, y| g * y),
                _ => y
                    .iter()
                    .enumerate()
                    .map(|(c, y)| (self.g.at(r, c) * *y).to_f64())
                    .sum(),
            });
        }
    }
}

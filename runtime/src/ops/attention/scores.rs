//! The scores of a tile: products of queries and keys, scaled and masked, and the dropout of their probabilities.

use std::ops::Range;

use super::strip::{VECTOR, across};
use super::{Reach, Sizes, TILE};
use crate::cpu::gemm::{self, Block, Matrix, Product, Start};
use crate::cpu::isa::Isa;
use crate::ops::{dropout, lanes};

/// The operands of one head.
#[derive(Copy, Clone)]
pub(super) struct Head<'a, T> {
    /// Which head it is.
    pub(super) number: usize,
    /// `[Tq, D]`.
    pub(super) q: Matrix<'a, T>,
    /// `[Tk, D]`.
    pub(super) k: Matrix<'a, T>,
    /// `[Tk, Dv]`.
    pub(super) v: Matrix<'a, T>,
    /// `[Tq, Tk]`.
    pub(super) mask: Mask<'a, T>,
    pub(super) reach: Reach,
    pub(super) scale: T,
    pub(super) dropout: Option<dropout::Mask>,
    pub(super) sizes: Sizes,
}

/// What masks the scores of a head.
#[derive(Copy, Clone)]
pub(super) enum Mask<'a, T> {
    None,
    /// Nonzero where a query may attend to a key.
    Keep(Matrix<'a, u8>),
    /// Added to the scores.
    Add(Matrix<'a, T>),
}

/// Some queries and some keys of a head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tile {
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
}

impl<'a, T: Product> Head<'a, T> {
    /// The keys of a tile that one of its queries may see, by the order of both alone; `None` where it sees none of them.
    pub(super) fn seen(&self, tile: &Tile) -> Option<Tile> {
        let keys = &tile.keys;
        let end = match self.reach {
            Reach::All => keys.end,
            Reach::Causal => keys.end.min(tile.queries.end),
        };
        (end > keys.start).then(|| Tile {
            queries: tile.queries.clone(),
            keys: keys.start..end,
        })
    }

    /// Some keys, transposed, for products with `rows` queries: see [`across`].
    pub(super) fn keys_across<'m>(
        &self,
        isa: Isa,
        keys: &Range<usize>,
        rows: usize,
        room: &'m mut [T; TILE],
    ) -> Matrix<'m, T>
    where
        'a: 'm,
    {
        across(isa, self.k.part(keys.clone(), 0..self.sizes.width), rows, room)
    }

    /// Products of some queries with the first keys of those that `across` holds.
    pub(super) fn products(
        &self,
        isa: Isa,
        queries: &Range<usize>,
        across: Matrix<'_, T>,
        to: &mut Block<'_, T>,
    ) {
        let width = self.sizes.width;
        let q = self.q.part(queries.clone(), 0..width);
        let keys = across.part(0..width, 0..to.cols());
        gemm::product(isa, q, keys, to, Start::Overwrite);
    }

    /// Makes scores of the products of one query with some keys: minus infinity where it may not attend, and beyond the last key.
    #[expect(clippy::needless_range_loop, reason = "lanes go by index")]
    #[inline(always)]
    pub(super) fn score(&self, query: usize, keys: &Range<usize>, row: &mut [[T; VECTOR]]) {
        let visible = match self.reach {
            Reach::All => keys.len(),
            Reach::Causal => keys.len().min((query + 1).saturating_sub(keys.start)),
        };
        for (v, chunk) in row.iter_mut().enumerate() {
            // Of this vector: a number of 32 bits, to be compared in lanes as narrow.
            let visible = visible.saturating_sub(v * VECTOR).min(VECTOR) as u32;
            for l in 0..VECTOR {
                chunk[l] = T::select((l as u32) < visible, chunk[l] * self.scale, -T::INFINITY);
            }
        }
        let row = row.as_flattened_mut();
        let row = &mut row[..visible];
        match &self.mask {
            Mask::None => (),
            Mask::Keep(mask) => masked(mask, query, keys, row, |s, keep| {
                T::select(keep != 0, s, -T::INFINITY)
            }),
            Mask::Add(mask) => masked(mask, query, keys, row, |s, add| s + add),
        }
    }

    /// Drops elements of a row of probabilities, and scales the others up.
    #[inline(always)]
    pub(super) fn drop_out(&self, query: usize, keys: &Range<usize>, row: &mut [T]) {
        if let Some(mask) = &self.dropout {
            mask.apply(self.first_element(query, keys), row);
        }
    }

    /// The number in `[.., Tq, Tk]` of a query's first key of these.
    #[inline(always)]
    fn first_element(&self, query: usize, keys: &Range<usize>) -> u64 {
        let row = (self.number * self.sizes.queries + query) as u64;
        row * self.sizes.keys as u64 + keys.start as u64
    }
}

/// Combines scores with the mask of their places.
#[inline(always)]
fn masked<T: Copy, M: Copy>(
    mask: &Matrix<'_, M>,
    query: usize,
    keys: &Range<usize>,
    row: &mut [T],
    f: impl Fn(T, M) -> T,
) {
    match mask.step()[1] {
        1 => {
            let mask = mask.run(query, keys.start, row.len());
            lanes::each(row, mask, |s, m| *s = f(*s, m));
        }
        0 => {
            let m = mask.at(query, keys.start);
            for s in row {
                *s = f(*s, m);
            }
        }
        _ => {
            for (s, key) in row.iter_mut().zip(keys.start..) {
                *s = f(*s, mask.at(query, key));
            }
        }
    }
}

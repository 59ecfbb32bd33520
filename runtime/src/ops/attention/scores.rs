//! The scores of a tile: products of queries and keys, scaled and masked, and the dropout of their probabilities.

use std::ops::Range;

use super::{Reach, Sizes};
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

impl<T: Product> Head<'_, T> {
    /// `q k^T` of a tile, row-major.
    pub(super) fn products(&self, isa: Isa, tile: &Tile, to: &mut [T]) {
        let q = self.q.part(tile.queries.clone(), 0..self.sizes.width);
        let k = self.k.part(tile.keys.clone(), 0..self.sizes.width);
        let mut to = Block::whole(to, tile.queries.len(), tile.keys.len());
        gemm::product(isa, q, k.transposed(), &mut to, Start::Overwrite);
    }

    /// Makes scores of the products of one query with some keys: minus infinity where it may not attend.
    #[inline(always)]
    pub(super) fn score(&self, query: usize, keys: &Range<usize>, row: &mut [T]) {
        for s in row.iter_mut() {
            *s *= self.scale;
        }
        match &self.mask {
            Mask::None => (),
            Mask::Keep(mask) => masked(mask, query, keys, row, |s, keep| {
                T::select(keep != 0, s, -T::INFINITY)
            }),
            Mask::Add(mask) => masked(mask, query, keys, row, |s, add| s + add),
        }
        if self.reach == Reach::Causal {
            let visible = (query + 1).saturating_sub(keys.start).min(row.len());
            row[visible..].fill(-T::INFINITY);
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
            for (s, key) in row.iter_mut().zip(keys.clone()) {
                *s = f(*s, mask.at(query, key));
            }
        }
    }
}

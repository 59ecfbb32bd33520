//! Weights of windows, split into bf16 parts as units read them.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        clippy::needless_range_loop,
        reason = "an iterator's methods need not be inlined, and then lack the instruction set"
    )
)]

use super::pack::Span;
#[cfg(target_arch = "x86_64")]
use super::rows_of;
#[cfg(target_arch = "x86_64")]
use super::splits::Rounder;
use super::splits::{Splits, Splitter};
use super::window::{pairs_of, steps_of};
#[cfg(target_arch = "x86_64")]
use super::words::Rounds;
use super::words::{self, OnWords, Words};
use super::{BLOCK, Parts, SIDE, Tile};
use crate::cpu::gemm::Axis;
use crate::cpu::gemm::method::Unit;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::Kernel;

/// Tiles that the weights of a window take for 32 columns; saturates.
pub fn weight_tiles(unit: Unit, parts: Parts, axes: &[Axis; 2], channels: usize) -> usize {
    match unit {
        Unit::Dots(_) => pairs_of(axes, channels).div_ceil(SIDE * SIDE / BLOCK),
        _ => steps_of(axes, channels).saturating_mul(2 * parts.count()),
    }
}

/// Splits the weights of `runs` runs of `len` numbers, `[run, number, columns]` with up to 32 columns.
///
/// Tiles hold for every 32 numbers of a run, part by part, those of the left and of the right columns. For `vdpbf16ps` there are two rows,
/// with nothing in between: of each pair of a run, with 16 columns in each row, or, up to 16 columns, of each two pairs, with both
/// pairs of eight columns in each row.
///
/// # Panics
/// Where the sizes do not fit together.
pub fn split_weights(
    unit: Unit,
    parts: Parts,
    [runs, len]: [usize; 2],
    (weights, columns): (&[f32], usize),
    tiles: &mut [Tile],
) -> Span {
    assert!((1..=BLOCK).contains(&columns), "weights of {columns} columns");
    assert_eq!(
        weights.len(),
        runs * len * columns,
        "weights of {runs} runs of {len}"
    );
    let weights = Weights {
        len,
        weights,
        columns,
        tiles,
    };
    match (unit, parts) {
        #[cfg(target_arch = "x86_64")]
        (Unit::Dots(bf16), _) => bf16.run(InRows(bf16, weights)),
        (_, Parts::One) => words::run(unit, InTiles::<1>(weights)),
        (_, Parts::Two) => words::run(unit, InTiles::<2>(weights)),
        (_, Parts::Three) => words::run(unit, InTiles::<3>(weights)),
    }
}

struct Weights<'x> {
    /// Numbers of a run.
    len: usize,
    weights: &'x [f32],
    columns: usize,
    tiles: &'x mut [Tile],
}

/// Weights in tiles, in `P` parts.
struct InTiles<'x, const P: usize>(Weights<'x>);

impl<const P: usize> OnWords for InTiles<'_, P> {
    type Output = Span;

    #[inline(always)]
    fn run<W: Words>(self, words: W) -> Span {
        let Weights {
            len,
            weights,
            columns,
            tiles,
        } = self.0;
        let mut splitter = Splitter::<W, P>::new(words);
        if len > 0 {
            let tiles = tiles.chunks_exact_mut(len.div_ceil(BLOCK) * 2 * P);
            for (weights, tiles) in weights.chunks_exact(len * columns).zip(tiles) {
                pairs_in_tiles(&mut splitter, weights, columns, tiles);
            }
        }
        splitter.span()
    }
}

/// Writes the tiles of a run.
#[inline(always)]
fn pairs_in_tiles<S: Splits>(splits: &mut S, weights: &[f32], columns: usize, tiles: &mut [Tile]) {
    let steps = weights.chunks(BLOCK * columns);
    for (weights, tiles) in steps.zip(tiles.chunks_exact_mut(2 * S::PARTS)) {
        tiles.fill(Tile::ZERO);
        for (p, pair) in weights.chunks(2 * columns).enumerate() {
            let (even, odd) = pair.split_at(columns);
            for half in 0..columns.div_ceil(SIDE) {
                let even = splits.some(sixteen(even, half));
                let odd = splits.some(sixteen(odd, half));
                for part in 0..S::PARTS {
                    let pairs = splits.across(&even, &odd, part);
                    splits.write(pairs, &mut tiles[2 * part + half].0[p]);
                }
            }
        }
    }
}

/// The first or second 16 numbers of a row, or as many as there are.
#[inline(always)]
fn sixteen(row: &[f32], half: usize) -> &[f32] {
    row.get(half * SIDE..).unwrap_or_default()
}

/// Rounded weights in rows.
#[cfg(target_arch = "x86_64")]
struct InRows<'x, R>(R, Weights<'x>);

#[cfg(target_arch = "x86_64")]
impl<R: Rounds> Kernel for InRows<'_, R> {
    type Output = Span;

    #[inline(always)]
    fn run(self) -> Span {
        let Weights {
            len,
            weights,
            columns,
            tiles,
        } = self.1;
        let mut rounder = Rounder::new(self.0);
        let (mut rows, _) = rows_of(tiles).as_chunks_mut::<2>();
        if len == 0 {
            return rounder.span();
        }
        for weights in weights.chunks_exact(len * columns) {
            let pairs = if columns > SIDE { 1 } else { 2 };
            let (some, rest) = rows.split_at_mut(len.div_ceil(2 * pairs));
            match columns > SIDE {
                true => pairs_in_rows(&mut rounder, weights, columns, some),
                false => two_pairs_in_rows(&mut rounder, weights, columns, some),
            }
            rows = rest;
        }
        rounder.span()
    }
}

/// Writes the pairs of a run of more than 16 columns.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pairs_in_rows<S: Splits>(splits: &mut S, weights: &[f32], columns: usize, rows: &mut [[[u32; SIDE]; 2]]) {
    for (pair, rows) in weights.chunks(2 * columns).zip(rows) {
        let (even, odd) = pair.split_at(columns);
        for half in 0..2 {
            let even = splits.some(sixteen(even, half));
            let odd = splits.some(sixteen(odd, half));
            let pairs = splits.across(&even, &odd, 0);
            splits.write(pairs, &mut rows[half]);
        }
    }
}

/// Writes the pairs of a run of up to 16 columns: those of a column side by side.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn two_pairs_in_rows<S: Splits>(
    splits: &mut S,
    weights: &[f32],
    columns: usize,
    rows: &mut [[[u32; SIDE]; 2]],
) {
    for (four, rows) in weights.chunks(4 * columns).zip(rows) {
        let mut numbers = four.chunks(columns);
        let mut pairs = [[0; SIDE]; 2];
        for p in 0..2 {
            let even = splits.some(numbers.next().unwrap_or_default());
            let odd = splits.some(numbers.next().unwrap_or_default());
            let words = splits.across(&even, &odd, 0);
            splits.write(words, &mut pairs[p]);
        }
        for i in 0..SIDE {
            for p in 0..2 {
                rows[2 * i / SIDE][2 * i % SIDE + p] = pairs[p][i];
            }
        }
    }
}

/// The tiles that numbers have room for.
pub fn tiles_mut(numbers: &mut [f32]) -> &mut [Tile] {
    // SAFETY: a tile is an array of words, and any bits are a word, as they are a number.
    unsafe { numbers.align_to_mut::<Tile>().1 }
}

//! Weights of windows, split into bf16 parts as units read them.

use super::pack::{Packer, Span};
use super::window::{pairs_of, steps_of};
use super::words::{self, OnWords, Words};
use super::{BLOCK, Parts, SIDE, Tile};
use crate::cpu::gemm::Axis;
use crate::cpu::gemm::method::Unit;

/// Tiles that the weights of a window take for 32 columns; saturates.
pub fn weight_tiles(unit: Unit, parts: Parts, axes: &[Axis; 2], channels: usize) -> usize {
    match unit {
        Unit::Dots(_) => pairs_of(axes, channels).div_ceil(SIDE * SIDE / BLOCK),
        _ => steps_of(axes, channels).saturating_mul(2 * parts.count()),
    }
}

/// Splits the weights of `runs` runs of `len` numbers, `[run, number, columns]` with up to 32 columns.
///
/// Tiles hold for every 32 numbers of a run, part by part, those of the left and of the right columns. For `vdpbf16ps` there is a row for
/// each pair of a run, of 16 or 32 columns, with nothing in between.
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
        unit,
        parts,
        len,
        weights,
        columns,
        tiles,
    };
    words::run(unit, weights)
}

struct Weights<'x> {
    unit: Unit,
    parts: Parts,
    /// Numbers of a run.
    len: usize,
    weights: &'x [f32],
    columns: usize,
    tiles: &'x mut [Tile],
}

impl OnWords for Weights<'_> {
    type Output = Span;

    #[inline(always)]
    fn run<W: Words>(self, words: W) -> Span {
        let mut packer = Packer::new(words, self.parts);
        let run = self.len * self.columns;
        if run == 0 {
            return packer.span();
        }
        if let Unit::Dots(_) = self.unit {
            let mut rows = words_of(self.tiles);
            for weights in self.weights.chunks_exact(run) {
                rows = pairs_in_rows(&mut packer, weights, self.columns, rows);
            }
            return packer.span();
        }
        let tiles = self.len.div_ceil(BLOCK) * 2 * self.parts.count();
        let tiles = self.tiles.chunks_exact_mut(tiles);
        for (weights, tiles) in self.weights.chunks_exact(run).zip(tiles) {
            pairs_in_tiles(&mut packer, weights, self.columns, tiles);
        }
        packer.span()
    }
}

/// The rows of tiles, one after the other.
fn words_of(tiles: &mut [Tile]) -> &mut [[u32; SIDE]] {
    let start = tiles.as_mut_ptr().cast::<[u32; SIDE]>();
    // SAFETY: a tile is an array of as many rows, and has nothing beside them.
    unsafe { std::slice::from_raw_parts_mut(start, tiles.len() * SIDE) }
}

/// Writes the pairs of a run in one part, row by row; returns the rows that are left.
#[inline(always)]
fn pairs_in_rows<'r, W: Words>(
    packer: &mut Packer<W>,
    weights: &[f32],
    columns: usize,
    rows: &'r mut [[u32; SIDE]],
) -> &'r mut [[u32; SIDE]] {
    let mut at = 0;
    for pair in weights.chunks(2 * columns) {
        let (even, odd) = pair.split_at(columns);
        for half in 0..columns.div_ceil(SIDE) {
            let mut even = packer.seen_half(&sixteen(even, half));
            let mut odd = packer.seen_half(&sixteen(odd, half));
            let pairs = packer.across(&mut even, &mut odd);
            packer.write(pairs, &mut rows[at]);
            at += 1;
        }
    }
    &mut rows[at..]
}

/// Writes the tiles of a run.
#[inline(always)]
fn pairs_in_tiles<W: Words>(packer: &mut Packer<W>, weights: &[f32], columns: usize, tiles: &mut [Tile]) {
    let parts = packer.parts().count();
    let steps = weights.chunks(BLOCK * columns);
    for (weights, tiles) in steps.zip(tiles.chunks_exact_mut(2 * parts)) {
        tiles.fill(Tile::ZERO);
        for (p, pair) in weights.chunks(2 * columns).enumerate() {
            let (even, odd) = pair.split_at(columns);
            for half in 0..columns.div_ceil(SIDE) {
                let mut even = packer.seen_half(&sixteen(even, half));
                let mut odd = packer.seen_half(&sixteen(odd, half));
                for part in 0..parts {
                    let pairs = packer.across(&mut even, &mut odd);
                    packer.write(pairs, &mut tiles[2 * part + half].0[p]);
                }
            }
        }
    }
}

/// The first or second 16 numbers of a row, and zeros where there are fewer.
#[inline(always)]
fn sixteen(row: &[f32], half: usize) -> [f32; SIDE] {
    let numbers = row.get(half * SIDE..).unwrap_or_default();
    match numbers.first_chunk::<SIDE>() {
        Some(numbers) => *numbers,
        None => {
            let mut padded = [0.0; SIDE];
            padded[..numbers.len()].copy_from_slice(numbers);
            padded
        }
    }
}

/// The tiles that numbers have room for.
pub fn tiles_mut(numbers: &mut [f32]) -> &mut [Tile] {
    // SAFETY: a tile is an array of words, and any bits are a word, as they are a number.
    unsafe { numbers.align_to_mut::<Tile>().1 }
}

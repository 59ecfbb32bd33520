//! A right factor that is packed in pairs once for many products.
//!
//! A strip is 32 columns: for every 32 of `k`, part by part, two tiles, as a product packs them; behind all of them, where there are
//! several parts, the [`Span`] of each 32 of `k` in two words, filled up to whole tiles. A product takes the spans of its block of `k`
//! together, and so decides as if it had packed the numbers itself.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::dots::pack::pack;
use super::pack::{Order, Span};
use super::splits::{Splits, Splitter};
use super::words::{self, OnWords, Words};
use super::{BLOCK, Parts, SIDE, Tile, Unit};
use crate::cpu::gemm::{Factor, Strips};

/// Words of a tile: as many as it has numbers, were they `f32`.
const WORDS: usize = SIDE * SIDE;

/// Tiles of pairs in a strip for an inner size `k`, and tiles of words about them.
fn tiles(parts: Parts, k: usize) -> [usize; 2] {
    let steps = k.div_ceil(BLOCK);
    let words = match parts {
        Parts::One => 0,
        Parts::Two | Parts::Three => 2 * steps,
    };
    [2 * parts.count() * steps, words.div_ceil(WORDS)]
}

/// Tile, row and place of the first of the two words about a step.
fn word(step: usize) -> [usize; 3] {
    let at = 2 * step;
    [at / WORDS, at / SIDE % SIDE, at % SIDE]
}

/// Numbers whose place a strip takes, for an inner size `k`.
pub(in crate::cpu::gemm) fn strip_len(parts: Parts, k: usize) -> usize {
    tiles(parts, k).iter().sum::<usize>() * WORDS
}

/// Packs columns `cols`, 32 or the last, of a right factor.
///
/// # Panics
/// Where `out` is not as long as [`strip_len`] says, or does not lie as tiles do.
pub(in crate::cpu::gemm) fn pack_strip(
    unit: Unit,
    parts: Parts,
    b: Factor<'_, f32>,
    cols: Range<usize>,
    out: &mut [f32],
) {
    let k = b.size()[0];
    let x = b.transposed().part(cols, 0..k);
    // SAFETY: tiles are arrays of words, and any bits are a number and a word.
    let (before, out, after) = unsafe { out.align_to_mut::<Tile>() };
    assert!(before.is_empty() && after.is_empty(), "strips lie as tiles do");
    #[cfg(target_arch = "x86_64")]
    if let Unit::Dots(bf16) = unit {
        return pack(bf16, x, Order::Pairs, out);
    }
    words::run(unit, PackColumns { parts, x, out });
}

/// A strip to be packed, `x` being its columns as rows.
struct PackColumns<'x, 'o> {
    parts: Parts,
    x: Factor<'x, f32>,
    out: &'o mut [Tile],
}

impl OnWords for PackColumns<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Words>(self, words: W) {
        match self.parts {
            Parts::One => self.pack::<W, 1>(words),
            Parts::Two => self.pack::<W, 2>(words),
            Parts::Three => self.pack::<W, 3>(words),
        }
    }
}

impl PackColumns<'_, '_> {
    #[inline(always)]
    fn pack<W: Words, const P: usize>(self, words: W) {
        let k = self.x.size()[1];
        let (pairs, spans) = self.out.split_at_mut(tiles(self.parts, k)[0]);
        for (step, tiles) in pairs.chunks_exact_mut(2 * P).enumerate() {
            let from = step * BLOCK;
            tiles.fill(Tile::ZERO);
            let mut splitter = Splitter::<W, P>::new(words);
            splitter.step(&self.x, from..(from + BLOCK).min(k), Order::Pairs, tiles);
            if P > 1 {
                let [tile, row, place] = word(step);
                spans[tile].0[row][place..place + 2].copy_from_slice(&splitter.span().ends());
            }
        }
    }
}

/// The tiles of rows `k` of the columns from `col` on, and what is known of their numbers.
pub(super) fn read<'a>(
    strips: &Strips<'a, f32>,
    parts: Parts,
    k: &Range<usize>,
    col: usize,
) -> (&'a [Tile], Span) {
    let (strip, [start, depth]) = strips.whole_strip(parts, col);
    // SAFETY: tiles are arrays of words, and any bits of a number are one.
    let (before, strip, after) = unsafe { strip.align_to::<Tile>() };
    assert!(before.is_empty() && after.is_empty(), "strips lie as tiles do");
    let (pairs, words) = strip.split_at(tiles(parts, depth)[0]);
    let (from, to) = (start + k.start, start + k.end);
    assert!(from.is_multiple_of(BLOCK), "no tile begins with row {from}");
    let steps = from / BLOCK..to.div_ceil(BLOCK);
    let each = 2 * parts.count();
    let mut span = Span::NONE;
    if parts != Parts::One {
        for step in steps.clone() {
            let [tile, row, place] = word(step);
            let row = &words[tile].0[row];
            span = span.with([row[place], row[place + 1]]);
        }
    }
    (&pairs[steps.start * each..steps.end * each], span)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::cpu::gemm::tests::{Lie, factor, lie, noise};
    use crate::cpu::gemm::{
        Block, Interleaved, Matrix, Method, Product, Start, Unpacked, pack_right, strips_len, ways,
    };
    use crate::cpu::threads::Team;

    /// `len` numbers that begin where a tile may.
    fn on_lines(room: &mut Vec<f32>, len: usize) -> &mut [f32] {
        room.resize(len + SIDE, f32::NAN);
        let first = room.as_ptr().align_offset(align_of::<Tile>());
        &mut room[first..first + len]
    }

    /// Products with a factor that was packed, of which blocks of columns are taken as tasks take them, have the bits of those with the
    /// matrix.
    fn same_bits<'b>(a: Matrix<'_, f32>, b: impl Into<Unpacked<'b, f32>>, what: &str) {
        let b = b.into();
        let (m, k, n) = (a.rows(), a.cols(), Factor::from(b).size()[1]);
        let team = Team::new(NonZeroUsize::new(2).unwrap()).unwrap();
        for (unit, parts) in ways() {
            let method = Method::Pairs(unit, parts);
            let mut room = Vec::new();
            let numbers = on_lines(&mut room, strips_len::<f32>(method, [k, n]));
            pack_right(&team, method, b, numbers);
            let strips = Strips::of(method, b, numbers).expect("products in pairs read strips");
            let (mut plain, mut packed) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
            for start in [Start::Overwrite, Start::Accumulate] {
                for first in (0..n).step_by(2 * BLOCK) {
                    let cols = first..(first + 2 * BLOCK).min(n);
                    let block = |c: &mut [f32], b: Factor<'_, f32>| {
                        let mut c = Block::whole(c, m, n);
                        let b = b.part(0..k, cols.clone());
                        f32::product(method, a.into(), b, &mut c.part(0..m, cols.clone()), start);
                    };
                    block(&mut plain, b.into());
                    block(&mut packed, Factor::Strips(strips));
                }
                let bits = |c: &[f32]| -> Vec<u32> { c.iter().map(|x| x.to_bits()).collect() };
                assert!(
                    bits(&plain) == bits(&packed),
                    "{method:?} {m}x{k}x{n} {what} {start:?}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn packed_factors_change_no_bit_on_any_size_and_layout(
            (m, k, n) in (1usize..50, 0usize..300, 1usize..150),
            lies in prop::array::uniform2(lie()),
        ) {
            let (x, y) = (noise::<f32>(3 * m * k + 2, 1), noise::<f32>(3 * k * n + 2, 2));
            same_bits(factor(&x, [m, k], lies[0]), factor(&y, [k, n], lies[1]), "noise");
        }

        /// A number that parts would lose sends its block, and no other, to the vectors: also where only a block of `k` or of columns
        /// has it.
        #[test]
        fn packed_factors_change_no_bit_where_blocks_are_computed_on_vectors(
            at in 0usize..290 * 70,
            odd in prop::sample::select(vec![
                f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, -1e-33, 2f32.powi(100), 0.0,
            ]),
            right in any::<bool>(),
        ) {
            let (m, k, n) = (40, 290, 70);
            let (mut x, mut y) = (noise::<f32>(m * k, 3), noise::<f32>(k * n, 4));
            match right {
                true => y[at] = odd,
                false => x[at % (m * k)] = odd,
            }
            let b = factor(&y, [k, n], Lie::Transposed);
            let a = Matrix::row_major(&x, m, k);
            same_bits(a, b, &format!("{odd:e} at {at}"));
            let b = Unpacked::Interleaved(Interleaved::rows(b, 29));
            same_bits(a, b, &format!("{odd:e} at {at}, interleaved"));
        }
    }

    /// More rows than one tile of words tells about.
    #[test]
    fn spans_of_many_rows_fill_several_tiles() {
        let (m, k, n) = (2, 5000, 40);
        let (x, mut y) = (noise::<f32>(m * k, 3), noise::<f32>(k * n, 4));
        y[4900 * n + 35] = 1e-40;
        same_bits(
            Matrix::row_major(&x, m, k),
            Matrix::row_major(&y, k, n),
            "many rows",
        );
    }
}

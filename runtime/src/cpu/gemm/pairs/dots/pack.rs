//! Packing of operands that are rounded to bf16: strips of 32 rows, as tiles of one part.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::super::pack::{Order, gathered};
use super::super::words::Rounds;
use super::super::{BLOCK, SIDE, Tile};
use crate::cpu::gemm::pack::Packed;
use crate::cpu::gemm::{Factor, Matrix};
use crate::cpu::isa::{Avx512Bf16, Kernel};

/// Packs rows of a factor (columns of the right one are rows of its transpose) in strips of 32: for every 32 of `k` two tiles.
///
/// # Panics
/// Where there are fewer tiles, or rows are packed already.
pub(in crate::cpu::gemm::pairs) fn pack(
    bf16: Avx512Bf16,
    x: Factor<'_, f32>,
    order: Order,
    tiles: &mut [Tile],
) {
    let rounds = bf16;
    bf16.run(Packing {
        rounds,
        x,
        order,
        tiles,
    });
}

/// Rows to be packed.
struct Packing<'x, 't, R> {
    rounds: R,
    x: Factor<'x, f32>,
    order: Order,
    tiles: &'t mut [Tile],
}

impl<R: Rounds> Kernel for Packing<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [rows, k] = self.x.size();
        let each = 2 * k.div_ceil(BLOCK);
        for index in 0..rows.div_ceil(BLOCK) {
            let some = index * BLOCK..((index + 1) * BLOCK).min(rows);
            let tiles = &mut self.tiles[index * each..][..each];
            let x = self.x.part(some, 0..k);
            strip(self.rounds, &x, self.order, Following::Asked, tiles);
        }
    }
}

/// What is done about the strip that follows.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Following {
    /// The second cache is asked for it, where numbers of both follow each other.
    Asked,
    /// Nothing: requests in a row would be in the way of loads.
    Left,
}

/// Packs one strip of up to 32 rows, or some of its `k`.
#[inline(always)]
pub(super) fn strip<R: Rounds>(
    rounds: R,
    x: &Factor<'_, f32>,
    order: Order,
    following: Following,
    tiles: &mut [Tile],
) {
    let [rows, k] = x.size();
    let whole = if rows == BLOCK { k / BLOCK } else { 0 };
    tiles[2 * whole..].fill(Tile::ZERO);
    match (x, order) {
        (Factor::Matrix(x), Order::Rows) if x.step()[1] == 1 => lines_as_rows(rounds, x, tiles),
        (Factor::Matrix(x), Order::Pairs) if x.step()[1] == 1 => lines_as_pairs(rounds, x, tiles),
        _ => in_columns(rounds, x, order, following, tiles),
    }
}

/// Numbers along `k` follow each other in memory, and rows of tiles are rows of the matrix. Row by row, because memory is read
/// fastest in its own order.
#[inline(always)]
fn lines_as_rows<R: Rounds>(rounds: R, x: &Matrix<'_, f32>, tiles: &mut [Tile]) {
    for i in 0..x.rows() {
        let (whole, rest) = x.run(i, 0, x.cols()).as_chunks::<BLOCK>();
        for step in 0..whole.len() {
            let pairs = along(rounds, &whole[step]);
            rounds.write(pairs, &mut tiles[2 * step + i / SIDE].0[i % SIDE]);
        }
        if !rest.is_empty() {
            let pairs = along(rounds, &padded(rest));
            rounds.write(pairs, &mut tiles[2 * whole.len() + i / SIDE].0[i % SIDE]);
        }
    }
}

/// The same, and rows of tiles are pairs: 16 rows of pairs become columns.
#[inline(always)]
fn lines_as_pairs<R: Rounds>(rounds: R, x: &Matrix<'_, f32>, tiles: &mut [Tile]) {
    let k = x.cols();
    for (from, tiles) in (0..k).step_by(BLOCK).zip(tiles.chunks_exact_mut(2)) {
        let len = BLOCK.min(k - from);
        for half in 0..x.rows().div_ceil(SIDE) {
            let mut rows = [rounds.zero(); SIDE];
            for i in 0..SIDE.min(x.rows() - half * SIDE) {
                let run = x.run(half * SIDE + i, from, len);
                rows[i] = match run.first_chunk::<BLOCK>() {
                    Some(run) => along(rounds, run),
                    None => along(rounds, &padded(run)),
                };
            }
            write_all(rounds, rounds.transpose(rows), &mut tiles[half]);
        }
    }
}

/// Rows follow each other in memory, or are copied so that they do.
#[inline(always)]
fn in_columns<R: Rounds>(
    rounds: R,
    x: &Factor<'_, f32>,
    order: Order,
    following: Following,
    tiles: &mut [Tile],
) {
    let k = x.size()[1];
    for (from, tiles) in (0..k).step_by(BLOCK).zip(tiles.chunks_exact_mut(2)) {
        let to = (from + BLOCK).min(k);
        let mut packed = Packed::<f32, { BLOCK * BLOCK }>::new();
        let mut room = packed.room();
        let some = match x {
            Factor::Matrix(x) if x.step()[0] == 1 => x.part(0..x.rows(), from..to),
            _ => gathered(x, from..to, &mut room),
        };
        for half in 0..some.rows().div_ceil(SIDE) {
            let rows = sixteen(rounds, &some, half, following);
            match order {
                Order::Rows => write_all(rounds, rounds.transpose(rows), &mut tiles[half]),
                Order::Pairs => write_all(rounds, rows, &mut tiles[half]),
            }
        }
    }
}

/// Up to 32 columns of 16 rows, as up to 16 rows of pairs, and zeros after them.
#[inline(always)]
fn sixteen<R: Rounds>(
    rounds: R,
    x: &Matrix<'_, f32>,
    half: usize,
    following: Following,
) -> [R::Vector; SIDE] {
    let (first, k) = (half * SIDE, x.cols());
    let mut rows = [rounds.zero(); SIDE];
    if x.rows() - first < SIDE || k < BLOCK {
        for p in 0..k.div_ceil(2) {
            let even = padded(x.run(first, 2 * p, SIDE.min(x.rows() - first)));
            let odd = match 2 * p + 1 < k {
                true => padded(x.run(first, 2 * p + 1, SIDE.min(x.rows() - first))),
                false => [0.0; SIDE],
            };
            rows[p] = rounds.across(rounds.load(&even), rounds.load(&odd));
        }
        return rows;
    }
    // Found beforehand, so that what follows is straight-line code.
    let mut columns = [&[0.0; SIDE]; BLOCK];
    for p in 0..BLOCK {
        if let Some(column) = x.run(first, p, SIDE).first_chunk() {
            columns[p] = column;
        }
    }
    for p in 0..SIDE {
        if following == Following::Asked {
            rounds.ask(columns[2 * p]);
            rounds.ask(columns[2 * p + 1]);
        }
        rows[p] = rounds.across(rounds.load(columns[2 * p]), rounds.load(columns[2 * p + 1]));
    }
    rows
}

/// Thirty-two numbers as pairs.
#[inline(always)]
fn along<R: Rounds>(rounds: R, numbers: &[f32; BLOCK]) -> R::Vector {
    let (halves, _) = numbers.as_chunks::<SIDE>();
    rounds.along(rounds.load(&halves[0]), rounds.load(&halves[1]))
}

/// Up to so many numbers, and zeros after them.
#[inline(always)]
fn padded<const N: usize>(numbers: &[f32]) -> [f32; N] {
    let mut padded = [0.0; N];
    padded[..numbers.len()].copy_from_slice(numbers);
    padded
}

/// Writes the rows of a tile.
#[inline(always)]
fn write_all<R: Rounds>(rounds: R, rows: [R::Vector; SIDE], tile: &mut Tile) {
    for i in 0..SIDE {
        rounds.write(rows[i], &mut tile.0[i]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::gemm::lanes::Portable;
    use crate::cpu::gemm::tests::{factor, lie, noise};
    use crate::cpu::isa;

    /// Tiles that held something before.
    fn packed<R: Rounds>(
        rounds: R,
        x: Factor<'_, f32>,
        order: Order,
        run: impl FnOnce(Packing<'_, '_, R>),
    ) -> Vec<Tile> {
        let [rows, k] = x.size();
        let count = rows.div_ceil(BLOCK) * 2 * k.div_ceil(BLOCK);
        let mut tiles = vec![Tile([[7; SIDE]; SIDE]); count];
        run(Packing {
            rounds,
            x,
            order,
            tiles: &mut tiles,
        });
        tiles
    }

    /// Numbers of every kind.
    fn numbers(len: usize) -> Vec<f32> {
        let special = [
            f32::NAN,
            f32::INFINITY,
            -0.0,
            1e-40,
            -1e-38,
            f32::MAX,
            1.0 + 1.0 / 256.0,
        ];
        let mut x = noise::<f32>(len, 11);
        for (at, special) in special.iter().enumerate() {
            if let Some(x) = x.get_mut(at * 37) {
                *x = *special;
            }
        }
        x
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// The layout is that of a definition, on every size and layout of the factor; the CPU rounds as plain Rust does.
        #[test]
        fn rounded_pairs_lie_as_tiles_do(rows in 1usize..80, k in 1usize..90, lie in lie()) {
            let numbers = numbers(3 * rows * k + 2);
            let x = factor(&numbers, [rows, k], lie);
            for order in [Order::Rows, Order::Pairs] {
                let tiles = packed(Portable, x.into(), order, |packing| isa::run_portable(packing));
                let each = 2 * k.div_ceil(BLOCK);
                for (i, pair) in (0..rows.next_multiple_of(BLOCK)).flat_map(|i| (0..each * 8).map(move |p| (i, p))) {
                    let tile = i / BLOCK * each + pair / SIDE * 2 + i % BLOCK / SIDE;
                    let [row, place] = match order {
                        Order::Rows => [i % SIDE, pair % SIDE],
                        Order::Pairs => [pair % SIDE, i % SIDE],
                    };
                    let word = tiles[tile].0[row][place];
                    for (half, j) in [(word << 16, 2 * pair), (word & 0xffff_0000, 2 * pair + 1)] {
                        let inside = i < rows && j < k;
                        let want = if inside { x.at(i, j) } else { 0.0 };
                        let got = f32::from_bits(half);
                        let off = f64::from(got) - f64::from(want);
                        let near = off.abs() <= f64::from(want.abs()) / 256.0 || want.is_subnormal() && got == 0.0;
                        let same = got == want || got.is_nan() && want.is_nan();
                        prop_assert!(near || same || want == f32::MAX, "{got} for {want} in row {i}, column {j}");
                    }
                }
                if let Some(bf16) = Avx512Bf16::detect() {
                    let rounded = packed(bf16, x.into(), order, |packing| bf16.run(packing));
                    prop_assert!(rounded == tiles, "{order:?} of {rows} x {k}");
                }
            }
        }
    }
}

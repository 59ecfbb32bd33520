//! Products of matrices whose operands are rounded to bf16, by `vdpbf16ps`.
//!
//! One factor is packed as far as there is room for it, and stays in the second cache (*resident*); the other goes past it in strips of
//! 32 rows or columns, each packed once for all of what is resident. The factor is resident of which less is packed so, and the
//! smaller one where that is equal. The next strip is packed meanwhile, in pieces, for which tiles ask the second cache a little
//! before: reading numbers from further away took a fifth of the time, and columns that lie a power of two apart push each other out
//! of the second cache, were they all asked for beforehand.
//!
//! An element is one chain over at most [`DEPTH`] of `k`, blocks of which are added in order. How `k` is cut depends on `k` alone, so that
//! neither the cut of the result into blocks nor which factor is resident changes a bit.

use std::ops::Range;

use super::super::pack::Order;
use super::super::{BLOCK, Parts, Tile, strips, with_tiles};
use super::pack::pack;
use super::{Next, Pass, multiply};
use crate::cpu::gemm::{Block, Factor, Start};
use crate::cpu::isa::Avx512Bf16;

/// Most of `k` that is taken at a time.
const DEPTH: usize = 1024;
/// Tiles of a strip of that depth, which come in pairs.
const STRIP: usize = 2 * DEPTH / BLOCK;
/// Tiles that are resident at a time: half of a second cache of 1 MiB.
const RESIDENT: usize = 512;
/// Tiles of products that need little memory, which then touch few pages of it.
const FEW: usize = 48;

/// `c = a b` or `c += a b`, rounded operands; the sizes fit together.
pub(in crate::cpu::gemm::pairs) fn product(
    bf16: Avx512Bf16,
    a: Factor<'_, f32>,
    b: Factor<'_, f32>,
    c: &mut Block<'_, f32>,
    start: Start,
) {
    let k = a.size()[1];
    if k == 0 && start == Start::Overwrite {
        (0..c.rows()).for_each(|i| c.row_mut(i).fill(0.0));
    }
    if k == 0 || c.rows() == 0 || c.cols() == 0 {
        return;
    }
    let plan = Plan::new(&b, [c.rows(), c.cols(), k]);
    let tiles = plan.tiles();
    let mut product = DotProduct { bf16, a, b, c, plan };
    let mut work = |tiles: &mut [Tile]| product.run(k, start, tiles);
    match tiles {
        ..=FEW => with_tiles::<FEW>(tiles, &mut work),
        _ => with_tiles::<{ RESIDENT + 2 * STRIP }>(tiles, &mut work),
    }
}

/// Which factor is resident, and how far.
#[derive(Copy, Clone)]
struct Plan {
    resident: Resident,
    /// Rows (or columns) that are resident at a time.
    some: usize,
    /// How much of `k` is taken at a time.
    depth: usize,
}

#[derive(Copy, Clone)]
enum Resident {
    Rows,
    Columns,
}

impl Plan {
    fn new(b: &Factor<'_, f32>, [rows, cols, k]: [usize; 3]) -> Self {
        let depth = k.div_ceil(BLOCK).div_ceil(k.div_ceil(DEPTH)) * BLOCK;
        let most = RESIDENT / tiles(depth) * BLOCK;
        let packed = |resident: usize, passing: usize| resident + passing * resident.div_ceil(most);
        let (below, beside) = ((packed(rows, cols), rows), (packed(cols, rows), cols));
        let (resident, all) = match b {
            Factor::Strips(_) => (Resident::Rows, rows),
            _ if beside < below => (Resident::Columns, cols),
            _ => (Resident::Rows, rows),
        };
        Self {
            resident,
            some: most.min(all.next_multiple_of(BLOCK)),
            depth,
        }
    }

    /// Tiles in memory: what is resident, and two strips.
    fn tiles(&self) -> usize {
        (self.some / BLOCK + 2) * tiles(self.depth)
    }
}

/// A product; its loops are compiled for any CPU, what they call for AVX512-BF16.
struct DotProduct<'x, 'c, 'a> {
    bf16: Avx512Bf16,
    a: Factor<'x, f32>,
    b: Factor<'x, f32>,
    c: &'c mut Block<'a, f32>,
    plan: Plan,
}

/// Memory for packed tiles.
struct Rooms<'t> {
    resident: &'t mut [Tile],
    /// A strip that is multiplied, and one that is packed meanwhile.
    strips: [&'t mut [Tile]; 2],
}

impl DotProduct<'_, '_, '_> {
    fn run(&mut self, k: usize, start: Start, room: &mut [Tile]) {
        let depth = self.plan.depth;
        let (strips, resident) = room.split_at_mut(2 * tiles(depth));
        let mut rooms = Rooms {
            resident,
            strips: strips.split_at_mut(tiles(depth)).into(),
        };
        for from in (0..k).step_by(depth) {
            let start = if from == 0 { start } else { Start::Accumulate };
            self.part(from..(from + depth).min(k), start, &mut rooms);
        }
    }

    /// Adds (or sets) what comes from some of `k`.
    fn part(&mut self, k: Range<usize>, start: Start, rooms: &mut Rooms<'_>) {
        let (rows, cols, some) = (self.c.rows(), self.c.cols(), self.plan.some);
        let a = self.a.part(0..rows, k.clone());
        let b = match self.b {
            Factor::Strips(_) => None,
            b => Some(b.transposed().part(0..cols, k.clone())),
        };
        match (self.plan.resident, b) {
            (Resident::Columns, Some(b)) => {
                for first in (0..cols).step_by(some) {
                    self.beside(a, b, first..(first + some).min(cols), start, rooms);
                }
            }
            _ => {
                for first in (0..rows).step_by(some) {
                    self.below(a, b, first..(first + some).min(rows), k.clone(), start, rooms);
                }
            }
        }
    }

    /// Some rows, strips of columns passing.
    fn below(
        &mut self,
        a: Factor<'_, f32>,
        b: Option<Factor<'_, f32>>,
        rows: Range<usize>,
        k: Range<usize>,
        start: Start,
        rooms: &mut Rooms<'_>,
    ) {
        let resident = self.fill(a, Order::Rows, rows.clone(), rooms.resident);
        let all = self.c.cols();
        let [mut strip, mut other] = rooms.strips.each_mut().map(|strip| &mut **strip);
        if let Some(b) = b {
            self.fill(b, Order::Pairs, 0..BLOCK.min(all), strip);
        }
        for col in (0..all).step_by(BLOCK) {
            let cols = col..(col + BLOCK).min(all);
            let passing: &[Tile] = match self.b {
                Factor::Strips(packed) => strips::read(&packed, Parts::One, &k, col).0,
                _ => strip,
            };
            let next = b.and_then(|b| next(b, cols.end, Order::Pairs, other));
            self.pass([resident, passing], [rows.clone(), cols], k.len(), start, next);
            (strip, other) = (other, strip);
        }
    }

    /// Some columns, strips of rows passing.
    fn beside(
        &mut self,
        a: Factor<'_, f32>,
        b: Factor<'_, f32>,
        cols: Range<usize>,
        start: Start,
        rooms: &mut Rooms<'_>,
    ) {
        let resident = self.fill(b, Order::Pairs, cols.clone(), rooms.resident);
        let (all, k) = (self.c.rows(), a.size()[1]);
        let [mut strip, mut other] = rooms.strips.each_mut().map(|strip| &mut **strip);
        self.fill(a, Order::Rows, 0..BLOCK.min(all), strip);
        for row in (0..all).step_by(BLOCK) {
            let rows = row..(row + BLOCK).min(all);
            let next = next(a, rows.end, Order::Rows, other);
            self.pass([strip, resident], [rows, cols.clone()], k, start, next);
            (strip, other) = (other, strip);
        }
    }

    /// Packs some rows of a factor, strip by strip.
    fn fill<'t>(
        &self,
        x: Factor<'_, f32>,
        order: Order,
        rows: Range<usize>,
        to: &'t mut [Tile],
    ) -> &'t [Tile] {
        let k = x.size()[1];
        let to = &mut to[..rows.len().div_ceil(BLOCK) * tiles(k)];
        pack(self.bf16, x.part(rows, 0..k), order, to);
        to
    }

    /// Computes some rows and columns from strips of both.
    fn pass(
        &mut self,
        [a, b]: [&[Tile]; 2],
        [rows, cols]: [Range<usize>; 2],
        k: usize,
        start: Start,
        next: Option<Next<'_, '_>>,
    ) {
        multiply(Pass {
            bf16: self.bf16,
            a,
            b,
            tiles: tiles(k),
            rows,
            cols,
            c: self.c,
            start,
            next,
        });
    }
}

/// Tiles of a strip.
fn tiles(k: usize) -> usize {
    2 * k.div_ceil(BLOCK)
}

/// The strip of rows from `first` on, if there is one.
fn next<'x, 't>(
    x: Factor<'x, f32>,
    first: usize,
    order: Order,
    tiles: &'t mut [Tile],
) -> Option<Next<'x, 't>> {
    let [rows, k] = x.size();
    let x = (first < rows).then(|| x.part(first..(first + BLOCK).min(rows), 0..k))?;
    Some(Next { x, order, tiles })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::gemm::Matrix;
    use crate::cpu::gemm::tests::{Lie, factor, noise};

    /// The bits of a product, computed again on top of itself.
    fn twice(bf16: Avx512Bf16, a: Matrix<'_, f32>, b: Matrix<'_, f32>) -> Vec<u32> {
        let (m, n) = (a.rows(), b.cols());
        let mut c = vec![f32::NAN; m * n];
        for start in [Start::Overwrite, Start::Accumulate] {
            product(bf16, a.into(), b.into(), &mut Block::whole(&mut c, m, n), start);
        }
        c.iter().map(|x| x.to_bits()).collect()
    }

    /// More rows than are resident, several blocks of `k`, and edges: the sums are near those in f64, and a bit depends neither on which
    /// factor is resident nor on how the factors lie.
    #[test]
    fn large_products_are_cut_without_a_trace() {
        let Some(bf16) = Avx512Bf16::detect() else { return };
        for [m, k, n] in [
            [301, 1100, 47],
            [8, 2050, 530],
            [600, 700, 41],
            [33, 65, 1],
            [1, 1, 100],
        ] {
            let (x, y) = (noise::<f32>(m * k, 1), noise::<f32>(k * n, 2));
            let (a, b) = (
                factor(&x, [m, k], Lie::RowMajor),
                factor(&y, [k, n], Lie::RowMajor),
            );
            let c = twice(bf16, a, b);
            let turned = twice(bf16, b.transposed(), a.transposed());
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                assert_eq!(c[i * n + j], turned[j * m + i], "{m}x{k}x{n}, element {i}, {j}");
                if (i * n + j) % 7 == 0 {
                    let terms = (0..k).map(|p| f64::from(a.at(i, p)) * f64::from(b.at(p, j)));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                    let off = (f64::from(f32::from_bits(c[i * n + j])) - 2.0 * sum).abs();
                    assert!(
                        off <= 2.0 * size / 127.0,
                        "{m}x{k}x{n}, element {i}, {j}: off by {off}"
                    );
                }
            }
            let lies = |x: &Matrix<'_, f32>| -> Vec<f32> {
                (0..x.cols())
                    .flat_map(|j| (0..x.rows()).map(move |i| x.at(i, j)))
                    .collect()
            };
            let (x, y) = (lies(&a), lies(&b));
            let (a, b) = (
                factor(&x, [m, k], Lie::Transposed),
                factor(&y, [k, n], Lie::Transposed),
            );
            assert!(c == twice(bf16, a, b), "{m}x{k}x{n}, transposed");
        }
    }
}

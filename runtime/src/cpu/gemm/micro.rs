//! The micro-kernel: a tile of a result in registers, and its way to memory.

use std::ops::Range;

use super::ahead::Requests;
use super::lanes::Lanes;
use super::method::Operands;
use super::product::{Product, Start};
use super::{Block, Factor, Matrix};

/// The rows of a tile for `rest` remaining rows: full tiles first, then the smallest that holds what is left.
#[inline(always)]
pub(super) fn tile_rows<T, L: Lanes<T>>(rest: usize) -> usize {
    // Two tiles of ten rows together instead of one of twelve.
    if matches!(rest, 9 | 10) && const { has::<T, L>(12) && has::<T, L>(6) && has::<T, L>(4) } {
        return 6;
    }
    for &rows in L::HEIGHTS {
        if rest <= rows {
            return rows;
        }
    }
    L::ROWS
}

/// Whether a set has tiles of `rows` rows.
pub(super) const fn has<T, L: Lanes<T>>(rows: usize) -> bool {
    let mut k = 0;
    while k < L::HEIGHTS.len() {
        if L::HEIGHTS[k] == rows {
            return true;
        }
        k += 1;
    }
    false
}

/// Strips of columns of a result up to which the rows of the first factor are read where they lie.
const STRIPS: usize = 2;

/// The first factor of a product with `cols` columns, if whole tiles read its rows where they lie: for a result of few strips packing
/// them would take longer than it saves.
#[inline(always)]
pub(super) fn lines<'x, T: Copy>(
    a: &Factor<'x, T>,
    cols: usize,
    lanes: usize,
    operands: Operands,
) -> Option<Matrix<'x, T>> {
    let Factor::Matrix(a) = a else { return None };
    let is_narrow = cols <= STRIPS * 2 * lanes && operands == Operands::Exact;
    (is_narrow && a.step()[1] == 1).then_some(*a)
}

/// A strip of columns as the micro-kernel reads it: the numbers of a row follow each other, and rows lie `step` apart.
#[derive(Copy, Clone)]
pub(super) struct Strip<'b, T> {
    pub(super) numbers: &'b [T],
    pub(super) step: usize,
}

/// The product of a packed strip of `ROWS` rows and one of `VECTORS` vectors of columns, in registers; at every step, something is asked
/// for that will be needed later.
///
/// Every count is a constant that needs no analysis to be seen, and nothing in the loop can panic: otherwise it depends on the
/// profile of the build (`lto`, `codegen-units`) how much the optimiser sees through, and whether the sums stay in registers.
#[inline(always)]
pub(super) fn micro<T: Product, L: Lanes<T>, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    a: &[T],
    b: Strip<'_, T>,
    requests: Requests<'_, T>,
) -> [[L::Vector; VECTORS]; ROWS] {
    let mut sums = [[lanes.splat(T::ZERO); VECTORS]; ROWS];
    let (columns, _) = a.as_chunks::<ROWS>();
    let mut at = 0;
    for (p, column) in columns.iter().enumerate() {
        lanes.request(requests.numbers, p.wrapping_mul(requests.step));
        let Some(row) = b.numbers.get(at..at + VECTORS * L::LANES) else {
            break;
        };
        at += b.step;
        let mut vectors = [lanes.splat(T::ZERO); VECTORS];
        for v in 0..VECTORS {
            vectors[v] = lanes.load(&row[v * L::LANES..]);
        }
        for i in 0..ROWS {
            let x = lanes.splat(column[i]);
            for v in 0..VECTORS {
                sums[i][v] = lanes.mul_add(x, vectors[v], sums[i][v]);
            }
        }
    }
    sums
}

/// [`micro`] for rows that are read where they lie: the same numbers in the same order. `depth` is what each has.
#[expect(
    clippy::needless_range_loop,
    reason = "several slices of equal length go by one index"
)]
#[inline(always)]
pub(super) fn micro_lying<T: Product, L: Lanes<T>, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    lines: [&[T]; ROWS],
    depth: usize,
    b: Strip<'_, T>,
) -> [[L::Vector; VECTORS]; ROWS] {
    let mut a = lines;
    for i in 0..ROWS {
        a[i] = &lines[i][..depth];
    }
    let mut sums = [[lanes.splat(T::ZERO); VECTORS]; ROWS];
    let mut at = 0;
    for p in 0..depth {
        let Some(row) = b.numbers.get(at..at + VECTORS * L::LANES) else {
            break;
        };
        at += b.step;
        let mut vectors = [lanes.splat(T::ZERO); VECTORS];
        for v in 0..VECTORS {
            vectors[v] = lanes.load(&row[v * L::LANES..]);
        }
        for i in 0..ROWS {
            let x = lanes.splat(a[i][p]);
            for v in 0..VECTORS {
                sums[i][v] = lanes.mul_add(x, vectors[v], sums[i][v]);
            }
        }
    }
    sums
}

/// Where a tile goes and how.
pub(super) struct Place {
    pub(super) rows: Range<usize>,
    pub(super) col: usize,
    pub(super) start: Start,
}

/// Replaces the first vectors of a row by sums, or adds these.
#[inline(always)]
pub(super) fn write_row<T: Product, L: Lanes<T>, const VECTORS: usize>(
    lanes: L,
    sums: &[L::Vector; VECTORS],
    to: &mut [T],
    start: Start,
) {
    let to = &mut to[..VECTORS * L::LANES];
    for v in 0..VECTORS {
        let to = &mut to[v * L::LANES..];
        let value = match start {
            Start::Overwrite => sums[v],
            // 1 * sum + c is rounded once in either form of the instruction: it is the plain sum.
            Start::Accumulate => lanes.mul_add(lanes.splat(T::ONE), sums[v], lanes.load(to)),
        };
        lanes.store(value, to);
    }
}

/// [`write_row`] for a row that ends before the last vector does.
#[inline(always)]
pub(super) fn write_part<T: Product, L: Lanes<T>, const VECTORS: usize>(
    lanes: L,
    sums: &[L::Vector; VECTORS],
    to: &mut [T],
    start: Start,
) {
    for (v, to) in to.chunks_mut(L::LANES).enumerate() {
        let Some(&sum) = sums.get(v) else { break };
        let value = match start {
            Start::Overwrite => sum,
            Start::Accumulate => lanes.mul_add(lanes.splat(T::ONE), sum, lanes.load_part(to)),
        };
        lanes.store_part(value, to);
    }
}

/// Writes what of a tile, whose rows lie `width` apart, is inside the block.
#[inline(never)]
pub(super) fn write_edge<T: Product>(
    tile: &[T],
    width: usize,
    c: &mut Block<'_, T>,
    Place { rows, col, start }: Place,
) {
    let width_inside = width.min(c.cols() - col);
    for (i, row) in rows.enumerate() {
        let from = &tile[i * width..][..width_inside];
        let to = &mut c.row_mut(row)[col..][..width_inside];
        match start {
            Start::Overwrite => to.copy_from_slice(from),
            Start::Accumulate => {
                for k in 0..width_inside {
                    to[k] = from[k] + to[k];
                }
            }
        }
    }
}

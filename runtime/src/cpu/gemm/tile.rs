//! One block of a product on vectors: what is packed, and the tiles that are computed from it.

use super::ahead::{Ahead, Requests};
use super::lanes::Lanes;
use super::method::Operands;
use super::micro::{Place, Strip, has, lines, micro, micro_lying, tile_rows, write_edge, write_row};
use super::pack::{BESIDE, Packed, Room};
use super::product::{Product, Start};
use super::{Block, Factor, Matrix};
use crate::cpu::isa::Kernel;

type Range = std::ops::Range<usize>;

/// Most elements along `k` that are packed at a time: a strip of both factors stays in the first two caches.
const K_BLOCK: usize = 256;
/// Most rows of the first factor that are packed at a time, where `K_BLOCK` elements of each are; of shorter ones more. They lie in the
/// second cache, and the strips of the second factor are packed once for all of them.
const ROW_BLOCK: usize = 384;
/// Columns of the widest tile: two vectors of 16.
const MAX_COLS: usize = 32;
/// Rows of the tallest tile of any instruction set.
pub const MAX_ROWS: usize = 12;

/// Memory for the packed rows of the first factor, and for a packed strip of columns of the second.
pub(super) struct Rooms<'m, T> {
    rows: Room<'m, T>,
    columns: Room<'m, T>,
}

/// Elements of either kind for which a few pages of the stack are enough.
const SMALL: usize = 4096;

/// Calls `work` with memory on the stack for a result with `rows` rows and an inner size `k`. A stack as large as the largest
/// blocks need costs more to enter than many a small product takes.
pub(super) fn with_rooms<T: Product>([rows, k]: [usize; 2], work: impl FnOnce(Rooms<'_, T>)) {
    if (rows + MAX_ROWS).saturating_mul(k) <= SMALL && MAX_COLS * k <= SMALL {
        on_stack::<T, SMALL, SMALL>(work);
    } else {
        on_stack::<T, { (ROW_BLOCK + MAX_ROWS) * K_BLOCK }, { MAX_COLS * K_BLOCK }>(work);
    }
}

#[inline(never)]
fn on_stack<T: Product, const ROWS: usize, const COLUMNS: usize>(work: impl FnOnce(Rooms<'_, T>)) {
    let mut rows = Packed::<T, ROWS>::new();
    let mut columns = Packed::<T, COLUMNS>::new();
    work(Rooms {
        rows: rows.room(),
        columns: columns.room(),
    });
}

/// Vectors of the tile of a single row: enough chains to hide that each waits for itself, and longer reads of the rows of the other
/// factor.
const WIDE: usize = 8;

pub(super) struct BlockProduct<'x, 'c, 'a, L, T> {
    pub(super) lanes: L,
    pub(super) operands: Operands,
    pub(super) a: Factor<'x, T>,
    pub(super) b: Factor<'x, T>,
    pub(super) c: &'c mut Block<'a, T>,
    pub(super) start: Start,
}

/// A product with the memory for it.
pub(super) struct Packing<'x, 'c, 'a, 'm, L, T> {
    pub(super) product: BlockProduct<'x, 'c, 'a, L, T>,
    pub(super) rooms: Rooms<'m, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Packing<'_, '_, '_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        // Borrowed: a copy would wait until all of it has been written.
        let (product, rooms) = (&mut self.product, &mut self.rooms);
        let ([_, k], rows) = (product.a.size(), product.c.rows());
        if k == 0 && product.start == Start::Overwrite {
            (0..rows).for_each(|i| product.c.row_mut(i).fill(T::ZERO));
        }
        if k == 0 || rows == 0 || product.c.cols() == 0 {
            return;
        }
        let k_block = k.div_ceil(k.div_ceil(K_BLOCK));
        let row_block = match product.lines() {
            // The strips of the second factor are packed once for all rows.
            Some(_) => rows,
            None => {
                let most = (ROW_BLOCK * K_BLOCK / k_block) / MAX_ROWS * MAX_ROWS;
                rows.div_ceil(rows.div_ceil(most)).next_multiple_of(MAX_ROWS)
            }
        };
        let part = |from: usize, len: usize, all: usize| from..(from + len).min(all);
        for from in (0..k).step_by(k_block) {
            let start = if from == 0 {
                product.start
            } else {
                Start::Accumulate
            };
            for first in (0..rows).step_by(row_block) {
                let mut ahead = Ahead::nothing();
                let next = first + row_block;
                if next < rows {
                    ahead.block_is(&product.a, &part(from, k_block, k), part(next, row_block, rows));
                } else if from + k_block < k {
                    ahead.block_is(
                        &product.a,
                        &part(from + k_block, k_block, k),
                        part(0, row_block, rows),
                    );
                }
                product.row_block(
                    rooms,
                    part(first, row_block, rows),
                    part(from, k_block, k),
                    start,
                    ahead,
                );
            }
        }
    }
}

impl<'x, T: Product, L: Lanes<T>> BlockProduct<'x, '_, '_, L, T> {
    /// Adds (or sets) the part of rows `rows` that comes from indices `k`.
    #[inline(always)]
    fn row_block(
        &mut self,
        rooms: &mut Rooms<'_, T>,
        rows: Range,
        k: Range,
        start: Start,
        mut ahead: Ahead<'x, T>,
    ) {
        let mut packed = 0;
        let mut row = match self.lines() {
            // Only what whole tiles leave.
            Some(_) => rows.end - rows.len() % L::ROWS,
            None => rows.start,
        };
        while row < rows.end {
            let height = tile_rows::<T, L>(rows.end - row);
            let last = (row + height).min(rows.end);
            let room = &mut rooms.rows;
            let several = row..row + BESIDE * L::ROWS;
            if several.end <= rows.end
                && room.pack_beside(packed, &self.a, several.clone(), k.clone(), L::ROWS)
            {
                (packed, row) = (packed + several.len() * k.len(), several.end);
                continue;
            }
            // As for columns below: a constant in the arm of full tiles. The last rows have a function of their own.
            packed += match height == L::ROWS {
                true => room.pack(packed, &self.a, row..last, k.clone(), L::ROWS).len(),
                false => room.pack_any(packed, &self.a, row..last, k.clone(), height).len(),
            };
            row += height;
        }
        // SAFETY: `packed` counts the elements that the loop has just packed, one strip after the other.
        let a = unsafe { rooms.rows.filled(packed) };
        self.round(a);
        let a: &[T] = a;
        let mut col = 0;
        while col < self.c.cols() {
            let rest = self.c.cols() - col;
            let place = Place {
                rows: rows.clone(),
                col,
                start,
            };
            let wide = WIDE * L::LANES;
            if rows.len() == 1
                && rest >= wide
                && let Some(strip) = self.lying(&rows, &k, &(col..col + wide), wide)
            {
                self.tile::<1, WIDE>(a, strip, place, Requests { numbers: a, step: 0 });
                col += wide;
                continue;
            }
            // The width of a strip is a constant in each arm, which makes packing straight-line code.
            if rest > L::LANES {
                self.columns::<2>(a, &mut rooms.columns, k.clone(), place, &mut ahead);
                col += 2 * L::LANES;
            } else {
                self.columns::<1>(a, &mut rooms.columns, k.clone(), place, &mut ahead);
                col += L::LANES;
            }
        }
    }

    /// The part of one strip of columns: packed, or read where it lies.
    #[inline(always)]
    fn columns<const VECTORS: usize>(
        &mut self,
        a: &[T],
        room: &mut Room<'_, T>,
        k: Range,
        place: Place,
        ahead: &mut Ahead<'x, T>,
    ) {
        let width = VECTORS * L::LANES;
        let strip = self.strip(room, &k, &place, width);
        let next = place.col + width;
        ahead.strip_is(
            &self.b,
            &k,
            next.min(self.c.cols())..(next + width).min(self.c.cols()),
        );
        // Called at one place: each call is a copy of all its tiles.
        self.column_strip::<VECTORS>(a, strip, &k, place, ahead);
    }

    /// A strip of columns as the micro-kernel reads it.
    #[inline(always)]
    fn strip<'r>(&self, room: &'r mut Room<'_, T>, k: &Range, place: &Place, width: usize) -> Strip<'r, T>
    where
        'x: 'r,
    {
        let some = place.col..(place.col + width).min(self.c.cols());
        if let Factor::Strips(strips) = &self.b {
            let numbers = strips.strip(k, place.col, width);
            return Strip { numbers, step: width };
        }
        if let Some(strip) = self.lying(&place.rows, k, &some, width) {
            return strip;
        }
        let (numbers, step) = match self.narrow(k, &some, width, room.len()) {
            Some((numbers, step)) => (room.copy(numbers, width), step),
            None => (room.pack(0, &self.b.transposed(), some, k.clone(), width), width),
        };
        self.round(numbers);
        Strip { numbers, step }
    }

    /// The last, incomplete strip of a matrix of few columns, with dense rows: all that lies in memory from its first element to its
    /// last, and the distance of two rows, where there is room for it. Lanes beyond the last column multiply what lies there, and
    /// are not written.
    #[inline(always)]
    fn narrow(&self, k: &Range, columns: &Range, width: usize, room: usize) -> Option<(&'x [T], usize)> {
        let Factor::Matrix(b) = &self.b else { return None };
        let [down, 1] = b.step() else { return None };
        let step = usize::try_from(down).ok().filter(|step| *step <= width)?;
        let len = (k.len() - 1) * step + columns.len();
        (columns.len() < width && len + width <= room).then(|| (b.run(k.start, columns.start, len), step))
    }

    /// A whole strip of columns where it lies, if its rows are dense and it is read once: then packing it would only be a detour,
    /// to the same numbers in the same order.
    #[inline(always)]
    fn lying(&self, rows: &Range, k: &Range, columns: &Range, width: usize) -> Option<Strip<'x, T>> {
        let Factor::Matrix(b) = &self.b else { return None };
        let [down, 1] = b.step() else { return None };
        let is_read_once = rows.len() <= L::ROWS && self.operands == Operands::Exact;
        let step = usize::try_from(down).ok()?;
        (is_read_once && columns.len() == width).then(|| Strip {
            numbers: b.from(k.start, columns.start),
            step,
        })
    }

    /// The first factor, if its rows are read where they lie.
    #[inline(always)]
    fn lines(&self) -> Option<Matrix<'x, T>> {
        lines(&self.a, self.c.cols(), L::LANES, self.operands)
    }

    /// What happens to packed operands before they are multiplied.
    #[inline(always)]
    fn round(&self, packed: &mut [T]) {
        match self.operands {
            Operands::Exact => (),
            Operands::Rounded => T::round_operands(packed),
        }
    }

    /// The tiles below each other in the `VECTORS` vectors of columns from `col` on.
    #[inline(always)]
    fn column_strip<const VECTORS: usize>(
        &mut self,
        a: &[T],
        b: Strip<'_, T>,
        k: &Range,
        Place { rows, col, start }: Place,
        ahead: &mut Ahead<'x, T>,
    ) {
        let (from, depth) = (k.start, k.len());
        let mut rest = a;
        let mut row = rows.start;
        if let Some(lines) = self.lines() {
            while rows.end - row >= L::ROWS {
                let place = Place {
                    rows: row..row + L::ROWS,
                    col,
                    start,
                };
                match L::ROWS {
                    4 if const { has::<T, L>(4) } => {
                        self.lying_tile::<4, VECTORS>(lines, [from, depth], b, place)
                    }
                    6 if const { has::<T, L>(6) } => {
                        self.lying_tile::<6, VECTORS>(lines, [from, depth], b, place)
                    }
                    8 if const { has::<T, L>(8) } => {
                        self.lying_tile::<8, VECTORS>(lines, [from, depth], b, place)
                    }
                    12 if const { has::<T, L>(12) } => {
                        self.lying_tile::<12, VECTORS>(lines, [from, depth], b, place)
                    }
                    rows => unreachable!("no tile has {rows} rows"),
                }
                row += L::ROWS;
            }
        }
        while row < rows.end {
            let height = tile_rows::<T, L>(rows.end - row);
            let (strip, after) = rest.split_at(height * depth);
            let requests = ahead.next(strip);
            let place = Place {
                rows: row..(row + height).min(rows.end),
                col,
                start,
            };
            // Heights that a set has no registers for are not compiled: they would spill, and take long to compile.
            match height {
                1 => self.tile::<1, VECTORS>(strip, b, place, requests),
                2 if const { has::<T, L>(2) } => self.tile::<2, VECTORS>(strip, b, place, requests),
                4 if const { has::<T, L>(4) } => self.tile::<4, VECTORS>(strip, b, place, requests),
                6 if const { has::<T, L>(6) } => self.tile::<6, VECTORS>(strip, b, place, requests),
                8 if const { has::<T, L>(8) } => self.tile::<8, VECTORS>(strip, b, place, requests),
                12 if const { has::<T, L>(12) } => self.tile::<12, VECTORS>(strip, b, place, requests),
                _ => unreachable!("no tile has {height} rows"),
            }
            (rest, row) = (after, row + height);
        }
    }

    /// Computes one tile and writes what of it lies inside the block.
    ///
    /// A tile that lies inside whole goes from the registers to its place. Only at an edge are the sums looked at one by one: were
    /// it so for every tile, they would lie in memory from the start, and be cleared, read and written there.
    #[inline(always)]
    fn tile<const ROWS: usize, const VECTORS: usize>(
        &mut self,
        a: &[T],
        b: Strip<'_, T>,
        place: Place,
        requests: Requests<'_, T>,
    ) {
        let sums = micro::<T, L, ROWS, VECTORS>(self.lanes, a, b, requests);
        self.write(&sums, place);
    }

    /// The same for rows that are read where they lie, `depth` numbers each.
    #[inline(always)]
    fn lying_tile<const ROWS: usize, const VECTORS: usize>(
        &mut self,
        a: Matrix<'x, T>,
        [from, depth]: [usize; 2],
        b: Strip<'_, T>,
        place: Place,
    ) {
        let mut lines: [&[T]; ROWS] = [&[]; ROWS];
        for (i, line) in lines.iter_mut().enumerate() {
            *line = a.run(place.rows.start + i, from, depth);
        }
        let sums = micro_lying::<T, L, ROWS, VECTORS>(self.lanes, lines, depth, b);
        self.write(&sums, place);
    }

    /// Writes what of a tile lies inside the block.
    #[expect(
        clippy::needless_range_loop,
        reason = "adaptors between the sums and their registers are inlined in some profiles only"
    )]
    #[inline(always)]
    fn write<const ROWS: usize, const VECTORS: usize>(
        &mut self,
        sums: &[[L::Vector; VECTORS]; ROWS],
        Place { rows, col, start }: Place,
    ) {
        let (lanes, width) = (self.lanes, VECTORS * L::LANES);
        if rows.len() == ROWS && self.c.cols() - col >= width {
            let mut to = self.c.inside::<ROWS>(rows.start, col, width);
            match start {
                Start::Overwrite => {
                    for i in 0..ROWS {
                        write_row(lanes, &sums[i], to.row_mut(i), Start::Overwrite);
                    }
                }
                Start::Accumulate => {
                    for i in 0..ROWS {
                        write_row(lanes, &sums[i], to.row_mut(i), Start::Accumulate);
                    }
                }
            }
            return;
        }
        let mut edge = [T::ZERO; MAX_ROWS * MAX_COLS];
        for i in 0..ROWS {
            write_row(lanes, &sums[i], &mut edge[i * width..][..width], Start::Overwrite);
        }
        write_edge(&edge, width, self.c, Place { rows, col, start });
    }
}

//! One block of a product: what is packed, and the tiles that are computed from it.

use std::marker::PhantomData;

use super::block::Inside;
use super::inner::{InnerProducts, Sides};
use super::lanes::{self, Lanes, Portable, SQUARE};
use super::method::{Arithmetic, Method, Operands};
use super::micro::{Place, Strip, has, lines, micro, micro_lying, tile_rows, write_edge, write_row};
use super::pack::{BESIDE, Packed, Room};
use super::strips::PackStrip;
use super::{Block, Factor, Matrix, pairs};
use crate::cpu::isa::{self, Isa, Kernel};
use crate::dtype::Element;
use crate::ops::epilogue::Finish;
use crate::real::Real;

/// Whether a product replaces what was there or adds to it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// `c = a b`; the old contents are not read.
    Overwrite,
    /// `c += a b`.
    Accumulate,
}

/// Floats that can be multiplied as matrices.
pub trait Product: Real + Element {
    /// `c = a b` or `c += a b`; the sizes fit together.
    fn product(
        method: Method,
        a: Factor<'_, Self>,
        b: Factor<'_, Self>,
        c: &mut Block<'_, Self>,
        start: Start,
    );

    /// Elements of a register of an instruction set.
    fn lanes(isa: Isa) -> usize;

    /// Packs columns `cols` of a second factor as one strip for products by a method: see [`strips`](super::strips).
    fn pack_strip(method: Method, b: Factor<'_, Self>, cols: std::ops::Range<usize>, out: &mut [Self]);

    /// Rounds numbers to bf16, where that is what a precision may ask for.
    fn round_operands(numbers: &mut [Self]);

    /// Rows become columns.
    fn transpose(rows: [&[Self; SQUARE]; SQUARE]) -> [[Self; SQUARE]; SQUARE];

    /// Applies an epilogue to a block whose first row is line `line` of the result, and whose columns are channels from `first` on.
    fn finish_columns(
        isa: Isa,
        c: &mut Block<'_, Self>,
        finish: Finish<'_, Self>,
        [line, first]: [usize; 2],
    ) {
        let channels = Channels::Columns { line };
        Self::run(
            isa,
            FinishBlock {
                c,
                finish,
                first,
                channels,
            },
        );
    }

    /// Applies an epilogue to a block whose rows are channels from `first` on.
    fn finish_rows(isa: Isa, c: &mut Block<'_, Self>, finish: Finish<'_, Self>, first: usize) {
        let channels = Channels::Rows;
        Self::run(
            isa,
            FinishBlock {
                c,
                finish,
                first,
                channels,
            },
        );
    }
}

macro_rules! products {
    ($($t:ident $transpose:path, $pairs:path, $pack:path, $round:path, $($set:pat => $lanes:expr),*;)*) => {$(
        impl Product for $t {
            fn product(method: Method, a: Factor<'_, $t>, b: Factor<'_, $t>, c: &mut Block<'_, $t>, start: Start) {
                let (isa, operands) = match method {
                    Method::Lanes(isa, operands) => (isa, operands),
                    Method::Inner(isa, operands, short) => {
                        let Some(sides) = Sides::new(short, &a, &b) else {
                            return Self::product(Method::Lanes(isa, operands), a, b, c, start);
                        };
                        return match isa.vectors() {
                            $(#[cfg(target_arch = "x86_64")]
                            $set => {
                                let lanes = $lanes;
                                lanes.run(InnerProducts { lanes, operands, sides, c, start })
                            })*
                            _ => isa::run_portable(InnerProducts { lanes: Portable, operands, sides, c, start }),
                        };
                    }
                    Method::Pairs(unit, parts) => return $pairs(unit, parts, a, b, c, start),
                };
                let packed = match lines(&a, c.cols(), Self::lanes(isa), operands) {
                    Some(_) => MAX_ROWS,
                    None => c.rows(),
                };
                with_rooms([packed, a.size()[1]], |rooms| match isa.vectors() {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => {
                        let lanes = $lanes;
                        let product = BlockProduct { lanes, operands, a, b, c, start };
                        lanes.run(Packing { product, rooms })
                    })*
                    _ => {
                        let product = BlockProduct { lanes: Portable, operands, a, b, c, start };
                        isa::run_portable(Packing { product, rooms })
                    }
                });
            }

            fn lanes(isa: Isa) -> usize {
                match isa.vectors() {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => width::<$t, _>($lanes),)*
                    _ => width::<$t, _>(Portable),
                }
            }

            fn pack_strip(method: Method, b: Factor<'_, $t>, cols: Range, out: &mut [$t]) {
                let (isa, operands) = match method {
                    Method::Lanes(isa, operands) | Method::Inner(isa, operands, _) => (isa, operands),
                    Method::Pairs(unit, parts) => return $pack(unit, parts, b, cols, out),
                };
                match isa.vectors() {
                    $(#[cfg(target_arch = "x86_64")]
                    $set => {
                        let lanes = $lanes;
                        lanes.run(PackStrip { lanes: of(lanes), operands, b, cols, out })
                    })*
                    _ => isa::run_portable(PackStrip { lanes: of(Portable), operands, b, cols, out }),
                }
            }

            #[inline(always)]
            fn transpose(rows: [&[$t; SQUARE]; SQUARE]) -> [[$t; SQUARE]; SQUARE] {
                $transpose(rows)
            }

            #[inline(always)]
            fn round_operands(numbers: &mut [$t]) {
                $round(numbers)
            }
        }
    )*};
}
products! {
    f32 lanes::transpose, pairs::product, pairs::pack_strip, pairs::round, Isa::Avx512(lanes) => lanes, Isa::Avx2(lanes) => lanes;
}
/// Elements of a register.
fn width<T, L: Lanes<T>>(_: L) -> usize {
    L::LANES
}

/// The set of a proof, without the proof.
fn of<L>(_: L) -> PhantomData<L> {
    PhantomData
}

// Products are the part of a gradient check that takes long, so that f64 has one instruction set of vectors.
#[cfg(feature = "f64")]
products! {
    f64 lanes::transpose_any, in_full, pack_in_full, keep, Isa::Avx512(lanes) => lanes.avx2(), Isa::Avx2(lanes) => lanes;
}

/// Products of `f64` are computed in full: kernels that know only an instruction set may choose units of `f32` for them.
#[cfg(feature = "f64")]
fn in_full(
    unit: super::Unit,
    _: super::Parts,
    a: Factor<'_, f64>,
    b: Factor<'_, f64>,
    c: &mut Block<'_, f64>,
    start: Start,
) {
    f64::product(Method::Lanes(unit.vectors(), Operands::Exact), a, b, c, start);
}

/// Strips for the same.
#[cfg(feature = "f64")]
fn pack_in_full(unit: super::Unit, _: super::Parts, b: Factor<'_, f64>, cols: Range, out: &mut [f64]) {
    f64::pack_strip(Method::Lanes(unit.vectors(), Operands::Exact), b, cols, out);
}

/// Rounds nothing: bf16 is a precision of `f32` models.
#[cfg(feature = "f64")]
#[inline(always)]
fn keep(_: &mut [f64]) {}

/// Does to the operands of a product what an arithmetic asks for where a kernel computes the product itself, on vectors.
pub fn prepare<T: Product>(arithmetic: Arithmetic, numbers: &mut [T]) {
    match arithmetic.operands() {
        Operands::Exact => (),
        Operands::Rounded => T::run(arithmetic.isa(), Rounding(numbers)),
    }
}

struct Rounding<'a, T>(&'a mut [T]);

impl<T: Product> Kernel for Rounding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        T::round_operands(self.0);
    }
}

struct FinishBlock<'c, 'a, 'f, T> {
    c: &'c mut Block<'a, T>,
    finish: Finish<'f, T>,
    first: usize,
    channels: Channels,
}

/// What the channels of a result are.
enum Channels {
    /// Columns, of rows from this line of the result on.
    Columns {
        line: usize,
    },
    Rows,
}

impl<T: Real> Kernel for FinishBlock<'_, '_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for i in 0..self.c.rows() {
            match self.channels {
                Channels::Columns { line } => {
                    self.finish
                        .along_channels(self.c.row_mut(i), line + i, self.first);
                }
                Channels::Rows => self.finish.within_channel(self.c.row_mut(i), self.first + i),
            }
        }
    }
}

/// Most elements along `k` that are packed at a time: a strip of both factors stays in the first two caches.
const K_BLOCK: usize = 256;
/// Most rows of the first factor that are packed at a time, where `K_BLOCK` elements of each are; of shorter ones more. They lie in the
/// second cache, and the strips of the second factor are packed once for all of them.
const ROW_BLOCK: usize = 384;
/// Columns of the widest tile: two vectors of 16.
const MAX_COLS: usize = 32;
/// Rows of the tallest tile.
const MAX_ROWS: usize = 12;

/// Memory for the packed rows of the first factor, and for a packed strip of columns of the second.
struct Rooms<'m, T> {
    rows: Room<'m, T>,
    columns: Room<'m, T>,
}

/// Elements of either kind for which a few pages of the stack are enough.
const SMALL: usize = 4096;

/// Calls `work` with memory on the stack for a result with `rows` rows and an inner size `k`. A stack as large as the largest
/// blocks need costs more to enter than many a small product takes.
fn with_rooms<T: Product>([rows, k]: [usize; 2], work: impl FnOnce(Rooms<'_, T>)) {
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

struct BlockProduct<'x, 'c, 'a, L, T> {
    lanes: L,
    operands: Operands,
    a: Factor<'x, T>,
    b: Factor<'x, T>,
    c: &'c mut Block<'a, T>,
    start: Start,
}

/// A product with the memory for it.
struct Packing<'x, 'c, 'a, 'm, L, T> {
    product: BlockProduct<'x, 'c, 'a, L, T>,
    rooms: Rooms<'m, T>,
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
        for from in (0..k).step_by(k_block) {
            let to = (from + k_block).min(k);
            let start = if from == 0 {
                product.start
            } else {
                Start::Accumulate
            };
            for first in (0..rows).step_by(row_block) {
                let rows = first..(first + row_block).min(rows);
                product.row_block(rooms, rows, from..to, start);
            }
        }
    }
}

type Range = std::ops::Range<usize>;

impl<'x, T: Product, L: Lanes<T>> BlockProduct<'x, '_, '_, L, T> {
    /// Adds (or sets) the part of rows `rows` that comes from indices `k`.
    #[inline(always)]
    fn row_block(&mut self, rooms: &mut Rooms<'_, T>, rows: Range, k: Range, start: Start) {
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
                self.tile::<1, WIDE>(a, strip, place);
                col += wide;
                continue;
            }
            // The width of a strip is a constant in each arm, which makes packing straight-line code.
            if rest > L::LANES {
                self.columns::<2>(a, &mut rooms.columns, k.clone(), place);
                col += 2 * L::LANES;
            } else {
                self.columns::<1>(a, &mut rooms.columns, k.clone(), place);
                col += L::LANES;
            }
        }
    }

    /// The part of one strip of columns: packed, or read where it lies.
    #[inline(always)]
    fn columns<const VECTORS: usize>(&mut self, a: &[T], room: &mut Room<'_, T>, k: Range, place: Place) {
        let width = VECTORS * L::LANES;
        let strip = self.strip(room, &k, &place, width);
        // Called at one place: each call is a copy of all its tiles.
        self.column_strip::<VECTORS>(a, strip, k.len(), place, k.start);
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
        depth: usize,
        Place { rows, col, start }: Place,
        from: usize,
    ) {
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
            let place = Place {
                rows: row..(row + height).min(rows.end),
                col,
                start,
            };
            // Heights that a set has no registers for are not compiled: they would spill, and take long to compile.
            match height {
                1 => self.tile::<1, VECTORS>(strip, b, place),
                2 if const { has::<T, L>(2) } => self.tile::<2, VECTORS>(strip, b, place),
                4 if const { has::<T, L>(4) } => self.tile::<4, VECTORS>(strip, b, place),
                6 if const { has::<T, L>(6) } => self.tile::<6, VECTORS>(strip, b, place),
                8 if const { has::<T, L>(8) } => self.tile::<8, VECTORS>(strip, b, place),
                12 if const { has::<T, L>(12) } => self.tile::<12, VECTORS>(strip, b, place),
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
    fn tile<const ROWS: usize, const VECTORS: usize>(&mut self, a: &[T], b: Strip<'_, T>, place: Place) {
        let sums = micro::<T, L, ROWS, VECTORS>(self.lanes, a, b);
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
        let mut edge = None;
        let (mut to, how) = match rows.len() == ROWS && self.c.cols() - col >= width {
            true => (self.c.inside::<ROWS>(rows.start, col, width), start),
            false => {
                let edge = edge.insert([T::ZERO; MAX_ROWS * MAX_COLS]);
                (Inside::over(edge, width), Start::Overwrite)
            }
        };
        match how {
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
        if let Some(edge) = &edge {
            write_edge(edge, width, self.c, Place { rows, col, start });
        }
    }
}

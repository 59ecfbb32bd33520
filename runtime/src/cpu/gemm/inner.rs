//! Products of matrices of which one is only a few rows high: inner products of vectors that lie dense in memory.
//!
//! A layer of weights `[out, in]` applied to a single sample is the case that matters: every weight is used once, so packing it
//! would cost several times what multiplying it does, and the time to read the weights is all that remains. `k` runs along the
//! lanes of a register; some columns are taken at a time, so that a number of the short factor serves several and as many streams
//! are read.
//!
//! An element of the result is computed alike wherever it stands in a block: along `k` in blocks of [`K_BLOCK`], in each as many
//! chains of multiply-adds as there are lanes, which are then added up in halves. So its bits depend on `k` and the instruction
//! set alone. A chain is no longer than those of packed products are.
//!
//! Not here: factors that lie in another way, which [`Sides::new`] refuses.

use super::lanes::Lanes;
use super::method::{Operands, Short};
use super::pack::{Packed, Room};
use super::product::{Product, Start};
use super::{Block, Factor, Matrix};
use crate::cpu::isa::Kernel;

/// Most rows of the short factor. With more of them, packing the other pays.
const ROWS: usize = 8;
/// Rows that are taken at a time.
const HEIGHT: usize = 4;
/// Columns of the other that are read at a time.
const COLUMNS: usize = 4;
/// Elements along `k` that are taken at a time.
const K_BLOCK: usize = 1024;
/// The smallest inner size for more rows than are taken at a time: adding up the lanes of many short products takes longer than
/// packing.
const MIN_DEPTH: usize = 64;
/// The longest inner size that small products of factors that lie right take for themselves ([`few`](super::few)): they compute an
/// element as one chain, of which each step waits for the one before. No literal size of a network in one piece is larger.
const LONGEST_CHAIN: usize = 64;

/// The short axis of a result of `m` x `n` with the inner size `k`, if inner products serve it where the factors lie right.
pub(super) fn serve([m, n, k]: [usize; 3]) -> Option<Short> {
    let short = if m <= n { Short::Rows } else { Short::Columns };
    let few = m.min(n);
    (few <= HEIGHT || few <= ROWS && k >= MIN_DEPTH).then_some(short)
}

/// Whether inner products serve a small product better, if both factors lie dense along `k`.
pub fn is_deep([m, n, k]: [usize; 3]) -> bool {
    m.min(n) <= HEIGHT && k > LONGEST_CHAIN
}

/// The factors of a product that can be computed as inner products.
#[derive(Copy, Clone)]
pub(super) struct Sides<'x, T> {
    /// The short factor, `few x k`.
    few: Factor<'x, T>,
    /// The other, `k x many`, its columns dense.
    many: Matrix<'x, T>,
    short: Short,
}

impl<'x, T: Product> Sides<'x, T> {
    /// The factors of `a b`, if the numbers of the longer one that are multiplied follow each other in memory.
    pub(super) fn new(short: Short, a: &Factor<'x, T>, b: &Factor<'x, T>) -> Option<Self> {
        let (few, many) = match (short, a, b) {
            (_, _, Factor::Strips(_)) => return None,
            (Short::Rows, a, Factor::Matrix(b)) => (*a, *b),
            (Short::Columns, Factor::Matrix(a), b) => (b.transposed(), a.transposed()),
            _ => return None,
        };
        (many.step()[0] == 1 && few.size()[0] <= ROWS).then_some(Self { few, many, short })
    }
}

/// A product on the vectors of one instruction set.
pub(super) struct InnerProducts<'x, 'c, 'a, L, T> {
    pub(super) lanes: L,
    pub(super) operands: Operands,
    pub(super) sides: Sides<'x, T>,
    pub(super) c: &'c mut Block<'a, T>,
    pub(super) start: Start,
}

impl<T: Product, L: Lanes<T>> Kernel for InnerProducts<'_, '_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let [rows, k] = self.sides.few.size();
        if k == 0 && self.start == Start::Overwrite {
            (0..self.c.rows()).for_each(|i| self.c.row_mut(i).fill(T::ZERO));
        }
        let mut few = Packed::<T, { ROWS * K_BLOCK }>::new();
        let mut many = Packed::<T, { COLUMNS * K_BLOCK }>::new();
        for from in (0..k).step_by(K_BLOCK) {
            let to = (from + K_BLOCK).min(k);
            let start = if from == 0 { self.start } else { Start::Accumulate };
            match rows {
                0 => (),
                1 => self.k_block::<1>(&mut few.room(), &mut many.room(), from..to, start),
                2 => self.k_block::<2>(&mut few.room(), &mut many.room(), from..to, start),
                _ => self.k_block::<HEIGHT>(&mut few.room(), &mut many.room(), from..to, start),
            }
        }
    }
}

type Range = std::ops::Range<usize>;

impl<'x, T: Product, L: Lanes<T>> InnerProducts<'x, '_, '_, L, T> {
    /// Adds (or sets) what comes from indices `k`, `N` rows at a time. Rows and columns beyond the last are the last once more, and are
    /// not written.
    #[inline(always)]
    fn k_block<const N: usize>(
        &mut self,
        few_room: &mut Room<'_, T>,
        many_room: &mut Room<'_, T>,
        k: Range,
        start: Start,
    ) {
        let (len, rows, cols) = (k.len(), self.sides.few.size()[0], self.sides.many.cols());
        let (numbers, step) = self.lines(few_room, &k);
        for first in (0..cols).step_by(COLUMNS) {
            let some = first..(first + COLUMNS).min(cols);
            let columns = self.columns(many_room, &k, &some);
            for row in (0..rows).step_by(N) {
                let mut lines: [&[T]; N] = [&[]; N];
                for (i, line) in lines.iter_mut().enumerate() {
                    *line = &numbers[(row + i).min(rows - 1) * step..][..len];
                }
                let sums = micro::<T, L, N>(self.lanes, lines, columns, len);
                for (i, sums) in (row..rows).zip(&sums) {
                    self.write(i, some.clone(), sums, start);
                }
            }
        }
    }

    /// Writes (or adds) the sums of a row of the short factor and some columns of the other.
    #[inline(always)]
    fn write(&mut self, i: usize, some: Range, sums: &[T; COLUMNS], start: Start) {
        let put = |to: &mut T, sum: T| match start {
            Start::Overwrite => *to = sum,
            Start::Accumulate => *to += sum,
        };
        match self.sides.short {
            Short::Rows => {
                let to = &mut self.c.row_mut(i)[some];
                for j in 0..to.len().min(COLUMNS) {
                    put(&mut to[j], sums[j]);
                }
            }
            Short::Columns => {
                for (j, sum) in some.zip(sums) {
                    put(&mut self.c.row_mut(j)[i], *sum);
                }
            }
        }
    }

    /// The rows of the short factor, each so far behind the one before: where they lie, or a copy.
    #[inline(always)]
    fn lines<'r>(&self, room: &'r mut Room<'_, T>, k: &Range) -> (&'r [T], usize)
    where
        'x: 'r,
    {
        let few = &self.sides.few;
        if let (Factor::Matrix(few), Operands::Exact) = (few, self.operands)
            && let ([step, 1], true) = (few.step(), few.rows() > 0)
            && let Ok(step) = usize::try_from(step)
        {
            return (few.from(0, k.start), step);
        }
        let len = k.len();
        let packed = room.pack_any(0, &few.transposed(), k.clone(), 0..few.size()[0], len);
        round(self.operands, packed);
        (packed, len)
    }

    /// Some columns of the longer factor: where they lie, or a copy that is rounded.
    #[inline(always)]
    fn columns<'r>(&self, room: &'r mut Room<'_, T>, k: &Range, some: &Range) -> [&'r [T]; COLUMNS]
    where
        'x: 'r,
    {
        let len = k.len();
        let mut columns: [&[T]; COLUMNS] = [&[]; COLUMNS];
        match self.operands {
            Operands::Exact => {
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = self
                        .sides
                        .many
                        .run(k.start, some.start + j.min(some.len() - 1), len);
                }
            }
            Operands::Rounded => {
                let many = Factor::Matrix(self.sides.many);
                let packed = room.pack_any(0, &many, k.clone(), some.clone(), len);
                round(Operands::Rounded, packed);
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = &packed[j.min(some.len() - 1) * len..][..len];
                }
            }
        }
        columns
    }
}

/// What happens to operands before they are multiplied.
#[inline(always)]
fn round<T: Product>(operands: Operands, numbers: &mut [T]) {
    match operands {
        Operands::Exact => (),
        Operands::Rounded => T::round_operands(numbers),
    }
}

/// The inner products of some lines with some columns, all of length `len`.
#[inline(always)]
fn micro<T: Product, L: Lanes<T>, const HEIGHT: usize>(
    lanes: L,
    lines: [&[T]; HEIGHT],
    columns: [&[T]; COLUMNS],
    len: usize,
) -> [[T; COLUMNS]; HEIGHT] {
    let (mut a, mut b) = (lines, columns);
    for i in 0..HEIGHT {
        a[i] = &lines[i][..len];
    }
    for j in 0..COLUMNS {
        b[j] = &columns[j][..len];
    }
    let mut chains = [[lanes.splat(T::ZERO); COLUMNS]; HEIGHT];
    let mut at = 0;
    while at + L::LANES <= len {
        let mut vectors = [lanes.splat(T::ZERO); COLUMNS];
        for j in 0..COLUMNS {
            vectors[j] = lanes.load(&b[j][at..]);
        }
        for i in 0..HEIGHT {
            let x = lanes.load(&a[i][at..]);
            for j in 0..COLUMNS {
                chains[i][j] = lanes.mul_add(x, vectors[j], chains[i][j]);
            }
        }
        at += L::LANES;
    }
    if at < len {
        let mut vectors = [lanes.splat(T::ZERO); COLUMNS];
        for j in 0..COLUMNS {
            vectors[j] = lanes.load_part(&b[j][at..]);
        }
        for i in 0..HEIGHT {
            let x = lanes.load_part(&a[i][at..]);
            for j in 0..COLUMNS {
                chains[i][j] = lanes.mul_add(x, vectors[j], chains[i][j]);
            }
        }
    }
    let mut sums = [[T::ZERO; COLUMNS]; HEIGHT];
    for i in 0..HEIGHT {
        for j in 0..COLUMNS {
            sums[i][j] = lanes.sum(chains[i][j]);
        }
    }
    sums
}

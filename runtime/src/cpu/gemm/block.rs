//! Blocks of a result: what different tasks may write at the same time.

use std::marker::PhantomData;
use std::ops::Range;

use crate::cpu::threads::Team;

/// An exclusive, rectangular part of a row-major matrix.
pub struct Block<'a, T> {
    start: *mut T,
    rows: usize,
    cols: usize,
    row_step: usize,
    elements: PhantomData<&'a mut [T]>,
}

impl<'a, T> Block<'a, T> {
    /// A whole row-major matrix with `cols` columns.
    ///
    /// # Panics
    /// Where `data` is not a whole number of rows.
    pub fn whole(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "a slice is not a matrix of {rows} x {cols}"
        );
        Self {
            start: data.as_mut_ptr(),
            rows,
            cols,
            row_step: cols,
            elements: PhantomData,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Part of the block.
    ///
    /// # Panics
    /// Where the ranges leave it.
    pub fn part(&mut self, rows: Range<usize>, cols: Range<usize>) -> Block<'_, T> {
        let inside =
            rows.start < rows.end && rows.end <= self.rows && cols.start <= cols.end && cols.end <= self.cols;
        assert!(
            inside,
            "rows {rows:?} and columns {cols:?} of a block of {} x {}",
            self.rows, self.cols
        );
        Block {
            // SAFETY: row `rows.start` exists, and its columns from `cols.start` on; the rows and columns of the part are some of
            // those that the block has exclusively, and the result borrows it.
            start: unsafe { self.start.add(rows.start * self.row_step + cols.start) },
            rows: rows.len(),
            cols: cols.len(),
            row_step: self.row_step,
            elements: PhantomData,
        }
    }

    /// Row `i` of the block.
    ///
    /// # Panics
    /// Where there is no such row.
    #[inline(always)]
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of a block of {} rows", self.rows);
        // SAFETY: a block stands for an exclusive borrow of `cols` elements at `start + i * row_step` for every `i` below
        // `rows` (see `whole` and `Blocks::take`); the result borrows the block.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.row_step), self.cols) }
    }

    /// `ROWS` rows from `row` on, of which `cols` columns from `col` on. What is checked here is not checked for every row again,
    /// so that a loop over them is unrolled, and what it writes can come from registers.
    ///
    /// # Panics
    /// Where they leave the block.
    #[inline(always)]
    pub(super) fn inside<const ROWS: usize>(
        &mut self,
        row: usize,
        col: usize,
        cols: usize,
    ) -> Inside<'_, T, ROWS> {
        let fits = |from: usize, len: usize, size: usize| from <= size && len <= size - from;
        let inside = ROWS > 0 && fits(row, ROWS, self.rows) && fits(col, cols, self.cols);
        assert!(inside, "a tile leaves its block");
        Inside {
            // SAFETY: a tile has a row, so that row `row` exists; `col` is one of its columns or their end.
            start: unsafe { self.start.add(row * self.row_step + col) },
            cols,
            row_step: self.row_step,
            elements: PhantomData,
        }
    }
}

/// A tile of a block with a constant number of rows.
pub(super) struct Inside<'b, T, const ROWS: usize> {
    start: *mut T,
    cols: usize,
    row_step: usize,
    elements: PhantomData<&'b mut [T]>,
}

impl<T, const ROWS: usize> Inside<'_, T, ROWS> {
    /// Row `i` of the tile.
    ///
    /// # Panics
    /// Where there is no such row.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < ROWS, "a tile has no such row");
        // SAFETY: `Block::inside` has found that the block has these rows with these columns, and borrows it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.row_step), self.cols) }
    }
}

/// Where a block lies.
#[derive(Copy, Clone, Debug)]
pub struct At {
    /// Number of the matrix.
    pub matrix: usize,
    /// First row within the matrix.
    pub row: usize,
    /// First column.
    pub col: usize,
}

/// Row-major matrices of one size, one after the other, cut into blocks.
pub struct Blocks<'a, T> {
    start: *mut T,
    /// Matrices, rows of each, columns of each.
    size: [usize; 3],
    /// Rows and columns of a block; blocks at the edges are smaller.
    block: [usize; 2],
    elements: PhantomData<&'a mut [T]>,
}

// SAFETY: sharing this hands `&mut T` to other threads by `take`, whose contract forbids overlaps: that is sending
// `&mut T`, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Blocks<'_, T> {}

impl<'a, T: Send> Blocks<'a, T> {
    /// Cuts `data`, `size[0]` rows of `size[1]` elements in matrices of `rows` rows, into blocks of at most `block` rows
    /// and columns.
    ///
    /// # Panics
    /// Where the sizes do not fit together, or a block is empty.
    pub fn new(data: &'a mut [T], size: [usize; 2], rows: usize, block: [usize; 2]) -> Self {
        let [all_rows, cols] = size;
        assert!(
            rows > 0 && cols > 0 && block[0] > 0 && block[1] > 0,
            "blocks of {block:?} of {rows} x {cols}"
        );
        assert!(
            all_rows.is_multiple_of(rows) && data.len() == all_rows * cols,
            "{size:?} in matrices of {rows} rows"
        );
        Self {
            start: data.as_mut_ptr(),
            size: [all_rows / rows, rows, cols],
            block,
            elements: PhantomData,
        }
    }

    /// Calls `body` once for every block, as tasks of a team or on the calling thread alone.
    pub fn run(self, team: Option<&Team>, body: impl Fn(At, Block<'_, T>) + Sync) {
        let [matrices, rows, cols] = self.size;
        let across = cols.div_ceil(self.block[1]);
        let down = rows.div_ceil(self.block[0]);
        let tasks = matrices * down * across;
        let task = |task: usize| {
            let (matrix, place) = (task / (down * across), task % (down * across));
            let at = At {
                matrix,
                row: place / across * self.block[0],
                col: place % across * self.block[1],
            };
            // SAFETY: the closure is called once for each task, and tasks and blocks correspond one to one.
            body(at, unsafe { self.take(at) });
        };
        match team {
            Some(team) => team.run(tasks, &task),
            None => (0..tasks).for_each(task),
        }
    }

    /// The block whose first element is `at`.
    ///
    /// # Safety
    /// `at` must be the first element of a block of the grid, and taken once for each value of this type.
    unsafe fn take(&self, at: At) -> Block<'_, T> {
        let [_, rows, cols] = self.size;
        let first = (at.matrix * rows + at.row) * cols + at.col;
        Block {
            // SAFETY: the first element of a block of the grid lies inside the slice.
            start: unsafe { self.start.add(first) },
            rows: self.block[0].min(rows - at.row),
            cols: self.block[1].min(cols - at.col),
            row_step: cols,
            elements: PhantomData,
        }
    }
}

//! Factors of a product: strided matrices over a slice, and what else can be packed.

use std::ops::Range;

use super::product::Product;
use super::{Interleaved, Strips};

/// A strided reading of a slice as a matrix; every element is known to lie inside the slice.
#[derive(Copy, Clone, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    start: isize,
    size: [usize; 2],
    step: [isize; 2],
}

impl<'a, T: Copy> Matrix<'a, T> {
    /// Element `(i, j)` is `data[start + i * step[0] + j * step[1]]`.
    ///
    /// # Panics
    /// Where an element lies outside `data`.
    #[inline(always)]
    pub fn new(data: &'a [T], start: usize, size: [usize; 2], step: [isize; 2]) -> Self {
        let start = isize::try_from(start).expect("an offset is below half the address space");
        if size[0] > 0 && size[1] > 0 {
            let reach = [reach(size[0], step[0]), reach(size[1], step[1])];
            let low = start
                .saturating_add(reach[0].min(0))
                .saturating_add(reach[1].min(0));
            let high = start
                .saturating_add(reach[0].max(0))
                .saturating_add(reach[1].max(0));
            if low < 0 || high >= data.len() as isize {
                outside([low, high], data.len());
            }
        }
        Self {
            data,
            start,
            size,
            step,
        }
    }

    /// `data` as `rows` rows of `cols` elements.
    ///
    /// # Panics
    /// Where `data` is too short.
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::new(data, 0, [rows, cols], [cols as isize, 1])
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.size[0]
    }

    /// Number of columns.
    #[inline(always)]
    pub fn cols(&self) -> usize {
        self.size[1]
    }

    /// Step from a row to the next and from a column to the next, in elements.
    #[inline(always)]
    pub fn step(&self) -> [isize; 2] {
        self.step
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Self {
        let ([m, n], [row, col]) = (self.size, self.step);
        Self {
            size: [n, m],
            step: [col, row],
            ..self
        }
    }

    /// The matrix of these rows and columns.
    ///
    /// # Panics
    /// Where the ranges leave the matrix.
    pub fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let inside = rows.start <= rows.end
            && rows.end <= self.size[0]
            && cols.start <= cols.end
            && cols.end <= self.size[1];
        assert!(
            inside,
            "rows {rows:?} and columns {cols:?} of a matrix of {:?}",
            self.size
        );
        let size = [rows.len(), cols.len()];
        // The start of an empty matrix is never read and may be anything.
        let moved = rows.start as isize * self.step[0] + cols.start as isize * self.step[1];
        Self {
            start: if size.contains(&0) { 0 } else { self.start + moved },
            size,
            ..self
        }
    }

    /// The element in row `i` and column `j`.
    #[inline(always)]
    pub fn at(&self, i: usize, j: usize) -> T {
        self.data[(self.start + i as isize * self.step[0] + j as isize * self.step[1]) as usize]
    }

    /// What lies in memory from `(i, j)` on.
    #[inline(always)]
    pub(super) fn from(&self, i: usize, j: usize) -> &'a [T] {
        &self.data[(self.start + i as isize * self.step[0] + j as isize * self.step[1]) as usize..]
    }

    /// `len` elements from `(i, j)` on that follow each other in memory.
    #[inline(always)]
    pub fn run(&self, i: usize, j: usize, len: usize) -> &'a [T] {
        let from = (self.start + i as isize * self.step[0] + j as isize * self.step[1]) as usize;
        &self.data[from..from + len]
    }
}

#[cold]
#[inline(never)]
fn outside([low, high]: [isize; 2], len: usize) -> ! {
    panic!("elements {low}..={high} of a matrix leave a slice of {len}")
}

/// How far the last of `n` elements lies from the first; more than any slice is long where that is no number.
#[inline(always)]
fn reach(n: usize, step: isize) -> isize {
    (isize::try_from(n).unwrap_or(isize::MAX) - 1).saturating_mul(step)
}

/// A factor of a product.
#[derive(Copy, Clone, Debug)]
pub enum Factor<'a, T> {
    /// A matrix in memory.
    Matrix(Matrix<'a, T>),
    /// One whose inner axis is read in another order than it lies.
    Interleaved(Interleaved<'a, T>),
    /// A second factor that is packed already.
    Strips(Strips<'a, T>),
}

impl<'a, T> From<Matrix<'a, T>> for Factor<'a, T> {
    fn from(matrix: Matrix<'a, T>) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'a, T> From<Interleaved<'a, T>> for Factor<'a, T> {
    fn from(matrix: Interleaved<'a, T>) -> Self {
        Self::Interleaved(matrix)
    }
}

impl<T: Product> Factor<'_, T> {
    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        match self {
            Self::Matrix(x) => x.size,
            Self::Interleaved(x) => x.size(),
            Self::Strips(x) => x.size(),
        }
    }

    /// The transposed factor.
    ///
    /// # Panics
    /// For strips, which are read in one way only.
    pub fn transposed(self) -> Self {
        match self {
            Self::Strips(_) => unreachable!("strips are packed as a second factor"),
            Self::Matrix(x) => Self::Matrix(x.transposed()),
            Self::Interleaved(x) => Self::Interleaved(x.transposed()),
        }
    }

    /// The factor of these rows and columns.
    ///
    /// # Panics
    /// Where the ranges leave it.
    pub fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        match self {
            Self::Matrix(x) => Self::Matrix(x.part(rows, cols)),
            Self::Interleaved(x) => Self::Interleaved(x.part(rows, cols)),
            Self::Strips(x) => Self::Strips(x.part(rows, cols)),
        }
    }
}

//! Packing: a strip of a factor, laid out as the micro-kernel reads it.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::product::Product;
use super::{Factor, Matrix, lanes};

/// Strips that are packed at a time.
pub(super) const BESIDE: usize = 4;

/// A fixed piece of the stack for packed elements, aligned so that a vector never straddles two cache lines.
#[repr(C, align(64))]
pub(super) struct Packed<T, const N: usize> {
    elements: [MaybeUninit<T>; N],
}

impl<T: Product, const N: usize> Packed<T, N> {
    /// Memory that holds nothing yet.
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            elements: [const { MaybeUninit::uninit() }; N],
        }
    }

    /// The memory, whatever its size.
    #[inline(always)]
    pub(super) fn room(&mut self) -> Room<'_, T> {
        Room {
            elements: &mut self.elements,
        }
    }
}

/// Memory for packed elements.
pub(super) struct Room<'m, T> {
    elements: &'m mut [MaybeUninit<T>],
}

impl<'m, T: Product> Room<'m, T> {
    /// Memory that holds numbers already, to be packed over.
    #[inline(always)]
    pub(super) fn over(numbers: &'m mut [T]) -> Self {
        let (start, len) = (numbers.as_mut_ptr().cast::<MaybeUninit<T>>(), numbers.len());
        Self {
            // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the numbers are borrowed exclusively for as long as the room is
            // there. A room writes numbers and nothing else, so that each is one afterwards as well.
            elements: unsafe { std::slice::from_raw_parts_mut(start, len) },
        }
    }

    /// Elements that there is room for.
    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// Copies elements as they lie, and as many zeros as `padding` after them.
    ///
    /// # Panics
    /// Where the memory is too small.
    #[inline(always)]
    pub(super) fn copy(&mut self, from: &[T], padding: usize) -> &mut [T] {
        let out = &mut self.elements[..from.len() + padding];
        let (copied, zeros) = out.split_at_mut(from.len());
        copy(from, copied);
        zeros.fill(MaybeUninit::new(T::ZERO));
        // SAFETY: both parts have just been written.
        unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<T>(), out.len()) }
    }

    /// Packs `rows` of `x`, all columns in `cols`, from element `first` on: for every column the `width` numbers of its
    /// rows, and any after the last row. Returns the packed elements.
    ///
    /// # Panics
    /// Where `width` is below the number of rows, or the memory is too small.
    #[inline(always)]
    pub(super) fn pack(
        &mut self,
        first: usize,
        x: &Factor<'_, T>,
        rows: Range<usize>,
        cols: Range<usize>,
        width: usize,
    ) -> &mut [T] {
        let out = &mut self.elements[first..first + cols.len() * width];
        let x = x.part(rows, cols);
        assert!(x.size()[0] <= width, "{} rows in a strip of {width}", x.size()[0]);
        match x {
            Factor::Strips(_) => unreachable!("strips are packed already"),
            Factor::Interleaved(x) => x.pack(width, out),
            Factor::Matrix(x) => match x.step() {
                [1, _] => along_rows(&x, width, out),
                [_, 1] => across_rows(&x, width, out),
                _ => scattered(&x, width, out),
            },
        }
        // SAFETY: each of the functions has written every element of `out`: for each column its `rows` numbers and
        // `width - rows` others.
        unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<T>(), out.len()) }
    }

    /// Packs `rows` of `x`, [`BESIDE`] strips of `width` rows, one strip after the other from element `first` on, where the rows
    /// follow each other in memory; false where they do not.
    ///
    /// Strip by strip, columns that lie a power of two apart push each other out of the first cache before the next strip reads its
    /// part of their lines. More strips at a time would do the same to what is written.
    #[inline(always)]
    pub(super) fn pack_beside(
        &mut self,
        first: usize,
        x: &Factor<'_, T>,
        rows: Range<usize>,
        cols: Range<usize>,
        width: usize,
    ) -> bool {
        let Factor::Matrix(x) = x else { return false };
        if x.step()[0] != 1 {
            return false;
        }
        let (x, depth) = (x.part(rows, cols.clone()), cols.len());
        let out = &mut self.elements[first..][..BESIDE * width * depth];
        for j in 0..depth {
            let run = x.run(0, j, BESIDE * width);
            for strip in 0..BESIDE {
                let to = &mut out[(strip * depth + j) * width..][..width];
                copy(&run[strip * width..][..width], to);
            }
        }
        true
    }

    /// [`pack`](Self::pack) for widths that are no constants, which inlining would not make faster.
    #[inline(never)]
    pub(super) fn pack_any(
        &mut self,
        first: usize,
        x: &Factor<'_, T>,
        rows: Range<usize>,
        cols: Range<usize>,
        width: usize,
    ) -> &mut [T] {
        self.pack(first, x, rows, cols, width)
    }

    /// The first `len` elements.
    ///
    /// # Safety
    /// They must have been packed.
    #[inline(always)]
    pub(super) unsafe fn filled(&mut self, len: usize) -> &mut [T] {
        let elements = &mut self.elements[..len];
        // SAFETY: the caller has packed them.
        unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast::<T>(), len) }
    }
}

/// Copies elements to memory that may hold nothing yet. Where the length is a constant this is a few instructions, which
/// `copy_from_slice` is only in builds that inline its helper.
///
/// # Panics
/// Where the lengths differ.
#[inline(always)]
pub(super) fn copy<T: Copy>(from: &[T], to: &mut [MaybeUninit<T>]) {
    assert_eq!(from.len(), to.len(), "a copy has the length of its source");
    // SAFETY: both have `to.len()` elements, `MaybeUninit<T>` has the layout of `T`, and what is borrowed mutably overlaps
    // nothing.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().cast::<T>(), to.len()) }
}

/// Rows follow each other in memory: a column is copied as it lies.
#[inline(always)]
fn along_rows<T: Product>(x: &Matrix<'_, T>, width: usize, out: &mut [MaybeUninit<T>]) {
    if x.rows() == width {
        for (j, column) in out.chunks_exact_mut(width).enumerate() {
            copy(x.run(0, j, width), column);
        }
        return;
    }
    for (j, column) in out.chunks_exact_mut(width).enumerate() {
        // A copy of constant length, also of what lies behind the last row: no result is made of that.
        if let Some(all) = x.from(0, j).get(..width) {
            copy(all, column);
            continue;
        }
        let (copied, padding) = column.split_at_mut(x.rows());
        copy(x.run(0, j, x.rows()), copied);
        for to in padding {
            to.write(T::ZERO);
        }
    }
}

const SQUARE: usize = lanes::SQUARE;

/// Columns follow each other in memory: the strip is transposed, in squares that stay in registers.
#[inline(always)]
fn across_rows<T: Product>(x: &Matrix<'_, T>, width: usize, out: &mut [MaybeUninit<T>]) {
    let (rows, cols) = (x.rows(), x.cols());
    let even_rows = rows - rows % SQUARE;
    for i in (0..even_rows).step_by(SQUARE) {
        let lines: [&[T]; SQUARE] = [
            x.run(i, 0, cols),
            x.run(i + 1, 0, cols),
            x.run(i + 2, 0, cols),
            x.run(i + 3, 0, cols),
        ];
        four_rows(lines, i, width, out);
    }
    for i in even_rows..rows {
        let line = x.run(i, 0, cols);
        for (j, column) in out.chunks_exact_mut(width).enumerate() {
            column[i].write(line[j]);
        }
    }
    if rows < width {
        for column in out.chunks_exact_mut(width) {
            for to in &mut column[rows..] {
                to.write(T::ZERO);
            }
        }
    }
}

/// Four lines of equal length go to places `i..i + 4` of the columns of `out`.
///
/// The lines are cut into arrays beforehand, so that the loop over squares compares no index with a length.
#[expect(
    clippy::needless_range_loop,
    reason = "four slices of equal length go by one index"
)]
#[inline(always)]
fn four_rows<T: Product>(lines: [&[T]; SQUARE], i: usize, width: usize, out: &mut [MaybeUninit<T>]) {
    assert!(i + SQUARE <= width, "four rows from {i} on in a strip of {width}");
    let n_squares = lines[0].len() / SQUARE;
    let squares: [&[[T; SQUARE]]; SQUARE] = [
        &lines[0].as_chunks().0[..n_squares],
        &lines[1].as_chunks().0[..n_squares],
        &lines[2].as_chunks().0[..n_squares],
        &lines[3].as_chunks().0[..n_squares],
    ];
    let mut columns = out.chunks_exact_mut(SQUARE * width);
    for j in 0..n_squares {
        let Some(columns) = columns.next() else { break };
        let square = T::transpose([&squares[0][j], &squares[1][j], &squares[2][j], &squares[3][j]]);
        for (k, column) in square.iter().enumerate() {
            copy(column, &mut columns[k * width + i..][..SQUARE]);
        }
    }
    let rest = out.chunks_exact_mut(width).enumerate().skip(n_squares * SQUARE);
    for (j, column) in rest {
        for (to, line) in column[i..i + SQUARE].iter_mut().zip(lines) {
            to.write(line[j]);
        }
    }
}

/// Neither axis is dense: element by element.
#[inline(never)]
fn scattered<T: Product>(x: &Matrix<'_, T>, width: usize, out: &mut [MaybeUninit<T>]) {
    for (j, column) in out.chunks_exact_mut(width).enumerate() {
        for (i, to) in column.iter_mut().enumerate() {
            to.write(if i < x.rows() { x.at(i, j) } else { T::ZERO });
        }
    }
}

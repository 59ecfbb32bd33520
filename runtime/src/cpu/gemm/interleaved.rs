//! A factor whose inner axis lies in runs that a product reads interleaved: of each run the first number, then of each the second.
//!
//! The weights of a layer that follows an image lie plane by plane, `[channels, pixels]`, and the image pixel by pixel. Summed in the
//! order of the image, the weights' planes are such runs; a permuted copy of either is not needed.
//!
//! A product has to lay such a factor out before it reads it. What packs does so, square by square; no kernel reads it where it lies.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::Matrix;
use super::lanes::SQUARE;
use super::pack::copy;
use super::product::Product;

/// Places along a run whose numbers are laid out together: those of a line of the cache.
const LINE: usize = 16;

/// A matrix with an axis that lies in runs of equal length one behind the other, read interleaved.
#[derive(Copy, Clone, Debug)]
pub struct Interleaved<'a, T> {
    /// As it lies; the columns are in runs.
    lies: Matrix<'a, T>,
    /// The runs, and the length of each.
    runs: [usize; 2],
    /// The first of the interleaved columns that belong to this part, and their number.
    part: [usize; 2],
    /// What the columns of `lies` are here.
    axis: Axis,
}

/// An axis of a factor.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Axis {
    Rows,
    Columns,
}

impl<'a, T: Copy> Interleaved<'a, T> {
    /// A matrix whose rows lie in `runs` runs.
    ///
    /// # Panics
    /// Where the runs cannot have one length.
    pub fn rows(matrix: Matrix<'a, T>, runs: usize) -> Self {
        Self::columns(matrix.transposed(), runs).transposed()
    }

    /// A matrix whose columns lie in `runs` runs.
    ///
    /// # Panics
    /// Where the runs cannot have one length.
    pub fn columns(lies: Matrix<'a, T>, runs: usize) -> Self {
        let all = lies.cols();
        assert!(all.is_multiple_of(runs), "{all} numbers in {runs} runs");
        Self {
            lies,
            runs: [runs, all.checked_div(runs).unwrap_or(0)],
            part: [0, all],
            axis: Axis::Columns,
        }
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> [usize; 2] {
        let (other, inner) = (self.lies.rows(), self.part[1]);
        match self.axis {
            Axis::Rows => [inner, other],
            Axis::Columns => [other, inner],
        }
    }

    /// The transposed matrix.
    pub(super) fn transposed(self) -> Self {
        let axis = match self.axis {
            Axis::Rows => Axis::Columns,
            Axis::Columns => Axis::Rows,
        };
        Self { axis, ..self }
    }

    /// The matrix of these rows and columns.
    ///
    /// # Panics
    /// Where the ranges leave the matrix.
    pub(super) fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let (inner, other) = match self.axis {
            Axis::Rows => (rows, cols),
            Axis::Columns => (cols, rows),
        };
        assert!(
            inner.start <= inner.end && inner.end <= self.part[1],
            "{inner:?} of {} interleaved numbers",
            self.part[1]
        );
        Self {
            lies: self.lies.part(other, 0..self.lies.cols()),
            part: [self.part[0] + inner.start, inner.len()],
            ..self
        }
    }

    /// Some interleaved columns of this part, each with that of `lies` which it is.
    #[inline(always)]
    fn columns_in(&self, range: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let [runs, len] = self.runs;
        let first = self.part[0] + range.start;
        let (mut run, mut place) = match range.is_empty() {
            true => (0, 0),
            false => (first % runs, first / runs),
        };
        range.map(move |at| {
            let column = run * len + place;
            run += 1;
            if run == runs {
                (run, place) = (0, place + 1);
            }
            (at, column)
        })
    }

    /// Numbers that stand at one place of all runs and belong to this part: the first place whose numbers all do, and the first
    /// behind it whose do not.
    fn places(&self) -> Range<usize> {
        let ([runs, _], [first, n]) = (self.runs, self.part);
        let start = first.div_ceil(runs);
        start..((first + n) / runs).max(start)
    }
}

impl<T: Product> Interleaved<'_, T> {
    /// For every column the `width` numbers of its rows, and zeros after the last row. Writes all of `out`.
    ///
    /// # Panics
    /// Where `out` is not as long as that, or there are more rows than that.
    #[inline(never)]
    pub(super) fn pack(&self, width: usize, out: &mut [MaybeUninit<T>]) {
        let [rows, cols] = self.size();
        assert!(
            rows <= width && out.len() == cols * width,
            "{rows} x {cols} numbers in strips of {width}"
        );
        if rows < width {
            for column in out.chunks_exact_mut(width) {
                column[rows..].fill(MaybeUninit::new(T::ZERO));
            }
        }
        match self.axis {
            Axis::Rows => {
                for (j, column) in out.chunks_exact_mut(width).enumerate() {
                    self.pack_line(j, &mut column[..rows]);
                }
            }
            Axis::Columns => self.pack_columns(width, out),
        }
    }

    /// The interleaved numbers of row `i` of what lies. Squares of four places of four runs are transposed, whatever of them belongs to
    /// this part; what lies otherwise, or is left, goes number by number.
    fn pack_line(&self, i: usize, out: &mut [MaybeUninit<T>]) {
        let ([runs, len], [first, n]) = (self.runs, self.part);
        if n == 0 {
            return;
        }
        let is_dense = self.lies.step()[1] == 1;
        let (end, even) = ((first + n).div_ceil(runs), runs - runs % SQUARE);
        for place in (first / runs..end).step_by(SQUARE) {
            let n_places = SQUARE.min(end - place);
            let in_squares = if is_dense && place + SQUARE <= len {
                even
            } else {
                0
            };
            for run in (0..in_squares).step_by(SQUARE) {
                let line = |k: usize| self.lies.run(i, (run + k) * len + place, SQUARE).first_chunk();
                let [Some(a), Some(b), Some(c), Some(d)] = [line(0), line(1), line(2), line(3)] else {
                    unreachable!("a run of four has four numbers");
                };
                for (k, column) in T::transpose([a, b, c, d]).iter().take(n_places).enumerate() {
                    put(column, (place + k) * runs + run, first, out);
                }
            }
            for k in 0..n_places {
                for run in in_squares..runs {
                    let number = self.lies.at(i, run * len + place + k);
                    put(&[number], (place + k) * runs + run, first, out);
                }
            }
        }
    }

    /// Places whose numbers all belong to this part and lie so that they can be read together, and the columns that they are here.
    fn whole(&self) -> (Range<usize>, Range<usize>) {
        let ([runs, _], [first, _], places) = (self.runs, self.part, self.places());
        if places.is_empty() || self.lies.step()[1] != 1 {
            return (0..0, 0..0);
        }
        let columns = places.start * runs - first..places.end * runs - first;
        (places, columns)
    }

    /// The same where the columns are interleaved, without the zeros. Whole places are transposed, and the others
    /// copied where the rows follow each other.
    fn pack_columns(&self, width: usize, out: &mut [MaybeUninit<T>]) {
        let ([runs, _], [_, n], (whole, squares)) = (self.runs, self.part, self.whole());
        let others = [0..squares.start, squares.end..n].map(|range| self.columns_in(range));
        for (at, column) in others.into_iter().flatten() {
            let to = &mut out[at * width..][..self.lies.rows()];
            if self.lies.step()[0] == 1 {
                copy(self.lies.run(0, column, to.len()), to);
                continue;
            }
            for (i, to) in to.iter_mut().enumerate() {
                to.write(self.lies.at(i, column));
            }
        }
        let out = &mut out[squares.start * width..squares.end * width];
        for start in whole.clone().step_by(LINE) {
            let places = start..(start + LINE).min(whole.end);
            let out = &mut out[(start - whole.start) * runs * width..][..places.len() * runs * width];
            for run in 0..runs {
                self.pack_run(run, &places, width, &mut out[run * width..]);
            }
        }
    }

    /// Some places of one run, to columns of `out` that lie as many apart as there are runs.
    #[inline(always)]
    fn pack_run(&self, run: usize, places: &Range<usize>, width: usize, out: &mut [MaybeUninit<T>]) {
        let ([runs, len], rows) = (self.runs, self.lies.rows());
        let line = |i: usize| self.lies.run(i, run * len + places.start, places.len());
        let (apart, even) = (runs * width, rows - rows % SQUARE);
        for i in (0..even).step_by(SQUARE) {
            let lines = [line(i), line(i + 1), line(i + 2), line(i + 3)];
            let [a, b, c, d] = lines.map(<[T]>::as_chunks::<SQUARE>);
            let squares = a.0.iter().zip(b.0).zip(c.0).zip(d.0).enumerate();
            for (s, (((a, b), c), d)) in squares {
                for (k, column) in T::transpose([a, b, c, d]).iter().enumerate() {
                    copy(column, &mut out[(s * SQUARE + k) * apart + i..][..SQUARE]);
                }
            }
            for place in places.len() - places.len() % SQUARE..places.len() {
                let column = lines.map(|line| line[place]);
                copy(&column, &mut out[place * apart + i..][..SQUARE]);
            }
        }
        for i in even..rows {
            for (place, number) in line(i).iter().enumerate() {
                out[place * apart + i].write(*number);
            }
        }
    }
}

/// Puts numbers from place `at` on where `out` begins with place `first`; what lies outside of it is left.
#[inline(always)]
fn put<T: Copy, const N: usize>(numbers: &[T; N], at: usize, first: usize, out: &mut [MaybeUninit<T>]) {
    let inside = at.checked_sub(first).and_then(|at| out.get_mut(at..at + N));
    if let Some(to) = inside {
        return copy(numbers, to);
    }
    for (k, number) in numbers.iter().enumerate() {
        let to = (at + k).checked_sub(first).and_then(|at| out.get_mut(at));
        if let Some(to) = to {
            to.write(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Factor, pack::Packed};
    use super::*;

    /// Every number of every part stands where the naive reading says, in strips wider than the part too.
    #[test]
    fn packing_follows_the_interleaved_order() {
        let sizes = [
            [1, 1, 1],
            [3, 5, 7],
            [32, 6, 40],
            [8, 16, 4],
            [33, 1, 50],
            [5, 50, 1],
            [4, 3, 21],
        ];
        for [other, runs, len] in sizes {
            let all = runs * len;
            let numbers: Vec<f32> = (0..other * all).map(|n| n as f32).collect();
            for lies in [
                Matrix::row_major(&numbers, other, all),
                Matrix::new(&numbers, 0, [other, all], [1, other as isize]),
            ] {
                let x = Interleaved::columns(lies, runs);
                for part in [0..all, 0..all / 2, all / 3..all, all / 3..all / 2] {
                    check(x, lies, part, [runs, len]);
                }
            }
        }
    }

    fn check(x: Interleaved<'_, f32>, lies: Matrix<'_, f32>, part: Range<usize>, [runs, len]: [usize; 2]) {
        let (other, width) = (lies.rows(), lies.rows() + 3);
        let mut memory = Packed::<f32, { 64 * 512 }>::new();
        let expected = |i: usize, at: usize| lies.at(i, at % runs * len + at / runs);
        let columns = memory
            .room()
            .pack(0, &Factor::from(x), 0..other, part.clone(), width)
            .to_vec();
        for (at, column) in part.clone().zip(columns.chunks_exact(width)) {
            for (i, number) in column.iter().enumerate() {
                let expected = if i < other { expected(i, at) } else { 0.0 };
                assert_eq!(
                    *number, expected,
                    "row {i}, column {at} of {part:?}, {runs} runs of {len}"
                );
            }
        }
        let turned = Factor::from(x.transposed());
        let rows = memory
            .room()
            .pack(0, &turned, part.clone(), 0..other, part.len() + 1)
            .to_vec();
        for (i, row) in rows.chunks_exact(part.len() + 1).enumerate() {
            for (at, number) in part.clone().zip(row) {
                assert_eq!(*number, expected(i, at), "column {i}, row {at} of {part:?}");
            }
        }
    }
}

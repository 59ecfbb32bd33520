//! What tiles ask for while they are computed: numbers that will be packed next, so that packing them does not wait for memory.
//!
//! Rows are packed in a burst, and multiplied with many others afterwards. Where `k` runs across the rows of a matrix, the numbers that
//! are packed together lie in runs so short, and so far apart, that the CPU does not see where they lead. So a tile asks for one line of the
//! cache at every step of `k`: as fast as memory gives them, and slowly enough not to wait for it. The first tiles ask for the next
//! strip of columns, those after them for the next block of rows. Numbers that follow each other along `k` are left to the CPU:
//! asking for them as well made products slower.
//!
//! Not here: the instruction ([`Lanes::request`](super::lanes::Lanes::request)).

use std::ops::Range;

use super::{Factor, Matrix};

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// What tiles have not asked for yet.
pub(super) struct Ahead<'x, T> {
    strip: Lines<'x, T>,
    block: Lines<'x, T>,
}

/// Lines of the cache, each with those `step` numbers behind one another that one tile asks for.
struct Lines<'x, T> {
    /// From the first number on.
    numbers: &'x [T],
    step: usize,
    /// Numbers of a row that are left.
    left: usize,
}

/// The requests of a tile: at step `p` for number `p * step`.
#[derive(Copy, Clone)]
pub(super) struct Requests<'x, T> {
    pub(super) numbers: &'x [T],
    pub(super) step: usize,
}

impl<'x, T: Copy> Ahead<'x, T> {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self {
            strip: Lines::NONE,
            block: Lines::NONE,
        }
    }

    /// The next strip is that of columns `cols` of the second factor.
    #[inline(never)]
    pub(super) fn strip_is(&mut self, b: &Factor<'x, T>, k: &Range<usize>, cols: Range<usize>) {
        self.strip = match b {
            Factor::Matrix(b) => Lines::new(*b, k.start, cols),
            _ => Lines::NONE,
        };
    }

    /// The next block is that of rows `rows` of the first factor.
    #[inline(never)]
    pub(super) fn block_is(&mut self, a: &Factor<'x, T>, k: &Range<usize>, rows: Range<usize>) {
        self.block = match a {
            Factor::Matrix(a) => Lines::new(a.transposed(), k.start, rows),
            _ => Lines::NONE,
        };
    }

    /// The requests of the next tile; always the same, if nothing is left, for a line of some numbers that are at hand.
    #[inline(always)]
    pub(super) fn next<'r>(&mut self, at_hand: &'r [T]) -> Requests<'r, T>
    where
        'x: 'r,
    {
        let lines = if self.strip.left > 0 {
            &mut self.strip
        } else {
            &mut self.block
        };
        lines.next().unwrap_or(Requests {
            numbers: at_hand,
            step: 0,
        })
    }
}

impl<'x, T: Copy> Lines<'x, T> {
    const NONE: Self = Self {
        numbers: &[],
        step: 0,
        left: 0,
    };

    /// The lines of columns `cols` of a matrix whose rows are dense, from row `row` on; none of any other matrix.
    fn new(matrix: Matrix<'x, T>, row: usize, cols: Range<usize>) -> Self {
        let step = usize::try_from(matrix.step()[0]);
        match (matrix.step(), step) {
            ([_, 1], Ok(step)) if !cols.is_empty() => Self {
                numbers: matrix.from(row, cols.start),
                step,
                left: cols.len(),
            },
            _ => Self::NONE,
        }
    }

    #[inline(always)]
    fn next(&mut self) -> Option<Requests<'x, T>> {
        let line = LINE / size_of::<T>();
        let more = self.numbers.get(line..)?;
        if self.left == 0 {
            return None;
        }
        let requests = Requests {
            numbers: self.numbers,
            step: self.step,
        };
        (self.numbers, self.left) = (more, self.left.saturating_sub(line));
        Some(requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tiles ask for, as places in the matrix: from where, and how far from step to step; none where a tile asks for nothing new.
    fn asked(ahead: &mut Ahead<'_, f32>, all: &[f32], tiles: usize) -> Vec<Option<[usize; 2]>> {
        let at_hand = [0.0; 4];
        let mut places = Vec::new();
        for _ in 0..tiles {
            let Requests { numbers, step } = ahead.next(&at_hand);
            let is_new = numbers.len() > at_hand.len();
            places.push(is_new.then(|| [all.len() - numbers.len(), step]));
        }
        places
    }

    #[test]
    fn the_lines_of_a_strip_come_before_those_of_a_block() {
        let all = vec![0.0f32; 100 * 200];
        let b: Factor<'_, f32> = Matrix::row_major(&all, 100, 200).into();
        let a: Factor<'_, f32> = Matrix::row_major(&all, 100, 200).transposed().into();
        let mut ahead = Ahead::nothing();
        ahead.block_is(&a, &(20..30), 48..71);
        ahead.strip_is(&b, &(10..20), 64..96);
        let lines = [
            [10 * 200 + 64, 200],
            [10 * 200 + 80, 200],
            [20 * 200 + 48, 200],
            [20 * 200 + 64, 200],
        ];
        let mut expected = lines.map(Some).to_vec();
        expected.extend([None, None]);
        assert_eq!(asked(&mut ahead, &all, 6), expected);
    }

    #[test]
    fn numbers_that_follow_each_other_along_k_are_left_to_the_cpu() {
        let all = vec![0.0f32; 100 * 200];
        let b: Factor<'_, f32> = Matrix::row_major(&all, 100, 200).transposed().into();
        let a: Factor<'_, f32> = Matrix::row_major(&all, 100, 200).into();
        let mut ahead = Ahead::nothing();
        ahead.block_is(&a, &(0..10), 0..20);
        ahead.strip_is(&b, &(0..10), 0..20);
        assert_eq!(asked(&mut ahead, &all, 2), [None, None]);
    }
}

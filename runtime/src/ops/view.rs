//! Strided readings of a buffer, and the kernel that copies one into contiguous memory.

use crate::arena::Buf;
use crate::cpu::gemm::{SQUARE, transpose};
use crate::cpu::threads::Team;
use crate::cx::Cx;
use crate::dtype::Element;
use crate::program::MAX_RANK;

/// A strided reading of a buffer: element `i` is number `offset + i[0] * strides[0] + ...` of `buf`.
///
/// Strides are counted in elements; they are zero along broadcast axes and negative along flipped ones.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct View<const R: usize> {
    /// What is read.
    pub buf: Buf,
    /// Number of the element that index 0 names.
    pub offset: usize,
    /// Size of every axis.
    pub shape: [usize; R],
    /// Step of every axis.
    pub strides: [isize; R],
}

impl<const R: usize> View<R> {
    /// A whole buffer, row-major.
    #[inline(never)]
    pub fn contiguous(buf: Buf, shape: [usize; R]) -> Self {
        let mut strides = [0; R];
        let mut step = 1;
        for k in (0..R).rev() {
            strides[k] = step as isize;
            step *= shape[k];
        }
        Self {
            buf,
            offset: 0,
            shape,
            strides,
        }
    }

    /// The last two axes swapped.
    ///
    /// # Panics
    /// With fewer than two axes: a mistake of the compiler.
    #[inline(never)]
    pub fn t(mut self) -> Self {
        self.shape.swap(R - 1, R - 2);
        self.strides.swap(R - 1, R - 2);
        self
    }

    /// The same reading with axes of size 1 before the others, as many axes as any view may have.
    ///
    /// Kernels that take views of any rank are compiled for this one, in this crate; for each rank that they are called with,
    /// a user's crate then holds the padding alone.
    #[inline(never)]
    pub(crate) fn padded(&self) -> View<MAX_RANK> {
        const { assert!(R <= MAX_RANK, "too many axes") };
        let (mut shape, mut strides) = ([1; MAX_RANK], [0; MAX_RANK]);
        shape[MAX_RANK - R..].copy_from_slice(&self.shape);
        strides[MAX_RANK - R..].copy_from_slice(&self.strides);
        View {
            buf: self.buf,
            offset: self.offset,
            shape,
            strides,
        }
    }

    /// Number of elements, repeated ones counted each time.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

/// `y[i] = x[i]`: the elements of `x`, of any type, in row-major order.
///
/// # Panics
/// Where `y` has another number of elements, or `x` reaches outside its buffer: mistakes of the compiler.
pub fn copy<const R: usize>(cx: &mut Cx<'_>, x: View<R>, y: Buf) {
    copy_padded(cx, &x.padded(), y);
}

#[inline(never)]
fn copy_padded(cx: &mut Cx<'_>, x: &View<MAX_RANK>, y: Buf) {
    // Only the width matters. Floats of 64 bits travel as integers, which no move can change.
    match y.width {
        1 => copy_elements::<u8>(cx, x, y),
        4 => copy_elements::<f32>(cx, x, y),
        _ => copy_elements::<i64>(cx, x, y),
    }
}

fn copy_elements<T: Turn>(cx: &mut Cx<'_>, x: &View<MAX_RANK>, y: Buf) {
    let env = cx.env;
    assert_eq!(x.numel(), y.len, "a copy needs as many elements as the view has");
    let mut bind = cx.bind();
    let source: &[T] = bind.read(x.buf);
    let y: &mut [T] = bind.write(y);
    gather(env.team, source, &Walk::new(x), y);
}

/// Elements a task copies, about; fewer are not worth a second thread.
const TASK: usize = 1 << 15;

/// Side of the square tiles in which a transposition reads, so that whole cache lines are used.
const TILE: usize = 16;

/// A view brought to its simplest form: axes of size 1 dropped, neighbours that run through merged, then split into the
/// last axis (`cols`), the one before (`rows`) and the rest.
struct Walk<const R: usize> {
    offset: isize,
    outer: [(usize, isize); R],
    n_outer: usize,
    rows: (usize, isize),
    cols: (usize, isize),
}

impl<const R: usize> Walk<R> {
    fn new(x: &View<R>) -> Self {
        let mut axes = [(1, 0); R];
        let mut n = 0;
        for (&size, &stride) in x.shape.iter().zip(&x.strides).filter(|(size, _)| **size != 1) {
            let runs_through = n > 0 && axes[n - 1].1 == stride * size as isize;
            if runs_through {
                axes[n - 1] = (axes[n - 1].0 * size, stride);
            } else {
                axes[n] = (size, stride);
                n += 1;
            }
        }
        let cols = if n > 0 { axes[n - 1] } else { (1, 0) };
        let rows = if n > 1 { axes[n - 2] } else { (1, 0) };
        Self {
            offset: x.offset as isize,
            outer: axes,
            n_outer: n.saturating_sub(2),
            rows,
            cols,
        }
    }

    /// Where plane number `k` (in row-major order of the outer axes) starts.
    fn plane(&self, mut k: usize) -> isize {
        let mut start = self.offset;
        for &(size, stride) in self.outer[..self.n_outer].iter().rev() {
            start += (k % size) as isize * stride;
            k /= size;
        }
        start
    }
}

/// Copies what `walk` visits of `source` to `out`. Indexing is checked, so a walk that leaves `source` panics.
fn gather<const R: usize, T: Turn>(team: &Team, source: &[T], walk: &Walk<R>, out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let cols = walk.cols.0;
    // Few rows whose elements alternate in memory are read together.
    let is_turned = walk.rows.0 < SQUARE && walk.cols.1.abs() > 1;
    let together = if is_turned { walk.rows.0 } else { 1 };
    let rows_a_task = (TASK / cols).max(1).next_multiple_of(together);
    team.chunks_mut(out, rows_a_task * cols, |task, mut chunk| {
        let mut row = task * rows_a_task;
        while !chunk.is_empty() {
            // As many rows as the plane still has.
            let (plane, first) = (row / walk.rows.0, row % walk.rows.0);
            let n = (walk.rows.0 - first).min(chunk.len() / cols);
            let (part, rest) = std::mem::take(&mut chunk).split_at_mut(n * cols);
            let start = walk.plane(plane) + first as isize * walk.rows.1;
            copy_plane(source, start, walk.rows.1, walk.cols, part);
            row += n;
            chunk = rest;
        }
    });
}

fn copy_plane<T: Turn>(
    source: &[T],
    start: isize,
    row_step: isize,
    (cols, step): (usize, isize),
    out: &mut [T],
) {
    let turns = row_step == 1 && cols.min(out.len() / cols) >= SQUARE;
    let rows = out.chunks_exact_mut(cols).enumerate();
    match step {
        1 => rows.for_each(|(r, row)| {
            let from = (start + r as isize * row_step) as usize;
            row.copy_from_slice(&source[from..from + cols]);
        }),
        0 => rows.for_each(|(r, row)| row.fill(source[(start + r as isize * row_step) as usize])),
        _ if turns => turn_plane(source, start, (cols, step), out),
        _ if row_step == 1 && cols == 2 => interleave::<T, 2>(source, start, step, out),
        _ if row_step == 1 && cols == 3 => interleave::<T, 3>(source, start, step, out),
        2 => pick::<T, 2>(source, start, row_step, cols, out),
        3 => pick::<T, 3>(source, start, row_step, cols, out),
        _ => {
            for (band, rows) in out.chunks_mut(TILE * cols).enumerate() {
                let start = start + (band * TILE) as isize * row_step;
                for first in (0..cols).step_by(TILE) {
                    let last = (first + TILE).min(cols);
                    for (r, row) in rows.chunks_exact_mut(cols).enumerate() {
                        let from = start + r as isize * row_step;
                        for (c, y) in row[first..last].iter_mut().enumerate() {
                            *y = source[(from + (first + c) as isize * step) as usize];
                        }
                    }
                }
            }
        }
    }
}

/// Elements of which a square of four rows is turned.
trait Turn: Element + Default {
    fn turn(rows: [&[Self; SQUARE]; SQUARE]) -> [[Self; SQUARE]; SQUARE];
}

impl Turn for f32 {
    #[inline(always)]
    fn turn(rows: [&[Self; SQUARE]; SQUARE]) -> [[Self; SQUARE]; SQUARE] {
        transpose(rows)
    }
}

impl Turn for i64 {
    #[inline(always)]
    fn turn([a, b, c, d]: [&[Self; SQUARE]; SQUARE]) -> [[Self; SQUARE]; SQUARE] {
        std::array::from_fn(|j| [a[j], b[j], c[j], d[j]])
    }
}

impl Turn for u8 {
    #[inline(always)]
    fn turn([a, b, c, d]: [&[Self; SQUARE]; SQUARE]) -> [[Self; SQUARE]; SQUARE] {
        std::array::from_fn(|j| [a[j], b[j], c[j], d[j]])
    }
}

/// `out[r * cols + c] = source[start + r + c * step]`, for at least as many rows and columns as a square has.
fn turn_plane<T: Turn>(source: &[T], start: isize, cols: (usize, isize), out: &mut [T]) {
    match cols.0 {
        TILE.. => turn_lines::<T, TILE>(source, start, cols, out),
        _ => turn_lines::<T, SQUARE>(source, start, cols, out),
    }
}

/// The same by `LINE` columns at a time, in squares. The last columns and rows overlap those before them, and are written twice.
///
/// Parts of four rows are put together first, so that a line of the cache is written at once: where rows are a power of two apart, all
/// of them fall on the same few lines.
fn turn_lines<T: Turn, const LINE: usize>(
    source: &[T],
    start: isize,
    (cols, step): (usize, isize),
    out: &mut [T],
) {
    let rows = out.len() / cols;
    for block in 0..cols.div_ceil(LINE) {
        let first = (block * LINE).min(cols - LINE);
        let mut runs: [&[T]; LINE] = [&[]; LINE];
        for c in 0..LINE {
            runs[c] = &source[(start + (first + c) as isize * step) as usize..][..rows];
        }
        for band in 0..rows.div_ceil(SQUARE) {
            let r = (band * SQUARE).min(rows - SQUARE);
            let mut lines = [[T::default(); LINE]; SQUARE];
            for c in (0..LINE).step_by(SQUARE) {
                let square = T::turn([
                    square_row(runs[c], r),
                    square_row(runs[c + 1], r),
                    square_row(runs[c + 2], r),
                    square_row(runs[c + 3], r),
                ]);
                for i in 0..SQUARE {
                    *lines[i][c..].first_chunk_mut().expect("a whole square") = square[i];
                }
            }
            let to = &mut out[r * cols + first..][..(SQUARE - 1) * cols + LINE];
            for i in 0..SQUARE {
                *to[i * cols..].first_chunk_mut().expect("a whole line") = lines[i];
            }
        }
    }
}

/// `out[r * COLS + c] = source[start + r + c * step]`: an image of few channels becomes pixels. (The number of columns is a constant, so
/// that the loop is compiled to shuffles.)
fn interleave<T: Element, const COLS: usize>(source: &[T], start: isize, step: isize, out: &mut [T]) {
    let (pixels, _) = out.as_chunks_mut::<COLS>();
    let mut runs: [&[T]; COLS] = [&[]; COLS];
    for c in 0..COLS {
        runs[c] = &source[(start + c as isize * step) as usize..][..pixels.len()];
    }
    for i in 0..pixels.len() {
        for c in 0..COLS {
            pixels[i][c] = runs[c][i];
        }
    }
}

/// Pixels of whose rows a part is read at a time, so that all rows find it in the first cache.
const PIXELS: usize = 256;

/// `out[r * cols + c] = source[start + r * row_step + c * STEP]`: pixels of few channels become an image.
fn pick<T: Element, const STEP: usize>(
    source: &[T],
    start: isize,
    row_step: isize,
    cols: usize,
    out: &mut [T],
) {
    for first in (0..cols).step_by(PIXELS) {
        let n = PIXELS.min(cols - first);
        for (r, row) in out.chunks_exact_mut(cols).enumerate() {
            let from = (start + r as isize * row_step) as usize + first * STEP;
            // The last pixel may end with the element that is wanted of it.
            let (pixels, _) = source[from..][..(n - 1) * STEP].as_chunks::<STEP>();
            let (last, row) = row[first..first + n].split_last_mut().expect("some pixels");
            for i in 0..pixels.len().min(row.len()) {
                row[i] = pixels[i][0];
            }
            *last = source[from + (n - 1) * STEP];
        }
    }
}

#[inline(always)]
fn square_row<T>(run: &[T], at: usize) -> &[T; SQUARE] {
    run[at..].first_chunk().expect("a whole square")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::arena::Place;

    /// Element by element, by the definition.
    fn naive<const R: usize>(source: &[i64], x: &View<R>) -> Vec<i64> {
        let element = |mut k: usize| {
            let mut at = x.offset as isize;
            for (&size, &stride) in x.shape.iter().zip(&x.strides).rev() {
                at += (k % size) as isize * stride;
                k /= size;
            }
            source[at as usize]
        };
        (0..x.numel()).map(element).collect()
    }

    fn buf(len: usize) -> Buf {
        Buf {
            place: Place::Arena,
            offset: 0,
            len,
            width: 8,
        }
    }

    fn check<const R: usize>(source: &[i64], x: &View<R>) {
        let team = Team::new(NonZeroUsize::new(2).unwrap()).unwrap();
        let mut out = vec![-1; x.numel()];
        gather(&team, source, &Walk::new(x), &mut out);
        assert_eq!(out, naive(source, x));
    }

    proptest! {
        /// Permuted, flipped, broadcast and sliced views at once.
        #[test]
        fn copies_what_the_definition_says(
            sizes in prop::array::uniform4(0usize..7),
            perm in Just([0usize, 1, 2, 3]).prop_shuffle(),
            kind in prop::array::uniform4(0u8..4),
        ) {
            let whole = View::contiguous(buf(0), sizes.map(|n| 2 * n));
            let source: Vec<i64> = (0..whole.numel() as i64).collect();
            let mut x = whole;
            for k in 0..4 {
                let (n, stride) = (sizes[perm[k]], whole.strides[perm[k]]);
                x.shape[k] = n;
                x.strides[k] = match kind[k] {
                    0 => stride,
                    1 => 0,
                    2 => 2 * stride,
                    _ => -stride,
                };
                if kind[k] == 3 && n > 0 {
                    x.offset += (n - 1) * stride as usize;
                }
            }
            check(&source, &x);
        }
    }

    #[test]
    fn large_transpositions_are_cut_into_tasks() {
        for [rows, cols] in [
            [257, 300],
            [300, 16],
            [5, 17],
            [64, 1024],
            [4, 4],
            [6, 15],
            [4000, 31],
        ] {
            let source: Vec<i64> = (0..(rows * cols) as i64).collect();
            let x = View {
                buf: buf(0),
                offset: 0,
                shape: [rows, cols],
                strides: [1, rows as isize],
            };
            check(&source, &x);
        }
    }

    /// Images of few channels, or some channels of them, to pixels and back.
    #[test]
    fn few_channels_are_turned_both_ways() {
        for (of, pixels) in [
            (1, 5),
            (2, 1),
            (2, 700),
            (3, 3),
            (3, 256),
            (3, 257),
            (3, 40_000),
            (4, 90),
        ] {
            let source: Vec<i64> = (0..2 * of * pixels).collect();
            let (channels, area) = (of as usize, pixels as usize);
            for some in 1..=channels {
                let to_pixels = View {
                    buf: buf(0),
                    offset: (channels - some) * area,
                    shape: [2, area, some],
                    strides: [(channels * area) as isize, 1, area as isize],
                };
                check(&source, &to_pixels);
                let to_images = View {
                    buf: buf(0),
                    offset: channels - some,
                    shape: [2, some, area],
                    strides: [(channels * area) as isize, 1, channels as isize],
                };
                check(&source, &to_images);
            }
        }
    }

    #[test]
    fn a_scalar_and_an_empty_view_are_copied() {
        check(
            &[1, 2, 3],
            &View {
                buf: buf(3),
                offset: 2,
                shape: [],
                strides: [],
            },
        );
        check(
            &[],
            &View {
                buf: buf(0),
                offset: 0,
                shape: [3, 0],
                strides: [1, 1],
            },
        );
    }

    #[test]
    fn merging_keeps_runs_and_drops_unit_axes() {
        let x = View::contiguous(buf(24), [2, 1, 3, 4]);
        let walk = Walk::new(&x);
        assert_eq!((walk.n_outer, walk.rows, walk.cols), (0, (1, 0), (24, 1)));
    }
}

//! Reading an input that does not lie as the iteration goes: broadcast, transposed, sliced, flipped.

use super::{LANES, TILE};
use crate::dtype::Element;
use crate::program::MAX_RANK;

/// The iterated shape in its simplest form: without axes of size 1, and with neighbours merged where every strided input
/// runs through from the one to the other.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Axes {
    sizes: [usize; MAX_RANK],
    /// The original axis whose stride is that of the merged one.
    from: [usize; MAX_RANK],
    rank: usize,
    /// Elements of a tile: whole rows of the last axis, where they fit and end with a block. What repeats from row to row is
    /// then the same in every tile.
    pub(super) tile: usize,
}

impl Axes {
    /// Simplifies `shape` for inputs with these strides.
    pub(super) fn new<'s>(
        shape: &[usize],
        strides: impl Iterator<Item = &'s [isize; MAX_RANK]> + Clone,
    ) -> Self {
        let mut axes = Self {
            sizes: [1; MAX_RANK],
            from: [0; MAX_RANK],
            rank: 0,
            tile: TILE,
        };
        for (axis, &size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
            let before = axes.rank.checked_sub(1);
            let runs_through = |s: &[isize; MAX_RANK], outer: usize| s[outer] == s[axis] * size as isize;
            match before.filter(|&k| strides.clone().all(|s| runs_through(s, axes.from[k]))) {
                Some(k) => (axes.sizes[k], axes.from[k]) = (axes.sizes[k] * size, axis),
                None => {
                    (axes.sizes[axes.rank], axes.from[axes.rank]) = (size, axis);
                    axes.rank += 1;
                }
            }
        }
        if let Some(&row) = axes.sizes[..axes.rank]
            .last()
            .filter(|row| (1..=TILE).contains(*row))
        {
            // The least common multiple of a row and a block, which is a power of two.
            let rows = row * (LANES >> row.trailing_zeros().min(LANES.trailing_zeros()));
            if rows <= TILE {
                axes.tile = TILE / rows * rows;
            }
        }
        axes
    }
}

/// How a strided input is visited.
#[derive(Copy, Clone, Debug)]
pub(super) struct Walk {
    offset: isize,
    strides: [isize; MAX_RANK],
    /// After how many elements of the iteration the walk begins anew.
    period: usize,
}

impl Walk {
    /// The walk of an input over the simplified axes, for a buffer of `len` elements.
    ///
    /// # Panics
    /// Where the input reaches outside its buffer: a mistake of the compiler.
    pub(super) fn new(axes: &Axes, offset: usize, strides: &[isize; MAX_RANK], len: usize) -> Self {
        let offset = offset as isize;
        let mut walk = Self {
            offset,
            strides: [0; MAX_RANK],
            period: 1,
        };
        let (mut lowest, mut highest) = (offset, offset);
        for k in 0..axes.rank {
            walk.strides[k] = strides[axes.from[k]];
            let last = walk.strides[k] * (axes.sizes[k] as isize - 1);
            *(if last < 0 { &mut lowest } else { &mut highest }) += last;
        }
        let constant = walk.strides[..axes.rank]
            .iter()
            .take_while(|stride| **stride == 0);
        walk.period = axes.sizes[constant.count()..axes.rank].iter().product();
        let is_inside = lowest >= 0 && (highest as usize) < len;
        assert!(
            is_inside,
            "an input of a group reads {lowest}..={highest} of a buffer of {len} elements"
        );
        walk
    }

    /// Whether every tile sees the same elements.
    pub(super) fn repeats(&self, axes: &Axes) -> bool {
        axes.tile.is_multiple_of(self.period)
    }
}

/// Copies elements `start..start + out.len()` of the iteration to `out`.
pub(super) fn gather<E: Element>(source: &[E], walk: &Walk, axes: &Axes, start: usize, out: &mut [E]) {
    let Some(inner) = axes.rank.checked_sub(1) else {
        return out.fill(source[walk.offset as usize]);
    };
    let mut index = [0; MAX_RANK];
    let mut rest = start;
    let mut at = walk.offset;
    for k in (0..axes.rank).rev() {
        (rest, index[k]) = (rest / axes.sizes[k], rest % axes.sizes[k]);
        at += index[k] as isize * walk.strides[k];
    }
    let step = walk.strides[inner];
    let mut out = out;
    loop {
        let run = (axes.sizes[inner] - index[inner]).min(out.len());
        let (part, more) = std::mem::take(&mut out).split_at_mut(run);
        copy_run(source, at, step, part);
        if more.is_empty() {
            return;
        }
        out = more;
        // To the start of the next run: the innermost axis is through, others may be too.
        at -= index[inner] as isize * step;
        index[inner] = 0;
        for k in (0..inner).rev() {
            index[k] += 1;
            at += walk.strides[k];
            if index[k] < axes.sizes[k] {
                break;
            }
            at -= axes.sizes[k] as isize * walk.strides[k];
            index[k] = 0;
        }
    }
}

fn copy_run<E: Element>(source: &[E], start: isize, step: isize, out: &mut [E]) {
    let first = start as usize;
    match step {
        0 => out.fill(source[first]),
        1 => out.copy_from_slice(&source[first..first + out.len()]),
        _ => out
            .iter_mut()
            .enumerate()
            .for_each(|(k, y)| *y = source[(start + k as isize * step) as usize]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn padded(strides: &[isize]) -> [isize; MAX_RANK] {
        let mut all = [0; MAX_RANK];
        all[..strides.len()].copy_from_slice(strides);
        all
    }

    /// Element by element, by the definition.
    fn naive(shape: &[usize], offset: usize, strides: &[isize], flat: usize) -> i64 {
        let (mut at, mut rest) = (offset as isize, flat);
        for (&size, &stride) in shape.iter().zip(strides).rev() {
            at += (rest % size) as isize * stride;
            rest /= size;
        }
        at as i64
    }

    #[test]
    fn a_bias_merges_the_axes_over_which_it_is_constant() {
        let bias = padded(&[0, 0, 0, 1]);
        let axes = Axes::new(&[4, 3, 1, 5], std::iter::once(&bias));
        assert_eq!(
            (axes.rank, &axes.sizes[..2], &axes.from[..2]),
            (2, &[12, 5][..], &[1, 3][..])
        );
        assert_eq!(Axes::new(&[4, 3, 1, 5], std::iter::empty()).rank, 1);
        // 5 and 64 have 320 as a multiple; rows of 5 repeat in tiles of as many.
        assert_eq!(axes.tile, 320);
        assert!(Walk::new(&axes, 0, &bias, 5).repeats(&axes));
    }

    #[test]
    fn tiles_are_whole_rows_where_these_end_with_a_block() {
        for (row, tile) in [
            (3, 384),
            (16, 512),
            (48, 384),
            (96, 384),
            (100, 512),
            (512, 512),
            (768, 512),
        ] {
            let bias = padded(&[0, 1]);
            let axes = Axes::new(&[7, row], std::iter::once(&bias));
            assert_eq!(axes.tile, tile, "rows of {row}");
            let dense = padded(&[row as isize, 1]);
            let all = Axes::new(&[7, row], [&bias, &dense].into_iter());
            assert!(!Walk::new(&all, 0, &dense, 7 * row).repeats(&all));
        }
    }

    #[test]
    #[should_panic(expected = "reads -1..=2 of a buffer of 3 elements")]
    fn an_input_stays_inside_its_buffer() {
        let strides = padded(&[-1]);
        let axes = Axes::new(&[4], std::iter::once(&strides));
        Walk::new(&axes, 2, &strides, 3);
    }

    proptest! {
        /// Broadcast, dense, gapped and flipped axes in any order, from any start.
        #[test]
        fn gathers_what_the_definition_says(
            axes in prop::collection::vec((1usize..6, 0usize..4), 0..6),
            order in any::<u64>(),
            window in (0.0f64..1.0, 0.0f64..1.0),
        ) {
            let n = axes.len();
            let mut places: Vec<usize> = (0..n).collect();
            places.sort_by_key(|k| order.rotate_left(*k as u32 * 7) % 97);
            let shape: Vec<usize> = axes.iter().map(|a| a.0).collect();
            let (mut strides, mut offset, mut step) = (vec![0isize; n], 0usize, 1usize);
            for &k in &places {
                let (size, kind) = axes[k];
                strides[k] = [0, 1, 2, -1][kind] * step as isize;
                if kind == 3 { offset += (size - 1) * step; }
                if kind > 0 { step *= 2 * size; }
            }
            let source: Vec<i64> = (0..step as i64).collect();
            let all = padded(&strides);
            let simple = Axes::new(&shape, std::iter::once(&all));
            let walk = Walk::new(&simple, offset, &all, source.len());
            let total: usize = shape.iter().product();
            let start = (window.0 * total as f64) as usize;
            let len = 1 + (window.1 * (total - start - 1) as f64) as usize;
            let mut out = vec![-1; len];
            gather(&source, &walk, &simple, start, &mut out);
            let want: Vec<i64> = (start..start + len).map(|k| naive(&shape, offset, &strides, k)).collect();
            prop_assert_eq!(out, want);
        }
    }
}

//! Reductions over any axes: sum, largest, smallest, product.
//!
//! # Method
//!
//! Axes of size 1 are dropped and neighbours of one kind (kept, or reduced) merged. Where the last axis that remains is
//! reduced, every result is a fold over contiguous runs; where it is kept, whole rows are folded into a row of results.
//! Either way a fold takes blocks of at most [`BLOCK`] elements (or rows) in the precision of the model, in several lanes,
//! and adds up blocks in `f64`: the order depends on the shape alone, and the rounding error of a sum in `f32` does not
//! grow with its length.
//!
//! Where there are few results and many elements, the reduced elements are cut into shards, again by shape alone.

use std::marker::PhantomData;

use crate::arena::Buf;
use crate::cpu::isa::{Isa, Kernel};
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::program::MAX_RANK;
use crate::real::Real;

/// What is computed along the reduced axes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Reduction {
    /// The sum; 0 over no elements.
    Sum,
    /// The largest element, NaN if any is; minus infinity over no elements.
    Max,
    /// The smallest element, NaN if any is; infinity over no elements.
    Min,
    /// The product; 1 over no elements.
    Prod,
}

/// Reduces `x`, of shape `shape`, over `axes`; `y` has the other axes, in order.
///
/// # Panics
/// Where a buffer has another length than the shape says, or an axis does not exist: mistakes of the compiler.
pub fn reduce<const R: usize, const A: usize>(
    cx: &mut Cx<'_>,
    kind: Reduction,
    x: Buf,
    y: Buf,
    shape: [usize; R],
    axes: [usize; A],
) {
    let split = Split::new(&shape, &axes);
    run(cx, kind, x, y, &split);
}

fn run(cx: &mut Cx<'_>, kind: Reduction, x: Buf, y: Buf, split: &Split) {
    float!(cx, T => match kind {
        Reduction::Sum => fold::<T>(cx, x, y, split, Steps::of::<Sum>()),
        Reduction::Max => fold::<T>(cx, x, y, split, Steps::of::<Max>()),
        Reduction::Min => fold::<T>(cx, x, y, split, Steps::of::<Min>()),
        Reduction::Prod => fold::<T>(cx, x, y, split, Steps::of::<Prod>()),
    })
}

/// An associative operation with a neutral element.
pub(crate) trait Fold: Copy + Send + Sync {
    /// The neutral element.
    fn neutral<T: Real>() -> T;
    /// The operation.
    fn fold<T: Real>(a: T, b: T) -> T;
}

macro_rules! folds {
    ($($name:ident: $neutral:expr, $fold:expr;)*) => {$(
        #[derive(Copy, Clone)]
        pub(crate) struct $name;

        impl Fold for $name {
            #[inline(always)]
            fn neutral<T: Real>() -> T {
                $neutral
            }

            #[inline(always)]
            fn fold<T: Real>(a: T, b: T) -> T {
                $fold(a, b)
            }
        }
    )*};
}

folds! {
    Sum: T::ZERO, |a, b| a + b;
    Max: -T::INFINITY, T::max;
    Min: T::INFINITY, T::min;
    Prod: T::ONE, |a, b| a * b;
}

/// Independent accumulators of a run.
const LANES: usize = 16;

/// Elements (of a run) or rows that are folded before the total is taken to `f64`.
const BLOCK: usize = 256;

/// Rows that are added up before the totals are taken to `f64`, where the last axis is kept.
pub(crate) const ROWS: usize = BLOCK / 4;

/// Results that are computed together.
const WIDTH: usize = 128;

/// Results of which so few are kept that there is no use in clearing room for [`WIDTH`].
const NARROW: usize = 16;

/// Elements a task reads, about; fewer are not worth a second thread.
pub(crate) const TASK: usize = 1 << 15;

/// The most partial results that shards leave behind.
const MAX_PARTIALS: usize = 1024;

/// Folds contiguous elements.
#[inline(always)]
pub(crate) fn fold_run<T: Real, F: Fold>(x: &[T]) -> f64 {
    let mut total = F::neutral::<f64>();
    for block in x.chunks(BLOCK) {
        let mut lanes = [F::neutral::<T>(); LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for part in whole {
            for k in 0..LANES {
                lanes[k] = F::fold(lanes[k], part[k]);
            }
        }
        for (k, x) in rest.iter().enumerate() {
            lanes[k] = F::fold(lanes[k], *x);
        }
        let mut half = LANES / 2;
        while half > 0 {
            for k in 0..half {
                lanes[k] = F::fold(lanes[k], lanes[k + half]);
            }
            half /= 2;
        }
        total = F::fold(total, lanes[0].to_f64());
    }
    total
}

/// A list of axes: sizes and steps.
#[derive(Copy, Clone, Debug, Default)]
struct Axes {
    axes: [(usize, usize); MAX_RANK],
    rank: usize,
}

impl Axes {
    fn push(&mut self, size: usize, step: usize) {
        self.axes[self.rank] = (size, step);
        self.rank += 1;
    }

    fn numel(&self) -> usize {
        self.axes[..self.rank].iter().map(|axis| axis.0).product()
    }

    /// Where element `k` of the row-major order lies.
    #[inline(always)]
    fn at(&self, mut k: usize) -> usize {
        let mut at = 0;
        for &(size, step) in self.axes[..self.rank].iter().rev() {
            at += k % size * step;
            k /= size;
        }
        at
    }
}

/// A reduction in its simplest form: `inner` contiguous elements that are all reduced or all kept, and the axes around.
#[derive(Copy, Clone, Debug)]
struct Split {
    kept: Axes,
    reduced: Axes,
    inner: usize,
    last: Last,
}

/// What happens to the last axis.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Last {
    Kept,
    Reduced,
}

impl Split {
    fn new(shape: &[usize], axes: &[usize]) -> Self {
        let kind = |axis: usize| {
            if axes.contains(&axis) {
                Last::Reduced
            } else {
                Last::Kept
            }
        };
        assert!(
            axes.iter().all(|&axis| axis < shape.len()),
            "axes {axes:?} of a tensor with {} axes",
            shape.len()
        );
        let mut merged = [(1, Last::Kept); MAX_RANK];
        let mut n = 0;
        for (axis, &size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
            if n > 0 && merged[n - 1].1 == kind(axis) {
                merged[n - 1].0 *= size;
            } else {
                merged[n] = (size, kind(axis));
                n += 1;
            }
        }
        let (inner, last) = if n > 0 { merged[n - 1] } else { (1, Last::Kept) };
        let mut split = Self {
            kept: Axes::default(),
            reduced: Axes::default(),
            inner,
            last,
        };
        let mut steps = [1; MAX_RANK];
        for k in (1..n).rev() {
            steps[k - 1] = steps[k] * merged[k].0;
        }
        for k in 0..n.saturating_sub(1) {
            match merged[k].1 {
                Last::Kept => split.kept.push(merged[k].0, steps[k]),
                Last::Reduced => split.reduced.push(merged[k].0, steps[k]),
            }
        }
        split
    }

    /// Number of results.
    fn results(&self) -> usize {
        self.kept.numel() * if self.last == Last::Kept { self.inner } else { 1 }
    }

    /// Number of elements that go into one result.
    fn depth(&self) -> usize {
        self.reduced.numel() * if self.last == Last::Reduced { self.inner } else { 1 }
    }
}

/// What depends on the kind of a reduction, so that all that goes around it is compiled once for all kinds.
struct Steps<T> {
    part: fn(Isa, Part<'_, T>),
    neutral: f64,
    fold: fn(f64, f64) -> f64,
}

impl<T: Real> Steps<T> {
    fn of<F: Fold>() -> Self {
        Self {
            part: |isa, part| {
                T::run(
                    isa,
                    Folding {
                        part,
                        fold: PhantomData::<F>,
                    },
                );
            },
            neutral: F::neutral(),
            fold: F::fold,
        }
    }
}

fn fold<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, y: Buf, split: &Split, steps: Steps<T>) {
    let env = cx.env;
    let (results, depth) = (split.results(), split.depth());
    assert_eq!(
        (x.len, y.len),
        (results * depth, results),
        "buffers of a reduction have the sizes of its shape"
    );
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let y = bind.write::<T>(y);
    if results == 0 {
        return;
    }
    let part = |first: usize, from: usize, to: usize, totals: &mut [f64]| {
        let part = Part {
            split,
            x,
            first,
            from,
            to,
            totals,
        };
        (steps.part)(env.isa, part);
    };
    if results <= NARROW && x.len() < TASK {
        let mut totals = [0.0; NARROW];
        part(0, 0, depth, &mut totals[..results]);
        for k in 0..results {
            y[k] = T::from_f64(totals[k]);
        }
        return;
    }
    let shards = (depth * results / TASK).min(MAX_PARTIALS / results).min(64);
    if shards > 1 && results < 64 {
        let mut partials = [0.0; MAX_PARTIALS];
        let partials = &mut partials[..shards * results];
        let cut = depth.div_ceil(shards);
        env.team.chunks_mut(partials, results, |k, totals| {
            for (group, totals) in totals.chunks_mut(WIDTH).enumerate() {
                part(
                    group * WIDTH,
                    (k * cut).min(depth),
                    ((k + 1) * cut).min(depth),
                    totals,
                );
            }
        });
        for (k, y) in y.iter_mut().enumerate() {
            let mut all = steps.neutral;
            (0..shards).for_each(|shard| all = (steps.fold)(all, partials[shard * results + k]));
            *y = T::from_f64(all);
        }
        return;
    }
    let least = match split.last {
        // Whole lines of memory, and enough of them that they are worth a visit to every row.
        Last::Kept => WIDTH,
        Last::Reduced => 1,
    };
    let chunk = if x.len() < TASK {
        results
    } else {
        (TASK / depth.max(1)).max(least)
    };
    env.team.chunks_mut(y, chunk, |k, ys| {
        for (group, ys) in ys.chunks_mut(WIDTH).enumerate() {
            let mut totals = [0.0; WIDTH];
            let totals = &mut totals[..ys.len()];
            part(k * chunk + group * WIDTH, 0, depth, totals);
            ys.iter_mut()
                .zip(totals)
                .for_each(|(y, total)| *y = T::from_f64(*total));
        }
    });
}

/// Some results (at most [`WIDTH`]), folded over elements `from..to` of each.
struct Part<'a, T> {
    split: &'a Split,
    x: &'a [T],
    first: usize,
    from: usize,
    to: usize,
    totals: &'a mut [f64],
}

/// The kernel of one kind.
struct Folding<'a, T, F> {
    part: Part<'a, T>,
    fold: PhantomData<F>,
}

impl<T: Real, F: Fold> Kernel for Folding<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.part.split.last {
            Last::Reduced => self.part.fold_runs::<F>(),
            Last::Kept => self.part.fold_rows::<F>(),
        }
    }
}

impl<T: Real> Part<'_, T> {
    #[inline(always)]
    fn fold_runs<F: Fold>(self) {
        let Split {
            kept, reduced, inner, ..
        } = self.split;
        for (k, total) in self.totals.iter_mut().enumerate() {
            let base = kept.at(self.first + k);
            *total = F::neutral();
            let mut at = self.from;
            while at < self.to {
                let start = at % inner;
                let len = (inner - start).min(self.to - at);
                let from = base + reduced.at(at / inner) + start;
                *total = F::fold(*total, fold_run::<T, F>(&self.x[from..from + len]));
                at += len;
            }
        }
    }

    #[inline(always)]
    fn fold_rows<F: Fold>(self) {
        let Split {
            kept, reduced, inner, ..
        } = self.split;
        let (mut first, mut totals) = (self.first, self.totals);
        while !totals.is_empty() {
            let column = first % inner;
            let len = (inner - column).min(totals.len());
            let (part, rest) = std::mem::take(&mut totals).split_at_mut(len);
            part.fill(F::neutral());
            let base = kept.at(first / inner) + column;
            let rows = self.from..self.to;
            if len <= NARROW {
                fold_columns::<T, F, NARROW>(self.x, base, reduced, rows, part);
            } else {
                fold_columns::<T, F, WIDTH>(self.x, base, reduced, rows, part);
            }
            first += len;
            totals = rest;
        }
    }
}

/// Folds neighbouring columns of some rows, at most `N`.
#[inline(always)]
fn fold_columns<T: Real, F: Fold, const N: usize>(
    x: &[T],
    base: usize,
    reduced: &Axes,
    rows: std::ops::Range<usize>,
    totals: &mut [f64],
) {
    let len = totals.len();
    for block in rows.clone().step_by(ROWS) {
        let mut lanes = [F::neutral::<T>(); N];
        let lanes = &mut lanes[..len];
        for row in block..(block + ROWS).min(rows.end) {
            let start = base + reduced.at(row);
            let row = &x[start..start + len];
            // By index, not by `zip`, whose making is a call for every row in some profiles of builds.
            for j in 0..len {
                lanes[j] = F::fold(lanes[j], row[j]);
            }
        }
        for j in 0..len {
            totals[j] = F::fold(totals[j], lanes[j].to_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{Dtype, Precision};
    use crate::ops::testbed::{Bed, PRECISIONS, assert_close, numbers};

    const KINDS: [Reduction; 4] = [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod];

    /// One element after the other, by the definition, in f64.
    fn naive(kind: Reduction, x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
        let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let results = kept.iter().map(|&axis| shape[axis]).product();
        let (neutral, fold): (f64, fn(f64, f64) -> f64) = match kind {
            Reduction::Sum => (0.0, |a, b| a + b),
            Reduction::Max => (f64::NEG_INFINITY, |a, b| {
                if a.is_nan() || b.is_nan() {
                    f64::NAN
                } else {
                    a.max(b)
                }
            }),
            Reduction::Min => (f64::INFINITY, |a, b| {
                if a.is_nan() || b.is_nan() {
                    f64::NAN
                } else {
                    a.min(b)
                }
            }),
            Reduction::Prod => (1.0, |a, b| a * b),
        };
        let mut y = vec![neutral; results];
        for (flat, x) in x.iter().enumerate() {
            let mut index = vec![0; shape.len()];
            let mut rest = flat;
            for axis in (0..shape.len()).rev() {
                index[axis] = rest % shape[axis];
                rest /= shape[axis];
            }
            let at = kept.iter().fold(0, |at, &axis| at * shape[axis] + index[axis]);
            y[at] = fold(y[at], *x);
        }
        y
    }

    fn reduced(
        kind: Reduction,
        x: &[f64],
        shape: &[usize],
        axes: &[usize],
        precision: Precision,
        threads: usize,
    ) -> Vec<f64> {
        let mut bed = Bed::new(precision, threads);
        let results = naive(kind, &vec![0.0; x.len()], shape, axes).len();
        let (source, y) = (bed.floats(x), bed.output(Dtype::Float, results));
        bed.call(|cx| run(cx, kind, source, y, &Split::new(shape, axes)));
        bed.read_floats(y)
    }

    #[test]
    fn every_kind_over_any_axes() {
        let cases: [(&[usize], &[usize]); 16] = [
            (&[], &[]),
            (&[1], &[0]),
            (&[7], &[0]),
            (&[700], &[0]),
            (&[5, 3], &[1]),
            (&[5, 3], &[0]),
            (&[130, 300], &[0]),
            (&[130, 300], &[1]),
            (&[3, 1, 4, 5], &[0, 2, 3]),
            (&[4, 3, 2, 5], &[0, 2]),
            (&[4, 3, 2, 5], &[1, 3]),
            (&[6, 5, 7], &[1]),
            (&[0, 4], &[0]),
            (&[0, 4], &[1]),
            (&[3, 0], &[1]),
            (&[2, 3], &[]),
        ];
        for (precision, kind) in PRECISIONS.into_iter().flat_map(|p| KINDS.map(|k| (p, k))) {
            for (shape, axes) in cases {
                let x: Vec<f64> = numbers(shape.iter().product(), 5)
                    .iter()
                    .map(|x| 1.0 + 0.01 * x)
                    .collect();
                let x: Vec<f64> = x.iter().map(|x| f64::from(*x as f32)).collect();
                let got = reduced(kind, &x, shape, axes, precision, 2);
                let tolerance = if precision == Precision::F32 { 2e-6 } else { 1e-13 };
                assert_close(&got, &naive(kind, &x, shape, axes), tolerance);
            }
        }
    }

    /// Full reductions, and few results of many elements, which are cut into shards.
    #[test]
    fn long_reductions_are_accurate_and_the_same_for_any_team() {
        for (shape, axes) in [
            (vec![200_003], vec![0]),
            (vec![64, 10, 700], vec![0, 2]),
            (vec![50_000, 10], vec![0]),
        ] {
            let x: Vec<f64> = numbers(shape.iter().product(), 6)
                .iter()
                .map(|x| 0.25 + 0.5 * x)
                .collect();
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x as f32)).collect();
            let one = reduced(Reduction::Sum, &x, &shape, &axes, Precision::F32, 1);
            assert_eq!(one, reduced(Reduction::Sum, &x, &shape, &axes, Precision::F32, 3));
            assert_close(&one, &naive(Reduction::Sum, &x, &shape, &axes), 3e-7);
        }
    }

    #[test]
    fn nan_survives_max_and_min() {
        for kind in [Reduction::Max, Reduction::Min] {
            let mut x = numbers(40, 7);
            x[13] = f64::NAN;
            assert!(reduced(kind, &x, &[40], &[0], Precision::F32, 1)[0].is_nan());
            let rows = reduced(kind, &x, &[4, 10], &[0], Precision::F64, 1);
            assert_eq!(
                rows.iter().map(|y| y.is_nan()).collect::<Vec<_>>(),
                (0..10).map(|k| k == 3).collect::<Vec<_>>()
            );
        }
    }
}

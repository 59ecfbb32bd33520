//! The second pass: a formula for every element, with numbers of its channel.

use std::marker::PhantomData;
use std::ops::Range;

use super::Channels;
use crate::cpu::isa::Kernel;
use crate::cx::Env;
use crate::ops::lanes;
use crate::real::Real;

/// What is computed of an element of `x`, its neighbour in `g`, and four numbers of the channel.
pub trait Formula: Sync {
    fn of<T: Real>(x: T, g: T, numbers: [T; 4]) -> T;
}

/// Channels of a pass over rows: two vectors of 256 bits. What they leave is done by fours, and then one by one.
const LANES: usize = 16;

/// Rows of a pass over some of `count` channels: enough for the numbers of channels to be read rarely, few enough for memory to be read
/// in order.
pub fn rows_a_pass(count: usize) -> usize {
    (1024 / count).clamp(8, 64)
}

/// Fills `out` with the formula; `numbers` have an element a channel.
pub fn apply<T: Real, F: Formula>(
    env: Env<'_>,
    out: &mut [T],
    [x, g]: [&[T]; 2],
    numbers: [&[T]; 4],
    shape: Channels,
) {
    let run = if shape.inner == 1 {
        shape.count
    } else {
        shape.inner
    };
    let n = lanes::rows_per_task(run);
    env.team.chunks_mut(out, n * run, |task, out| {
        let first = task * n * run;
        let (x, g) = (&x[first..][..out.len()], &g[first..][..out.len()]);
        let (first, formula) = (task * n, PhantomData::<F>);
        T::run_narrow(
            env.isa,
            Apply {
                out,
                x,
                g,
                numbers,
                shape,
                first,
                formula,
            },
        );
    });
}

struct Apply<'a, T, F> {
    out: &'a mut [T],
    x: &'a [T],
    g: &'a [T],
    numbers: [&'a [T]; 4],
    shape: Channels,
    /// The number of the first run.
    first: usize,
    formula: PhantomData<F>,
}

impl<T: Real, F: Formula> Kernel for Apply<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Channels { count, inner, .. } = self.shape;
        if inner != 1 {
            for (k, out) in self.out.chunks_mut(inner).enumerate() {
                let (c, at) = ((self.first + k) % count, k * inner);
                let [a, b, d, e] = self.numbers;
                let numbers = [a[c], b[c], d[c], e[c]];
                lanes::each2(out, &self.x[at..], &self.g[at..], |y, x, g| {
                    *y = F::of(x, g, numbers)
                });
            }
            return;
        }
        let pass = rows_a_pass(count) * count;
        for first in (0..self.out.len()).step_by(pass) {
            let end = self.out.len().min(first + pass);
            let mut c = 0;
            while c + LANES <= count {
                self.columns::<LANES>(first..end, c);
                c += LANES;
            }
            while c + 4 <= count {
                self.columns::<4>(first..end, c);
                c += 4;
            }
            while c < count {
                self.columns::<1>(first..end, c);
                c += 1;
            }
        }
    }
}

impl<T: Real, F: Formula> Apply<'_, T, F> {
    /// `N` channels from `c` on, in the rows that are these elements.
    #[inline(always)]
    fn columns<const N: usize>(&mut self, rows: Range<usize>, c: usize) {
        let mut numbers = [[T::ZERO; N]; 4];
        for (k, numbers) in numbers.iter_mut().enumerate() {
            numbers.copy_from_slice(&self.numbers[k][c..][..N]);
        }
        let mut at = rows.start + c;
        while at < rows.end {
            let x: [T; N] = *self.x[at..].first_chunk().expect("rows have all channels");
            let g: [T; N] = *self.g[at..].first_chunk().expect("rows have all channels");
            let mut values = [T::ZERO; N];
            for l in 0..N {
                let numbers = [numbers[0][l], numbers[1][l], numbers[2][l], numbers[3][l]];
                values[l] = F::of(x[l], g[l], numbers);
            }
            *self.out[at..].first_chunk_mut().expect("rows have all channels") = values;
            at += self.shape.count;
        }
    }
}

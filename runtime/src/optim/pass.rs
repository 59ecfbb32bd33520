//! The pass over the flat buffers: a rule applied to every element, in parallel pieces.

use std::ops::Range;

use ndarray::{ArrayD, IxDyn};

use crate::arena::Storage;
use crate::cpu::isa::{Isa, Kernel};
use crate::cpu::threads::Team;
use crate::dtype::{Element, Precision, stored};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::real::Real;

/// Elements of a piece. Moments lie piece by piece, so the number is part of their layout in memory (not in files).
const PIECE: usize = 8192;

/// The new value of a parameter and of its `N` moments.
pub(super) trait Update<T, const N: usize>: Sync {
    /// What decides how long its vectors are.
    const BOUND: Bound;

    /// From the parameter, its (clipped) gradient and its moments, of which the pass makes 0 what is smaller than any number
    /// with all digits. Implementations are `#[inline(always)]`.
    fn update(&self, param: T, grad: T, moments: [T; N]) -> (T, [T; N]);
}

/// What the time of an update goes into.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    /// Reading and writing. Its vectors are of 256 bits: longer ones gain nothing, and would wait for gradients that a small network has just
    /// written in shorter ones.
    Memory,
    /// Quotients and roots, which longer vectors do faster.
    Arithmetic,
}

/// The flat buffers of one step.
pub struct Pass<'a, T> {
    pub(super) team: &'a Team,
    pub(super) isa: Isa,
    pub(super) params: &'a mut [T],
    pub(super) grads: &'a [T],
    pub(super) moments: &'a mut [T],
    /// Elements that have a gradient.
    pub(super) runs: &'a [Range<usize>],
    /// Gradients are multiplied by it,
    pub(super) scale: T,
    /// then limited to [-limit, limit].
    pub(super) limit: T,
}

impl<T: Real> Pass<'_, T> {
    /// Applies an update to every element that has a gradient.
    #[inline]
    pub(super) fn each<U: Update<T, N>, const N: usize>(self, update: U) {
        let Self {
            team,
            isa,
            params,
            grads,
            moments,
            runs,
            scale,
            limit,
        } = self;
        // Neither changes a bit of a gradient.
        let is_free = scale == T::ONE && limit == T::INFINITY;
        let piece = |k: usize, params: &mut [T], moments: &mut [T]| {
            let (start, len) = (k * PIECE, params.len());
            let mut rows = rows::<T, N>(moments, len);
            for run in runs {
                let (from, to) = (run.start.max(start), run.end.min(start + len));
                if from < to {
                    let here = from - start..to - start;
                    let mut moments: [&mut [T]; N] = std::array::from_fn(|_| Default::default());
                    for (k, row) in rows.iter_mut().enumerate() {
                        moments[k] = &mut row[here.clone()];
                    }
                    let span = Span {
                        update: &update,
                        params: &mut params[here],
                        grads: &grads[from..to],
                        moments,
                        scale,
                        limit,
                    };
                    match (U::BOUND, is_free) {
                        (Bound::Memory, true) => T::run_narrow(isa, Free(span)),
                        (Bound::Memory, false) => T::run_narrow(isa, span),
                        (Bound::Arithmetic, _) => T::run(isa, span),
                    }
                }
            }
        };
        if params.len() <= PIECE {
            piece(0, params, moments);
        } else {
            team.chunks_mut2(params, PIECE, moments, N * PIECE, piece);
        }
    }
}

/// The moments of a piece: `N` rows of `len` elements.
fn rows<T, const N: usize>(mut block: &mut [T], len: usize) -> [&mut [T]; N] {
    std::array::from_fn(|_| {
        let (row, rest) = std::mem::take(&mut block).split_at_mut(len);
        block = rest;
        row
    })
}

/// Neighbouring elements that are updated in one loop.
struct Span<'a, U, T, const N: usize> {
    update: &'a U,
    params: &'a mut [T],
    grads: &'a [T],
    moments: [&'a mut [T]; N],
    scale: T,
    limit: T,
}

impl<U: Update<T, N>, T: Real, const N: usize> Kernel for Span<'_, U, T, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (scale, limit) = (self.scale, self.limit);
        self.update_all(|grad| within(grad * scale, limit));
    }
}

/// A span whose gradients are taken as they are: what there is to compute is no more than is read and written, so that limits would show.
struct Free<'a, U, T, const N: usize>(Span<'a, U, T, N>);

impl<U: Update<T, N>, T: Real, const N: usize> Kernel for Free<'_, U, T, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.0.update_all(|grad| grad);
    }
}

impl<U: Update<T, N>, T: Real, const N: usize> Span<'_, U, T, N> {
    #[inline(always)]
    fn update_all(self, prepare: impl Fn(T) -> T) {
        let Self {
            update,
            params,
            grads,
            mut moments,
            ..
        } = self;
        let len = params.len();
        let grads = &grads[..len];
        for row in &mut moments {
            // Shows the compiler that no index below is out of bounds.
            *row = &mut std::mem::take(row)[..len];
        }
        for i in 0..len {
            let mut before = [T::ZERO; N];
            for k in 0..N {
                before[k] = moments[k][i];
            }
            let (param, after) = update.update(params[i], prepare(grads[i]), before);
            params[i] = param;
            for k in 0..N {
                moments[k][i] = without_tail(after[k]);
            }
        }
    }
}

/// `x`, limited to [-limit, limit]; what is no number stays that. As comparisons, because these are the CPU's own minimum and maximum.
#[inline(always)]
fn within<T: Real>(x: T, limit: T) -> T {
    let below = T::select(limit < x, limit, x);
    T::select(below < -limit, -limit, below)
}

/// `x`, or 0 if it is so small that it has lost digits. A moment that decays for ever, such as that of a unit that is never active,
/// would end among those numbers, on which processors take up to a hundred times as long.
#[inline(always)]
fn without_tail<T: Real>(x: T) -> T {
    T::select(x.abs() < T::MIN_POSITIVE, T::ZERO, x)
}

/// The buffers that an optimizer carries from step to step: as many numbers for every element of the flat buffer as it
/// has moments, those of a piece side by side.
#[derive(Clone, Debug)]
pub struct Moments {
    storage: Storage,
    n: usize,
    n_elements: usize,
    precision: Precision,
}

impl Moments {
    /// `n` moments of 0 for each of `n_elements` elements.
    pub(super) fn zeros(n: usize, n_elements: usize, precision: Precision) -> Result<Self> {
        let bytes = n_elements.checked_mul(n * precision.width());
        let storage = bytes.and_then(Storage::try_zeroed).ok_or_else(|| {
            let message = format!("there is no memory for {n} moments of {n_elements} parameters");
            Error::new(ErrorKind::Device, message)
        })?;
        Ok(Self {
            storage,
            n,
            n_elements,
            precision,
        })
    }

    #[inline]
    pub(super) fn suits(&self, n: usize, n_elements: usize, precision: Precision) -> bool {
        (self.n, self.n_elements, self.precision.float()) == (n, n_elements, precision.float())
    }

    #[inline]
    pub(super) fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        let len = self.n * self.n_elements;
        &mut self.storage.as_mut_slice()[..len]
    }

    /// Where moment `k` of an element lies.
    fn position(&self, k: usize, element: usize) -> usize {
        let (piece, start) = (element / PIECE, element / PIECE * PIECE);
        let len = PIECE.min(self.n_elements - start);
        piece * PIECE * self.n + k * len + (element - start)
    }

    /// Moment `k` of a tensor.
    pub(super) fn read(&self, layout: &Layout, k: usize, tensor: usize) -> ArrayD<f64> {
        let positions = layout.range(tensor).map(|element| self.position(k, element));
        let values = stored!(self.precision, T => {
            let all = self.storage.as_slice::<T>();
            positions.map(|at| all[at].to_f64()).collect()
        });
        let shape = IxDyn(&layout.specs()[tensor].shape);
        ArrayD::from_shape_vec(shape, values).expect("a layout holds as many elements as its shapes say")
    }

    /// Replaces moment `k` of a tensor by values of its shape.
    pub(super) fn write(&mut self, layout: &Layout, k: usize, tensor: usize, values: &ArrayD<f64>) {
        for (element, &value) in layout.range(tensor).zip(values) {
            let at = self.position(k, element);
            stored!(self.precision, T => self.storage.as_mut_slice::<T>()[at] = T::from_f64(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::program::TensorSpec;

    /// Adds the gradient to the parameter and counts calls in two moments.
    struct Count;

    impl Update<f64, 2> for Count {
        const BOUND: Bound = Bound::Arithmetic;

        fn update(&self, param: f64, grad: f64, [a, b]: [f64; 2]) -> (f64, [f64; 2]) {
            (param + grad, [a + 1.0, b + 2.0 * param])
        }
    }

    /// Halves both moments.
    struct Decay;

    impl Update<f32, 2> for Decay {
        const BOUND: Bound = Bound::Arithmetic;

        fn update(&self, param: f32, _: f32, moments: [f32; 2]) -> (f32, [f32; 2]) {
            (param, moments.map(|moment| 0.5 * moment))
        }
    }

    #[test]
    fn moments_never_hold_numbers_that_have_lost_digits() {
        let least = f32::MIN_POSITIVE;
        let before = [
            4.0 * least,
            -2.0 * least,
            least,
            -1.5 * least,
            f32::NAN,
            f32::INFINITY,
        ];
        let want = [2.0 * least, -least, 0.0, 0.0, f32::NAN, f32::INFINITY];
        for isa in Isa::available() {
            let n = before.len();
            let mut moments = [before, before].concat();
            Pass {
                team: &Team::serial(),
                isa: *isa,
                params: &mut vec![1.0; n],
                grads: &vec![0.0; n],
                moments: &mut moments,
                runs: std::slice::from_ref(&(0..n)),
                scale: 1.0,
                limit: f32::INFINITY,
            }
            .each(Decay);
            for (got, want) in moments.iter().zip(want.iter().chain(&want)) {
                assert!(
                    got == want || got.is_nan() && want.is_nan(),
                    "{got:e} instead of {want:e}"
                );
            }
        }
    }

    /// Adds a tenth of the gradient to the parameter, and the gradient to the moment.
    struct Add;

    impl Update<f32, 1> for Add {
        const BOUND: Bound = Bound::Memory;

        fn update(&self, param: f32, grad: f32, [moment]: [f32; 1]) -> (f32, [f32; 1]) {
            (param + 0.1 * grad, [moment + grad])
        }
    }

    #[test]
    fn gradients_without_limits_are_taken_as_they_are() {
        for isa in Isa::available() {
            let n = 77;
            let mut grads: Vec<f32> = (0..n).map(|k| (k as f32 * 0.7).sin() * 1e3).collect();
            (grads[3], grads[40], grads[76]) = (-0.0, f32::NAN, f32::MIN_POSITIVE / 4.0);
            let updated = |limit: f32| {
                let (mut params, mut moments) = (vec![0.5; n], vec![0.25; n]);
                Pass {
                    team: &Team::serial(),
                    isa: *isa,
                    params: &mut params,
                    grads: &grads,
                    moments: &mut moments,
                    runs: std::slice::from_ref(&(0..n)),
                    scale: 1.0,
                    limit,
                }
                .each(Add);
                [params, moments].concat().into_iter().map(f32::to_bits)
            };
            assert!(updated(f32::INFINITY).eq(updated(f32::MAX)), "{isa}");
            assert!(!updated(f32::INFINITY).eq(updated(100.0)), "{isa}");
        }
    }

    #[test]
    fn every_element_with_a_gradient_is_updated_once_and_moments_stay_with_it() {
        let lens = [3 * PIECE + 5, 1, PIECE - 9, 0, 77];
        let spec = |(len, path)| TensorSpec::new(path, &[len], Init::Zeros);
        let specs = lens
            .into_iter()
            .zip(["a", "b", "c", "d", "e"])
            .map(spec)
            .collect();
        let layout = Layout::new(specs, Precision::F64).unwrap();
        let n = layout.bytes() / 8;
        let trained = [0, 2, 4];
        let runs = layout.runs(&trained);
        let mut params: Vec<f64> = (0..n).map(|k| k as f64).collect();
        let grads: Vec<f64> = (0..n).map(|k| (k % 7) as f64 - 3.0).collect();
        let mut moments = Moments::zeros(2, n, Precision::F64).unwrap();
        let team = Team::new(3.try_into().unwrap()).unwrap();
        Pass {
            team: &team,
            isa: Isa::best(),
            params: &mut params,
            grads: &grads,
            moments: moments.as_mut_slice(),
            runs: &runs,
            scale: 2.0,
            limit: 5.0,
        }
        .each(Count);
        for tensor in 0..lens.len() {
            let has_gradient = f64::from(u8::from(trained.contains(&tensor)));
            let (first, second) = (moments.read(&layout, 0, tensor), moments.read(&layout, 1, tensor));
            for (i, k) in layout.range(tensor).enumerate() {
                let grad = (2.0 * grads[k]).clamp(-5.0, 5.0);
                assert_eq!(params[k], k as f64 + has_gradient * grad);
                assert_eq!(
                    (first[[i]], second[[i]]),
                    (has_gradient, has_gradient * 2.0 * k as f64)
                );
            }
            let doubled = &second * 2.0;
            moments.write(&layout, 0, tensor, &doubled);
            assert_eq!(moments.read(&layout, 0, tensor), doubled);
            assert_eq!(moments.read(&layout, 1, tensor), second);
        }
    }
}

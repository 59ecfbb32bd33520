//! Channels whose values lie in runs, one a sample: what their runs add up to.

use super::{Channels, Moments};
use crate::cpu::isa::Kernel;
use crate::ops::lanes;
use crate::real::Real;

impl Channels {
    /// Where the run of a sample and channel starts.
    #[inline(always)]
    fn start(&self, sample: usize, channel: usize) -> usize {
        (sample * self.count + channel) * self.inner
    }
}

/// Moments of the channels from `first` on.
pub struct Statistics<'a, T> {
    pub x: &'a [T],
    pub shape: Channels,
    pub first: usize,
    pub out: [&'a mut [T]; 3],
    pub eps: f64,
}

impl<T: Real> Kernel for Statistics<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [mean, var, rstd] = self.out;
        for c in 0..mean.len() {
            let mut moments = Moments::default();
            for sample in 0..self.shape.outer {
                let run = &self.x[self.shape.start(sample, self.first + c)..][..self.shape.inner];
                for piece in run.chunks(4096) {
                    moments.join(moments_of(piece));
                }
            }
            [mean[c], var[c], rstd[c]] = moments.results(self.eps);
        }
    }
}

#[inline(always)]
fn moments_of<T: Real>(xs: &[T]) -> Moments {
    let n = xs.len() as f64;
    let center = T::from_f64(lanes::sum(xs) / n);
    let squares = lanes::sum_map(xs, |x| (x - center) * (x - center));
    Moments::about(center.to_f64(), n, lanes::sum_map(xs, |x| x - center), squares)
}

/// Sums of `g h` and `g` of the channels from `first` on.
pub struct Sums<'a, T> {
    pub x: &'a [T],
    pub g: &'a [T],
    pub mean: &'a [T],
    pub rstd: &'a [T],
    pub shape: Channels,
    pub first: usize,
    pub dweight: &'a mut [T],
    pub dbias: &'a mut [T],
}

impl<T: Real> Kernel for Sums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for c in 0..self.dbias.len() {
            let (mean, rstd) = (self.mean[self.first + c], self.rstd[self.first + c]);
            let (mut products, mut total) = (0.0, 0.0);
            for sample in 0..self.shape.outer {
                let start = self.shape.start(sample, self.first + c);
                let (x, g) = (
                    &self.x[start..][..self.shape.inner],
                    &self.g[start..][..self.shape.inner],
                );
                products += lanes::sum_map2(x, g, |x, g| g * (x - mean));
                total += lanes::sum(g);
            }
            self.dweight[c] = T::from_f64(products * rstd.to_f64());
            self.dbias[c] = T::from_f64(total);
        }
    }
}

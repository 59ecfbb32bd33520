//! Normalisation of channels by the statistics of the batch, and its gradient.
//!
//! ```text
//! y = (x - m) r w + b      m = mean of the channel, v = its biased variance, r = 1 / sqrt(v + eps)
//! ```
//!
//! over `x` [outer, channels, inner]; images with channels last are `inner == 1`, a row a pixel, and what the rest of the runtime
//! is made for. What goes into running statistics is the unbiased variance, as in PyTorch. Source:
//! Ioffe, Szegedy, "Batch normalization" (2015).
//!
//! Moments are computed about a number close to the mean, in pieces that are joined by the formula of Chan, Golub and LeVeque,
//! "Updating formulae and a pairwise algorithm for computing sample variances" (1979), so no digits are lost where the mean
//! is large. The pieces, and the order in which they are joined, depend on the shape only.

mod apply;
mod columns;
mod runs;

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::lanes;
use crate::real::Real;

use apply::{Formula, apply};

/// The shape that batch normalisation sees.
#[derive(Copy, Clone, Debug)]
pub struct Channels {
    /// Samples.
    pub outer: usize,
    /// Channels.
    pub count: usize,
    /// Positions of a sample.
    pub inner: usize,
}

impl Channels {
    /// Values of a channel.
    fn values(&self) -> usize {
        self.outer * self.inner
    }

    fn numel(&self) -> usize {
        self.values() * self.count
    }

    /// Channels that one task sums up, where their values lie in runs.
    fn per_task(&self) -> usize {
        lanes::rows_per_task(self.values())
    }
}

/// Normalises `x` into `y` and gives every channel's `mean`, unbiased variance `var` and inverse deviation `rstd`.
/// `factors` is scratch memory of two floats a channel.
///
/// # Errors
/// Fewer than two values a channel, which have no variance, are recorded in the context.
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn batch_norm(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    bias: Option<Buf>,
    y: Buf,
    mean: Buf,
    var: Buf,
    rstd: Buf,
    factors: Buf,
    shape: Channels,
    eps: f64,
) {
    if shape.values() < 2 {
        let Channels { outer, inner, .. } = shape;
        let message = format!(
            "batch_norm: expected more than 1 value per channel when training, found a batch of {outer} with {inner} \
             values per channel and sample"
        );
        cx.fail(
            Error::new(ErrorKind::Shape, message).hint("use larger batches, or drop the last, short one"),
        );
    }
    float!(cx, T => forward::<T>(cx, x, weight, bias, y, [mean, var, rstd], factors, shape, eps));
}

#[expect(clippy::too_many_arguments, reason = "as above")]
fn forward<T: Real + Element>(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    bias: Option<Buf>,
    y: Buf,
    [mean, var, rstd]: [Buf; 3],
    factors: Buf,
    shape: Channels,
    eps: f64,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let (weight, bias): (Option<&[T]>, Option<&[T]>) =
        (weight.map(|w| bind.read(w)), bias.map(|b| bind.read(b)));
    let (mean, var, rstd) = (bind.write::<T>(mean), bind.write::<T>(var), bind.write::<T>(rstd));
    let y = bind.write::<T>(y);
    assert_eq!(
        (x.len(), y.len()),
        (shape.numel(), shape.numel()),
        "batch_norm of {shape:?}"
    );
    let factors = bind.write::<T>(factors);
    if shape.inner == 1 {
        // Until it is written, `y` holds what blocks add up to.
        let parts = columns::parts(shape.count, factors, y);
        columns::moments(env, shape.count, x, parts, |c, moments| {
            [mean[c], var[c], rstd[c]] = moments.results(eps);
        });
    } else {
        let k = shape.per_task();
        env.team
            .chunks_mut3((mean, k), (var, k), (rstd, k), |task, mean, var, rstd| {
                let (first, out) = (task * k, [mean, var, rstd]);
                T::run_narrow(
                    env.isa,
                    runs::Statistics {
                        x,
                        shape,
                        first,
                        out,
                        eps,
                    },
                );
            });
    }
    let (scale, shift) = factors.split_at_mut(shape.count);
    for c in 0..shape.count {
        scale[c] = weight.map_or(rstd[c], |w| rstd[c] * w[c]);
        shift[c] = bias.map_or(T::ZERO, |b| b[c]);
    }
    let (mean, scale, shift): (&[T], &[T], &[T]) = (mean, scale, shift);
    apply::<T, Normalise>(env, y, [x, x], [mean, scale, shift, shift], shape);
}

/// `(x - mean) scale + shift`.
struct Normalise;

impl Formula for Normalise {
    #[inline(always)]
    fn of<T: Real>(x: T, _: T, [mean, scale, shift, _]: [T; 4]) -> T {
        (x - mean) * scale + shift
    }
}

/// Number of values, their mean, and the sum of their squared distances from it.
#[derive(Copy, Clone, Default)]
struct Moments {
    n: f64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// From the sums of distances, and of their squares, from a number close to the mean: what rounding made the mean miss
    /// is put right.
    #[inline(always)]
    fn about(center: f64, n: f64, rest: f64, squares: f64) -> Self {
        let m2 = squares - rest * (rest / n);
        Self {
            n,
            mean: center + rest / n,
            // Equal values have none; rounding must not make it negative.
            m2: if m2 < 0.0 { 0.0 } else { m2 },
        }
    }

    #[inline(always)]
    fn join(&mut self, other: Self) {
        if other.n == 0.0 {
            return;
        }
        let (n, gap) = (self.n + other.n, other.mean - self.mean);
        self.mean += gap * (other.n / n);
        self.m2 += other.m2 + gap * gap * (self.n * (other.n / n));
        self.n = n;
    }

    /// Mean, unbiased variance and inverse deviation.
    #[inline(always)]
    fn results<T: Real>(&self, eps: f64) -> [T; 3] {
        let Self { n, mean, m2 } = *self;
        [mean, m2 / (n - 1.0), 1.0 / (m2 / n + eps).sqrt()].map(T::from_f64)
    }
}

/// Computes the cotangents `dx`, `dweight` and `dbias` from that of `y` (`g`) and what [`batch_norm`] kept. With
/// h = (x - m) r and averages over the channel,
///
/// ```text
/// dbias = sum g      dweight = sum g h      dx = r w (g - mean(g) - h mean(g h))
/// ```
///
/// `factors` is scratch memory of three floats a channel.
#[expect(clippy::too_many_arguments, reason = "as above")]
pub fn batch_norm_grad(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    mean: Buf,
    rstd: Buf,
    g: Buf,
    dx: Buf,
    dweight: Buf,
    dbias: Buf,
    factors: Buf,
    shape: Channels,
) {
    float!(cx, T => backward::<T>(cx, x, weight, [mean, rstd], g, dx, [dweight, dbias], factors, shape));
}

#[expect(clippy::too_many_arguments, reason = "as above")]
fn backward<T: Real + Element>(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    [mean, rstd]: [Buf; 2],
    g: Buf,
    dx: Buf,
    [dweight, dbias]: [Buf; 2],
    factors: Buf,
    shape: Channels,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, g): (&[T], &[T]) = (bind.read(x), bind.read(g));
    let (mean, rstd): (&[T], &[T]) = (bind.read(mean), bind.read(rstd));
    let weight: Option<&[T]> = weight.map(|w| bind.read(w));
    let (dweight, dbias) = (bind.write::<T>(dweight), bind.write::<T>(dbias));
    let dx = bind.write::<T>(dx);
    let factors = bind.write::<T>(factors);
    if shape.inner == 1 {
        let parts = columns::parts(shape.count, factors, dx);
        columns::products(env, mean, [x, g], parts, |c, [total, products]| {
            dweight[c] = T::from_f64(products * rstd[c].to_f64());
            dbias[c] = T::from_f64(total);
        });
    } else {
        let k = shape.per_task();
        env.team
            .chunks_mut2(dweight, k, dbias, k, |task, dweight, dbias| {
                let first = task * k;
                T::run_narrow(
                    env.isa,
                    runs::Sums {
                        x,
                        g,
                        mean,
                        rstd,
                        shape,
                        first,
                        dweight,
                        dbias,
                    },
                );
            });
    }
    let (scale, rest) = factors.split_at_mut(shape.count);
    let (level, slope) = rest.split_at_mut(shape.count);
    let share = T::from_f64(1.0 / shape.values() as f64);
    for c in 0..shape.count {
        scale[c] = weight.map_or(rstd[c], |w| rstd[c] * w[c]);
        level[c] = dbias[c] * share;
        slope[c] = dweight[c] * share * rstd[c];
    }
    let (scale, level, slope): (&[T], &[T], &[T]) = (scale, level, slope);
    apply::<T, Cotangent>(env, dx, [x, g], [mean, scale, level, slope], shape);
}

/// `scale (g - level - (x - mean) slope)`.
struct Cotangent;

impl Formula for Cotangent {
    #[inline(always)]
    fn of<T: Real>(x: T, g: T, [mean, scale, level, slope]: [T; 4]) -> T {
        scale * (g - level - (x - mean) * slope)
    }
}

#[cfg(test)]
mod tests;

//! Normalisation of channels by the statistics of the batch, and its gradient.
//!
//! ```text
//! y = (x - m) r w + b      m = mean of the channel, v = its biased variance, r = 1 / sqrt(v + eps)
//! ```
//!
//! over `x` [outer, channels, inner]. What goes into running statistics is the unbiased variance, as in PyTorch. Source:
//! Ioffe, Szegedy, "Batch normalization" (2015).
//!
//! Moments are computed in two passes over pieces that fit the cache and joined by the formula of Chan, Golub and LeVeque,
//! "Updating formulae and a pairwise algorithm for computing sample variances" (1979), so no digits are lost where the mean
//! is large. The pieces, and the order in which they are joined, depend on the shape only.

use crate::arena::Buf;
use crate::cpu::isa::{Isa, Kernel};
use crate::cpu::threads::Team;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::lanes;
use crate::real::Real;

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

    /// Runs shorter than this are read across channels, a tile of columns at a time.
    const SHORT: usize = 16;

    /// Channels that one task sums up.
    fn per_task(&self) -> usize {
        let n = lanes::rows_per_task(self.values());
        if self.inner < Self::SHORT {
            n.next_multiple_of(Self::SHORT)
        } else {
            n
        }
    }

    /// Where the run of a sample and channel starts.
    #[inline(always)]
    fn start(&self, sample: usize, channel: usize) -> usize {
        (sample * self.count + channel) * self.inner
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
    let k = shape.per_task();
    env.team
        .chunks_mut3((mean, k), (var, k), (rstd, k), |task, mean, var, rstd| {
            T::run_narrow(
                env.isa,
                Statistics {
                    x,
                    shape,
                    first: task * k,
                    mean,
                    var,
                    rstd,
                    eps,
                },
            );
        });
    let (scale, shift) = bind.write::<T>(factors).split_at_mut(shape.count);
    for c in 0..shape.count {
        scale[c] = weight.map_or(rstd[c], |w| rstd[c] * w[c]);
        shift[c] = bias.map_or(T::ZERO, |b| b[c]);
    }
    let (mean, scale, shift): (&[T], &[T], &[T]) = (mean, scale, shift);
    each_row(
        env.team,
        env.isa,
        y,
        shape,
        Normalise {
            x,
            mean,
            scale,
            shift,
        },
    );
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
        Self {
            n,
            mean: center + rest / n,
            m2: squares - rest * (rest / n),
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
}

/// Moments of the channels from `first` on.
struct Statistics<'a, T> {
    x: &'a [T],
    shape: Channels,
    first: usize,
    mean: &'a mut [T],
    var: &'a mut [T],
    rstd: &'a mut [T],
    eps: f64,
}

/// Columns of a tile, and rows of a piece of it.
const TILE: usize = 64;

impl<T: Real> Kernel for Statistics<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Channels { outer, inner, .. } = self.shape;
        if inner >= Channels::SHORT || inner == 0 {
            for c in 0..self.mean.len() {
                let mut moments = Moments::default();
                for sample in 0..outer {
                    let run = &self.x[self.shape.start(sample, self.first + c)..][..inner];
                    for piece in run.chunks(4096) {
                        moments.join(moments_of(piece));
                    }
                }
                self.keep(c, moments);
            }
            return;
        }
        let per_tile = TILE / inner;
        for c in (0..self.mean.len()).step_by(per_tile) {
            let n = per_tile.min(self.mean.len() - c);
            let columns = self.columns(self.first + c, n * inner);
            for (k, columns) in columns[..n * inner].chunks(inner).enumerate() {
                let mut moments = Moments::default();
                for column in columns {
                    moments.join(*column);
                }
                self.keep(c + k, moments);
            }
        }
    }
}

impl<T: Real> Statistics<'_, T> {
    #[inline(always)]
    fn keep(&mut self, c: usize, moments: Moments) {
        let Moments { n, mean, m2 } = moments;
        self.mean[c] = T::from_f64(mean);
        self.var[c] = T::from_f64(m2 / (n - 1.0));
        self.rstd[c] = T::from_f64(1.0 / (m2 / n + self.eps).sqrt());
    }

    /// Moments of `width` neighbouring columns, over all samples.
    #[inline(always)]
    fn columns(&self, channel: usize, width: usize) -> [Moments; TILE] {
        let mut columns = [Moments::default(); TILE];
        for piece in (0..self.shape.outer).step_by(TILE) {
            let samples = piece..(piece + TILE).min(self.shape.outer);
            let row = |sample| &self.x[self.shape.start(sample, channel)..][..width];
            let n = samples.len() as f64;
            let (mut mean, mut rest, mut m2) = ([T::ZERO; TILE], [T::ZERO; TILE], [T::ZERO; TILE]);
            for sample in samples.clone() {
                lanes::each(&mut mean[..width], row(sample), |sum, x| *sum += x);
            }
            let share = T::from_f64(1.0 / n);
            for sum in &mut mean {
                *sum *= share;
            }
            for sample in samples {
                for (j, &x) in row(sample).iter().enumerate() {
                    let d = x - mean[j];
                    rest[j] += d;
                    m2[j] += d * d;
                }
            }
            for (j, all) in columns.iter_mut().enumerate() {
                all.join(Moments::about(
                    mean[j].to_f64(),
                    n,
                    rest[j].to_f64(),
                    m2[j].to_f64(),
                ));
            }
        }
        columns
    }
}

#[inline(always)]
fn moments_of<T: Real>(xs: &[T]) -> Moments {
    let n = xs.len() as f64;
    let center = T::from_f64(lanes::sum(xs) / n);
    let squares = lanes::sum_map(xs, |x| (x - center) * (x - center));
    Moments::about(center.to_f64(), n, lanes::sum_map(xs, |x| x - center), squares)
}

/// Something to be computed for every element, with numbers of its channel.
trait Elementwise<T>: Copy + Sync {
    /// Elements from `start` on that all belong to channel `c`.
    fn run(&self, start: usize, c: usize, out: &mut [T]);

    /// One element from `start` on for every channel.
    fn across(&self, start: usize, out: &mut [T]);
}

/// Fills `out` in parallel.
fn each_row<T: Real>(team: &Team, isa: Isa, out: &mut [T], shape: Channels, body: impl Elementwise<T>) {
    let row_len = if shape.inner == 1 {
        shape.count
    } else {
        shape.inner
    };
    let n = lanes::rows_per_task(row_len);
    team.chunks_mut(out, n * row_len, |task, out| {
        T::run_narrow(
            isa,
            EachRow {
                out,
                first: task * n,
                row_len,
                shape,
                body,
            },
        );
    });
}

struct EachRow<'a, T, B> {
    out: &'a mut [T],
    first: usize,
    row_len: usize,
    shape: Channels,
    body: B,
}

impl<T: Real, B: Elementwise<T>> Kernel for EachRow<'_, T, B> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (i, out) in self.out.chunks_mut(self.row_len).enumerate() {
            let row = self.first + i;
            if self.shape.inner == 1 {
                self.body.across(row * self.row_len, out);
            } else {
                self.body.run(row * self.row_len, row % self.shape.count, out);
            }
        }
    }
}

/// `(x - mean) scale + shift`.
#[derive(Copy, Clone)]
struct Normalise<'a, T> {
    x: &'a [T],
    mean: &'a [T],
    scale: &'a [T],
    shift: &'a [T],
}

impl<T: Real> Elementwise<T> for Normalise<'_, T> {
    #[inline(always)]
    fn run(&self, start: usize, c: usize, out: &mut [T]) {
        let (mean, scale, shift) = (self.mean[c], self.scale[c], self.shift[c]);
        lanes::each(out, &self.x[start..], |y, x| *y = (x - mean) * scale + shift);
    }

    #[inline(always)]
    fn across(&self, start: usize, out: &mut [T]) {
        let n = out.len();
        let (x, mean, scale, shift) = (
            &self.x[start..][..n],
            &self.mean[..n],
            &self.scale[..n],
            &self.shift[..n],
        );
        for c in 0..n {
            out[c] = (x[c] - mean[c]) * scale[c] + shift[c];
        }
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
    let k = shape.per_task();
    env.team
        .chunks_mut2(dweight, k, dbias, k, |task, dweight, dbias| {
            T::run_narrow(
                env.isa,
                Sums {
                    x,
                    g,
                    mean,
                    rstd,
                    shape,
                    first: task * k,
                    dweight,
                    dbias,
                },
            );
        });
    let (scale, rest) = bind.write::<T>(factors).split_at_mut(shape.count);
    let (level, slope) = rest.split_at_mut(shape.count);
    let share = T::from_f64(1.0 / shape.values() as f64);
    for c in 0..shape.count {
        scale[c] = weight.map_or(rstd[c], |w| rstd[c] * w[c]);
        level[c] = dbias[c] * share;
        slope[c] = dweight[c] * share * rstd[c];
    }
    let (scale, level, slope): (&[T], &[T], &[T]) = (scale, level, slope);
    each_row(
        env.team,
        env.isa,
        dx,
        shape,
        Cotangent {
            x,
            g,
            mean,
            scale,
            level,
            slope,
        },
    );
}

/// Sums of `g h` and `g` of the channels from `first` on.
struct Sums<'a, T> {
    x: &'a [T],
    g: &'a [T],
    mean: &'a [T],
    rstd: &'a [T],
    shape: Channels,
    first: usize,
    dweight: &'a mut [T],
    dbias: &'a mut [T],
}

impl<T: Real> Kernel for Sums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Channels { outer, inner, .. } = self.shape;
        let per_tile = if inner >= Channels::SHORT || inner == 0 {
            1
        } else {
            TILE / inner
        };
        for c in (0..self.dbias.len()).step_by(per_tile) {
            let (channel, n) = (self.first + c, per_tile.min(self.dbias.len() - c));
            let mut sums = [[0.0f64; TILE]; 2];
            if per_tile == 1 {
                let mean = self.mean[channel];
                for sample in 0..outer {
                    let start = self.shape.start(sample, channel);
                    let (x, g) = (&self.x[start..][..inner], &self.g[start..][..inner]);
                    sums[0][0] += lanes::sum_map2(x, g, |x, g| g * (x - mean));
                    sums[1][0] += lanes::sum(g);
                }
            } else {
                sums = self.columns(channel, n);
            }
            let [products, totals] = &sums;
            let dweight = self.dweight[c..][..n].iter_mut().zip(products);
            for ((dweight, product), rstd) in dweight.zip(&self.rstd[channel..][..n]) {
                *dweight = T::from_f64(product * rstd.to_f64());
            }
            for (dbias, &total) in self.dbias[c..][..n].iter_mut().zip(totals) {
                *dbias = T::from_f64(total);
            }
        }
    }
}

impl<T: Real> Sums<'_, T> {
    /// Sums of `g (x - mean)` and `g` of `n` neighbouring channels with few positions.
    #[inline(always)]
    fn columns(&self, channel: usize, n: usize) -> [[f64; TILE]; 2] {
        let inner = self.shape.inner;
        let mut means = [T::ZERO; TILE];
        for (column, mean) in means[..n * inner].iter_mut().enumerate() {
            *mean = self.mean[channel + column / inner];
        }
        let mut sums = [[0.0f64; TILE]; 2];
        for piece in (0..self.shape.outer).step_by(TILE) {
            let (mut products, mut totals) = ([T::ZERO; TILE], [T::ZERO; TILE]);
            for sample in piece..(piece + TILE).min(self.shape.outer) {
                let start = self.shape.start(sample, channel);
                let (x, g) = (&self.x[start..][..n * inner], &self.g[start..][..n * inner]);
                for j in 0..n * inner {
                    products[j] += g[j] * (x[j] - means[j]);
                    totals[j] += g[j];
                }
            }
            for j in 0..n * inner {
                sums[0][j / inner] += products[j].to_f64();
                sums[1][j / inner] += totals[j].to_f64();
            }
        }
        sums
    }
}

/// `scale (g - level - (x - mean) slope)`.
#[derive(Copy, Clone)]
struct Cotangent<'a, T> {
    x: &'a [T],
    g: &'a [T],
    mean: &'a [T],
    scale: &'a [T],
    level: &'a [T],
    slope: &'a [T],
}

impl<T: Real> Elementwise<T> for Cotangent<'_, T> {
    #[inline(always)]
    fn run(&self, start: usize, c: usize, out: &mut [T]) {
        let (mean, scale, level, slope) = (self.mean[c], self.scale[c], self.level[c], self.slope[c]);
        lanes::each2(out, &self.x[start..], &self.g[start..], |d, x, g| {
            *d = scale * (g - level - (x - mean) * slope);
        });
    }

    #[inline(always)]
    fn across(&self, start: usize, out: &mut [T]) {
        let n = out.len();
        let (x, g, mean) = (&self.x[start..][..n], &self.g[start..][..n], &self.mean[..n]);
        let (scale, level, slope) = (&self.scale[..n], &self.level[..n], &self.slope[..n]);
        for c in 0..n {
            out[c] = scale[c] * (g[c] - level[c] - (x[c] - mean[c]) * slope[c]);
        }
    }
}

#[cfg(test)]
mod tests;

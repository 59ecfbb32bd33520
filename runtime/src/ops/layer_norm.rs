//! Normalisation of rows: layer norm and, without the mean, RMS norm; and their gradient.
//!
//! ```text
//! y = (x - m) r w + b      m = mean(x), r = 1 / sqrt(mean((x - m)^2) + eps)     (RMS norm: m = 0)
//! ```
//!
//! The variance is computed about the mean, in a second pass over a row that is still in cache, so no digits are lost where
//! the mean is large. Sources: Ba, Kiros, Hinton, "Layer normalization" (2016); Zhang, Sennrich, "Root mean square layer
//! normalization" (2019).

use crate::arena::Buf;
use crate::cpu::isa::Kernel;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::ops::lanes;
use crate::real::Real;

/// The most pieces in which the gradients of weight and bias are summed: what their scratch memory is sized for.
pub const SHARDS: usize = 32;

/// Normalises every row of `x` [rows, len] into `y` and keeps `mean` (absent for RMS norm) and inverse deviation `rstd`, both
/// \[rows\]. `weight` and `bias` are \[len\].
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn layer_norm(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    bias: Option<Buf>,
    y: Buf,
    mean: Option<Buf>,
    rstd: Buf,
    len: usize,
    eps: f64,
) {
    float!(cx, T => forward::<T>(cx, x, weight, bias, y, mean, rstd, len, eps));
}

#[expect(clippy::too_many_arguments, reason = "as above")]
fn forward<T: Real + Element>(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    bias: Option<Buf>,
    y: Buf,
    mean: Option<Buf>,
    rstd: Buf,
    len: usize,
    eps: f64,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let (weight, bias): (Option<&[T]>, Option<&[T]>) =
        (weight.map(|w| bind.read(w)), bias.map(|b| bind.read(b)));
    let center = if mean.is_some() {
        Center::Mean
    } else {
        Center::Zero
    };
    let (y, rstd) = (bind.write::<T>(y), bind.write::<T>(rstd));
    let mean = mean.map_or(&mut [][..], |mean| bind.write::<T>(mean));
    assert_eq!(
        (x.len(), y.len()),
        (rstd.len() * len, rstd.len() * len),
        "layer_norm: rows of {len} elements"
    );
    let n = lanes::rows_per_task(len);
    env.team
        .chunks_mut3((y, n * len), (mean, n), (rstd, n), |task, y, mean, rstd| {
            let x = &x[task * n * len..][..y.len()];
            T::run_narrow(
                env.isa,
                Forward {
                    x,
                    weight,
                    bias,
                    y,
                    mean,
                    rstd,
                    center,
                    len,
                    eps,
                },
            );
        });
}

/// What is subtracted first.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Center {
    Mean,
    Zero,
}

struct Forward<'a, T> {
    x: &'a [T],
    weight: Option<&'a [T]>,
    bias: Option<&'a [T]>,
    y: &'a mut [T],
    mean: &'a mut [T],
    rstd: &'a mut [T],
    center: Center,
    len: usize,
    eps: f64,
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.len as f64;
        for (row, rstd) in self.rstd.iter_mut().enumerate() {
            let x = &self.x[row * self.len..][..self.len];
            let y = &mut self.y[row * self.len..][..self.len];
            let mut mean = T::ZERO;
            if self.center == Center::Mean {
                mean = T::from_f64(lanes::sum(x) / n);
                self.mean[row] = mean;
            }
            let variance = lanes::sum_map(x, |x| (x - mean) * (x - mean)) / n;
            let scale = T::from_f64(1.0 / (variance + self.eps).sqrt());
            *rstd = scale;
            match self.weight {
                None => lanes::each(y, x, |y, x| *y = (x - mean) * scale),
                Some(weight) => lanes::each2(y, x, weight, |y, x, w| *y = (x - mean) * scale * w),
            }
            if let Some(bias) = self.bias {
                lanes::each(y, bias, |y, b| *y += b);
            }
        }
    }
}

/// Computes the cotangents of `x`, and of weight and bias where they are asked for, from that of `y` (`g`) and what
/// [`layer_norm`] kept. With h = (x - m) r the normalised row and averages over the row,
///
/// ```text
/// dx = r (g w - mean(g w) - h mean(g w h))       (RMS norm: without the second term)
/// dweight = sum over rows of g h                 dbias = sum over rows of g
/// ```
///
/// `partials` is scratch memory of `2 * SHARDS * len` floats; it is needed with `dweight`.
#[expect(clippy::too_many_arguments, reason = "as above")]
pub fn layer_norm_grad(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    mean: Option<Buf>,
    rstd: Buf,
    g: Buf,
    dx: Buf,
    dweight: Option<Buf>,
    dbias: Option<Buf>,
    partials: Option<Buf>,
    len: usize,
) {
    float!(cx, T => backward::<T>(cx, x, weight, mean, rstd, g, dx, dweight, dbias, partials, len));
}

#[expect(clippy::too_many_arguments, reason = "as above")]
fn backward<T: Real + Element>(
    cx: &mut Cx<'_>,
    x: Buf,
    weight: Option<Buf>,
    mean: Option<Buf>,
    rstd: Buf,
    g: Buf,
    dx: Buf,
    dweight: Option<Buf>,
    dbias: Option<Buf>,
    partials: Option<Buf>,
    len: usize,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, g, rstd): (&[T], &[T], &[T]) = (bind.read(x), bind.read(g), bind.read(rstd));
    let (weight, mean): (Option<&[T]>, Option<&[T]>) =
        (weight.map(|w| bind.read(w)), mean.map(|m| bind.read(m)));
    let dx = bind.write::<T>(dx);
    let rows = rstd.len();
    let saved = Saved {
        x,
        g,
        weight,
        mean,
        rstd,
        len,
    };
    let Some(partials) = partials else {
        let n = lanes::rows_per_task(len);
        env.team.chunks_mut(dx, n * len, |task, dx| {
            T::run_narrow(
                env.isa,
                Backward {
                    saved,
                    first: task * n,
                    dx,
                    partial: None,
                },
            );
        });
        return;
    };
    let shards = (rows * len).div_ceil(lanes::GRAIN).clamp(1, SHARDS);
    let n = rows.div_ceil(shards).max(1);
    let partials = &mut bind.write::<T>(partials)[..shards * 2 * len];
    env.team
        .chunks_mut2(dx, n * len, partials, 2 * len, |task, dx, partial| {
            partial.fill(T::ZERO);
            T::run_narrow(
                env.isa,
                Backward {
                    saved,
                    first: task * n,
                    dx,
                    partial: Some(partial.split_at_mut(len)),
                },
            );
        });
    for (half, out) in [dweight, dbias].into_iter().enumerate() {
        let Some(out) = out.map(|out| bind.write::<T>(out)) else {
            continue;
        };
        out.fill(T::ZERO);
        for shard in partials.chunks_exact(len.max(1)).skip(half).step_by(2) {
            lanes::each(out, shard, |sum, term| *sum += term);
        }
    }
}

/// What the forward kernel read and kept, and the cotangent of its result.
#[derive(Copy, Clone)]
struct Saved<'a, T> {
    x: &'a [T],
    g: &'a [T],
    weight: Option<&'a [T]>,
    mean: Option<&'a [T]>,
    rstd: &'a [T],
    len: usize,
}

/// Rows from `first` on; `partial` gathers their share of the cotangents of weight and bias.
struct Backward<'a, T> {
    saved: Saved<'a, T>,
    first: usize,
    dx: &'a mut [T],
    partial: Option<(&'a mut [T], &'a mut [T])>,
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Saved {
            x,
            g,
            weight,
            mean,
            rstd,
            len,
        } = self.saved;
        let n = len as f64;
        for (i, dx) in self.dx.chunks_mut(len.max(1)).enumerate() {
            let row = self.first + i;
            let (x, g) = (&x[row * len..][..len], &g[row * len..][..len]);
            let (m, r) = (mean.map_or(T::ZERO, |mean| mean[row]), rstd[row]);
            if let Some((dweight, dbias)) = &mut self.partial {
                lanes::each2(dweight, x, g, |d, x, g| *d += g * ((x - m) * r));
                lanes::each(dbias, g, |d, g| *d += g);
            }
            match weight {
                None => dx.copy_from_slice(g),
                Some(weight) => lanes::each2(dx, g, weight, |d, g, w| *d = g * w),
            }
            let slope = T::from_f64(lanes::sum_map2(dx, x, |d, x| d * ((x - m) * r)) / n);
            let level = match mean {
                Some(_) => T::from_f64(lanes::sum(dx) / n),
                None => T::ZERO,
            };
            lanes::each(dx, x, |d, x| *d = r * (*d - level - (x - m) * r * slope));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;
    use crate::dtype::Precision;
    use crate::ops::testkit::{Desk, PRECISIONS, assert_close, differences, normal, tolerance};

    #[derive(Copy, Clone, PartialEq, Debug)]
    enum Affine {
        None,
        Weight,
        Both,
    }

    struct Case {
        rows: usize,
        len: usize,
        center: Center,
        affine: Affine,
        x: Vec<f64>,
        weight: Vec<f64>,
        bias: Vec<f64>,
        g: Vec<f64>,
    }

    /// Large, so that the gradient of two values is no mere rounding.
    const EPS: f64 = 0.1;

    fn case(rows: usize, len: usize, center: Center, affine: Affine) -> Case {
        let mut case = Case {
            rows,
            len,
            center,
            affine,
            x: normal(rows * len, 1).iter().map(|x| 2.0 * x + 3.0).collect(),
            weight: normal(len, 2),
            bias: normal(len, 3),
            g: normal(rows * len, 4),
        };
        match affine {
            Affine::None => {
                case.weight.fill(1.0);
                case.bias.fill(0.0);
            }
            Affine::Weight => case.bias.fill(0.0),
            Affine::Both => {}
        }
        case
    }

    fn naive(case: &Case, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let mut y = Vec::new();
        for row in x.chunks(case.len.max(1)) {
            let n = row.len() as f64;
            let m = if case.center == Center::Mean {
                row.iter().sum::<f64>() / n
            } else {
                0.0
            };
            let variance = row.iter().map(|x| (x - m).powi(2)).sum::<f64>() / n;
            let r = 1.0 / (variance + EPS).sqrt();
            y.extend(
                row.iter()
                    .zip(weight.iter().zip(bias))
                    .map(|(x, (w, b))| (x - m) * r * w + b),
            );
        }
        y
    }

    /// y, dx, dweight, dbias.
    fn run(case: &Case, desk: &mut Desk) -> [Vec<f64>; 4] {
        let Case { rows, len, .. } = *case;
        let x = desk.floats(&case.x);
        let weight = (case.affine != Affine::None).then(|| desk.floats(&case.weight));
        let bias = (case.affine == Affine::Both).then(|| desk.floats(&case.bias));
        let mean = (case.center == Center::Mean).then(|| desk.blank(rows));
        let (y, rstd) = (desk.blank(rows * len), desk.blank(rows));
        desk.run(|cx| layer_norm(cx, x, weight, bias, y, mean, rstd, len, EPS));
        let (g, dx) = (desk.floats(&case.g), desk.blank(rows * len));
        let (dw, db) = (desk.blank(len), desk.blank(len));
        let dweight = weight.map(|_| dw);
        let dbias = bias.map(|_| db);
        let partials = weight.map(|_| desk.blank(2 * SHARDS * len));
        desk.run(|cx| layer_norm_grad(cx, x, weight, mean, rstd, g, dx, dweight, dbias, partials, len));
        let read = |buf: Option<Buf>| buf.map_or(Vec::new(), |buf| desk.read(buf));
        [desk.read(y), desk.read(dx), read(dweight), read(dbias)]
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn values_and_gradients_in_every_shape() {
        for (rows, len) in [(1, 1), (0, 5), (3, 2), (5, 17), (2, 1100)] {
            for center in [Center::Mean, Center::Zero] {
                for affine in [Affine::None, Affine::Weight, Affine::Both] {
                    let case = case(rows, len, center, affine);
                    for precision in PRECISIONS {
                        let what = format!("[{rows}, {len}], {affine:?}, {precision}");
                        let [y, dx, dweight, dbias] = run(&case, &mut Desk::new(precision));
                        let tolerance = tolerance(precision);
                        assert_close(
                            &y,
                            &naive(&case, &case.x, &case.weight, &case.bias),
                            tolerance,
                            &what,
                        );
                        let tolerance = tolerance.max(1e-7);
                        let loss = |x: &[f64], w: &[f64], b: &[f64]| dot(&naive(&case, x, w, b), &case.g);
                        let want = differences(&case.x, |x| loss(x, &case.weight, &case.bias));
                        assert_close(&dx, &want, tolerance, &format!("dx, {what}"));
                        if affine != Affine::None {
                            let want = differences(&case.weight, |w| loss(&case.x, w, &case.bias));
                            assert_close(&dweight, &want, tolerance, &format!("dweight, {what}"));
                        }
                        if affine == Affine::Both {
                            let want = differences(&case.bias, |b| loss(&case.x, &case.weight, b));
                            assert_close(&dbias, &want, tolerance, &format!("dbias, {what}"));
                        }
                    }
                }
            }
        }
    }

    /// A mean of 10,000 deviations: a variance from the mean of squares would have no digit left in f32.
    #[test]
    fn a_large_mean_costs_no_digits() {
        let mut case = case(2, 300, Center::Mean, Affine::None);
        case.x = normal(600, 5)
            .iter()
            .map(|x| f64::from((x + 10_000.0) as f32))
            .collect();
        let [y, ..] = run(&case, &mut Desk::new(Precision::F32));
        assert_close(
            &y,
            &naive(&case, &case.x, &case.weight, &case.bias),
            2e-3,
            "a large mean",
        );
    }

    #[test]
    fn threads_and_instruction_sets_do_not_change_a_bit() {
        let case = case(3000, 70, Center::Mean, Affine::Both);
        let want = run(&case, &mut Desk::with(Precision::F32, 1, Isa::Portable));
        for &isa in Isa::available() {
            for threads in [1, 2, 5] {
                assert!(
                    run(&case, &mut Desk::with(Precision::F32, threads, isa)) == want,
                    "{threads}, {isa}"
                );
            }
        }
    }
}

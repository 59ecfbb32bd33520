//! Cross-entropy of class labels, fused with log-softmax, and its gradient.
//!
//! For the scores `x` of one sample with label `y`, class weights `w` (1 where none are given), label smoothing `e` and C
//! classes:
//!
//! ```text
//! loss = (1 - e) w[y] (lse - x[y]) + e / C * sum_c w[c] (lse - x[c])        lse = log sum_c exp(x[c])
//! ```
//!
//! A sample whose label is `ignore_index` has loss 0. The mean divides by the sum of `w[y]` over the samples that count;
//! it is NaN where there is none. This is `torch.nn.functional.cross_entropy` with class indices; with
//! [`Scores::LogProbabilities`] (`lse` = 0) it is `nll_loss`.
//!
//! The forward kernel reads every score once from memory and keeps `lse`, one number a sample, so that the gradient
//! needs a single sweep and never the probabilities. NaN among the scores of a sample that counts gives a NaN loss.

use crate::arena::Buf;
use crate::cpu::isa::Kernel;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::lanes;
use crate::real::Real;

/// What the scores are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Scores {
    /// Any real numbers; softmax makes probabilities of them.
    Logits,
    /// Logarithms of probabilities.
    LogProbabilities,
}

/// How the losses of the samples become one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LossReduction {
    /// Their weighted mean.
    Mean,
    /// Their sum.
    Sum,
    /// Not at all: a loss for every sample.
    None,
}

/// Sizes and options.
#[derive(Copy, Clone, Debug)]
pub struct CrossEntropy {
    /// Product of the sizes before the class axis.
    pub outer: usize,
    /// Number of classes.
    pub classes: usize,
    /// Product of the sizes after the class axis.
    pub inner: usize,
    /// Share of the target that is spread evenly over all classes, in 0..=1.
    pub smoothing: f64,
    /// Samples with this label do not count; a whole number.
    pub ignore_index: f64,
    /// What the scores are.
    pub scores: Scores,
    /// How the samples' losses become one.
    pub reduction: LossReduction,
}

impl CrossEntropy {
    fn samples(&self) -> usize {
        self.outer * self.inner
    }

    /// The class of a sample that counts.
    #[inline(always)]
    fn class(&self, label: i64) -> Option<usize> {
        let is_ignored = label == self.ignore_index as i64;
        usize::try_from(label)
            .ok()
            .filter(|&y| !is_ignored && y < self.classes)
    }

    /// The first label that names no class, and the sample that it belongs to.
    fn wrong_label(&self, labels: &[i64]) -> Option<Error> {
        let is_wrong = |label: i64| label != self.ignore_index as i64 && self.class(label).is_none();
        let sample = labels.iter().position(|&label| is_wrong(label))?;
        let place = match self.inner {
            1 => format!("sample {sample}"),
            inner => format!("sample {}, position {}", sample / inner, sample % inner),
        };
        let message = format!(
            "the label of {place} is {}, but there are {} classes: labels must be in 0..{} (or {} to be ignored)",
            labels[sample], self.classes, self.classes, self.ignore_index
        );
        Some(Error::new(ErrorKind::Label, message).hint("the first class has label 0"))
    }

    fn wrong_option(&self) -> Option<Error> {
        (!(0.0..=1.0).contains(&self.smoothing)).then(|| {
            let message = format!(
                "cross_entropy: `label_smoothing` must be in 0..=1, found {}",
                self.smoothing
            );
            Error::config(message)
        })
    }
}

/// Computes the loss: `scores` [outer, classes, inner], `labels` [outer, inner] and perhaps `weight` \[classes\] give the
/// samples' `losses` and log-sum-exps `lse`, both [outer, inner], the sum `divisor` of their weights (1 unless the
/// reduction is the mean), and, where the reduction is not `None`, `loss`.
///
/// # Errors
/// A label that names no class, or a smoothing outside 0..=1, is recorded in the context; such a sample does not count.
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn cross_entropy(
    cx: &mut Cx<'_>,
    scores: Buf,
    labels: Buf,
    weight: Option<Buf>,
    losses: Buf,
    loss: Option<Buf>,
    lse: Buf,
    divisor: Buf,
    spec: CrossEntropy,
) {
    let failure = float!(cx, T => forward::<T>(cx, scores, labels, weight, losses, loss, lse, divisor, spec));
    if let Some(error) = failure.or_else(|| spec.wrong_option()) {
        cx.fail(error);
    }
}

#[expect(clippy::too_many_arguments, reason = "as above")]
fn forward<T: Real + Element>(
    cx: &mut Cx<'_>,
    scores: Buf,
    labels: Buf,
    weight: Option<Buf>,
    losses: Buf,
    loss: Option<Buf>,
    lse: Buf,
    divisor: Buf,
    spec: CrossEntropy,
) -> Option<Error> {
    let env = cx.env;
    let mut bind = cx.bind();
    let (scores, labels): (&[T], &[i64]) = (bind.read(scores), bind.read(labels));
    let weight: Option<&[T]> = weight.map(|w| bind.read(w));
    let (losses, lse, divisor) = (
        bind.write::<T>(losses),
        bind.write::<T>(lse),
        bind.write::<T>(divisor),
    );
    assert_eq!(scores.len(), spec.samples() * spec.classes);
    let target = Target {
        labels,
        weight,
        total: weight.map_or(spec.classes as f64, lanes::sum),
        spec,
    };
    let n = lanes::rows_per_task(spec.classes);
    env.team.chunks_mut2(losses, n, lse, n, |task, losses, lse| {
        T::run(
            env.isa,
            Forward {
                scores,
                target,
                first: task * n,
                losses,
                lse,
            },
        );
    });
    let total = match spec.reduction {
        LossReduction::Mean => target.sum_of_weights(),
        LossReduction::Sum | LossReduction::None => 1.0,
    };
    divisor[0] = T::from_f64(total);
    if let Some(loss) = loss {
        bind.write::<T>(loss)[0] = T::from_f64(lanes::sum(losses) / total);
    }
    spec.wrong_label(labels)
}

/// The labels, and what they weigh.
#[derive(Copy, Clone)]
struct Target<'a, T> {
    labels: &'a [i64],
    weight: Option<&'a [T]>,
    /// Sum of all class weights.
    total: f64,
    spec: CrossEntropy,
}

impl<T: Real> Target<'_, T> {
    #[inline(always)]
    fn weight(&self, class: usize) -> f64 {
        self.weight.map_or(1.0, |w| w[class].to_f64())
    }

    fn sum_of_weights(&self) -> f64 {
        self.labels
            .iter()
            .filter_map(|&label| self.spec.class(label))
            .map(|y| self.weight(y))
            .sum()
    }

    /// Factors of the label's own term and of the smoothing term.
    #[inline(always)]
    fn shares(&self) -> (f64, f64) {
        (
            1.0 - self.spec.smoothing,
            self.spec.smoothing / self.spec.classes as f64,
        )
    }
}

/// Losses of the samples from `first` on.
struct Forward<'a, T> {
    scores: &'a [T],
    target: Target<'a, T>,
    first: usize,
    losses: &'a mut [T],
    lse: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if self.target.spec.inner == 1 {
            self.rows()
        } else {
            self.planes()
        }
    }
}

impl<T: Real> Forward<'_, T> {
    /// The scores of a sample lie side by side.
    #[inline(always)]
    fn rows(self) {
        let Target { labels, spec, .. } = self.target;
        let (own, even) = self.target.shares();
        for (i, (loss, lse)) in self.losses.iter_mut().zip(self.lse).enumerate() {
            let sample = self.first + i;
            let Some(y) = spec.class(labels[sample]) else {
                (*loss, *lse) = (T::ZERO, T::ZERO);
                continue;
            };
            let row = &self.scores[sample * spec.classes..][..spec.classes];
            let (max, log) = match spec.scores {
                Scores::Logits => log_sum_exp(row),
                Scores::LogProbabilities => (T::ZERO, 0.0),
            };
            let mut value = own * self.target.weight(y) * ((max - row[y]).to_f64() + log);
            if even != 0.0 {
                let gaps = match self.target.weight {
                    None => lanes::sum_map(row, |x| max - x),
                    Some(weight) => lanes::sum_map2(row, weight, |x, w| w * (max - x)),
                };
                value += even * (gaps + self.target.total * log);
            }
            *loss = T::from_f64(value);
            *lse = T::from_f64(max.to_f64() + log);
        }
    }

    /// The scores of a class lie side by side: samples are computed a tile at a time.
    #[inline(always)]
    fn planes(self) {
        let inner = self.target.spec.inner;
        let mut done = 0;
        while done < self.losses.len() {
            let (outer, j) = ((self.first + done) / inner, (self.first + done) % inner);
            let n = TILE.min(inner - j).min(self.losses.len() - done);
            let tile = Tile {
                scores: self.scores,
                target: self.target,
                outer,
                j,
            };
            tile.run(&mut self.losses[done..done + n], &mut self.lse[done..done + n]);
            done += n;
        }
    }
}

/// Samples computed together where their scores are apart.
const TILE: usize = 64;

/// Neighbouring samples of one outer index, from inner index `j` on.
struct Tile<'a, T> {
    scores: &'a [T],
    target: Target<'a, T>,
    outer: usize,
    j: usize,
}

impl<T: Real> Tile<'_, T> {
    #[inline(always)]
    fn run(&self, losses: &mut [T], lse: &mut [T]) {
        let spec = self.target.spec;
        let n = losses.len();
        let class_row = |c: usize| &self.scores[(self.outer * spec.classes + c) * spec.inner + self.j..][..n];
        let (mut max, mut sums, mut gaps) = ([T::ZERO; TILE], [1.0f64; TILE], [0.0f64; TILE]);
        if spec.scores == Scores::Logits {
            max = [-T::INFINITY; TILE];
            for c in 0..spec.classes {
                lanes::each(&mut max[..n], class_row(c), |m, x| *m = T::select(x > *m, x, *m));
            }
            sums = [0.0; TILE];
            for c in 0..spec.classes {
                lanes::each2(&mut sums[..n], &max, class_row(c), |sum, m, x| {
                    *sum += (x - finite_shift(m)).exp().to_f64();
                });
            }
        }
        // One term of a sum is exp(0), so that nothing is lost by what is left for `log1p`.
        let mut logs = [T::ZERO; TILE];
        lanes::each(&mut logs[..n], &sums[..n], |log, sum| {
            *log = T::from_f64(sum - 1.0).log1p()
        });
        let (own, even) = self.target.shares();
        if even != 0.0 {
            for c in 0..spec.classes {
                let weight = self.target.weight(c);
                lanes::each2(&mut gaps[..n], &max, class_row(c), |gap, m, x| {
                    *gap += weight * (m - x).to_f64();
                });
            }
        }
        let labels = &self.target.labels[self.outer * spec.inner + self.j..][..n];
        for (k, &label) in labels.iter().enumerate() {
            let Some(y) = spec.class(label) else {
                (losses[k], lse[k]) = (T::ZERO, T::ZERO);
                continue;
            };
            let log = logs[k].to_f64();
            let mut value = own * self.target.weight(y) * ((max[k] - class_row(y)[k]).to_f64() + log);
            if even != 0.0 {
                value += even * (gaps[k] + self.target.total * log);
            }
            losses[k] = T::from_f64(value);
            lse[k] = T::from_f64(max[k].to_f64() + log);
        }
    }
}

/// The largest element `m` and `log sum exp(x - m)`, in one pass over memory: the sum is rescaled whenever a block of
/// elements has a larger one (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
#[inline(always)]
fn log_sum_exp<T: Real>(row: &[T]) -> (T, f64) {
    let (mut max, mut sum) = (-T::INFINITY, 0.0);
    for block in row.chunks(1024) {
        let block_max = lanes::max(block);
        if block_max > max {
            if sum > 0.0 {
                sum *= (max - block_max).to_f64().exp();
            }
            max = block_max;
        }
        let shift = finite_shift(max);
        sum += lanes::sum_map(block, |x| (x - shift).exp());
    }
    (max, sum.ln())
}

/// What is subtracted before `exp`: 0 instead of minus infinity, whose difference with itself would be NaN.
#[inline(always)]
fn finite_shift<T: Real>(max: T) -> T {
    T::select(max == -T::INFINITY, T::ZERO, max)
}

/// Computes `dx`, the cotangent of the scores, from that of the loss (`g`, one number, or one a sample where the
/// reduction is `None`) and what [`cross_entropy`] left behind:
///
/// ```text
/// dx[c] = g / divisor * (((1 - e) w[y] + e / C * sum w) exp(x[c] - lse) - (1 - e) w[y] [c = y] - e / C * w[c])
/// ```
#[expect(clippy::too_many_arguments, reason = "as above")]
pub fn cross_entropy_grad(
    cx: &mut Cx<'_>,
    scores: Buf,
    labels: Buf,
    weight: Option<Buf>,
    lse: Buf,
    divisor: Buf,
    g: Buf,
    dx: Buf,
    spec: CrossEntropy,
) {
    float!(cx, T => backward::<T>(cx, scores, labels, weight, lse, divisor, g, dx, spec));
}

#[expect(clippy::too_many_arguments, reason = "as above")]
fn backward<T: Real + Element>(
    cx: &mut Cx<'_>,
    scores: Buf,
    labels: Buf,
    weight: Option<Buf>,
    lse: Buf,
    divisor: Buf,
    g: Buf,
    dx: Buf,
    spec: CrossEntropy,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (scores, labels): (&[T], &[i64]) = (bind.read(scores), bind.read(labels));
    let weight: Option<&[T]> = weight.map(|w| bind.read(w));
    let (lse, divisor, g): (&[T], &[T], &[T]) = (bind.read(lse), bind.read(divisor), bind.read(g));
    let dx = bind.write::<T>(dx);
    let target = Target {
        labels,
        weight,
        total: weight.map_or(spec.classes as f64, lanes::sum),
        spec,
    };
    // Rows of a sample's classes, or of a class's samples: whichever lie side by side.
    let row_len = if spec.inner == 1 { spec.classes } else { spec.inner };
    let n = lanes::rows_per_task(row_len);
    env.team.chunks_mut(dx, n * row_len, |task, dx| {
        let divisor = divisor[0].to_f64();
        T::run(
            env.isa,
            Backward {
                scores,
                target,
                lse,
                divisor,
                g,
                first: task * n,
                row_len,
                dx,
            },
        );
    });
}

/// Cotangents of the scores, from row number `first` on.
struct Backward<'a, T> {
    scores: &'a [T],
    target: Target<'a, T>,
    lse: &'a [T],
    divisor: f64,
    g: &'a [T],
    first: usize,
    row_len: usize,
    dx: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let dx = std::mem::take(&mut self.dx);
        let rows = dx.len() / self.row_len;
        let mut done = 0;
        while done < rows {
            let (row, dx) = (self.first + done, &mut dx[done * self.row_len..]);
            if self.target.spec.inner == 1 {
                self.sample(row, &mut dx[..self.row_len]);
                done += 1;
            } else {
                let classes = self.target.spec.classes;
                let n = (classes - row % classes).min(rows - done);
                self.planes([row / classes, row % classes], &mut dx[..n * self.row_len]);
                done += n;
            }
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn scale(&self, sample: usize) -> f64 {
        let g = if self.target.spec.reduction == LossReduction::None {
            self.g[sample]
        } else {
            self.g[0]
        };
        g.to_f64() / self.divisor
    }

    /// Factors of the sample's probabilities and of the indicator of its label; both 0 where it does not count.
    #[inline(always)]
    fn factors(&self, sample: usize) -> (T, T) {
        let spec = self.target.spec;
        let Some(y) = spec.class(self.target.labels[sample]) else {
            return (T::ZERO, T::ZERO);
        };
        let (own, even) = self.target.shares();
        let (scale, label) = (self.scale(sample), own * self.target.weight(y));
        let probabilities = match spec.scores {
            Scores::Logits => scale * (label + even * self.target.total),
            Scores::LogProbabilities => 0.0,
        };
        (T::from_f64(probabilities), T::from_f64(scale * label))
    }

    /// All classes of one sample.
    #[inline(always)]
    fn sample(&self, sample: usize, dx: &mut [T]) {
        let spec = self.target.spec;
        let Some(y) = spec.class(self.target.labels[sample]) else {
            return dx.fill(T::ZERO);
        };
        let (probabilities, label) = self.factors(sample);
        let row = &self.scores[sample * spec.classes..][..spec.classes];
        let lse = self.lse[sample];
        match spec.scores {
            Scores::Logits => {
                lanes::each(dx, row, |d, x| *d = probabilities * (x - lse).exp());
            }
            Scores::LogProbabilities => dx.fill(T::ZERO),
        }
        let even = self.target.shares().1;
        if even != 0.0 {
            let share = T::from_f64(self.scale(sample) * even);
            match self.target.weight {
                None => {
                    for d in dx.iter_mut() {
                        *d -= share;
                    }
                }
                Some(weight) => lanes::each(dx, weight, |d, w| *d -= share * w),
            }
        }
        dx[y] -= label;
    }

    /// All samples of one outer index, for neighbouring classes: what depends on samples alone is computed once for a tile of them.
    #[inline(always)]
    fn planes(&self, [outer, class]: [usize; 2], dx: &mut [T]) {
        let (spec, inner) = (self.target.spec, self.target.spec.inner);
        let even = self.target.shares().1;
        for j in (0..inner).step_by(TILE) {
            let n = TILE.min(inner - j);
            let samples = outer * inner + j..outer * inner + j + n;
            let (mut probabilities, mut labels, mut shares) =
                ([T::ZERO; TILE], [T::ZERO; TILE], [T::ZERO; TILE]);
            let mut classes = [NO_CLASS; TILE];
            for (k, sample) in samples.clone().enumerate() {
                if let Some(y) = spec.class(self.target.labels[sample]) {
                    classes[k] = y;
                    (probabilities[k], labels[k]) = self.factors(sample);
                    shares[k] = T::from_f64(self.scale(sample) * even);
                }
            }
            let lse = &self.lse[samples];
            for (i, dx) in dx.chunks_exact_mut(inner).enumerate() {
                let c = class + i;
                let x = &self.scores[(outer * spec.classes + c) * inner + j..][..n];
                let (dx, weight) = (&mut dx[j..][..n], T::from_f64(self.target.weight(c)));
                for k in 0..n {
                    let mut value = T::ZERO;
                    if spec.scores == Scores::Logits {
                        value = probabilities[k] * (x[k] - lse[k]).exp();
                    }
                    value -= shares[k] * weight;
                    value -= T::select(classes[k] == c, labels[k], T::ZERO);
                    dx[k] = T::select(classes[k] == NO_CLASS, T::ZERO, value);
                }
            }
        }
    }
}

/// Stands for the class of a sample that does not count.
const NO_CLASS: usize = usize::MAX;

#[cfg(test)]
mod tests;

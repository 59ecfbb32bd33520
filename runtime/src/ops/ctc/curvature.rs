//! The second derivative of the loss, multiplied with a direction.
//!
//! The gradient is minus the share `p[t, c]` of the alignments that have class `c` in frame `t`, taken as probabilities of
//! alignments. So the second derivative is a covariance: with `s` the sum of the direction `v` along an alignment,
//!
//! ```text
//! (H v)[t, c] = -(E[s; class c in frame t] - p[t, c] E[s])
//! ```
//!
//! The expectations come out of the same recursions, which carry the mean of `s` beside the probability of every state (Li
//! and Eisner, "First- and second-order expectation semirings", 2009).

use super::walk::{Walk, normalise};
use super::{Ctc, Impossible, Targets};
use crate::arena::Buf;
use crate::cpu::isa::Isa;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::real::Real;

/// Rows of working memory that a sample needs besides two for every frame: both recursions at the place before the first
/// frame, both of the way back before and after a frame, and what [`Walk`] takes.
pub(super) const ROWS: usize = 7;

/// Computes `dx`, the cotangent of the log-probabilities behind [`ctc_grad`](super::ctc_grad), where `direction` is the
/// cotangent of its result and `g` what it was given itself. `scratch` has `batch * (2 frames + 7) (2 labels + 1)` elements.
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn ctc_curvature(
    cx: &mut Cx<'_>,
    log_probs: Buf,
    targets: Buf,
    input_lengths: Buf,
    target_lengths: Buf,
    g: Buf,
    direction: Buf,
    dx: Buf,
    scratch: Buf,
    spec: Ctc,
) {
    let operands = [log_probs, targets, input_lengths, target_lengths, g, direction];
    float!(cx, T => products::<T>(cx, operands, dx, scratch, spec));
}

fn products<T: Real + Element>(cx: &mut Cx<'_>, operands: [Buf; 6], dx: Buf, scratch: Buf, spec: Ctc) {
    let env = cx.env;
    let mut bind = cx.bind();
    let [x, targets, input_lengths, target_lengths, g, direction] = operands;
    let (x, g, direction): (&[T], &[T], &[T]) = (bind.read(x), bind.read(g), bind.read(direction));
    let targets = Targets {
        labels: bind.read(targets),
        frames: bind.read(input_lengths),
        lengths: bind.read(target_lengths),
        spec,
    };
    let (dx, scratch) = (bind.write::<T>(dx), bind.write::<T>(scratch));
    let (n, rows) = (spec.samples_per_task(), (2 * spec.frames + ROWS) * spec.states());
    let sample_len = spec.frames * spec.classes;
    if sample_len == 0 {
        return;
    }
    env.team
        .chunks_mut2(dx, n * sample_len, scratch, n * rows, |task, dx, scratch| {
            Products {
                isa: env.isa,
                x,
                targets,
                g,
                direction,
                first: task * n,
                dx,
                scratch,
            }
            .run();
        });
}

/// Products of the samples from `first` on.
struct Products<'a, T> {
    isa: Isa,
    x: &'a [T],
    targets: Targets<'a>,
    g: &'a [T],
    direction: &'a [T],
    first: usize,
    dx: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Products<'_, T> {
    fn run(self) {
        let spec = self.targets.spec;
        let sample_len = spec.frames * spec.classes;
        let rows = self
            .scratch
            .chunks_exact_mut((2 * spec.frames + ROWS) * spec.states());
        let samples = self.dx.chunks_exact_mut(sample_len).zip(rows);
        for (sample, (dx, scratch)) in (self.first..).zip(samples) {
            dx.fill(T::ZERO);
            let Some((labels, frames)) = self.targets.sample(sample) else {
                continue;
            };
            let used = frames * spec.classes;
            let own = sample * sample_len..sample * sample_len + used;
            let product = Product {
                isa: self.isa,
                spec,
                labels,
                x: &self.x[own.clone()],
                direction: &self.direction[own],
                scale: self.targets.scale(self.g, sample),
            };
            product.run(&mut dx[..used], scratch);
        }
    }
}

/// One sample.
struct Product<'a, T> {
    isa: Isa,
    spec: Ctc,
    labels: &'a [i64],
    x: &'a [T],
    direction: &'a [T],
    scale: f64,
}

impl<T: Real> Product<'_, T> {
    fn run(&self, dx: &mut [T], scratch: &mut [T]) {
        let (states, classes) = (self.spec.states(), self.spec.classes);
        let frames = self.x.len() / classes;
        let width = 2 * self.labels.len() + 1;
        let (forward, scratch) = scratch.split_at_mut((self.spec.frames + 1) * states);
        let (means, scratch) = scratch.split_at_mut((self.spec.frames + 1) * states);
        let (rows, rest) = scratch.split_at_mut(4 * states);
        let mut walk = Walk::new(self.isa, self.labels, self.spec.blank, rest);
        walk.begin(&mut forward[..width]);
        means[..width].fill(T::ZERO);
        for t in 0..frames {
            let (before, after) = forward[t * width..].split_at_mut(width);
            let (mean, next) = means[t * width..].split_at_mut(width);
            walk.advance(self.frame(self.x, t), before, &mut after[..width]);
            normalise(&mut after[..width]);
            self.carry_on(&walk, before, mean, &mut next[..width]);
            self.collect(t, &mut next[..width]);
        }
        if walk.end(&forward[frames * width..][..width]) == -T::INFINITY {
            if self.spec.impossible == Impossible::Infinite {
                dx.fill(T::NAN);
            }
            return;
        }
        let (now, rows) = rows.split_at_mut(width);
        let (before, rows) = rows.split_at_mut(width);
        let (now_mean, rows) = rows.split_at_mut(width);
        let (mut now, mut before) = (now, before);
        let (mut now_mean, mut before_mean) = (now_mean, &mut rows[..width]);
        walk.finish(now);
        now_mean.fill(T::ZERO);
        for t in (0..frames).rev() {
            let row = (t + 1) * width..(t + 2) * width;
            let means = &means[row.clone()];
            self.covariance(
                &mut forward[row],
                now,
                (means, now_mean),
                &mut dx[t * classes..][..classes],
            );
            walk.retreat(self.frame(self.x, t), now, before);
            self.collect(t, now_mean);
            self.carry_back(&walk, now, now_mean, before_mean);
            normalise(before);
            std::mem::swap(&mut now, &mut before);
            std::mem::swap(&mut now_mean, &mut before_mean);
        }
    }

    fn frame<'x>(&self, x: &'x [T], t: usize) -> &'x [T] {
        &x[t * self.spec.classes..][..self.spec.classes]
    }

    /// Adds what the direction has for the states of a frame.
    fn collect(&self, t: usize, means: &mut [T]) {
        let direction = self.frame(self.direction, t);
        let (blanks, labels) = means.split_at_mut(self.labels.len() + 1);
        blanks.iter_mut().for_each(|m| *m += direction[self.spec.blank]);
        for (m, &y) in labels.iter_mut().zip(self.labels) {
            *m += direction[y as usize];
        }
    }

    /// The means of the states of a frame, by the states that they are come to from.
    fn carry_on(&self, walk: &Walk<'_, T>, row: &[T], means: &[T], next: &mut [T]) {
        let n = self.labels.len();
        let at = |k: usize| (row[k], means[k]);
        let (blanks, labels) = next.split_at_mut(n + 1);
        for (i, next) in blanks.iter_mut().enumerate() {
            let step = if i > 0 { at(n + i) } else { nowhere() };
            *next = mean([at(i), step, nowhere()]);
        }
        for (i, next) in labels.iter_mut().enumerate() {
            let jump = if i > 0 {
                opened(at(n + i), walk.jump(i))
            } else {
                nowhere()
            };
            *next = mean([at(n + 1 + i), at(i), jump]);
        }
    }

    /// The means of the states of a frame, by the states that follow.
    fn carry_back(&self, walk: &Walk<'_, T>, row: &[T], means: &[T], before: &mut [T]) {
        let n = self.labels.len();
        let at = |k: usize| (row[k], means[k]);
        let (blanks, labels) = before.split_at_mut(n + 1);
        for (i, before) in blanks.iter_mut().enumerate() {
            let step = if i < n { at(n + 1 + i) } else { nowhere() };
            *before = mean([at(i), step, nowhere()]);
        }
        for (i, before) in labels.iter_mut().enumerate() {
            let jump = if i + 1 < n {
                opened(at(n + 2 + i), walk.jump(i + 1))
            } else {
                nowhere()
            };
            *before = mean([at(n + 1 + i), at(i + 1), jump]);
        }
    }

    /// Writes the product for one frame; `forward` is used up.
    fn covariance(&self, forward: &mut [T], backward: &[T], means: (&[T], &[T]), dx: &mut [T]) {
        forward.iter_mut().zip(backward).for_each(|(f, &b)| *f += b);
        normalise(forward);
        let both = |k: usize| (means.0[k] + means.1[k]).to_f64();
        let (mut total, mut sum) = (0.0, 0.0);
        for (k, share) in forward.iter_mut().enumerate() {
            *share = share.exp();
            // A state that no alignment goes through has no mean.
            if *share > T::ZERO {
                total += share.to_f64();
                sum += share.to_f64() * both(k);
            }
        }
        dx.fill(T::ZERO);
        let n = self.labels.len();
        for (k, share) in forward.iter().enumerate().filter(|(_, share)| **share > T::ZERO) {
            let class = if k > n {
                self.labels[k - n - 1] as usize
            } else {
                self.spec.blank
            };
            let product = share.to_f64() / total * (both(k) - sum / total);
            dx[class] += T::from_f64(-self.scale * product);
        }
    }
}

/// A state that nobody comes from.
#[inline(always)]
fn nowhere<T: Real>() -> (T, T) {
    (-T::INFINITY, T::ZERO)
}

#[inline(always)]
fn opened<T: Real>((log, mean): (T, T), open: T) -> (T, T) {
    (log + open, mean)
}

/// The mean of numbers whose weights are given by their logarithms; 0 where there is no weight.
#[inline(never)]
fn mean<T: Real>(terms: [(T, T); 3]) -> T {
    let top = terms.iter().fold(-T::INFINITY, |top, &(log, _)| top.max(log));
    if top == -T::INFINITY {
        return T::ZERO;
    }
    let (mut total, mut sum) = (T::ZERO, T::ZERO);
    for (log, value) in terms {
        let weight = (log - top).exp();
        total += weight;
        sum += weight * value;
    }
    sum / total
}

//! Connectionist temporal classification: the loss of a sequence of labels whose places in time are unknown.
//!
//! An alignment names a class for every frame; it spells the target if the target is left after repeated classes are
//! merged and blanks are dropped. With log-probabilities `x[t, c]` of a sample of `n` frames,
//!
//! ```text
//! loss = -log sum over the alignments k that spell the target of exp(x[0, k0] + ... + x[n - 1, kn-1])
//! ```
//!
//! The sum is taken by the forward-backward recursion of Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal
//! classification" (2006), in the logarithms of their equations 6 to 16: an alignment walks through the states blank,
//! label, blank, label, …, blank, and stays, goes on by one state, or jumps over a blank between different labels.
//!
//! Every frame is shifted so that its largest state is 0, the shifts being added in f64: what is lost to rounding does not grow
//! with the number of frames, as long as the states of the alignments that count lie near the largest (a state that lies 1000 below
//! it keeps four digits in f32). The backward kernel computes both recursions itself, so nothing is
//! kept between forward and backward. It gives the derivative by the log-probabilities as they are, minus the share of
//! all alignments that have class `c` in frame `t`; PyTorch's CPU kernel adds `exp(x[t, c])`, which the gradient of the
//! `log_softmax` before it takes away again: gradients of scores agree.

mod curvature;
#[cfg(test)]
mod tests;
mod walk;

pub use curvature::ctc_curvature;

use crate::arena::Buf;
use crate::cpu::isa::Isa;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::cross_entropy::LossReduction;
use crate::ops::lanes;
use crate::real::Real;

use walk::{Walk, normalise};

/// The loss of a target that no alignment spells: one that is longer than its frames.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Impossible {
    /// Infinity, with gradients that are NaN.
    Infinite,
    /// 0, with gradients that are 0.
    Zero,
}

/// Sizes and options.
#[derive(Copy, Clone, Debug)]
pub struct Ctc {
    /// Number of samples.
    pub batch: usize,
    /// Frames of every sample, including those after its own length.
    pub frames: usize,
    /// Number of classes, the blank included.
    pub classes: usize,
    /// Labels of every target, including those after its own length.
    pub labels: usize,
    /// The class that is no label.
    pub blank: usize,
    /// What is given where there is no alignment.
    pub impossible: Impossible,
    /// How the samples' losses become one. The mean is that of the losses divided by the targets' lengths (at least 1).
    pub reduction: LossReduction,
}

/// Rows of working memory that a sample needs forward: the recursion before and after a frame, and what [`Walk`] takes.
const FORWARD_ROWS: usize = 3;

/// Those that it needs backward besides one for every frame: the same, and the place before the first frame.
const BACKWARD_ROWS: usize = 4;

impl Ctc {
    /// States of a frame: the labels, and the blanks around them.
    fn states(&self) -> usize {
        2 * self.labels + 1
    }

    /// Samples that make a task: a function of the sizes alone. A state costs about ten times what an element costs that
    /// is only added.
    fn samples_per_task(&self) -> usize {
        (lanes::GRAIN / 10 / (self.frames * self.states()).max(1)).max(1)
    }
}

/// Targets and lengths, checked as they are read.
#[derive(Copy, Clone)]
struct Targets<'a> {
    labels: &'a [i64],
    frames: &'a [i64],
    lengths: &'a [i64],
    spec: Ctc,
}

impl<'a> Targets<'a> {
    /// The labels and the number of frames of a sample; nothing where one of them is out of range.
    fn sample(&self, sample: usize) -> Option<(&'a [i64], usize)> {
        let within = |n: i64, most: usize| usize::try_from(n).ok().filter(|&n| n <= most);
        let frames = within(self.frames[sample], self.spec.frames)?;
        let length = within(self.lengths[sample], self.spec.labels)?;
        let labels = &self.labels[sample * self.spec.labels..][..length];
        let is_label =
            |&y: &i64| usize::try_from(y).is_ok_and(|y| y < self.spec.classes && y != self.spec.blank);
        (self.spec.blank < self.spec.classes && labels.iter().all(is_label)).then_some((labels, frames))
    }

    /// What is wrong with the first sample that has a length or a label out of range.
    #[cold]
    fn mistake(&self) -> Option<Error> {
        let spec = self.spec;
        if spec.batch > 0 && spec.blank >= spec.classes {
            let message = format!(
                "ctc_loss: `blank` is {}, but there are {} classes",
                spec.blank, spec.classes
            );
            return Some(Error::config(message));
        }
        let sample = (0..spec.batch).find(|&sample| self.sample(sample).is_none())?;
        let lengths = [
            ("input", "frames", self.frames[sample], spec.frames),
            ("target", "labels", self.lengths[sample], spec.labels),
        ];
        for (what, unit, length, most) in lengths {
            if usize::try_from(length).map_or(true, |n| n > most) {
                let message = format!(
                    "ctc_loss: the {what} length of sample {sample} is {length}, but there are {most} {unit}: lengths \
                     must be in 0..={most}"
                );
                return Some(Error::new(ErrorKind::Index, message));
            }
        }
        let labels = &self.labels[sample * spec.labels..][..self.lengths[sample] as usize];
        let is_wrong = |y: i64| usize::try_from(y).map_or(true, |y| y >= spec.classes || y == spec.blank);
        let place = labels.iter().position(|&y| is_wrong(y))?;
        let message = format!(
            "ctc_loss: label {place} of sample {sample} is {}, but labels must be in 0..{} and not the blank, {}",
            labels[place], spec.classes, spec.blank
        );
        let hint =
            "places after the end of a target may hold anything; give its length as the fourth argument";
        Some(Error::new(ErrorKind::Label, message).hint(hint))
    }

    /// What the derivatives of a sample's loss are multiplied with, where `g` is the cotangent of the result.
    fn scale<T: Real>(&self, g: &[T], sample: usize) -> f64 {
        let g = match self.spec.reduction {
            LossReduction::None => g[sample],
            LossReduction::Mean | LossReduction::Sum => g[0],
        };
        g.to_f64() / self.divisor(sample)
    }

    /// What the loss of a sample is divided by.
    fn divisor(&self, sample: usize) -> f64 {
        match self.spec.reduction {
            LossReduction::Mean => self.spec.batch as f64 * self.lengths[sample].max(1) as f64,
            LossReduction::Sum | LossReduction::None => 1.0,
        }
    }
}

/// Computes the loss of log-probabilities `[batch, frames, classes]` and targets `[batch, labels]` with their lengths
/// `[batch]`: the samples' `losses` and, where the reduction is not `None`, `loss`. `scratch` has
/// `batch * 3 (2 labels + 1)` elements.
///
/// # Errors
/// A label or a length out of range is recorded in the context; such a sample has loss 0.
#[expect(
    clippy::too_many_arguments,
    reason = "an emitted call names each of its buffers"
)]
pub fn ctc(
    cx: &mut Cx<'_>,
    log_probs: Buf,
    targets: Buf,
    input_lengths: Buf,
    target_lengths: Buf,
    losses: Buf,
    loss: Option<Buf>,
    scratch: Buf,
    spec: Ctc,
) {
    let operands = [log_probs, targets, input_lengths, target_lengths];
    let failure = float!(cx, T => forward::<T>(cx, operands, losses, loss, scratch, spec));
    if let Some(error) = failure {
        cx.fail(error);
    }
}

fn forward<T: Real + Element>(
    cx: &mut Cx<'_>,
    [log_probs, targets, input_lengths, target_lengths]: [Buf; 4],
    losses: Buf,
    loss: Option<Buf>,
    scratch: Buf,
    spec: Ctc,
) -> Option<Error> {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(log_probs);
    let targets = Targets {
        labels: bind.read(targets),
        frames: bind.read(input_lengths),
        lengths: bind.read(target_lengths),
        spec,
    };
    let (losses, scratch) = (bind.write::<T>(losses), bind.write::<T>(scratch));
    assert_eq!(x.len(), spec.batch * spec.frames * spec.classes);
    let (n, rows) = (spec.samples_per_task(), FORWARD_ROWS * spec.states());
    env.team
        .chunks_mut2(losses, n, scratch, n * rows, |task, losses, scratch| {
            Forward {
                isa: env.isa,
                x,
                targets,
                first: task * n,
                losses,
                scratch,
            }
            .run();
        });
    if let Some(loss) = loss {
        let share = |(sample, loss): (usize, &T)| loss.to_f64() / targets.divisor(sample);
        let total: f64 = losses.iter().enumerate().map(share).sum();
        // The mean of no samples is NaN, as everywhere.
        let is_empty_mean = spec.batch == 0 && spec.reduction == LossReduction::Mean;
        bind.write::<T>(loss)[0] = T::from_f64(if is_empty_mean { f64::NAN } else { total });
    }
    targets.mistake()
}

/// Losses of the samples from `first` on.
struct Forward<'a, T> {
    isa: Isa,
    x: &'a [T],
    targets: Targets<'a>,
    first: usize,
    losses: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Forward<'_, T> {
    fn run(self) {
        let spec = self.targets.spec;
        let rows = self.scratch.chunks_exact_mut(FORWARD_ROWS * spec.states());
        for ((i, loss), scratch) in self.losses.iter_mut().enumerate().zip(rows) {
            let sample = self.first + i;
            let Some((labels, frames)) = self.targets.sample(sample) else {
                *loss = T::ZERO;
                continue;
            };
            let x = &self.x[sample * spec.frames * spec.classes..][..frames * spec.classes];
            let (rows, rest) = scratch.split_at_mut(2 * spec.states());
            let mut walk = Walk::new(self.isa, labels, spec.blank, rest);
            let (before, after) = rows.split_at_mut(spec.states());
            let (mut before, mut after) = (walk.row(before), walk.row(after));
            walk.begin(before);
            let mut shift = 0.0;
            for frame in x.chunks_exact(spec.classes) {
                walk.advance(frame, before, after);
                shift += normalise(after);
                std::mem::swap(&mut before, &mut after);
            }
            let total = shift + walk.end(before).to_f64();
            let is_zero = total == f64::NEG_INFINITY && spec.impossible == Impossible::Zero;
            *loss = T::from_f64(if is_zero { 0.0 } else { -total });
        }
    }
}

/// Computes `dx`, the cotangent of the log-probabilities, from that of the loss: `g`, one number, or one a sample where the
/// reduction is `None`. `scratch` has `batch * (frames + 4) (2 labels + 1)` elements.
///
/// ```text
/// dx[t, c] = -g / divisor * (share of all alignments that have class c in frame t)
/// ```
#[expect(clippy::too_many_arguments, reason = "as above")]
pub fn ctc_grad(
    cx: &mut Cx<'_>,
    log_probs: Buf,
    targets: Buf,
    input_lengths: Buf,
    target_lengths: Buf,
    g: Buf,
    dx: Buf,
    scratch: Buf,
    spec: Ctc,
) {
    let operands = [log_probs, targets, input_lengths, target_lengths];
    float!(cx, T => backward::<T>(cx, operands, g, dx, scratch, spec));
}

fn backward<T: Real + Element>(
    cx: &mut Cx<'_>,
    [log_probs, targets, input_lengths, target_lengths]: [Buf; 4],
    g: Buf,
    dx: Buf,
    scratch: Buf,
    spec: Ctc,
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, g): (&[T], &[T]) = (bind.read(log_probs), bind.read(g));
    let targets = Targets {
        labels: bind.read(targets),
        frames: bind.read(input_lengths),
        lengths: bind.read(target_lengths),
        spec,
    };
    let (dx, scratch) = (bind.write::<T>(dx), bind.write::<T>(scratch));
    let (n, rows) = (
        spec.samples_per_task(),
        (spec.frames + BACKWARD_ROWS) * spec.states(),
    );
    let sample_len = spec.frames * spec.classes;
    if sample_len == 0 {
        return;
    }
    env.team
        .chunks_mut2(dx, n * sample_len, scratch, n * rows, |task, dx, scratch| {
            Backward {
                isa: env.isa,
                x,
                targets,
                g,
                first: task * n,
                dx,
                scratch,
            }
            .run();
        });
}

/// Cotangents of the log-probabilities of the samples from `first` on.
struct Backward<'a, T> {
    isa: Isa,
    x: &'a [T],
    targets: Targets<'a>,
    g: &'a [T],
    first: usize,
    dx: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Backward<'_, T> {
    fn run(self) {
        let Self {
            isa, x, targets, g, ..
        } = self;
        let spec = targets.spec;
        let sample_len = spec.frames * spec.classes;
        let rows = self
            .scratch
            .chunks_exact_mut((spec.frames + BACKWARD_ROWS) * spec.states());
        let samples = self.dx.chunks_exact_mut(sample_len).zip(rows);
        for (sample, (dx, scratch)) in (self.first..).zip(samples) {
            dx.fill(T::ZERO);
            let Some((labels, frames)) = targets.sample(sample) else {
                continue;
            };
            let scale = targets.scale(g, sample);
            let used = frames * spec.classes;
            let x = &x[sample * sample_len..][..used];
            sample_grad((isa, spec), labels, x, scale, &mut dx[..used], scratch);
        }
    }
}

/// The derivatives of `scale * loss` of one sample.
fn sample_grad<T: Real>(
    (isa, spec): (Isa, Ctc),
    labels: &[i64],
    x: &[T],
    scale: f64,
    dx: &mut [T],
    scratch: &mut [T],
) {
    let (rows, rest) = scratch.split_at_mut((spec.frames + BACKWARD_ROWS - 1) * spec.states());
    let mut walk = Walk::new(isa, labels, spec.blank, rest);
    let (width, classes) = (2 * labels.len() + 1, spec.classes);
    let frames = x.len() / classes;
    let (forward, rows) = rows.split_at_mut((frames + 1) * width);
    walk.begin(&mut forward[..width]);
    for (t, frame) in x.chunks_exact(classes).enumerate() {
        let (before, after) = forward[t * width..].split_at_mut(width);
        walk.advance(frame, before, &mut after[..width]);
        normalise(&mut after[..width]);
    }
    if walk.end(&forward[frames * width..]) == -T::INFINITY {
        if spec.impossible == Impossible::Infinite {
            dx.fill(T::NAN);
        }
        return;
    }
    let (now, before) = rows.split_at_mut(width);
    let (mut now, mut before) = (now, &mut before[..width]);
    walk.finish(now);
    for t in (0..frames).rev() {
        walk.shares(
            &mut forward[(t + 1) * width..][..width],
            now,
            scale,
            &mut dx[t * classes..][..classes],
        );
        walk.retreat(&x[t * classes..][..classes], now, before);
        normalise(before);
        std::mem::swap(&mut now, &mut before);
    }
}

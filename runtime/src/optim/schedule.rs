//! Learning-rate schedules: the factor of the learning rate as a function of the position in training.
//!
//! A schedule has no state, so that a resumed run needs nothing but its position.

use std::f64::consts::PI;

/// A position in training.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Steps in an epoch.
    pub steps_per_epoch: u64,
    /// Epochs that the training will have.
    pub n_epochs: u64,
}

/// How the learning rate changes during training, as a factor of the optimizer's own.
///
/// ```
/// use tapeless_runtime::optim::schedule::{Progress, Schedule};
///
/// let schedule = Schedule::cosine(0.0).warmup(10);
/// let at = |step| schedule.factor(Progress { step, steps_per_epoch: 10, n_epochs: 11 });
/// assert_eq!((at(0), at(4), at(9)), (0.1, 0.5, 1.0));
/// assert_eq!(at(10), 1.0);
/// assert!((at(60) - 0.5).abs() < 1e-12);
/// assert!(at(110) < 1e-12);
/// ```
#[derive(Copy, Clone, PartialEq, Debug, Default)]
pub struct Schedule {
    shape: Shape,
    warmup_steps: u64,
}

#[derive(Copy, Clone, PartialEq, Debug, Default)]
enum Shape {
    #[default]
    Constant,
    Step {
        epochs: u64,
        gamma: f64,
    },
    Cosine {
        lowest: f64,
    },
}

impl Schedule {
    /// The learning rate stays.
    pub fn constant() -> Self {
        Self::default()
    }

    /// The learning rate is multiplied by `gamma` after every `epochs` epochs (PyTorch's `StepLR`); never if `epochs` is
    /// 0.
    pub fn step(epochs: u64, gamma: f64) -> Self {
        Self {
            shape: Shape::Step { epochs, gamma },
            warmup_steps: 0,
        }
    }

    /// Half a cosine from 1 at the start (after the warm-up) to `lowest` at the end of training: Loshchilov and Hutter,
    /// "SGDR: stochastic gradient descent with warm restarts" (2017), without restarts.
    pub fn cosine(lowest: f64) -> Self {
        Self {
            shape: Shape::Cosine { lowest },
            warmup_steps: 0,
        }
    }

    /// Begins with a linear rise over `steps` steps: 1 / steps, 2 / steps, … 1.
    #[must_use]
    pub fn warmup(self, steps: u64) -> Self {
        Self {
            warmup_steps: steps,
            ..self
        }
    }

    /// The factor for the step that comes after `progress.step` steps.
    pub fn factor(&self, progress: Progress) -> f64 {
        let Progress {
            step,
            steps_per_epoch,
            n_epochs,
        } = progress;
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Step { epochs, gamma } => {
                let epoch = step / steps_per_epoch.max(1);
                epoch.checked_div(epochs).map_or(1.0, |n| gamma.powf(n as f64))
            }
            Shape::Cosine { lowest } => {
                let total = steps_per_epoch
                    .saturating_mul(n_epochs)
                    .saturating_sub(self.warmup_steps);
                let share = ((step - self.warmup_steps) as f64 / total.max(1) as f64).min(1.0);
                lowest + (1.0 - lowest) * 0.5 * (1.0 + (PI * share).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schedule: Schedule, step: u64) -> f64 {
        schedule.factor(Progress {
            step,
            steps_per_epoch: 5,
            n_epochs: 4,
        })
    }

    #[test]
    fn steps_fall_at_the_ends_of_epochs() {
        let schedule = Schedule::step(2, 0.1);
        assert_eq!(
            (at(schedule, 9), at(schedule, 10), at(schedule, 19)),
            (1.0, 0.1, 0.1)
        );
        assert_eq!(at(Schedule::step(0, 0.1), 19), 1.0);
        assert_eq!(at(Schedule::constant().warmup(4), 1), 0.5);
    }

    #[test]
    fn a_cosine_ends_at_the_lowest_and_stays_there() {
        let schedule = Schedule::cosine(0.2);
        assert_eq!(at(schedule, 0), 1.0);
        assert!((at(schedule, 10) - 0.6).abs() < 1e-12);
        assert!((at(schedule, 20) - 0.2).abs() < 1e-12);
        assert_eq!(at(schedule, 20), at(schedule, 1000));
    }
}

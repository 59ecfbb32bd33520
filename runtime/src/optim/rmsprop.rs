//! RMSprop.

use super::pass::{Bound, Pass, Update};
use super::{Optim, Rule, check_range};
use crate::dtype::Element;
use crate::error::Result;
use crate::real::Real;

/// RMSprop, as `torch.optim.RMSprop`.
///
/// With gradient g, parameter p, moments v, a and b (all 0 at first), learning rate γ, weight decay λ, momentum μ:
///
/// ```text
/// g ← g + λ p
/// v ← α v + (1 - α) g²
/// d ← √v + ε, or √(v - a²) + ε with `centered`, where a ← a + (1 - α) (g - a)
/// p ← p - γ g / d, or p - γ b with momentum, where b ← μ b + g / d
/// ```
///
/// Source: Tieleman and Hinton, "Lecture 6.5: rmsprop" (2012); centered: Graves, "Generating sequences with recurrent
/// neural networks" (2013).
///
/// ```
/// use tapeless_runtime::optim::{Optimizer, RmsProp};
///
/// assert_eq!(RmsProp::default().lr(), 1e-2);
/// let rmsprop = RmsProp::new(1e-3).alpha(0.9).momentum(0.9).centered();
/// assert_eq!(rmsprop.name(), "rmsprop");
/// ```
pub type RmsProp = Optim<RmsPropRule>;

/// The rule of [`RmsProp`].
#[derive(Clone, Debug)]
pub struct RmsPropRule {
    alpha: f64,
    eps: f64,
    weight_decay: f64,
    momentum: f64,
    kind: Kind,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Centered,
}

/// A learning rate of 1e-2, PyTorch's defaults otherwise.
impl Default for RmsProp {
    fn default() -> Self {
        Self::new(1e-2)
    }
}

impl RmsProp {
    /// RMSprop with a learning rate; alpha 0.99, epsilon 1e-8, no momentum, not centered, no weight decay.
    pub fn new(lr: f64) -> Self {
        let rule = RmsPropRule {
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            kind: Kind::Plain,
        };
        Self::of(rule, lr)
    }

    /// The share of the mean square that is kept in each step (default 0.99).
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.rule.alpha = alpha;
        self
    }

    /// What is added to the denominator (default 1e-8).
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }

    /// The share of the parameter that is added to its gradient: an L2 penalty (default 0).
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.rule.weight_decay = weight_decay;
        self
    }

    /// The share of the buffer that is kept in each step (default 0: no buffer).
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// Divides by an estimate of the deviation instead of the root of the mean square.
    #[must_use]
    pub fn centered(mut self) -> Self {
        self.rule.kind = Kind::Centered;
        self
    }
}

impl Rule for RmsPropRule {
    const NAME: &'static str = "rmsprop";

    fn moments(&self) -> &'static [&'static str] {
        match (self.kind, self.momentum == 0.0) {
            (Kind::Plain, true) => &["square_avg"],
            (Kind::Plain, false) => &["square_avg", "momentum_buffer"],
            (Kind::Centered, true) => &["square_avg", "grad_avg"],
            (Kind::Centered, false) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    #[inline]
    fn check(&self) -> Result<()> {
        check_range("alpha", self.alpha, 0.0, 1.0)?;
        check_range("eps", self.eps, 0.0, f64::MAX)?;
        check_range("weight_decay", self.weight_decay, 0.0, f64::MAX)?;
        check_range("momentum", self.momentum, 0.0, f64::MAX)
    }

    fn flops(&self) -> u64 {
        // Decay 2, mean square 4, denominator 2, parameter 3; centring adds 5, a buffer 2.
        let kind = match self.kind {
            Kind::Plain => 11,
            Kind::Centered => 16,
        };
        if self.momentum == 0.0 { kind } else { kind + 2 }
    }

    // Has one caller, and what it is passed would be read in other widths than it was written in.
    #[inline(always)]
    fn run<T: Real + Element>(&self, lr: f64, _: u64, pass: Pass<'_, T>) {
        let update = RmsPropUpdate {
            lr: T::from_f64(lr),
            weight_decay: T::from_f64(self.weight_decay),
            alpha: T::from_f64(self.alpha),
            enters: T::from_f64(1.0 - self.alpha),
            eps: T::from_f64(self.eps),
            momentum: T::from_f64(self.momentum),
        };
        match (self.kind, self.momentum == 0.0) {
            (Kind::Plain, true) => pass.each(Plain(update)),
            (Kind::Plain, false) => pass.each(WithMomentum(update)),
            (Kind::Centered, true) => pass.each(Centered(update)),
            (Kind::Centered, false) => pass.each(CenteredWithMomentum(update)),
        }
    }
}

struct RmsPropUpdate<T> {
    lr: T,
    weight_decay: T,
    alpha: T,
    enters: T,
    eps: T,
    momentum: T,
}

impl<T: Real> RmsPropUpdate<T> {
    /// The gradient with the penalty, and the mean square.
    #[inline(always)]
    fn square(&self, param: T, grad: T, square: T) -> (T, T) {
        let grad = grad + self.weight_decay * param;
        (grad, self.alpha * square + self.enters * grad * grad)
    }

    /// The mean gradient, and the denominator. A variance cannot be negative, but what is computed can: by rounding, and where the
    /// mean square was so small that it became 0.
    #[inline(always)]
    fn center(&self, grad: T, square: T, mean: T) -> (T, T) {
        let mean = mean + self.enters * (grad - mean);
        (mean, (square - mean * mean).max(T::ZERO).sqrt() + self.eps)
    }
}

struct Plain<T>(RmsPropUpdate<T>);

impl<T: Real> Update<T, 1> for Plain<T> {
    const BOUND: Bound = Bound::Arithmetic;

    #[inline(always)]
    fn update(&self, param: T, grad: T, [square]: [T; 1]) -> (T, [T; 1]) {
        let (grad, square) = self.0.square(param, grad, square);
        (
            param - self.0.lr * (grad / (square.sqrt() + self.0.eps)),
            [square],
        )
    }
}

struct WithMomentum<T>(RmsPropUpdate<T>);

impl<T: Real> Update<T, 2> for WithMomentum<T> {
    const BOUND: Bound = Bound::Arithmetic;

    #[inline(always)]
    fn update(&self, param: T, grad: T, [square, buffer]: [T; 2]) -> (T, [T; 2]) {
        let (grad, square) = self.0.square(param, grad, square);
        let buffer = self.0.momentum * buffer + grad / (square.sqrt() + self.0.eps);
        (param - self.0.lr * buffer, [square, buffer])
    }
}

struct Centered<T>(RmsPropUpdate<T>);

impl<T: Real> Update<T, 2> for Centered<T> {
    const BOUND: Bound = Bound::Arithmetic;

    #[inline(always)]
    fn update(&self, param: T, grad: T, [square, mean]: [T; 2]) -> (T, [T; 2]) {
        let (grad, square) = self.0.square(param, grad, square);
        let (mean, denominator) = self.0.center(grad, square, mean);
        (param - self.0.lr * (grad / denominator), [square, mean])
    }
}

struct CenteredWithMomentum<T>(RmsPropUpdate<T>);

impl<T: Real> Update<T, 3> for CenteredWithMomentum<T> {
    const BOUND: Bound = Bound::Arithmetic;

    #[inline(always)]
    fn update(&self, param: T, grad: T, [square, mean, buffer]: [T; 3]) -> (T, [T; 3]) {
        let (grad, square) = self.0.square(param, grad, square);
        let (mean, denominator) = self.0.center(grad, square, mean);
        let buffer = self.0.momentum * buffer + grad / denominator;
        (param - self.0.lr * buffer, [square, mean, buffer])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;
    use crate::cpu::threads::Team;

    /// Squares of such gradients are so small that moments forget them, while the mean gradient stays: no variance may become
    /// negative.
    #[test]
    fn tiny_gradients_give_no_nan() {
        let kinds = [
            RmsProp::new(1e-2).centered(),
            RmsProp::new(1e-2).centered().momentum(0.9),
        ];
        for rule in kinds.map(|optimizer| optimizer.rule) {
            let grads = [1e-18f32, -5e-19, 1e-19, 1e-15, 1.0, 0.0];
            let n = grads.len();
            let (team, all) = (Team::serial(), 0..n);
            let mut params = vec![1.0; n];
            let mut moments = vec![0.0; n * rule.moments().len()];
            for step in 1..40 {
                let pass = Pass {
                    team: &team,
                    isa: Isa::best(),
                    params: &mut params,
                    grads: &grads,
                    moments: &mut moments,
                    runs: std::slice::from_ref(&all),
                    scale: 1.0,
                    limit: f32::INFINITY,
                };
                rule.run(1e-2, step, pass);
            }
            assert!(params.iter().all(|x| x.is_finite()), "{params:?}");
            assert!(params[4] < 1.0 && params[5] == 1.0, "{params:?}");
        }
    }
}

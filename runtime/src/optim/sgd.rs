//! Stochastic gradient descent, with momentum.

use super::pass::{Bound, Pass, Update};
use super::{Optim, Rule, check_range};
use crate::dtype::Element;
use crate::error::{Error, Result};
use crate::real::Real;

/// Stochastic gradient descent, as `torch.optim.SGD`.
///
/// With gradient g, parameter p and buffer b (momentum μ, dampening τ, weight decay λ, learning rate γ):
///
/// ```text
/// g ← g + λ p
/// b ← g at the first step, μ b + (1 - τ) g after it          only where μ ≠ 0
/// g ← b, or g + μ b with `nesterov`                          only where μ ≠ 0
/// p ← p - γ g
/// ```
///
/// Source: Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in
/// PyTorch's form, where the learning rate is outside the momentum.
///
/// ```
/// use tapeless_runtime::optim::{Optimizer, Sgd};
///
/// let sgd = Sgd::new(0.1).momentum(0.9).nesterov().weight_decay(5e-4);
/// assert_eq!(sgd.lr(), 0.1);
/// ```
pub type Sgd = Optim<SgdRule>;

/// The rule of [`Sgd`].
#[derive(Clone, Debug, Default)]
pub struct SgdRule {
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    kind: Kind,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Classical,
    Nesterov,
}

/// A learning rate of 1e-3, no momentum, no weight decay.
impl Default for Sgd {
    fn default() -> Self {
        Self::new(1e-3)
    }
}

impl Sgd {
    /// Plain gradient descent with a learning rate.
    pub fn new(lr: f64) -> Self {
        Self::of(SgdRule::default(), lr)
    }

    /// The share of the buffer that is kept in each step (default 0: no buffer).
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// The share of the gradient that does not enter the buffer (default 0).
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.rule.dampening = dampening;
        self
    }

    /// Nesterov's momentum: steps along the gradient that the buffer will have next.
    #[must_use]
    pub fn nesterov(mut self) -> Self {
        self.rule.kind = Kind::Nesterov;
        self
    }

    /// The share of the parameter that is added to its gradient: an L2 penalty (default 0).
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.rule.weight_decay = weight_decay;
        self
    }
}

impl Rule for SgdRule {
    const NAME: &'static str = "sgd";

    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 {
            &[]
        } else {
            &["momentum_buffer"]
        }
    }

    #[inline]
    fn check(&self) -> Result<()> {
        check_range("momentum", self.momentum, 0.0, f64::MAX)?;
        check_range("weight_decay", self.weight_decay, 0.0, f64::MAX)?;
        check_range("dampening", self.dampening, f64::MIN, f64::MAX)?;
        if self.kind == Kind::Nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let message = format!(
                "nesterov with momentum = {} and dampening = {}, expected a momentum above 0 and no dampening",
                self.momentum, self.dampening
            );
            return Err(Error::config(message));
        }
        Ok(())
    }

    fn flops(&self) -> u64 {
        // Decay 2 and parameter 2; with a buffer, 3 for it and 3 for the direction.
        if self.momentum == 0.0 { 4 } else { 10 }
    }

    // Has one caller, and what it is passed would be read in other widths than it was written in.
    #[inline(always)]
    fn run<T: Real + Element>(&self, lr: f64, step: u64, pass: Pass<'_, T>) {
        let (lr, weight_decay) = (T::from_f64(lr), T::from_f64(self.weight_decay));
        if self.momentum == 0.0 {
            return pass.each(Plain { lr, weight_decay });
        }
        // At the first step the buffer is 0, so that it becomes the gradient alone.
        let enters = if step == 1 { 1.0 } else { 1.0 - self.dampening };
        let momentum = T::from_f64(self.momentum);
        let (keeps, from_grad) = match self.kind {
            Kind::Classical => (T::ONE, T::ZERO),
            Kind::Nesterov => (momentum, T::ONE),
        };
        pass.each(Momentum {
            lr,
            weight_decay,
            momentum,
            enters: T::from_f64(enters),
            keeps,
            from_grad,
        });
    }
}

struct Plain<T> {
    lr: T,
    weight_decay: T,
}

impl<T: Real> Update<T, 0> for Plain<T> {
    const BOUND: Bound = Bound::Memory;

    #[inline(always)]
    fn update(&self, param: T, grad: T, _: [T; 0]) -> (T, [T; 0]) {
        (param - self.lr * (grad + self.weight_decay * param), [])
    }
}

struct Momentum<T> {
    lr: T,
    weight_decay: T,
    momentum: T,
    /// The share of the gradient that enters the buffer.
    enters: T,
    /// The step is along `keeps` times the buffer and `from_grad` times the gradient.
    keeps: T,
    from_grad: T,
}

impl<T: Real> Update<T, 1> for Momentum<T> {
    const BOUND: Bound = Bound::Memory;

    #[inline(always)]
    fn update(&self, param: T, grad: T, [buffer]: [T; 1]) -> (T, [T; 1]) {
        let grad = grad + self.weight_decay * param;
        let buffer = self.momentum * buffer + self.enters * grad;
        let direction = self.keeps * buffer + self.from_grad * grad;
        (param - self.lr * direction, [buffer])
    }
}

//! Adam and AdamW.

use super::pass::{Bound, Pass, Update};
use super::{Optim, Rule, check_range};
use crate::dtype::Element;
use crate::error::Result;
use crate::real::Real;

/// Adam, as `torch.optim.Adam`.
///
/// With gradient g, parameter p, moments m and v (all 0 at first), step number t, learning rate γ, weight decay λ:
///
/// ```text
/// g ← g + λ p
/// m ← m + (1 - β₁) (g - m)
/// v ← β₂ v + (1 - β₂) g²
/// p ← p - γ / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
/// ```
///
/// Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
///
/// ```
/// use tapeless_runtime::optim::{Adam, Optimizer};
///
/// assert_eq!(Adam::default().lr(), 1e-3);
/// let adam = Adam::new(3e-4).betas(0.9, 0.95).eps(1e-9).clip_norm(1.0);
/// assert_eq!(adam.lr(), 3e-4);
/// ```
pub type Adam = Optim<AdamRule>;

/// Adam with decoupled weight decay, as `torch.optim.AdamW`.
///
/// As [`Adam`], but the decay (λ, default 0.01) shrinks the parameter itself and does not enter the moments: instead of
/// the first line stands
///
/// ```text
/// p ← p - γ λ p
/// ```
///
/// Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
pub type AdamW = Optim<AdamWRule>;

/// The settings that [`Adam`] and [`AdamW`] share.
#[derive(Copy, Clone, Debug)]
struct Settings {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

const SETTINGS: Settings = Settings {
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.0,
};

/// The rule of [`Adam`].
#[derive(Clone, Debug)]
pub struct AdamRule(Settings);

/// The rule of [`AdamW`].
#[derive(Clone, Debug)]
pub struct AdamWRule(Settings);

impl Adam {
    /// Adam with a learning rate; betas (0.9, 0.999), epsilon 1e-8, no weight decay.
    pub fn new(lr: f64) -> Self {
        Self::of(AdamRule(SETTINGS), lr)
    }
}

impl AdamW {
    /// AdamW with a learning rate; betas (0.9, 0.999), epsilon 1e-8, weight decay 0.01.
    pub fn new(lr: f64) -> Self {
        Self::of(
            AdamWRule(Settings {
                weight_decay: 0.01,
                ..SETTINGS
            }),
            lr,
        )
    }
}

macro_rules! settings {
    ($($name:ident)*) => {$(
        /// A learning rate of 1e-3, PyTorch's defaults otherwise.
        impl Default for $name {
            fn default() -> Self {
                Self::new(1e-3)
            }
        }

        impl $name {
            /// The decay rates of the first and the second moment (default 0.9 and 0.999).
            #[must_use]
            pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
                (self.rule.0.beta1, self.rule.0.beta2) = (beta1, beta2);
                self
            }

            /// What is added to the denominator (default 1e-8).
            #[must_use]
            pub fn eps(mut self, eps: f64) -> Self {
                self.rule.0.eps = eps;
                self
            }

            /// The weight decay λ (default 0 for Adam, 0.01 for AdamW).
            #[must_use]
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.rule.0.weight_decay = weight_decay;
                self
            }
        }
    )*};
}
settings! { Adam AdamW }

const MOMENTS: &[&str] = &["exp_avg", "exp_avg_sq"];

impl Settings {
    #[inline]
    fn check(&self) -> Result<()> {
        check_range("beta1", self.beta1, 0.0, 1.0 - f64::EPSILON)?;
        check_range("beta2", self.beta2, 0.0, 1.0 - f64::EPSILON)?;
        check_range("eps", self.eps, 0.0, f64::MAX)?;
        check_range("weight_decay", self.weight_decay, 0.0, f64::MAX)
    }

    /// The update of a step; `decay` is added to the gradient, `shrink` multiplies the parameter.
    fn update<T: Real>(&self, lr: f64, step: u64, decay: f64, shrink: f64) -> AdamUpdate<T> {
        let exponent = step as f64;
        let (correction1, correction2) = (1.0 - self.beta1.powf(exponent), 1.0 - self.beta2.powf(exponent));
        AdamUpdate {
            decay: T::from_f64(decay),
            shrink: T::from_f64(shrink),
            enters1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            enters2: T::from_f64(1.0 - self.beta2),
            step_size: T::from_f64(lr / correction1),
            unbias2: T::from_f64(1.0 / correction2.sqrt()),
            eps: T::from_f64(self.eps),
        }
    }
}

/// Decay 2, first moment 3, second moment 4, denominator 3, parameter 4.
const FLOPS: u64 = 16;

impl Rule for AdamRule {
    const NAME: &'static str = "adam";

    fn moments(&self) -> &'static [&'static str] {
        MOMENTS
    }

    #[inline]
    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn flops(&self) -> u64 {
        FLOPS
    }

    // Has one caller, and what it is passed would be read in other widths than it was written in.
    #[inline(always)]
    fn run<T: Real + Element>(&self, lr: f64, step: u64, pass: Pass<'_, T>) {
        pass.each(self.0.update(lr, step, self.0.weight_decay, 1.0));
    }
}

impl Rule for AdamWRule {
    const NAME: &'static str = "adamw";

    fn moments(&self) -> &'static [&'static str] {
        MOMENTS
    }

    #[inline]
    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn flops(&self) -> u64 {
        FLOPS
    }

    // Has one caller, and what it is passed would be read in other widths than it was written in.
    #[inline(always)]
    fn run<T: Real + Element>(&self, lr: f64, step: u64, pass: Pass<'_, T>) {
        pass.each(self.0.update(lr, step, 0.0, 1.0 - lr * self.0.weight_decay));
    }
}

struct AdamUpdate<T> {
    decay: T,
    shrink: T,
    /// 1 - β₁
    enters1: T,
    beta2: T,
    /// 1 - β₂
    enters2: T,
    /// γ / (1 - β₁ᵗ)
    step_size: T,
    /// 1 / √(1 - β₂ᵗ): a quotient in place of the product would take a third of the step's time.
    unbias2: T,
    eps: T,
}

impl<T: Real> Update<T, 2> for AdamUpdate<T> {
    const BOUND: Bound = Bound::Arithmetic;

    #[inline(always)]
    fn update(&self, param: T, grad: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let grad = grad + self.decay * param;
        let m = m + self.enters1 * (grad - m);
        let v = self.beta2 * v + self.enters2 * grad * grad;
        let denominator = v.sqrt() * self.unbias2 + self.eps;
        (param * self.shrink - self.step_size * (m / denominator), [m, v])
    }
}

//! Optimizers: how gradients change parameters.
//!
//! A step is one pass over the flat buffers, in parallel pieces that depend on shapes alone, without allocation
//! after the first. Names, defaults and formulas are PyTorch's (`torch.optim`, version 2). What differs between
//! optimizers is a [`Rule`]; everything else (clipping, moments, state for checkpoints) is [`Optim`]'s.
//!
//! Parameters that the function's gradient does not reach keep their values, as in PyTorch those whose `grad` is
//! `None`. Unlike there, steps are counted for all parameters together.

mod adam;
mod pass;
mod rmsprop;
pub mod schedule;
mod sgd;

pub use adam::{Adam, AdamRule, AdamW, AdamWRule};
pub use pass::{Moments, Pass};
pub use rmsprop::{RmsProp, RmsPropRule};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdRule};

use std::ops::{Deref, DerefMut};

use ndarray::ArrayD;

use crate::dtype::{Element, stored};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::model::{Core, Model};
use crate::real::Real;
use crate::workspace::Workspace;

/// Limits on gradients, applied by a step before anything else; the gradients in the workspace stay as they are.
#[derive(Copy, Clone, PartialEq, Debug, Default)]
pub enum Clip {
    /// No limit.
    #[default]
    None,
    /// All gradients are scaled by min(1, max / (‖g‖ + 1e-6)), where ‖g‖ is the Euclidean norm of all of them
    /// together (PyTorch's `clip_grad_norm_`).
    Norm(f64),
    /// Every element is limited to [-max, max] (PyTorch's `clip_grad_value_`).
    Value(f64),
}

/// What changes a model's parameters by its gradients.
///
/// ```text
/// let mut adam = Adam::default();
/// let loss = model.loss_grad(&mut work, &images, &labels)?;
/// adam.step(&mut model, &mut work)?;
/// ```
pub trait Optimizer: Send {
    /// Its name in checkpoints.
    fn name(&self) -> &'static str;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Changes the learning rate from the next step on.
    fn set_lr(&mut self, lr: f64);

    /// Changes the limit on gradients from the next step on.
    fn set_clip(&mut self, clip: Clip);

    /// Changes the parameters by the gradients in the workspace, and commits the new values of carried tensors.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the workspace holds no gradients (no call, or one that failed) or belongs to another
    /// model, or if a setting makes no sense; [`ErrorKind::NonFinite`] if gradients are to be clipped and their norm is
    /// not finite. After an error nothing is changed.
    fn step_core(&mut self, core: &mut Core, work: &mut Workspace) -> Result<()>;

    /// [`step_core`](Self::step_core) of a model.
    ///
    /// # Errors
    ///
    /// As [`step_core`](Self::step_core).
    #[inline]
    fn step<M: Model>(&mut self, model: &mut M, work: &mut Workspace) -> Result<()>
    where
        Self: Sized,
    {
        self.step_core(model.core_mut(), work)
    }

    /// A copy of everything that later steps depend on besides the settings.
    fn state(&self, core: &Core) -> OptimizerState;

    /// Continues from a state that was taken from an optimizer of the same kind and settings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Checkpoint`] if it belongs to another optimizer or another model.
    fn restore(&mut self, core: &Core, state: &OptimizerState) -> Result<()>;
}

/// The state of an optimizer, as a checkpoint holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Name of the optimizer.
    pub name: String,
    /// Steps so far.
    pub steps: u64,
    /// Name of the moment, path of the parameter, values in the parameter's shape.
    pub moments: Vec<(String, String, ArrayD<f64>)>,
}

/// What distinguishes one optimizer from another.
pub trait Rule: Clone + Send + Sync {
    /// Its name in checkpoints.
    const NAME: &'static str;

    /// Names of the buffers that it carries from step to step, by PyTorch's names; they depend on the settings.
    fn moments(&self) -> &'static [&'static str];

    /// Rejects settings that make no sense.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] that names the setting.
    fn check(&self) -> Result<()>;

    /// Floating point operations that it takes to update one element, as the formula is written; square roots and quotients
    /// count as one.
    fn flops(&self) -> u64;

    /// Step number `step` (from 1 on) with a learning rate.
    fn run<T: Real + Element>(&self, lr: f64, step: u64, pass: Pass<'_, T>);
}

/// An optimizer: a rule with a learning rate and the moments it needs.
///
/// Settings are given builder-style: `Adam::new(1e-3).betas(0.9, 0.99).clip_norm(1.0)`.
#[derive(Clone, Debug)]
pub struct Optim<R> {
    rule: Settings<R>,
    lr: f64,
    clip: Clip,
    steps: u64,
    moments: Option<Moments>,
}

/// Settings that are checked once, until somebody changes them: a step of a small network takes no longer than such checks.
#[derive(Clone, Debug)]
struct Settings<R> {
    rule: R,
    are_checked: bool,
}

impl<R: Rule> Settings<R> {
    #[inline]
    fn check(&mut self) -> Result<()> {
        if !self.are_checked {
            self.rule.check()?;
            self.are_checked = true;
        }
        Ok(())
    }
}

impl<R> Deref for Settings<R> {
    type Target = R;

    #[inline]
    fn deref(&self) -> &R {
        &self.rule
    }
}

/// Whoever may change them has them checked again.
impl<R> DerefMut for Settings<R> {
    fn deref_mut(&mut self) -> &mut R {
        self.are_checked = false;
        &mut self.rule
    }
}

impl<R: Rule> Optim<R> {
    fn of(rule: R, lr: f64) -> Self {
        Self {
            rule: Settings {
                rule,
                are_checked: false,
            },
            lr,
            clip: Clip::None,
            steps: 0,
            moments: None,
        }
    }

    /// Scales gradients so that their common norm does not exceed `max_norm`: see [`Clip::Norm`].
    #[must_use]
    pub fn clip_norm(mut self, max_norm: f64) -> Self {
        self.clip = Clip::Norm(max_norm);
        self
    }

    /// Limits every element of the gradients to `[-max, max]`: see [`Clip::Value`].
    #[must_use]
    pub fn clip_value(mut self, max: f64) -> Self {
        self.clip = Clip::Value(max);
        self
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn check(&mut self) -> Result<()> {
        check_range("lr", self.lr, 0.0, f64::MAX)?;
        match self.clip {
            Clip::None => {}
            Clip::Norm(max) => check_range("clip_norm", max, 0.0, f64::INFINITY)?,
            Clip::Value(max) => check_range("clip_value", max, 0.0, f64::INFINITY)?,
        }
        self.rule.check()
    }

    /// Makes the moments if there are none, and checks that they suit the model if there are.
    fn prepare_moments(&mut self, layout: &Layout) -> Result<()> {
        let (n, n_elements) = (
            self.rule.moments().len(),
            layout.bytes() / layout.precision().width(),
        );
        match &self.moments {
            None => self.moments = Some(Moments::zeros(n, n_elements, layout.precision())?),
            Some(moments) if moments.suits(n, n_elements, layout.precision()) => {}
            Some(_) => {
                let message = "this optimizer has moments of another model, precision or setting";
                return Err(Error::config(message).hint("make a new optimizer for every model"));
            }
        }
        Ok(())
    }

    fn prepare(&mut self, core: &Core, work: &mut Workspace) -> Result<(f64, f64)> {
        self.check()?;
        work.check_gradients()?;
        work.check_model(core)?;
        self.prepare_moments(core.params_layout())?;
        match self.clip {
            Clip::None => Ok((1.0, f64::INFINITY)),
            Clip::Value(max) => Ok((1.0, max)),
            Clip::Norm(max) => {
                let norm = work.grad_norm_in_place()?;
                if !norm.is_finite() {
                    let message = format!("the norm of the gradients is {norm}");
                    return Err(Error::new(ErrorKind::NonFinite, message)
                        .hint("nothing was changed; a smaller learning rate may help"));
                }
                Ok(((max / (norm + 1e-6)).min(1.0), f64::INFINITY))
            }
        }
    }

    /// Floating point operations and bytes of a step: parameters and moments are read and written, gradients are read
    /// (twice, where their norm is clipped).
    fn work(&self, work: &Workspace) -> [u64; 2] {
        let n_elements: usize = work.runs().iter().map(std::ops::Range::len).sum();
        let (limit_flops, grad_passes) = match self.clip {
            Clip::Norm(_) => (5, 2),
            Clip::None | Clip::Value(_) => (3, 1),
        };
        let flops = self.rule.flops() + limit_flops;
        let buffers = 2 + grad_passes + 2 * self.rule.moments().len();
        let bytes = buffers * work.precision().width();
        [n_elements as u64 * flops, (n_elements * bytes) as u64]
    }

    fn run<T: Real + Element>(&mut self, core: &mut Core, work: &Workspace, scale: f64, limit: f64) {
        let isa = core.device().isa();
        let Some(moments) = &mut self.moments else { return };
        let pass = Pass {
            team: work.team(),
            isa,
            params: core.params_mut().as_mut_slice::<T>(),
            grads: work.grads.as_slice::<T>(),
            moments: moments.as_mut_slice::<T>(),
            runs: work.runs(),
            scale: T::from_f64(scale),
            limit: T::from_f64(limit),
        };
        self.rule.run(self.lr, self.steps, pass);
    }
}

impl<R: Rule> Optimizer for Optim<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn set_clip(&mut self, clip: Clip) {
        self.clip = clip;
    }

    fn step_core(&mut self, core: &mut Core, work: &mut Workspace) -> Result<()> {
        let began = work.clock();
        let (scale, limit) = self.prepare(core, work).map_err(|error| error.context(R::NAME))?;
        self.steps += 1;
        stored!(core.precision(), T => self.run::<T>(core, work, scale, limit));
        core.commit(work);
        work.mark_used();
        if began.is_some() {
            work.end_update(R::NAME, began, self.work(work));
        }
        Ok(())
    }

    fn state(&self, core: &Core) -> OptimizerState {
        let mut state = OptimizerState {
            name: R::NAME.into(),
            steps: self.steps,
            moments: Vec::new(),
        };
        if let Some(moments) = &self.moments {
            for (k, name) in self.rule.moments().iter().enumerate() {
                for (index, spec) in core.params_layout().specs().iter().enumerate() {
                    let values = moments.read(core.params_layout(), k, index);
                    state.moments.push(((*name).into(), (*spec.path).into(), values));
                }
            }
        }
        state
    }

    fn restore(&mut self, core: &Core, state: &OptimizerState) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Checkpoint, message));
        if state.name != R::NAME {
            return refuse(format!(
                "expected the state of {}, found that of {}",
                R::NAME,
                state.name
            ));
        }
        let (layout, names) = (core.params_layout(), self.rule.moments());
        let mut moments = Moments::zeros(
            names.len(),
            layout.bytes() / layout.precision().width(),
            layout.precision(),
        )?;
        for (name, path, values) in &state.moments {
            let (Some(k), Some(index)) = (names.iter().position(|own| own == name), layout.find(path)) else {
                return refuse(format!(
                    "{} has no moment `{name}` of `{path}` with these settings",
                    R::NAME
                ));
            };
            let shape = &layout.specs()[index].shape;
            if values.shape() != shape {
                return refuse(format!(
                    "moment `{name}` of `{path}`: expected {shape:?}, found {:?}",
                    values.shape()
                ));
            }
            moments.write(layout, k, index, values);
        }
        let n_expected = if state.steps == 0 {
            0
        } else {
            names.len() * layout.specs().len()
        };
        if state.moments.len() < n_expected {
            return refuse(format!(
                "expected {n_expected} moments, found {}",
                state.moments.len()
            ));
        }
        self.moments = Some(moments);
        self.steps = state.steps;
        Ok(())
    }
}

/// Rejects a setting outside `low ..= high` (below infinity).
#[inline]
fn check_range(name: &'static str, value: f64, low: f64, high: f64) -> Result<()> {
    if low <= value && value <= high {
        return Ok(());
    }
    Err(outside(name, value, low, high))
}

#[cold]
#[inline(never)]
fn outside(name: &'static str, value: f64, low: f64, high: f64) -> Error {
    let range = if high >= f64::MAX {
        format!("at least {low}")
    } else {
        format!("in {low} ..= {high}")
    };
    Error::config(format!("{name} = {value}, expected {range}"))
}

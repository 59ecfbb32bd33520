//! Reading gradients from a workspace, and their norm.

use std::ops::Range;

use ndarray::{ArrayD, IxDyn};

use super::{Mode, Workspace};
use crate::arena::Storage;
use crate::cpu::threads::Team;
use crate::dtype::{Dtype, Element, Precision, stored};
use crate::error::{Error, Result};
use crate::flat::Layout;
use crate::real::Real;

/// Elements of a partial sum of the norm: it fixes the tree of the reduction.
const CHUNK: usize = 4096;

/// Partial sums that the norm of these ranges takes.
pub(super) fn n_partial_sums(runs: &[Range<usize>]) -> usize {
    runs.iter().map(|run| run.len().div_ceil(CHUNK)).sum()
}

impl Workspace {
    #[inline]
    pub(crate) fn check_gradients(&self) -> Result<()> {
        if self.pending.is_some() {
            return Ok(());
        }
        Err(self.no_gradients())
    }

    #[cold]
    fn no_gradients(&self) -> Error {
        let name = self.function().name;
        Error::config("this workspace holds no gradients")
            .hint(format!("call `{name}_grad` with it first, and handle its error"))
    }

    /// The loss of the last successful gradient call.
    ///
    /// # Errors
    ///
    /// A configuration error if there was none.
    pub fn loss(&self) -> Result<f64> {
        self.check_gradients()?;
        Ok(self.pending.map_or(f64::NAN, |pending| pending.loss))
    }

    /// The gradient of the loss with respect to the parameter at `path`, in its shape.
    ///
    /// ∂ loss / ∂ parameter, summed over accumulated calls; 0 where the function does not depend on it.
    ///
    /// # Errors
    ///
    /// A configuration error if there is no such parameter, or no gradient call has succeeded.
    pub fn grad(&self, path: &str) -> Result<ArrayD<f64>> {
        self.grad_as(path)
    }

    /// [`grad`](Self::grad), as `f32` or `f64`.
    ///
    /// # Errors
    ///
    /// As [`grad`](Self::grad).
    pub fn grad_as<T: Real>(&self, path: &str) -> Result<ArrayD<T>> {
        self.check_gradients()?;
        Ok(self.params.read(&self.grads, self.params.index(path)?))
    }

    /// All gradients with the paths of their parameters, in the order of the flat buffer.
    ///
    /// # Errors
    ///
    /// A configuration error if no gradient call has succeeded.
    pub fn grads(&self) -> Result<Vec<(&str, ArrayD<f64>)>> {
        self.check_gradients()?;
        let specs = self.params.specs().iter().enumerate();
        Ok(specs
            .map(|(k, spec)| (&*spec.path, self.params.read(&self.grads, k)))
            .collect())
    }

    /// The Euclidean norm of all gradients together, as PyTorch's `clip_grad_norm_` computes it.
    ///
    /// Squares are summed in f64 over pieces that depend on shapes alone.
    ///
    /// # Errors
    ///
    /// A configuration error if no gradient call has succeeded.
    pub fn grad_norm(&self) -> Result<f64> {
        self.check_gradients()?;
        let mut sums = Vec::new();
        Ok(norm(
            self.team(),
            &self.grads,
            self.precision(),
            &self.runs,
            &mut sums,
        ))
    }

    /// [`grad_norm`](Self::grad_norm) without allocation.
    pub(crate) fn grad_norm_in_place(&mut self) -> Result<f64> {
        self.check_gradients()?;
        let mut sums = std::mem::take(&mut self.partial_sums);
        let result = norm(self.team(), &self.grads, self.precision(), &self.runs, &mut sums);
        self.partial_sums = sums;
        Ok(result)
    }

    /// The gradient with respect to an argument that is marked `#[grad]`, in the argument's shape.
    ///
    /// # Errors
    ///
    /// A configuration error if the argument does not exist or is not marked, or if the last call on this workspace
    /// was not a gradient call.
    pub fn input_grad(&self, name: &str) -> Result<ArrayD<f64>> {
        self.check_gradients()?;
        let function = self.function();
        let train = function.train.as_ref().filter(|_| self.mode == Mode::Train);
        let Some(code) = train else {
            return Err(Error::config(
                "the last call on this workspace computed no gradients",
            ));
        };
        let marked = |&&(index, _): &&(usize, usize)| function.inputs[index].name == name;
        let Some(&(index, slot)) = code.input_grads.iter().find(marked) else {
            let message = format!("{} computes no gradient with respect to `{name}`", function.name);
            return Err(Error::config(message).hint(format!("write `#[grad] {name}: …` in its declaration")));
        };
        let spec = &function.inputs[index];
        let (shape, rank) = self.sizes().shape(spec.shape);
        let shape = &shape[..rank];
        let elements = self.read_slot::<f64>(slot, Dtype::Float, shape.iter().product());
        Ok(ArrayD::from_shape_vec(IxDyn(shape), elements)?)
    }

    /// Keeps the present gradients and carried tensors aside, so that the next ones can be added.
    ///
    /// `committed` are the model's carried tensors; those that this function updates continue from its last call.
    pub(crate) fn set_aside(&mut self, committed: &Storage) -> Result<()> {
        self.grads_before = super::at_least(&mut self.grads_before, self.grads.bytes())?;
        self.states_before = super::at_least(&mut self.states_before, self.states.bytes())?;
        std::mem::swap(&mut self.grads, &mut self.grads_before);
        self.states_before
            .as_mut_slice::<u8>()
            .copy_from_slice(committed.as_slice());
        self.copy_updates(|work| (&mut work.states_before, &work.new_states));
        Ok(())
    }

    /// Undoes [`set_aside`](Self::set_aside) after a call that failed.
    pub(crate) fn take_back(&mut self) {
        std::mem::swap(&mut self.grads, &mut self.grads_before);
        self.copy_updates(|work| (&mut work.new_states, &work.states_before));
    }

    /// Copies the carried tensors that the function updates from one buffer to another.
    fn copy_updates(&mut self, buffers: impl Fn(&mut Self) -> (&mut Storage, &Storage)) {
        let updates = self
            .function()
            .train
            .as_ref()
            .map_or(&[][..], |code| code.updates);
        let states = std::sync::Arc::clone(&self.states);
        let (to, from) = buffers(self);
        copy_tensors(&states, updates, to, from);
    }

    /// Adds what was set aside to the present gradients.
    pub(crate) fn add_before(&mut self) {
        fn add<T: Real + Element>(team: &Team, grads: &mut Storage, before: &Storage) {
            let before = before.as_slice::<T>();
            team.chunks_mut(grads.as_mut_slice::<T>(), CHUNK, |i, chunk| {
                for (x, &y) in chunk.iter_mut().zip(&before[i * CHUNK..]) {
                    *x += y;
                }
            });
        }
        stored!(self.precision(), T => add::<T>(&self.team, &mut self.grads, &self.grads_before));
    }
}

/// Copies the tensors of some declarations of a layout from one buffer to another.
pub(crate) fn copy_tensors(layout: &Layout, declarations: &[usize], to: &mut Storage, from: &Storage) {
    let width = layout.precision().width();
    for range in declarations.iter().map(|&declaration| layout.extent(declaration)) {
        let bytes = range.start * width..range.end * width;
        to.as_mut_slice::<u8>()[bytes.clone()].copy_from_slice(&from.as_slice()[bytes]);
    }
}

/// The Euclidean norm of some ranges of a buffer; `sums` is scratch space.
fn norm(
    team: &Team,
    storage: &Storage,
    precision: Precision,
    runs: &[Range<usize>],
    sums: &mut Vec<f64>,
) -> f64 {
    sums.clear();
    for run in runs {
        let first = sums.len();
        sums.resize(first + run.len().div_ceil(CHUNK), 0.0);
        stored!(precision, T => squares(team, &storage.as_slice::<T>()[run.clone()], &mut sums[first..]));
    }
    pairwise(sums).sqrt()
}

/// The sum of squares of each chunk of `elements`.
fn squares<T: Real>(team: &Team, elements: &[T], sums: &mut [f64]) {
    team.chunks_mut(sums, 1, |i, sum| {
        let chunk = &elements[i * CHUNK..elements.len().min((i + 1) * CHUNK)];
        let mut lanes = [0.0; 8];
        for eight in chunk.chunks(lanes.len()) {
            for (lane, x) in lanes.iter_mut().zip(eight) {
                let x = x.to_f64();
                *lane += x * x;
            }
        }
        sum[0] = pairwise(&lanes);
    });
}

/// The sum in a balanced tree.
fn pairwise(values: &[f64]) -> f64 {
    match values {
        [] => 0.0,
        [x] => *x,
        _ => {
            let (left, right) = values.split_at(values.len() / 2);
            pairwise(left) + pairwise(right)
        }
    }
}

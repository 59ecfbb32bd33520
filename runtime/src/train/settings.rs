//! The trainer's settings.

use std::io::Write;
use std::path::PathBuf;

use super::history::{EpochRecord, History};
use super::inputs::Inputs;
use super::path::FunctionPath;
use super::progress::Output;
use super::run;
use super::watch::Better;
use crate::data::Dataset;
use crate::error::Result;
use crate::model::Model;
use crate::optim::{Clip, Optimizer, Schedule};

/// What a callback wants to happen next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Flow {
    /// The training goes on.
    Continue,
    /// The training ends here, as if this had been the last epoch.
    Stop,
}

/// What a callback sees at the end of an epoch.
#[derive(Debug)]
#[non_exhaustive]
pub struct EpochEnd<'e, M> {
    /// The model as it is now.
    pub model: &'e M,
    /// The measurements of the epoch.
    pub record: &'e EpochRecord,
    /// Those of all epochs so far.
    pub history: &'e History,
}

/// What happens if there is no file to resume from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum IfMissing {
    Fail,
    Start,
}

/// In which order the samples of an epoch are visited.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Shuffled by the model's seed.
    OfModel,
    /// Shuffled by a seed.
    Seeded(u64),
    /// That of the data set.
    Unshuffled,
}

/// A function of the model, to be found when the model is there.
pub(super) type Find<'a, M> = Box<dyn Fn(&M) -> Result<usize> + 'a>;

/// What a user wants to do at the end of every epoch.
pub(super) type Callback<'a, M> = Box<dyn FnMut(&EpochEnd<'_, M>) -> Result<Flow> + 'a>;

pub(super) struct Metric<'a, M> {
    pub name: String,
    pub better: Better,
    pub find: Find<'a, M>,
}

/// Trains a model on a data set.
///
/// Without further settings: one epoch in batches of 32, shuffled anew in every epoch, of the function called `loss`.
///
/// ```text
/// let history = Trainer::new(Adam::default())
///     .epochs(5)
///     .batch_size(64)
///     .metric("accuracy", Mnist::accuracy)
///     .early_stopping("accuracy", 3)
///     .keep_best("accuracy")
///     .checkpoint("mnist.training.safetensors")
///     .resume_if_exists("mnist.training.safetensors")
///     .progress()
///     .fit(&mut model, &train, &test)?;
/// history.to_csv("history.csv")?;
/// ```
#[must_use]
pub struct Trainer<'a, M, O> {
    pub(super) optimizer: O,
    pub(super) n_epochs: u64,
    pub(super) batch_size: usize,
    pub(super) order: Order,
    pub(super) drop_last: bool,
    pub(super) n_prefetch: usize,
    pub(super) objective: Option<Find<'a, M>>,
    pub(super) metrics: Vec<Metric<'a, M>>,
    pub(super) scalars: Vec<(String, f64)>,
    pub(super) schedule: Option<Schedule>,
    pub(super) early_stopping: Option<(String, usize)>,
    pub(super) keep_best: Option<String>,
    pub(super) callback: Option<Callback<'a, M>>,
    pub(super) checkpoint: Option<PathBuf>,
    pub(super) checkpoint_steps: Option<u64>,
    pub(super) resume: Option<(PathBuf, IfMissing)>,
    pub(super) output: Output<'a>,
}

impl<'a, M: Model, O: Optimizer> Trainer<'a, M, O> {
    /// A trainer with an optimizer.
    pub fn new(optimizer: O) -> Self {
        Self {
            optimizer,
            n_epochs: 1,
            batch_size: 32,
            order: Order::OfModel,
            drop_last: false,
            n_prefetch: 2,
            objective: None,
            metrics: Vec::new(),
            scalars: Vec::new(),
            schedule: None,
            early_stopping: None,
            keep_best: None,
            callback: None,
            checkpoint: None,
            checkpoint_steps: None,
            resume: None,
            output: Output::Silent,
        }
    }

    /// The number of passes over the training set (default 1). A resumed training counts those before the interruption.
    pub fn epochs(mut self, n_epochs: usize) -> Self {
        self.n_epochs = n_epochs as u64;
        self
    }

    /// The number of samples in a batch (default 32); the last batch of an epoch may have fewer.
    pub fn batch_size(mut self, n_samples: usize) -> Self {
        self.batch_size = n_samples;
        self
    }

    /// The seed of the order in which samples are visited (default: the model's seed).
    pub fn seed(mut self, seed: u64) -> Self {
        self.order = Order::Seeded(seed);
        self
    }

    /// Visits the samples in the order of the data set, in every epoch the same.
    pub fn unshuffled(mut self) -> Self {
        self.order = Order::Unshuffled;
        self
    }

    /// Leaves out the samples at the end of an epoch that do not fill a batch.
    pub fn drop_last(mut self) -> Self {
        self.drop_last = true;
        self
    }

    /// The number of batches that a background thread prepares ahead (default 2); 0 for no thread.
    pub fn prefetch(mut self, n_batches: usize) -> Self {
        self.n_prefetch = n_batches;
        self
    }

    /// Trains another function than `loss`: `.objective(Mnist::distillation_loss)`, or by its name.
    pub fn objective<F>(mut self, path: impl FunctionPath<M, F> + 'a) -> Self {
        self.objective = Some(Box::new(move |model| path.function(model)));
        self
    }

    /// Measures a function of the model on the validation set after every epoch: `.metric("accuracy", Mnist::accuracy)`.
    /// The value is the mean over the samples, each batch weighted by its size. Larger values are better.
    ///
    /// The function takes the arguments that have the names of its own in the objective's declaration.
    pub fn metric<F>(self, name: &str, path: impl FunctionPath<M, F> + 'a) -> Self {
        self.push_metric(name, Better::Higher, path)
    }

    /// [`metric`](Self::metric), of which smaller values are better: an error, a perplexity.
    pub fn error_metric<F>(self, name: &str, path: impl FunctionPath<M, F> + 'a) -> Self {
        self.push_metric(name, Better::Lower, path)
    }

    fn push_metric<F>(mut self, name: &str, better: Better, path: impl FunctionPath<M, F> + 'a) -> Self {
        self.metrics.push(Metric {
            name: name.to_owned(),
            better,
            find: Box::new(move |model| path.function(model)),
        });
        self
    }

    /// The value of a host scalar, for every function that has an argument of this name: `.scalar("dropout", 0.2)`.
    /// Truth values are given as `true` and `false`.
    pub fn scalar(mut self, name: &str, value: impl Into<f64>) -> Self {
        self.scalars.push((name.to_owned(), value.into()));
        self
    }

    /// Changes the learning rate from step to step: the optimizer's own is multiplied by the schedule's factor.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Scales gradients so that their common norm does not exceed `max_norm`.
    pub fn clip_norm(mut self, max_norm: f64) -> Self {
        self.optimizer.set_clip(Clip::Norm(max_norm));
        self
    }

    /// Ends the training once `metric` (or `"loss"`, `"train_loss"`) has not got better for `patience` epochs in a row.
    pub fn early_stopping(mut self, metric: &str, patience: usize) -> Self {
        self.early_stopping = Some((metric.to_owned(), patience));
        self
    }

    /// At the end, puts the parameters and carried tensors of the epoch back into the model in which `metric` (or
    /// `"loss"`, `"train_loss"`) was best.
    pub fn keep_best(mut self, metric: &str) -> Self {
        self.keep_best = Some(metric.to_owned());
        self
    }

    /// Calls `callback` at the end of every epoch, after validation and checkpoint; it may end the training. An error of
    /// its own ends it too and is handed on.
    ///
    /// A closure that looks at the model comes after `.metric(…)` or `.objective(…)`, which tell the compiler its type, or
    /// names it: `|end: &EpochEnd<Mnist>| …`.
    pub fn on_epoch(mut self, callback: impl FnMut(&EpochEnd<'_, M>) -> Result<Flow> + 'a) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Writes a checkpoint at the end of every epoch, replacing the one before. A crash at any instant leaves the old
    /// or the new one, whole. Its folder is made if it does not exist.
    ///
    /// The model's `load` reads it too, and takes the parameters of its last step.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Writes the checkpoint also within epochs, after every `n_steps` batches.
    pub fn checkpoint_steps(mut self, n_steps: usize) -> Self {
        self.checkpoint_steps = Some(n_steps as u64);
        self
    }

    /// Continues from a checkpoint, bit for bit, as if the training had not been interrupted.
    ///
    /// The model, the optimizer, the metrics and the data must be those of the interrupted training; the number
    /// of epochs may be larger. The order of the samples is the checkpoint's, whatever seed is set here.
    pub fn resume(mut self, path: impl Into<PathBuf>) -> Self {
        self.resume = Some((path.into(), IfMissing::Fail));
        self
    }

    /// [`resume`](Self::resume) if the file exists; else the training starts from the beginning.
    pub fn resume_if_exists(mut self, path: impl Into<PathBuf>) -> Self {
        self.resume = Some((path.into(), IfMissing::Start));
        self
    }

    /// Reports on standard error: with a bar on a terminal, elsewhere with a line for each epoch.
    pub fn progress(mut self) -> Self {
        self.output = Output::Console;
        self
    }

    /// Reports with a line for each epoch.
    pub fn progress_to(mut self, to: impl Write + 'a) -> Self {
        self.output = Output::Lines(Box::new(to));
        self
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &O {
        &self.optimizer
    }

    /// Trains on `train` and measures on `validation` after every epoch.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for settings that make no sense; those of reading a checkpoint; those of the data set, the
    /// functions, the optimizer and the callback, with the epoch and batch. The model is as after the last step then,
    /// and the last checkpoint is whole.
    ///
    /// [`ErrorKind::Config`]: crate::ErrorKind::Config
    pub fn fit<D, V>(&mut self, model: &mut M, train: &D, validation: &V) -> Result<History>
    where
        D: Dataset<Batch: Inputs>,
        V: Dataset<Batch: Inputs>,
    {
        run::fit(self, model, train, Some(validation))
    }

    /// Trains on `train` alone. `"loss"` means the training's loss then, and there can be no metrics.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn fit_without_validation<D>(&mut self, model: &mut M, train: &D) -> Result<History>
    where
        D: Dataset<Batch: Inputs>,
    {
        run::fit::<M, O, D, D>(self, model, train, None)
    }
}

//! One training: the loop, and what it does between two epochs.

use std::path::PathBuf;
use std::time::Instant;

use super::callee::Callee;
use super::history::{End, EpochRecord, History};
use super::inputs::Inputs;
use super::plan::Plan;
use super::progress::Progress;
use super::settings::{EpochEnd, Flow, Trainer};
use super::watch::Watch;
use crate::checkpoint::training::{self, Position, Snapshot, Training};
use crate::data::{Batch, Dataset, Loader};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Core, Model};
use crate::optim::schedule::Progress as Place;
use crate::optim::{Optimizer, Schedule};

/// Trains, with a validation set or without.
pub(super) fn fit<M, O, D, V>(
    trainer: &mut Trainer<'_, M, O>,
    model: &mut M,
    train: &D,
    validation: Option<&V>,
) -> Result<History>
where
    M: Model,
    O: Optimizer,
    D: Dataset<Batch: Inputs>,
    V: Dataset<Batch: Inputs>,
{
    let plan = Plan::new(trainer, model, train.len(), validation.map(Dataset::len))?;
    let base_lr = trainer.optimizer.lr();
    let fitted = Run::start(trainer, model, plan).and_then(|run| run.all_epochs(model, train, validation));
    // A schedule has changed it from step to step.
    trainer.optimizer.set_lr(base_lr);
    fitted
}

/// When and where checkpoints are written.
struct Checkpoints {
    path: PathBuf,
    every: Option<u64>,
}

/// A training under way.
struct Run<'t, 'a, M, O> {
    trainer: Settings<'t, 'a, M, O>,
    objective: Callee,
    metrics: Vec<Callee>,
    early_stopping: Option<(Watch, usize)>,
    keep_best: Option<Watch>,
    checkpoints: Option<Checkpoints>,
    position: Position,
    history: History,
    best: Option<Snapshot>,
    progress: Progress<'t, 'a>,
}

/// What a run borrows from its trainer.
struct Settings<'t, 'a, M, O> {
    optimizer: &'t mut O,
    callback: &'t mut Option<super::settings::Callback<'a, M>>,
    base_lr: f64,
    schedule: Option<Schedule>,
    n_epochs: u64,
    batch_size: usize,
    drop_last: bool,
    n_prefetch: usize,
}

impl<'t, 'a, M: Model, O: Optimizer> Run<'t, 'a, M, O> {
    /// A run at its beginning, or where a checkpoint was written.
    fn start(trainer: &'t mut Trainer<'a, M, O>, model: &mut M, plan: Plan) -> Result<Self> {
        let settings = Settings {
            base_lr: trainer.optimizer.lr(),
            optimizer: &mut trainer.optimizer,
            callback: &mut trainer.callback,
            schedule: trainer.schedule,
            n_epochs: trainer.n_epochs,
            batch_size: trainer.batch_size,
            drop_last: trainer.drop_last,
            n_prefetch: trainer.n_prefetch,
        };
        let checkpoints = trainer.checkpoint.as_ref().map(|path| Checkpoints {
            path: path.clone(),
            every: trainer.checkpoint_steps,
        });
        let mut run = Self {
            trainer: settings,
            objective: plan.objective,
            metrics: plan.metrics,
            early_stopping: plan.early_stopping,
            keep_best: plan.keep_best,
            checkpoints,
            position: plan.position,
            history: plan.history,
            best: None,
            progress: Progress::new(&mut trainer.output, trainer.n_epochs),
        };
        if let Some(path) = plan.resume {
            run.resume(model.core_mut(), &path, plan.order_is_set)?;
        }
        Ok(run)
    }

    /// Continues where a checkpoint was written. Everything is checked before anything changes.
    fn resume(&mut self, core: &mut Core, path: &std::path::Path, order_is_set: bool) -> Result<()> {
        let place = |error: Error| error.context(path.display().to_string());
        let mut saved = training::Saved::read(path, core)?;
        let found = &saved.training.position;
        let mut warnings = compare(found, &self.position).map_err(place)?;
        if order_is_set && found.order != self.position.order {
            warnings.push("the order of the samples is the checkpoint's, not the one that is set".to_owned());
        }
        self.history
            .continue_from(&saved.training.history)
            .map_err(place)?;
        self.trainer
            .optimizer
            .restore(core, &saved.training.optimizer)
            .map_err(place)?;
        saved.take_over(core).map_err(place)?;
        let batch_size = self.position.batch_size;
        let n_samples = self.position.n_samples;
        self.position = Position {
            batch_size,
            n_samples,
            ..saved.training.position
        };
        self.best = saved.training.best.take();
        let wanted = self
            .keep_best
            .as_ref()
            .and_then(|watch| watch.best(&self.history));
        if self.keep_best.is_some()
            && self.best.as_ref().map(|best| best.epoch) != wanted.map(|epoch| epoch as u64)
        {
            warnings.push(
                "the checkpoint does not hold the best parameters so far: only later ones are kept".into(),
            );
            self.best = None;
        }
        warnings.extend(saved.warnings);
        for warning in &warnings {
            self.progress
                .say(&format!("warning: {}: {warning}", path.display()));
        }
        self.history.warnings = warnings;
        Ok(())
    }

    fn all_epochs<D, V>(mut self, model: &mut M, train: &D, validation: Option<&V>) -> Result<History>
    where
        D: Dataset<Batch: Inputs>,
        V: Dataset<Batch: Inputs>,
    {
        let mut loader = Loader::new(train, self.trainer.batch_size)?.prefetch(self.trainer.n_prefetch);
        if let Some(seed) = self.position.order {
            loader = loader.shuffle(seed);
        }
        if self.trainer.drop_last {
            loader = loader.drop_last();
        }
        if loader.n_batches() == 0 {
            return Err(Error::config(
                "the training set has fewer samples than a batch, and short batches are dropped",
            ));
        }
        let mut validation = match validation {
            Some(data) => Some(Loader::new(data, self.trainer.batch_size)?.prefetch(self.trainer.n_prefetch)),
            None => None,
        };
        self.history.end = End::Epochs;
        while self.position.epoch < self.trainer.n_epochs {
            if self.has_stopped_early() {
                self.history.end = End::EarlyStopping;
                break;
            }
            let number = self.position.epoch + 1;
            let place = |error: Error| error.context(format!("epoch {number}"));
            self.train_epoch(model, &mut loader).map_err(place)?;
            self.measure(model.core(), loader.n_batches() as u64, &mut validation)
                .map_err(place)?;
            self.end_epoch(model.core()).map_err(place)?;
            if self.call_back(model).map_err(place)? == Flow::Stop {
                self.history.end = End::Callback;
                break;
            }
        }
        if self.history.end == End::Epochs && self.has_stopped_early() {
            self.history.end = End::EarlyStopping;
        }
        if let Some(best) = self.best.filter(|_| self.keep_best.is_some()) {
            best.restore(model.core_mut());
            self.history.best_epoch = Some(best.epoch as usize);
        }
        Ok(self.history)
    }

    fn has_stopped_early(&self) -> bool {
        let waits =
            |(watch, patience): &(Watch, usize)| watch.n_since_best(&self.history) >= (*patience).max(1);
        self.early_stopping.as_ref().is_some_and(waits)
    }

    /// The steps of an epoch that are left.
    fn train_epoch<D: Dataset<Batch: Inputs>>(
        &mut self,
        model: &mut M,
        loader: &mut Loader<&D>,
    ) -> Result<()> {
        let (n_batches, capacity) = (
            loader.n_batches(),
            loader.batch_size().min(loader.dataset().len()),
        );
        let (epoch, first) = (self.position.epoch, self.position.batch);
        self.progress.start_epoch(epoch, n_batches, first);
        let (start, before) = (Instant::now(), self.position.seconds);
        let result = loader.epoch_from(epoch, first as usize, |batches| {
            while let Some(batch) = batches.next()? {
                self.step(model, batch, n_batches as u64, capacity)?;
                self.position.seconds = before + start.elapsed().as_secs_f64();
                self.checkpoint_within(model.core())?;
            }
            Ok(())
        });
        result.map_err(|error| error.context(format!("after {} of {n_batches} batches", self.position.batch)))
    }

    /// Loss, gradient and update for a batch. Allocates nothing once the workspace is there.
    fn step<B: Inputs>(&mut self, model: &mut M, batch: &B, n_batches: u64, capacity: usize) -> Result<()> {
        let step = self.position.epoch * n_batches + self.position.batch;
        let lr = self.trainer.lr_at(step, n_batches);
        self.trainer.optimizer.set_lr(lr);
        let core = model.core_mut();
        let loss = batch.with_args(|args| self.objective.grad(core, args, capacity))?;
        let work = self.objective.workspace()?;
        self.trainer.optimizer.step_core(core, work)?;
        let n_samples = batch.n_samples();
        self.position.batch += 1;
        self.position.n_seen += n_samples as u64;
        self.position.loss_sum += loss * n_samples as f64;
        self.progress.step(self.position.mean_loss());
        Ok(())
    }

    /// Measures the validation set and writes the epoch down.
    fn measure<V: Dataset<Batch: Inputs>>(
        &mut self,
        core: &Core,
        n_batches: u64,
        validation: &mut Option<Loader<&V>>,
    ) -> Result<()> {
        let means = match validation {
            None => None,
            Some(loader) => Some(
                self.means(core, loader)
                    .map_err(|error| error.context("validation"))?,
            ),
        };
        let (loss, metrics) = match means.as_deref() {
            Some([loss, metrics @ ..]) => (Some(*loss), metrics.to_vec()),
            _ => (None, Vec::new()),
        };
        // Not the optimizer's: after a resumption at the very end of an epoch it has taken no step yet.
        let last_step = (self.position.epoch * n_batches + self.position.batch).saturating_sub(1);
        let record = EpochRecord {
            epoch: self.position.epoch as usize + 1,
            train_loss: self.position.mean_loss(),
            loss,
            metrics,
            lr: self.trainer.lr_at(last_step, n_batches),
            seconds: self.position.seconds,
            n_samples: self.position.n_seen as usize,
        };
        self.history.push(record);
        Ok(())
    }

    /// Means over a data set in eval mode, each batch weighted by its size: of the loss, then of each metric.
    fn means<V: Dataset<Batch: Inputs>>(&mut self, core: &Core, loader: &mut Loader<&V>) -> Result<Vec<f64>> {
        let capacity = loader.batch_size().min(loader.dataset().len());
        let (mut sums, mut n_seen) = (vec![0.0; 1 + self.metrics.len()], 0);
        loader.epoch(0, |batches| {
            while let Some(batch) = batches.next()? {
                let n_samples = batch.n_samples();
                let callees = std::iter::once(&mut self.objective).chain(&mut self.metrics);
                batch.with_args(|args| {
                    for (sum, callee) in sums.iter_mut().zip(callees) {
                        *sum += callee.evaluate(core, args, capacity)? * n_samples as f64;
                    }
                    Ok::<_, Error>(())
                })?;
                n_seen += n_samples;
            }
            Ok(())
        })?;
        Ok(sums.into_iter().map(|sum| sum / n_seen as f64).collect())
    }

    /// Keeps the parameters if they are the best so far, and writes the checkpoint.
    fn end_epoch(&mut self, core: &Core) -> Result<()> {
        self.position.next_epoch();
        let best = self
            .keep_best
            .as_ref()
            .and_then(|watch| watch.best(&self.history));
        if best == Some(self.history.epochs().len()) {
            self.best = Some(Snapshot::of(core, self.position.epoch));
        }
        self.progress.end_epoch(&self.history);
        self.checkpoint(core)
    }

    fn checkpoint_within(&self, core: &Core) -> Result<()> {
        let every = self
            .checkpoints
            .as_ref()
            .and_then(|checkpoints| checkpoints.every);
        match every {
            Some(every) if self.position.batch.is_multiple_of(every) => self.checkpoint(core),
            _ => Ok(()),
        }
    }

    fn checkpoint(&self, core: &Core) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else {
            return Ok(());
        };
        let training = Training {
            optimizer: self.trainer.optimizer.state(core),
            position: self.position.clone(),
            history: self.history.to_table(),
            best: self.best.clone(),
        };
        training::save(&checkpoints.path, core, &training)
    }

    fn call_back(&mut self, model: &M) -> Result<Flow> {
        let (Some(callback), Some(record)) = (self.trainer.callback.as_mut(), self.history.last()) else {
            return Ok(Flow::Continue);
        };
        let end = EpochEnd {
            model,
            record,
            history: &self.history,
        };
        callback(&end).map_err(|error| error.context("callback"))
    }
}

impl<M, O> Settings<'_, '_, M, O> {
    /// The learning rate of a step, counted from 0.
    fn lr_at(&self, step: u64, steps_per_epoch: u64) -> f64 {
        let factor = self.schedule.map_or(1.0, |schedule| {
            schedule.factor(Place {
                step,
                steps_per_epoch,
                n_epochs: self.n_epochs,
            })
        });
        self.base_lr * factor
    }
}

/// What differs between the data of a checkpoint and that of a run: an error within an epoch, a warning between two.
fn compare(found: &Position, own: &Position) -> Result<Vec<String>> {
    let pairs = [
        ("samples in a batch", found.batch_size, own.batch_size),
        ("samples in the training set", found.n_samples, own.n_samples),
    ];
    let mut warnings = Vec::new();
    for (what, found_size, own_size) in pairs {
        if found_size != own_size {
            let message = format!("{found_size} {what} when the checkpoint was written, {own_size} now");
            if found.batch > 0 {
                return Err(Error::new(ErrorKind::Checkpoint, message)
                    .hint("a checkpoint within an epoch continues only with the same data and batch size"));
            }
            warnings.push(message);
        }
    }
    Ok(warnings)
}

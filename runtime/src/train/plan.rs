//! What a training will do: its settings, checked against the model and the data before the first step.

use std::path::{Path, PathBuf};

use super::callee::Callee;
use super::history::{COLUMNS, History};
use super::settings::{IfMissing, Order, Trainer};
use super::watch::{Better, Watch};
use crate::checkpoint::training::Position;
use crate::error::{Error, Result};
use crate::model::{Core, Model};
use crate::optim::Optimizer;

/// Checked settings.
pub(super) struct Plan {
    pub objective: Callee,
    pub metrics: Vec<Callee>,
    pub early_stopping: Option<(Watch, usize)>,
    pub keep_best: Option<Watch>,
    /// The beginning.
    pub position: Position,
    /// Empty, with the names of the metrics.
    pub history: History,
    /// A file that exists, or must.
    pub resume: Option<PathBuf>,
    /// Whether the user has chosen an order of the samples.
    pub order_is_set: bool,
}

impl Plan {
    pub fn new<M: Model, O: Optimizer>(
        trainer: &Trainer<'_, M, O>,
        model: &M,
        n_train: usize,
        n_validation: Option<usize>,
    ) -> Result<Self> {
        check_sizes(trainer, n_train, n_validation)?;
        let core = model.core();
        let objective = match &trainer.objective {
            Some(find) => find(model).map_err(|error| error.context("objective"))?,
            None => core
                .function("loss")
                .map_err(|error| error.hint("name the function to be trained with `.objective(…)`"))?,
        };
        let mut functions = vec![objective];
        for metric in &trainer.metrics {
            let place = |error: Error| error.context(format!("metric \"{}\"", metric.name));
            functions.push((metric.find)(model).map_err(place)?);
        }
        check_scalars(core, &functions, &trainer.scalars)?;
        let metrics = functions[1..]
            .iter()
            .map(|&function| Callee::metric(core, function, objective, &trainer.scalars))
            .collect::<Result<_>>()?;
        let names: Vec<(String, Better)> = trainer
            .metrics
            .iter()
            .map(|metric| (metric.name.clone(), metric.better))
            .collect();
        let watch = |name: &String| Watch::new(name, &names, n_validation.is_some());
        let early_stopping = match &trainer.early_stopping {
            Some((name, patience)) => Some((watch(name)?, *patience)),
            None => None,
        };
        let order = match trainer.order {
            Order::OfModel => Some(core.seed()),
            Order::Seeded(seed) => Some(seed),
            Order::Unshuffled => None,
        };
        Ok(Self {
            objective: Callee::objective(core, objective, &trainer.scalars)?,
            metrics,
            early_stopping,
            keep_best: trainer.keep_best.as_ref().map(watch).transpose()?,
            position: Position::beginning(trainer.batch_size, n_train, order),
            history: History::new(names.into_iter().map(|(name, _)| name).collect()),
            resume: check_files(trainer)?,
            order_is_set: trainer.order != Order::OfModel,
        })
    }
}

fn check_sizes<M, O>(trainer: &Trainer<'_, M, O>, n_train: usize, n_validation: Option<usize>) -> Result<()> {
    if trainer.batch_size == 0 {
        return Err(Error::config("the batch size is 0, expected at least 1"));
    }
    if n_train == 0 {
        return Err(Error::config("the training set has no samples"));
    }
    if n_validation == Some(0) {
        return Err(Error::config("the validation set has no samples").hint("use `fit_without_validation`"));
    }
    for (k, metric) in trainer.metrics.iter().enumerate() {
        let name = &metric.name;
        let taken = COLUMNS.contains(&name.as_str()) || name == "epoch";
        if taken || trainer.metrics[..k].iter().any(|other| other.name == *name) {
            return Err(Error::config(format!(
                "two columns of the history would be called \"{name}\""
            )));
        }
        if name.is_empty() || name.contains(char::is_control) {
            return Err(Error::config(format!("{name:?} cannot be the name of a metric")));
        }
    }
    if let (Some(metric), None) = (trainer.metrics.first(), n_validation) {
        let message = format!(
            "metric \"{}\" is measured on a validation set, and there is none",
            metric.name
        );
        return Err(Error::config(message).hint("use `fit` with a validation set"));
    }
    Ok(())
}

/// Every given scalar must be an argument of some function.
fn check_scalars(core: &Core, functions: &[usize], scalars: &[(String, f64)]) -> Result<()> {
    let program = core.program();
    let mut known = functions
        .iter()
        .flat_map(|&function| program.functions[function].scalars);
    for (name, _) in scalars {
        if !known.clone().any(|own| own == name) {
            let known: Vec<_> = known.by_ref().map(|own| format!("`{own}`")).collect();
            let hint = match known.is_empty() {
                true => "they take none".to_owned(),
                false => format!("they take {}", known.join(", ")),
            };
            let message = format!("no function of this training takes a scalar `{name}`");
            return Err(Error::config(message).hint(hint));
        }
    }
    Ok(())
}

/// Makes the checkpoint's folder; gives the file to resume from.
fn check_files<M, O>(trainer: &Trainer<'_, M, O>) -> Result<Option<PathBuf>> {
    match (trainer.checkpoint_steps, &trainer.checkpoint) {
        (Some(0), _) => {
            return Err(Error::config(
                "a checkpoint after every 0 batches: expected at least 1",
            ));
        }
        (Some(_), None) => {
            let error = Error::config("`checkpoint_steps` is set, but there is no file to write");
            return Err(error.hint("add `.checkpoint(path)`"));
        }
        _ => {}
    }
    if let Some(folder) = trainer.checkpoint.as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    }
    match &trainer.resume {
        Some((path, IfMissing::Start)) => {
            let exists = path.try_exists().map_err(|error| Error::io(path, error))?;
            Ok(exists.then(|| path.clone()))
        }
        Some((path, IfMissing::Fail)) => Ok(Some(path.clone())),
        None => Ok(None),
    }
}

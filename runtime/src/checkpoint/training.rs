//! An interrupted training as a file: the model's tensors and everything else that later steps depend on.
//!
//! Names of tensors: `optimizer/<moment>/<path>`, `best/<path>`, `history` as `trainer/history`, an f64 matrix with a row for
//! each finished epoch. Numbers of the position are texts of the header, floats in the shortest form that reads back to
//! the same bits.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;

use ndarray::{ArrayD, IxDyn};

use super::format::{self, Contents, Elements, Entry};
use super::{key, model, tensors};
use crate::arena::Storage;
use crate::dtype::{Float, Precision};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Core;
use crate::optim::OptimizerState;

const MOMENTS: &str = "optimizer/";
const BEST: &str = "best/";
const HISTORY: &str = "trainer/history";

/// Keys of the texts that only a training's file has.
mod own {
    pub const EPOCH: &str = "tapeless.trainer.epoch";
    pub const BATCH: &str = "tapeless.trainer.batch";
    pub const BATCH_SIZE: &str = "tapeless.trainer.batch_size";
    pub const SAMPLES: &str = "tapeless.trainer.samples";
    pub const ORDER: &str = "tapeless.trainer.order";
    pub const LOSS_SUM: &str = "tapeless.trainer.loss_sum";
    pub const SEEN: &str = "tapeless.trainer.seen";
    pub const SECONDS: &str = "tapeless.trainer.seconds";
    pub const BEST_EPOCH: &str = "tapeless.trainer.best_epoch";
    pub const COLUMNS: &str = "tapeless.trainer.columns";
    pub const OPTIMIZER: &str = "tapeless.optimizer";
    pub const OPTIMIZER_STEPS: &str = "tapeless.optimizer.steps";
}

/// In a file, for the order of the data set.
const UNSHUFFLED: &str = "unshuffled";

/// Where a training stands between two steps.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Position {
    /// Finished epochs.
    pub epoch: u64,
    /// Batches done in the epoch that is under way.
    pub batch: u64,
    /// Samples in a batch.
    pub batch_size: u64,
    /// Samples in the training set.
    pub n_samples: u64,
    /// The seed of the order in which samples are visited; `None` for that of the data set.
    pub order: Option<u64>,
    /// Sum of losses times samples of the batches done.
    pub loss_sum: f64,
    /// Samples of the batches done.
    pub n_seen: u64,
    /// Seconds spent on the epoch.
    pub seconds: f64,
}

impl Position {
    /// Before the first step.
    pub fn beginning(batch_size: usize, n_samples: usize, order: Option<u64>) -> Self {
        Self {
            epoch: 0,
            batch: 0,
            batch_size: batch_size as u64,
            n_samples: n_samples as u64,
            order,
            loss_sum: 0.0,
            n_seen: 0,
            seconds: 0.0,
        }
    }

    /// An epoch is over.
    pub fn next_epoch(&mut self) {
        self.epoch += 1;
        (self.batch, self.n_seen) = (0, 0);
        (self.loss_sum, self.seconds) = (0.0, 0.0);
    }

    /// Mean loss over the samples of the batches done.
    pub fn mean_loss(&self) -> f64 {
        self.loss_sum / self.n_seen as f64
    }
}

/// A matrix of numbers with names for its columns.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<f64>>,
}

/// Parameters and carried tensors of another moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Epochs that were done then.
    pub epoch: u64,
    pub params: Storage,
    pub states: Storage,
}

impl Snapshot {
    pub fn of(core: &Core, epoch: u64) -> Self {
        Self {
            epoch,
            params: core.params().clone(),
            states: core.states().clone(),
        }
    }

    /// Puts its numbers into the model it was taken from.
    pub fn restore(&self, core: &mut Core) {
        core.params_mut()
            .as_mut_slice::<u8>()
            .copy_from_slice(self.params.as_slice());
        core.states_mut()
            .as_mut_slice::<u8>()
            .copy_from_slice(self.states.as_slice());
    }
}

/// What a training's file holds besides the model.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    pub optimizer: OptimizerState,
    pub position: Position,
    pub history: Table,
    pub best: Option<Snapshot>,
}

/// Writes a training's file.
pub(crate) fn save(path: &Path, core: &Core, training: &Training) -> Result<()> {
    let (params, states) = (core.params_layout(), core.states_layout());
    let mut entries: Vec<_> = tensors::entries(params, core.params(), "").collect();
    entries.extend(tensors::entries(states, core.states(), ""));
    if let Some(best) = &training.best {
        entries.extend(tensors::entries(params, &best.params, BEST));
        entries.extend(tensors::entries(states, &best.states, BEST));
    }
    for (moment, path, values) in &training.optimizer.moments {
        entries.push(Entry {
            name: Cow::Owned(format!("{MOMENTS}{moment}/{path}")),
            shape: Cow::Borrowed(values.shape()),
            elements: narrowed(values, core.precision()),
        });
    }
    let table = &training.history;
    entries.push(Entry {
        name: Cow::Borrowed(HISTORY),
        shape: Cow::Owned(vec![table.rows.len(), table.columns.len()]),
        elements: Elements::F64(table.rows.concat().into()),
    });
    format::write(path, &metadata(core, training), &entries)
}

/// Moments have the model's precision, so that this loses nothing.
fn narrowed(values: &ArrayD<f64>, precision: Precision) -> Elements<'static> {
    match precision.float() {
        Float::F32 => Elements::F32(values.iter().map(|&x| x as f32).collect()),
        #[cfg(feature = "f64")]
        Float::F64 => Elements::F64(values.iter().copied().collect()),
    }
}

fn metadata(core: &Core, training: &Training) -> Vec<(&'static str, String)> {
    let (position, optimizer) = (&training.position, &training.optimizer);
    let order = position
        .order
        .map_or(UNSHUFFLED.to_owned(), |seed| seed.to_string());
    let mut texts = model::metadata(core);
    texts.extend([
        (own::EPOCH, position.epoch.to_string()),
        (own::BATCH, position.batch.to_string()),
        (own::BATCH_SIZE, position.batch_size.to_string()),
        (own::SAMPLES, position.n_samples.to_string()),
        (own::ORDER, order),
        (own::LOSS_SUM, format!("{:?}", position.loss_sum)),
        (own::SEEN, position.n_seen.to_string()),
        (own::SECONDS, format!("{:?}", position.seconds)),
        (own::COLUMNS, training.history.columns.join("\n")),
        (own::OPTIMIZER, optimizer.name.clone()),
        (own::OPTIMIZER_STEPS, optimizer.steps.to_string()),
    ]);
    if let Some(best) = &training.best {
        texts.push((own::BEST_EPOCH, best.epoch.to_string()));
    }
    texts
}

/// A training's file that has been read and checked against a model.
#[derive(Debug)]
pub(crate) struct Saved {
    contents: Contents,
    pub training: Training,
    /// What differs from the run that wrote it without standing in the way.
    pub warnings: Vec<String>,
}

impl Saved {
    /// Reads a training's file; the model is only looked at.
    pub fn read(path: &Path, core: &Core) -> Result<Self> {
        let contents = Contents::read(path)?;
        Self::check(contents, core).map_err(|error| error.context(path.display().to_string()))
    }

    fn check(contents: Contents, core: &Core) -> Result<Self> {
        model::check_version(&contents)?;
        if contents.text(own::EPOCH).is_none() {
            let error = Error::new(
                ErrorKind::Checkpoint,
                "this is the file of a model, not of a training",
            );
            return Err(error.hint("use the model's `load` to begin with its parameters"));
        }
        let warnings = compare_run(&contents, core)?;
        core.check_contents(&contents)?;
        let best = match contents.names().any(|name| name.starts_with(BEST)) {
            false => None,
            true => Some(Snapshot {
                epoch: text(&contents, own::BEST_EPOCH)?,
                params: tensors::read_all(core.params_layout(), &contents, BEST)?,
                states: tensors::read_all(core.states_layout(), &contents, BEST)?,
            }),
        };
        let training = Training {
            optimizer: optimizer(&contents)?,
            position: position(&contents)?,
            history: table(&contents)?,
            best,
        };
        let Position {
            batch,
            n_seen,
            n_samples,
            ..
        } = training.position;
        if n_seen > n_samples || (batch == 0 && n_seen > 0) {
            let message = format!("{n_seen} of {n_samples} samples are said to be seen in {batch} batches");
            return Err(Error::format(message));
        }
        let (n_epochs, n_rows) = (training.position.epoch, training.history.rows.len());
        if n_epochs != n_rows as u64 {
            let message = format!("{n_epochs} epochs are said to be done, the history has {n_rows}");
            return Err(Error::format(message));
        }
        Ok(Self {
            contents,
            training,
            warnings,
        })
    }

    /// Replaces the numbers of the model that it was checked against.
    pub fn take_over(&self, core: &mut Core) -> Result<()> {
        core.load_contents(&self.contents)
    }
}

/// Refuses the file of another model or of floats of another width; other differences are warnings.
fn compare_run(contents: &Contents, core: &Core) -> Result<Vec<String>> {
    let texts = model::metadata(core);
    let own = |key: &str| {
        let text = texts.iter().find(|(name, _)| *name == key);
        text.map_or("", |(_, text)| text)
    };
    let differs = |key: &str| contents.text(key).filter(|&found| found != own(key));
    let refuse = |key: &str, what: &str, found: &str| {
        let message = format!("a training of {what} {} expected, found {what} {found}", own(key));
        Err(Error::new(ErrorKind::Checkpoint, message))
    };
    if let Some(found) = differs(key::MODEL) {
        return refuse(key::MODEL, "model", found);
    }
    let mut warnings = Vec::new();
    if let Some(found) = differs(key::PRECISION) {
        match found.parse::<Precision>() {
            Ok(other) if other.float() == core.precision().float() => warnings.push(format!(
                "was written in precision {found} and continues in {}: its products are rounded in another way",
                own(key::PRECISION)
            )),
            Ok(_) => return refuse(key::PRECISION, "precision", found),
            // The precision may be one that a feature brings.
            Err(unknown) => {
                let refused = refuse(key::PRECISION, "precision", found);
                return refused.map_err(|error| error.hint(unknown.to_string()));
            }
        }
    }
    if let Some(found) = differs(key::PATH) {
        let message = format!(
            "was written on instruction path {found} and continues on {}",
            own(key::PATH)
        );
        warnings.push(format!(
            "{message}: the last bits will differ from an uninterrupted run"
        ));
    }
    if differs(key::PROGRAM).is_some() {
        let message = "the model's definition has changed since the checkpoint was written".to_owned();
        warnings.push(message);
    }
    Ok(warnings)
}

fn optimizer(contents: &Contents) -> Result<OptimizerState> {
    let mut moments = Vec::new();
    for name in contents.names() {
        let Some((moment, path)) = name.strip_prefix(MOMENTS).and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let Some(tensor) = contents.tensor(name) else {
            continue;
        };
        let place = |error: Error| error.context(format!("tensor `{name}`"));
        let values = tensor.floats::<f64>().map_err(place)?;
        let values =
            ArrayD::from_shape_vec(IxDyn(tensor.shape), values).map_err(|error| place(error.into()))?;
        moments.push((moment.to_owned(), path.to_owned(), values));
    }
    Ok(OptimizerState {
        name: text(contents, own::OPTIMIZER)?,
        steps: text(contents, own::OPTIMIZER_STEPS)?,
        moments,
    })
}

fn position(contents: &Contents) -> Result<Position> {
    let order = match contents.text(own::ORDER) {
        Some(UNSHUFFLED) => None,
        _ => Some(text(contents, own::ORDER)?),
    };
    Ok(Position {
        epoch: text(contents, own::EPOCH)?,
        batch: text(contents, own::BATCH)?,
        batch_size: text(contents, own::BATCH_SIZE)?,
        n_samples: text(contents, own::SAMPLES)?,
        order,
        loss_sum: text(contents, own::LOSS_SUM)?,
        n_seen: text(contents, own::SEEN)?,
        seconds: text(contents, own::SECONDS)?,
    })
}

fn table(contents: &Contents) -> Result<Table> {
    let columns: Vec<String> = text::<String>(contents, own::COLUMNS)?
        .split('\n')
        .map(str::to_owned)
        .collect();
    let place = |error: Error| error.context(format!("tensor `{HISTORY}`"));
    let Some(tensor) = contents.tensor(HISTORY) else {
        return Err(place(Error::new(ErrorKind::Checkpoint, "missing")));
    };
    match *tensor.shape {
        [n_rows, n_columns] if n_columns == columns.len() => {
            let values = tensor.floats::<f64>().map_err(place)?;
            let rows: Vec<_> = values.chunks_exact(n_columns).map(<[f64]>::to_vec).collect();
            debug_assert_eq!(rows.len(), n_rows, "the size was checked when the file was read");
            Ok(Table { columns, rows })
        }
        _ => {
            let message = format!(
                "expected {} columns, found shape {:?}",
                columns.len(),
                tensor.shape
            );
            Err(place(Error::format(message)))
        }
    }
}

/// A text of the header that must be there, as a value.
fn text<T: FromStr>(contents: &Contents, key: &str) -> Result<T> {
    let Some(text) = contents.text(key) else {
        return Err(Error::format(format!("`{key}` is missing")));
    };
    text.parse().map_err(|_| {
        let kind = std::any::type_name::<T>();
        Error::format(format!("`{key}` is {text:?}, expected a {kind}"))
    })
}

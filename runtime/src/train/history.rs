//! What a training has measured, epoch by epoch.

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::checkpoint;
use crate::checkpoint::training::Table;
use crate::error::{Error, ErrorKind, Result};

/// Columns that every history has; metrics come after them.
pub(super) const COLUMNS: [&str; 6] = [
    "train_loss",
    "loss",
    "lr",
    "seconds",
    "samples_per_second",
    "samples",
];

/// The measurements of an epoch.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct EpochRecord {
    /// Its number, from 1 on.
    pub epoch: usize,
    /// Mean over the samples of the loss of each step, in train mode and before the step, so that it lags behind.
    pub train_loss: f64,
    /// Mean loss over the validation set in eval mode, if there is one.
    pub loss: Option<f64>,
    /// Means over the validation set, in the order of the trainer's metrics.
    pub metrics: Vec<f64>,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Seconds spent on training, validation not included.
    pub seconds: f64,
    /// Samples trained on.
    pub n_samples: usize,
}

impl EpochRecord {
    /// Samples trained on in a second.
    pub fn samples_per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.n_samples as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// Why a training ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// All epochs are done.
    #[default]
    Epochs,
    /// What early stopping watches did not get better for so long.
    EarlyStopping,
    /// The callback said so.
    Callback,
}

/// The measurements of a training.
///
/// `Display` gives a table.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    metrics: Vec<String>,
    epochs: Vec<EpochRecord>,
    pub(super) end: End,
    pub(super) best_epoch: Option<usize>,
    pub(super) warnings: Vec<String>,
}

impl History {
    pub(super) fn new(metrics: Vec<String>) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, record: EpochRecord) {
        self.epochs.push(record);
    }

    /// The epochs, first to last; a resumed training's history includes those before the interruption.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }

    /// The last epoch.
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// Names of the metrics, in the order in which they were given to the trainer.
    pub fn metrics(&self) -> &[String] {
        &self.metrics
    }

    /// The values of a column, one for each epoch: `"train_loss"`, `"loss"`, `"lr"`, `"seconds"`,
    /// `"samples_per_second"`, `"samples"`, or a metric. A loss that was not measured is NaN.
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        let column = self.columns().position(|column| column == name)?;
        Some(self.epochs.iter().map(|record| row(record)[column]).collect())
    }

    /// The last value of a metric (or another column).
    pub fn last_metric(&self, name: &str) -> Option<f64> {
        self.column(name)?.last().copied()
    }

    /// Why it ended.
    pub fn end(&self) -> End {
        self.end
    }

    /// The epoch, from 1 on, whose parameters the model has because the trainer was told to keep the best.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best_epoch
    }

    /// What was noteworthy when the training was resumed: for example, another instruction path.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        COLUMNS.into_iter().chain(self.metrics.iter().map(String::as_str))
    }

    /// Writes it as comma-separated values: a header line, then a line for each epoch; what was not measured is empty.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] that names the file.
    pub fn to_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        checkpoint::replace(path.as_ref(), |to| self.write_csv(to))
    }

    /// [`to_csv`](Self::to_csv) into anything that can be written to.
    ///
    /// # Errors
    ///
    /// What writing returned.
    pub fn write_csv(&self, mut to: impl Write) -> std::io::Result<()> {
        write!(to, "epoch")?;
        self.columns()
            .try_for_each(|column| write!(to, ",{}", Field(column)))?;
        writeln!(to)?;
        for record in &self.epochs {
            write!(to, "{}", record.epoch)?;
            for value in row(record) {
                match value.is_nan() {
                    true => write!(to, ",")?,
                    false => write!(to, ",{value}")?,
                }
            }
            writeln!(to)?;
        }
        Ok(())
    }

    pub(super) fn to_table(&self) -> Table {
        Table {
            columns: self.columns().map(str::to_owned).collect(),
            rows: self.epochs.iter().map(row).collect(),
        }
    }

    /// Continues the history of an interrupted training.
    pub(super) fn continue_from(&mut self, table: &Table) -> Result<()> {
        if !self.columns().eq(table.columns.iter().map(String::as_str)) {
            let found = table.columns.get(COLUMNS.len()..).unwrap_or_default().join(", ");
            let message = format!("the interrupted training had the metrics [{found}]");
            let hint = format!("this one has [{}]; give both the same", self.metrics.join(", "));
            return Err(Error::new(ErrorKind::Checkpoint, message).hint(hint));
        }
        let rows = table.rows.iter().enumerate();
        self.epochs = rows.map(|(k, row)| record(k + 1, row)).collect();
        Ok(())
    }
}

/// An epoch as a row of numbers, in the order of the columns.
fn row(record: &EpochRecord) -> Vec<f64> {
    let own = [
        record.train_loss,
        record.loss.unwrap_or(f64::NAN),
        record.lr,
        record.seconds,
        record.samples_per_second(),
        record.n_samples as f64,
    ];
    own.into_iter().chain(record.metrics.iter().copied()).collect()
}

/// The epoch of a row that is as long as the columns.
fn record(epoch: usize, row: &[f64]) -> EpochRecord {
    EpochRecord {
        epoch,
        train_loss: row[0],
        loss: Some(row[1]).filter(|loss| !loss.is_nan()),
        metrics: row[COLUMNS.len()..].to_vec(),
        lr: row[2],
        seconds: row[3],
        n_samples: row[5] as usize,
    }
}

/// A text as a field of comma-separated values, quoted where RFC 4180 asks for it.
struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains([',', '"', '\n', '\r']) {
            true => write!(f, "\"{}\"", self.0.replace('"', "\"\"")),
            false => f.write_str(self.0),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["epoch", "train_loss", "loss"];
        let names: Vec<&str> = names
            .into_iter()
            .chain(self.metrics.iter().map(String::as_str))
            .collect();
        let cell = |f: &mut fmt::Formatter<'_>, k: usize, text: String| {
            write!(
                f,
                "{}{text:>width$}",
                if k == 0 { "" } else { "  " },
                width = names[k].len().max(10)
            )
        };
        for (k, name) in names.iter().enumerate() {
            cell(f, k, (*name).to_owned())?;
        }
        for record in &self.epochs {
            writeln!(f)?;
            cell(f, 0, record.epoch.to_string())?;
            let losses = [Some(record.train_loss), record.loss];
            let values = losses.into_iter().chain(record.metrics.iter().map(|&x| Some(x)));
            for (k, value) in values.enumerate() {
                cell(
                    f,
                    k + 1,
                    value.map_or_else(String::new, |value| format!("{value:.6}")),
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::new(vec!["accuracy, top 1".into()]);
        for epoch in 1..=2 {
            history.push(EpochRecord {
                epoch,
                train_loss: 1.0 / epoch as f64,
                loss: (epoch == 2).then_some(0.75),
                metrics: vec![0.5 * epoch as f64],
                lr: 1e-3,
                seconds: 2.0,
                n_samples: 100,
            });
        }
        history
    }

    #[test]
    fn comma_separated_values_follow_the_columns() {
        let mut csv = Vec::new();
        history().write_csv(&mut csv).unwrap();
        assert_eq!(
            String::from_utf8(csv).unwrap(),
            "epoch,train_loss,loss,lr,seconds,samples_per_second,samples,\"accuracy, top 1\"\n\
             1,1,,0.001,2,50,100,0.5\n\
             2,0.5,0.75,0.001,2,50,100,1\n"
        );
    }

    #[test]
    fn a_table_restores_it() {
        let history = history();
        let mut again = History::new(vec!["accuracy, top 1".into()]);
        again.continue_from(&history.to_table()).unwrap();
        assert_eq!(again, history);
        let error = History::new(vec!["error".into()])
            .continue_from(&history.to_table())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checkpoint);
        assert!(
            error
                .to_string()
                .contains("metrics [accuracy, top 1]; help: this one has [error]"),
            "{error}"
        );
    }

    #[test]
    fn columns_are_found_by_name() {
        let history = history();
        assert_eq!(history.column("accuracy, top 1").unwrap(), [0.5, 1.0]);
        assert_eq!(history.column("samples_per_second").unwrap(), [50.0, 50.0]);
        assert!(history.column("loss").unwrap()[0].is_nan());
        assert_eq!(history.column("nothing"), None);
        assert_eq!(history.to_string().lines().count(), 3);
    }
}

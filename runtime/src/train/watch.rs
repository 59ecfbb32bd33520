//! Watching a column of the history: which epoch was best, and how long ago.

use super::history::History;
use crate::error::{Error, Result};

/// Which values are better.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Better {
    Lower,
    Higher,
}

/// A column that decides something.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    column: String,
    better: Better,
}

impl Watch {
    /// Watches `name`: a metric, `"loss"` or `"train_loss"`. Without a validation set `"loss"` means the training's.
    pub fn new(name: &str, metrics: &[(String, Better)], validated: bool) -> Result<Self> {
        let metric = metrics.iter().find(|(metric, _)| metric == name);
        let (column, better) = match (name, metric) {
            (_, Some((_, better))) => (name, *better),
            ("loss", _) if validated => ("loss", Better::Lower),
            ("loss" | "train_loss", _) => ("train_loss", Better::Lower),
            _ => {
                let known: Vec<_> = metrics.iter().map(|(name, _)| format!(", \"{name}\"")).collect();
                let hint = format!("known are \"loss\", \"train_loss\"{}", known.concat());
                return Err(Error::config(format!("there is no metric \"{name}\" to watch")).hint(hint));
            }
        };
        Ok(Self {
            column: column.to_owned(),
            better,
        })
    }

    /// The epoch, from 1 on, with the best value; the first of equals. NaN is never best.
    pub fn best(&self, history: &History) -> Option<usize> {
        let values = history.column(&self.column)?;
        let mut best: Option<(usize, f64)> = None;
        for (k, value) in values.into_iter().enumerate() {
            let improves = match (best, self.better) {
                (None, _) => !value.is_nan(),
                (Some((_, best)), Better::Lower) => value < best,
                (Some((_, best)), Better::Higher) => value > best,
            };
            if improves {
                best = Some((k, value));
            }
        }
        best.map(|(k, _)| k + 1)
    }

    /// Epochs since the best one.
    pub fn n_since_best(&self, history: &History) -> usize {
        history.epochs().len() - self.best(history).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::EpochRecord;
    use super::*;

    fn history(values: &[f64]) -> History {
        let mut history = History::new(vec!["accuracy".into()]);
        for (k, &value) in values.iter().enumerate() {
            history.push(EpochRecord {
                epoch: k + 1,
                train_loss: value,
                loss: None,
                metrics: vec![value],
                lr: 1.0,
                seconds: 1.0,
                n_samples: 1,
            });
        }
        history
    }

    #[test]
    fn the_best_epoch_is_the_first_of_equals() {
        let metrics = [("accuracy".to_owned(), Better::Higher)];
        let higher = Watch::new("accuracy", &metrics, true).unwrap();
        let lower = Watch::new("loss", &metrics, false).unwrap();
        let values = history(&[2.0, 3.0, f64::NAN, 3.0, 1.0, 1.0]);
        assert_eq!((higher.best(&values), higher.n_since_best(&values)), (Some(2), 4));
        assert_eq!((lower.best(&values), lower.n_since_best(&values)), (Some(5), 1));
        let nothing = history(&[f64::NAN, f64::NAN]);
        assert_eq!((lower.best(&nothing), lower.n_since_best(&nothing)), (None, 2));
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let metrics = [("accuracy".to_owned(), Better::Higher)];
        let error = Watch::new("acuracy", &metrics, true).unwrap_err().to_string();
        assert!(
            error.ends_with("known are \"loss\", \"train_loss\", \"accuracy\""),
            "{error}"
        );
    }
}

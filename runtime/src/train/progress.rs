//! What a training tells while it runs.

use std::io::{IsTerminal, Write};

use super::bar::Bar;
use super::history::{EpochRecord, History};

/// Where a trainer reports to.
#[derive(Default)]
pub(super) enum Output<'a> {
    /// Nowhere.
    #[default]
    Silent,
    /// Standard error: a bar if it is a terminal, else a line for each epoch.
    Console,
    /// A line for each epoch, into anything.
    Lines(Box<dyn Write + 'a>),
}

/// Reports of one training.
pub(super) struct Progress<'t, 'a> {
    output: &'t mut Output<'a>,
    n_epochs: u64,
    bar: Option<Bar>,
}

impl<'t, 'a> Progress<'t, 'a> {
    pub fn new(output: &'t mut Output<'a>, n_epochs: u64) -> Self {
        Self {
            output,
            n_epochs,
            bar: None,
        }
    }

    /// An epoch of `n_batches` begins, `n_done` of which are done.
    pub fn start_epoch(&mut self, epoch: u64, n_batches: usize, n_done: u64) {
        if !matches!(self.output, Output::Console) || !std::io::stderr().is_terminal() {
            return;
        }
        self.bar = Some(Bar::new([epoch, self.n_epochs], n_batches as u64, n_done));
    }

    /// A batch is done; `loss` is the mean of the epoch so far.
    pub fn step(&mut self, loss: f64) {
        if let Some(bar) = &mut self.bar {
            bar.step(loss);
        }
    }

    /// An epoch is over, validation included.
    pub fn end_epoch(&mut self, history: &History) {
        let Some(record) = history.last() else { return };
        let line = line(record, history.metrics(), self.n_epochs);
        self.say(&line);
    }

    /// Prints a line.
    pub fn say(&mut self, line: &str) {
        self.bar = None;
        // A reader who has gone away is no reason to stop a training.
        let _ = match &mut *self.output {
            Output::Silent => Ok(()),
            Output::Console => writeln!(std::io::stderr(), "{line}"),
            Output::Lines(to) => writeln!(to, "{line}"),
        };
    }
}

fn line(record: &EpochRecord, metrics: &[String], n_epochs: u64) -> String {
    let mut line = format!(
        "epoch {}/{n_epochs}  train_loss {:.4}",
        record.epoch, record.train_loss
    );
    if let Some(loss) = record.loss {
        line += &format!("  loss {loss:.4}");
    }
    for (name, value) in metrics.iter().zip(&record.metrics) {
        line += &format!("  {name} {value:.4}");
    }
    line + &format!(
        "  {:.2} s  {:.0} samples/s",
        record.seconds,
        record.samples_per_second()
    )
}

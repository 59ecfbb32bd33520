//! The line that an epoch draws on a terminal while it runs.
//!
//! One line that is written over again and again: a carriage return, the text, and blanks over what stood there before. That
//! needs no escape sequences. Texts are cut before column 80, because a line that wraps could not be written over; on a narrower
//! terminal it wraps all the same.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often the line is drawn: often enough to read, too seldom to cost.
const RENEWAL: Duration = Duration::from_millis(100);
/// Characters between the brackets.
const CELLS: u64 = 12;
/// Most characters of the line.
const WIDTH: usize = 79;

/// How far an epoch is.
pub(super) struct Bar {
    epoch: u64,
    n_epochs: u64,
    n_batches: u64,
    n_done: u64,
    /// Batches that were done before the bar began, which say nothing of its speed.
    n_before: u64,
    start: Instant,
    drawn: Instant,
    /// What stands on the line.
    text: String,
}

impl Bar {
    /// The bar of an epoch (counted from 0) of `n_batches`, `n_done` of which are done. Nothing is drawn yet.
    pub fn new([epoch, n_epochs]: [u64; 2], n_batches: u64, n_done: u64) -> Self {
        let now = Instant::now();
        Self {
            epoch,
            n_epochs,
            n_batches,
            n_done,
            n_before: n_done,
            start: now,
            drawn: now,
            text: String::with_capacity(2 * WIDTH),
        }
    }

    /// A batch is done; `loss` is the mean of the epoch so far.
    pub fn step(&mut self, loss: f64) {
        self.n_done += 1;
        if self.drawn.elapsed() >= RENEWAL {
            let before = self.text.len();
            self.describe(loss, self.start.elapsed().as_secs_f64());
            self.draw(before);
            self.drawn = Instant::now();
        }
    }

    /// Shows the text where one of `before` characters stands.
    fn draw(&mut self, before: usize) {
        let len = self.text.len();
        let blanks = before.saturating_sub(len);
        self.text.extend(std::iter::repeat_n(' ', blanks));
        let mut terminal = std::io::stderr().lock();
        // A reader who has gone away is no reason to stop a training.
        let _ = terminal
            .write_all(b"\r")
            .and_then(|()| terminal.write_all(self.text.as_bytes()));
        self.text.truncate(len);
    }

    /// Writes the text after `seconds` of work.
    fn describe(&mut self, loss: f64, seconds: f64) {
        let (epoch, n_epochs) = (self.epoch + 1, self.n_epochs);
        let (n_done, n_batches) = (self.n_done, self.n_batches);
        let full = (n_done * CELLS)
            .checked_div(n_batches)
            .unwrap_or(CELLS)
            .min(CELLS);
        let (full, empty) = (full as usize, (CELLS - full) as usize);
        let per_second = (n_done - self.n_before) as f64 / seconds;
        let left = n_batches.saturating_sub(n_done) as f64 / per_second;
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            self.text,
            "epoch {epoch}/{n_epochs} [{:=<full$}{:empty$}] {n_done}/{n_batches}  train_loss {loss:.4}  \
             {per_second:.1}/s, {} left",
            "",
            "",
            Clock(left)
        );
        // All of it is ASCII, so that a character is a byte.
        self.text.truncate(WIDTH);
    }
}

/// Clears the line, for what is printed next.
impl Drop for Bar {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let blank = format!("\r{:width$}\r", "", width = self.text.len());
            let _ = std::io::stderr().write_all(blank.as_bytes());
        }
    }
}

/// Seconds as a clock shows them: `0:07`, `12:34`, `1:02:03`.
struct Clock(f64);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.0.is_finite() {
            return f.write_str("?");
        }
        let seconds = self.0.round() as u64;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match hours {
            0 => write!(f, "{minutes}:{seconds:02}"),
            _ => write!(f, "{hours}:{minutes:02}:{seconds:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(n_batches: u64, n_before: u64, n_done: u64, seconds: f64) -> String {
        let mut bar = Bar::new([1, 12], n_batches, n_before);
        bar.n_done = n_done;
        bar.describe(0.25, seconds);
        std::mem::take(&mut bar.text)
    }

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        assert_eq!(
            text(938, 0, 469, 5.0),
            "epoch 2/12 [======      ] 469/938  train_loss 0.2500  93.8/s, 0:05 left"
        );
        // What a checkpoint had done already took no time of this run.
        assert_eq!(
            text(1000, 900, 1000, 4.0),
            "epoch 2/12 [============] 1000/1000  train_loss 0.2500  25.0/s, 0:00 left"
        );
    }

    #[test]
    fn no_numbers_break_the_line() {
        assert_eq!(
            text(0, 0, 0, 0.0),
            "epoch 2/12 [============] 0/0  train_loss 0.2500  NaN/s, ? left"
        );
        assert_eq!(text(u64::MAX / CELLS, 0, 1 << 50, 1e-9).len(), WIDTH);
    }

    #[test]
    fn clocks_show_hours_where_there_are_some() {
        let clocks = [0.4, 59.6, 754.0, 3723.0, f64::INFINITY].map(|left| Clock(left).to_string());
        assert_eq!(clocks, ["0:00", "1:00", "12:34", "1:02:03", "?"]);
    }
}

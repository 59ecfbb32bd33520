//! Where the time of calls goes: seconds of every kernel, beside its operations and bytes.
//!
//! A profile is taken by a workspace, from [`Workspace::start_profile`] to [`Workspace::stop_profile`], of whatever runs
//! in it meanwhile: plain calls, gradient calls, optimizer steps. Kernels are not changed and not kept apart: what is
//! timed is the program that runs without a profile, with one reading of the clock more for every kernel (some 25 ns).
//! Without a profile a kernel costs one comparison more.
//!
//! Only calls of small networks, which otherwise run in one piece ([`small`](crate::small)), run kernel by kernel in a profile,
//! with the same bits: their kernels take less time than a reading of the clock.
//!
//! Every kernel binds its buffers exactly once ([`Cx::bind`]), and that is where its time begins; it ends where the
//! next one's begins. So the times of a sweep add up to the sweep.
//!
//! Not here: times inside a kernel, or of single threads.
//!
//! [`Cx::bind`]: crate::cx::Cx::bind

use std::fmt;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::program::{KernelRow, LoopRow, Sizes, run_order};
use crate::sort::sorted;
use crate::workspace::{Mode, Workspace};

/// The running times of one call's kernels, in the order in which they ran.
#[derive(Debug, Default)]
pub struct Laps {
    began: Option<Instant>,
    seconds: Vec<f64>,
}

impl Laps {
    /// A kernel begins, and with it ends the one before.
    pub(crate) fn kernel_begins(&mut self) {
        let now = Instant::now();
        if let Some(began) = self.began.replace(now) {
            self.seconds.push((now - began).as_secs_f64());
        }
    }

    /// The last kernel of a sweep has ended.
    pub(crate) fn sweep_ends(&mut self) {
        if let Some(began) = self.began.take() {
            self.seconds.push(began.elapsed().as_secs_f64());
        }
    }

    fn clear(&mut self) {
        self.began = None;
        self.seconds.clear();
    }
}

/// What a kernel, or an optimizer's update, has cost over all calls of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileRow {
    /// What it computes: `matmul + bias + relu`; the optimizer's name for an update.
    pub kernel: &'static str,
    /// The value that it makes, by the user's name: `hidden`; `parameters` for an update.
    pub value: &'static str,
    /// `eval` for plain calls, `forward` and `backward` for gradient calls, `update` for optimizers.
    pub phase: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// Seconds of all its calls together.
    pub seconds: f64,
    /// Seconds of its fastest call.
    pub fastest: f64,
    /// Floating point operations of all its calls together; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes that all its calls together read and wrote, every operand counted once a call.
    pub bytes: u64,
}

impl ProfileRow {
    fn new(kernel: &'static str, value: &'static str, phase: &'static str) -> Self {
        Self {
            kernel,
            value,
            phase,
            calls: 0,
            seconds: 0.0,
            fastest: f64::INFINITY,
            flops: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, seconds: f64, flops: u64, bytes: u64) {
        self.calls += 1;
        self.seconds += seconds;
        self.fastest = self.fastest.min(seconds);
        self.flops += flops;
        self.bytes += bytes;
    }

    /// Floating point operations a second.
    pub fn flops_per_second(&self) -> f64 {
        self.flops as f64 / self.seconds
    }

    /// Bytes a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }
}

/// Where the time went; made by [`Workspace::stop_profile`]. Displays as a table, the slowest kernel first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    rows: Vec<ProfileRow>,
    seconds: f64,
}

impl Profile {
    /// The kernels in the order in which they run: those of plain calls, of gradient calls, then the update.
    pub fn rows(&self) -> &[ProfileRow] {
        &self.rows
    }

    /// Seconds of all calls and optimizer steps together, from entry to return.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Seconds that were not spent in kernels and updates: checks and copies of arguments, additions to earlier
    /// gradients.
    pub fn seconds_outside(&self) -> f64 {
        self.seconds - self.rows.iter().map(|row| row.seconds).sum::<f64>()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |k: usize| self.rows[k].seconds;
        let order = sorted(self.rows.len(), &|a, b| seconds(b).total_cmp(&seconds(a)));
        let line = |f: &mut fmt::Formatter<'_>, [kernel, value, phase]: [&str; 3], rest: [&str; 5]| {
            let [calls, mean, share, flops, bytes] = rest;
            writeln!(
                f,
                "{kernel:<32} {value:<24} {phase:<8} {calls:>8} {mean:>11} {share:>7} {flops:>9} {bytes:>8}"
            )
        };
        let heads = ["calls", "mean", "share", "GFLOP/s", "GB/s"];
        line(f, ["kernel", "value", "phase"], heads)?;
        let share = |seconds: f64| format!("{:.1} %", 100.0 * seconds / self.seconds);
        for row in order.into_iter().map(|k| &self.rows[k]) {
            let (calls, mean) = (row.calls.to_string(), row.seconds / row.calls as f64);
            let rest = [
                &calls,
                &format!("{:.2} us", 1e6 * mean),
                &share(row.seconds),
                &format!("{:.2}", 1e-9 * row.flops_per_second()),
                &format!("{:.2}", 1e-9 * row.bytes_per_second()),
            ];
            line(f, [row.kernel, row.value, row.phase], rest.map(String::as_str))?;
        }
        let outside = share(self.seconds_outside());
        line(f, ["outside kernels", "", ""], ["", "", &outside, "", ""])
    }
}

/// What the compiler says that runs.
struct Schedule {
    kernels: Vec<KernelRow>,
    loops: Vec<LoopRow>,
}

impl Schedule {
    /// How often a kernel runs.
    fn runs(&self, k: usize) -> u64 {
        let around = self.loops.iter().filter(|l| l.kernels.contains(&k));
        around.map(|l| l.count as u64).product()
    }
}

/// A profile that is being taken.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) laps: Laps,
    eval: Vec<ProfileRow>,
    train: Vec<ProfileRow>,
    product: Vec<ProfileRow>,
    update: Vec<ProfileRow>,
    seconds: f64,
    /// Kernels that were listed and that ran, where the numbers differ.
    mismatch: Option<(usize, usize)>,
}

impl Recorder {
    /// Takes over the laps of a call that has succeeded.
    fn end_call(&mut self, mode: Mode, began: Instant, schedule: &Schedule, width: usize) {
        let kernels = &schedule.kernels;
        self.seconds += began.elapsed().as_secs_f64();
        let rows = match mode {
            Mode::Train => &mut self.train,
            Mode::Product => &mut self.product,
            Mode::Eval | Mode::Trace => &mut self.eval,
        };
        if rows.is_empty() {
            rows.extend(kernels.iter().map(|kernel| {
                let phase = match mode {
                    Mode::Train => kernel.phase,
                    Mode::Product => "product",
                    Mode::Eval | Mode::Trace => "eval",
                };
                ProfileRow::new(kernel.name, kernel.value, phase)
            }));
        }
        let order = run_order(kernels.len(), &schedule.loops);
        if self.laps.seconds.len() != order.len() {
            self.mismatch = Some((order.len(), self.laps.seconds.len()));
        }
        for (&k, &seconds) in order.iter().zip(&self.laps.seconds) {
            let (kernel, n) = (&kernels[k], schedule.runs(k));
            rows[k].add(seconds, kernel.flops / n, kernel.elements * width as u64 / n);
        }
    }

    fn into_profile(self) -> Result<Profile> {
        if let Some((listed, ran)) = self.mismatch {
            return Err(Error::internal(format!(
                "the schedule lists {listed} kernels, but {ran} ran"
            )));
        }
        Ok(Profile {
            rows: self
                .eval
                .into_iter()
                .chain(self.train)
                .chain(self.product)
                .chain(self.update)
                .collect(),
            seconds: self.seconds,
        })
    }
}

impl Workspace {
    /// Starts a profile of everything that runs in this workspace from now on; what an earlier start has collected is
    /// dropped. Calls allocate while a profile is taken.
    ///
    /// ```text
    /// work.start_profile();
    /// for _ in 0..100 {
    ///     model.train_step(&mut work, &mut adam, &images, &labels)?;
    /// }
    /// println!("{}", work.stop_profile()?);
    /// ```
    pub fn start_profile(&mut self) {
        self.recorder = Some(Box::default());
    }

    /// Ends the profile and returns it. Calls that failed are not part of it.
    ///
    /// # Errors
    ///
    /// A configuration error if none was started.
    pub fn stop_profile(&mut self) -> Result<Profile> {
        let Some(recorder) = self.recorder.take() else {
            let hint = "call `start_profile` before the steps that are to be profiled";
            return Err(Error::config("this workspace takes no profile").hint(hint));
        };
        recorder.into_profile()
    }

    /// The time at which a call or an update begins, where a profile is taken.
    #[inline]
    pub(crate) fn clock(&mut self) -> Option<Instant> {
        let recorder = self.recorder.as_mut()?;
        recorder.laps.clear();
        Some(Instant::now())
    }

    /// A call that began at `began` has succeeded.
    #[inline]
    pub(crate) fn end_call(&mut self, mode: Mode, began: Option<Instant>) {
        if let Some(began) = began {
            self.record_call(mode, began);
        }
    }

    fn record_call(&mut self, mode: Mode, began: Instant) {
        let Some(mut recorder) = self.recorder.take() else {
            return;
        };
        let function = self.function();
        let code = mode.code(function).unwrap_or(&function.eval);
        let sizes: Sizes<'_> = self.sizes();
        let schedule = Schedule {
            kernels: code.kernel_rows(&sizes),
            loops: code.loop_rows(&sizes),
        };
        recorder.end_call(mode, began, &schedule, self.precision().width());
        self.recorder = Some(recorder);
    }

    /// An optimizer's update that began at `began` has succeeded; `work` is its floating point operations and bytes.
    pub(crate) fn end_update(&mut self, name: &'static str, began: Option<Instant>, work: [u64; 2]) {
        let Some((recorder, began)) = self.recorder.as_mut().zip(began) else {
            return;
        };
        let seconds = began.elapsed().as_secs_f64();
        recorder.seconds += seconds;
        let known = recorder.update.iter().position(|row| row.kernel == name);
        let index = known.unwrap_or_else(|| {
            recorder
                .update
                .push(ProfileRow::new(name, "parameters", "update"));
            recorder.update.len() - 1
        });
        recorder.update[index].add(seconds, work[0], work[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &'static str, flops: usize, elements: usize) -> KernelRow {
        KernelRow {
            name,
            value: "x",
            phase: "forward",
            shapes: "[B]",
            flops: flops as u64,
            elements: elements as u64,
            slot: None,
        }
    }

    #[test]
    fn laps_of_two_sweeps_are_those_of_their_kernels() {
        let mut laps = Laps::default();
        for _ in 0..2 {
            laps.kernel_begins();
            laps.kernel_begins();
            laps.sweep_ends();
        }
        assert_eq!(laps.seconds.len(), 4);
        assert!(laps.seconds.iter().all(|&s| s >= 0.0));
        laps.sweep_ends();
        assert_eq!(laps.seconds.len(), 4, "an empty sweep has no kernel");
    }

    #[test]
    fn calls_add_up() {
        let mut recorder = Recorder::default();
        for seconds in [2.0, 1.0] {
            recorder.laps.seconds = vec![seconds, 1.0];
            let schedule = Schedule {
                kernels: vec![kernel("a", 10, 3), kernel("b", 0, 5)],
                loops: Vec::new(),
            };
            recorder.end_call(Mode::Train, Instant::now(), &schedule, 4);
        }
        recorder.seconds = 8.0;
        let profile = recorder.into_profile().unwrap();
        let a = &profile.rows()[0];
        assert_eq!((a.calls, a.seconds, a.fastest), (2, 3.0, 1.0));
        assert_eq!((a.flops, a.bytes, a.phase), (20, 24, "forward"));
        assert_eq!(profile.seconds_outside(), 3.0);
        let text = profile.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with('a') && lines[1].contains("37.5 %"), "{text}");
        assert!(lines[3].starts_with("outside kernels"), "{text}");
    }

    #[test]
    fn kernels_of_a_loop_run_once_a_step() {
        let mut recorder = Recorder::default();
        recorder.laps.seconds = vec![1.0, 2.0, 3.0, 2.0, 3.0, 9.0];
        let schedule = Schedule {
            kernels: vec![
                kernel("a", 0, 0),
                kernel("b", 8, 4),
                kernel("c", 6, 0),
                kernel("d", 0, 0),
            ],
            loops: vec![LoopRow {
                name: "blocks",
                kernels: 1..3,
                count: 2,
            }],
        };
        recorder.end_call(Mode::Train, Instant::now(), &schedule, 4);
        let profile = recorder.into_profile().unwrap();
        let rows: Vec<_> = profile
            .rows()
            .iter()
            .map(|row| (row.calls, row.seconds))
            .collect();
        assert_eq!(rows, [(1, 1.0), (2, 4.0), (2, 6.0), (1, 9.0)]);
        assert_eq!((profile.rows()[1].flops, profile.rows()[1].bytes), (8, 16));
    }

    #[test]
    fn a_schedule_that_lists_other_kernels_than_ran_is_an_error() {
        let mut recorder = Recorder::default();
        recorder.laps.seconds = vec![1.0];
        let schedule = Schedule {
            kernels: vec![kernel("a", 1, 1), kernel("b", 1, 1)],
            loops: Vec::new(),
        };
        recorder.end_call(Mode::Eval, Instant::now(), &schedule, 4);
        let error = recorder.into_profile().unwrap_err().to_string();
        assert!(error.contains("lists 2 kernels, but 1 ran"), "{error}");
    }
}

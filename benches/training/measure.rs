//! Machine, steps and profiled steps in turns, so that they meet the same machine.

use std::time::Instant;

use tapeless::profile::ProfileRow;
use tapeless::{Precision, Result};

use crate::models::{Setup, Training, Workload};
use crate::roofline::{Probes, Roofline, median};

/// How long to measure.
pub struct Effort {
    /// Rounds, each of which measures the machine and every training once.
    pub rounds: usize,
    /// Seconds of steps in a round, and of profiled steps; one at least.
    pub seconds: f64,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            rounds: 7,
            seconds: 0.3,
        }
    }
}

/// What has been measured of a workload on some threads.
pub struct Measured {
    /// The rates of the machine in the same rounds.
    pub roofline: Roofline,
    /// The device in words, its threads and instruction path, and the precision.
    pub device: String,
    /// Seconds of every step without a profile.
    pub steps: Vec<f64>,
    /// Seconds of a step outside kernels; a median.
    pub outside: f64,
    /// Kernels and the update, in the order in which they run.
    pub kernels: Vec<Kernel>,
    /// Bytes of parameters' gradients, activations and everything else in the workspace.
    pub workspace_bytes: usize,
}

/// A row of a step's schedule with its times.
pub struct Kernel {
    /// Operations and bytes; the same in every step.
    pub row: ProfileRow,
    /// Seconds of its calls in a step; a median.
    pub seconds: f64,
    /// Seconds below which no schedule brings its calls.
    pub floor: f64,
}

impl Kernel {
    /// Seconds above the floor.
    pub fn lost(&self) -> f64 {
        self.seconds - self.floor
    }
}

impl Measured {
    /// The middle step, in seconds.
    pub fn step(&self) -> f64 {
        median(&self.steps)
    }

    /// Seconds below which no schedule of these kernels brings the step.
    pub fn floor(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.floor).sum()
    }
}

/// Measures a workload in every setup.
///
/// # Errors
///
/// What a training's start or step returns.
pub fn workload(workload: &Workload, setups: &[Setup], effort: &Effort) -> Result<Vec<Measured>> {
    let sample = |setup| Samples::new(workload, setup);
    let mut samples = setups.iter().map(sample).collect::<Result<Vec<_>>>()?;
    for _ in 0..effort.rounds {
        for samples in &mut samples {
            samples.round(effort.seconds)?;
        }
    }
    Ok(samples.into_iter().map(Samples::finish).collect())
}

/// A measurement under way.
struct Samples {
    training: Box<dyn Training>,
    device: String,
    precision: Precision,
    probes: Probes,
    n_steps: usize,
    steps: Vec<f64>,
    rows: Vec<ProfileRow>,
    outside: Vec<f64>,
    /// Seconds of every row in every profiled step.
    seconds: Vec<Vec<f64>>,
}

impl Samples {
    /// Begins a training and warms up.
    fn new(workload: &Workload, setup: &Setup) -> Result<Self> {
        let training = (workload.start)(setup)?;
        let mut samples = Self {
            training,
            device: format!("{}, {}", setup.device, setup.precision),
            precision: setup.precision,
            probes: Probes::new(setup.device.n_threads()),
            n_steps: 0,
            steps: Vec::new(),
            rows: Vec::new(),
            outside: Vec::new(),
            seconds: Vec::new(),
        };
        samples.step()?;
        samples.profiled_step()?;
        samples.outside.clear();
        samples.seconds.iter_mut().for_each(Vec::clear);
        Ok(samples)
    }

    fn round(&mut self, seconds: f64) -> Result<()> {
        self.probes.round();
        for step in [Self::timed_step, Self::profiled_step] {
            let begin = Instant::now();
            step(self)?;
            while begin.elapsed().as_secs_f64() < seconds {
                step(self)?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.n_steps += 1;
        self.training.step(self.n_steps).map(drop)
    }

    fn timed_step(&mut self) -> Result<()> {
        let begin = Instant::now();
        self.step()?;
        self.steps.push(begin.elapsed().as_secs_f64());
        Ok(())
    }

    fn profiled_step(&mut self) -> Result<()> {
        self.training.workspace().start_profile();
        self.step()?;
        let profile = self.training.workspace().stop_profile()?;
        self.outside.push(profile.seconds_outside());
        self.seconds.resize_with(profile.rows().len(), Vec::new);
        for (seconds, row) in self.seconds.iter_mut().zip(profile.rows()) {
            seconds.push(row.seconds);
        }
        if self.rows.is_empty() {
            self.rows = profile.rows().to_vec();
        }
        Ok(())
    }

    fn finish(mut self) -> Measured {
        let roofline = self.probes.roofline();
        let kernels = self.rows.into_iter().zip(&self.seconds);
        let kernels = kernels.map(|(row, seconds)| Kernel {
            floor: floor(&roofline, self.precision, &row),
            seconds: median(seconds),
            row,
        });
        Measured {
            kernels: kernels.collect(),
            roofline,
            device: self.device,
            steps: self.steps,
            outside: median(&self.outside),
            workspace_bytes: self.training.workspace().bytes(),
        }
    }
}

/// The floor of all calls of a row in a step. A loop's calls are judged one by one: the bytes of one find room in a nearer level
/// of the memory than those of all.
///
/// The peak is that of multiply-adds in the width in which numbers are stored, also where products run on faster units: so shares of
/// different precisions can be compared, and may exceed 100 %.
fn floor(roofline: &Roofline, precision: Precision, row: &ProfileRow) -> f64 {
    let peak = match precision {
        Precision::F64 => roofline.fma_f64,
        _ => roofline.fma_f32,
    };
    let calls = row.calls.max(1);
    calls as f64 * roofline.floor(peak, row.flops / calls, row.bytes / calls)
}

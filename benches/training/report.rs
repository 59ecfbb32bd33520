//! Every step against its floor: what its operations and bytes would take at the rates that the machine has in the same run.

use std::time::Instant;

use tapeless::profile::ProfileRow;

use crate::models::{BATCH, Training};
use crate::roofline::{Probes, Roofline, median};

/// Rounds, each of which measures the machine and every model once.
const ROUNDS: usize = 7;

/// Seconds for which a model is measured in a round, once without and once with a profile.
const SECONDS: f64 = 0.3;

/// Kernels in a table.
const N_ROWS: usize = 10;

/// What has been measured of a model.
struct Measured {
    /// Seconds of steps without a profile.
    steps: Vec<f64>,
    /// The rows of a profiled step; operations and bytes are the same in every step.
    rows: Vec<ProfileRow>,
    /// Seconds of profiled steps outside kernels.
    outside: Vec<f64>,
    /// Seconds of every row in every profiled step.
    seconds: Vec<Vec<f64>>,
}

impl Measured {
    /// Warms up.
    fn new(training: &mut Training) -> Self {
        training.step();
        let rows = training.profiled_step().rows().to_vec();
        Self {
            steps: Vec::new(),
            outside: Vec::new(),
            seconds: vec![Vec::new(); rows.len()],
            rows,
        }
    }

    fn round(&mut self, training: &mut Training) {
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < SECONDS {
            let begin = Instant::now();
            training.step();
            self.steps.push(begin.elapsed().as_secs_f64());
        }
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < SECONDS {
            let profile = training.profiled_step();
            self.outside.push(profile.seconds_outside());
            for (seconds, row) in self.seconds.iter_mut().zip(profile.rows()) {
                seconds.push(row.seconds);
            }
        }
    }
}

/// Measures machine and models in turns, and prints the tables.
pub fn print(trainings: &mut [Training], threads: &[usize]) {
    let mut probes: Vec<Probes> = threads.iter().map(|&n| Probes::new(n)).collect();
    let mut measured: Vec<Measured> = trainings.iter_mut().map(Measured::new).collect();
    for _ in 0..ROUNDS {
        probes.iter_mut().for_each(Probes::round);
        for (training, measured) in trainings.iter_mut().zip(&mut measured) {
            measured.round(training);
        }
    }
    let rooflines: Vec<Roofline> = probes.iter().map(Probes::roofline).collect();
    for roofline in &rooflines {
        println!("{roofline}");
    }
    for (training, measured) in trainings.iter().zip(&measured) {
        let roofline = rooflines
            .iter()
            .find(|roofline| roofline.threads == training.threads)
            .expect("every number of threads has been measured");
        print_step(training, measured, roofline);
    }
}

/// A kernel with what it loses.
struct Loss<'a> {
    row: &'a ProfileRow,
    seconds: f64,
    floor: f64,
}

fn print_step(training: &Training, measured: &Measured, roofline: &Roofline) {
    let loss = |(row, seconds): (_, &Vec<f64>)| -> Loss<'_> {
        let row: &ProfileRow = row;
        Loss {
            row,
            seconds: median(seconds),
            floor: roofline.floor(row.flops, row.bytes),
        }
    };
    let mut losses: Vec<Loss<'_>> = measured.rows.iter().zip(&measured.seconds).map(loss).collect();
    let (step, floor) = (
        median(&measured.steps),
        losses.iter().map(|loss| loss.floor).sum::<f64>(),
    );
    let flops: u64 = measured.rows.iter().map(|row| row.flops).sum();
    let bytes: u64 = measured.rows.iter().map(|row| row.bytes).sum();
    println!(
        "{}, batch {BATCH}, {} threads: {:.3} ms a step (median of {}), {:.4} GFLOP ({:.1} GFLOP/s), {:.2} MB",
        training.name,
        training.threads,
        1e3 * step,
        measured.steps.len(),
        1e-9 * flops as f64,
        1e-9 * flops as f64 / step,
        1e-6 * bytes as f64,
    );
    println!(
        "floor {:.3} ms: the step runs at {:.0} % of it; {:.3} ms of the step are outside kernels",
        1e3 * floor,
        100.0 * floor / step,
        1e3 * median(&measured.outside),
    );
    losses.sort_by(|a, b| (b.seconds - b.floor).total_cmp(&(a.seconds - a.floor)));
    print_line(
        ["kernel", "value", "phase"],
        ["lost", "time", "floor", "share", "GFLOP/s", "GB/s"],
        "level",
    );
    for loss in losses.iter().take(N_ROWS) {
        print_loss(loss, roofline);
    }
    println!();
}

fn print_loss(loss: &Loss<'_>, roofline: &Roofline) {
    let Loss { row, seconds, floor } = loss;
    let micros = |seconds: f64| format!("{:.1} us", 1e6 * seconds);
    let rest = [
        micros(seconds - floor),
        micros(*seconds),
        micros(*floor),
        format!("{:.0} %", 100.0 * floor / seconds),
        format!("{:.1}", 1e-9 * row.flops as f64 / seconds),
        format!("{:.1}", 1e-9 * row.bytes as f64 / seconds),
    ];
    let level = roofline.level_of(row.bytes).level.name;
    print_line(
        [row.kernel, row.value, row.phase],
        rest.each_ref().map(String::as_str),
        level,
    );
}

fn print_line(
    [kernel, value, phase]: [&str; 3],
    [lost, time, floor, share, flops, bytes]: [&str; 6],
    level: &str,
) {
    println!(
        "{kernel:<30} {value:<20} {phase:<8} {lost:>11} {time:>11} {floor:>11} {share:>6} {flops:>8} {bytes:>7}  {level}"
    );
}

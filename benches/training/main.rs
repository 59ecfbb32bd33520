//! Training steps of the workloads against what the machine can do: the measured step, its floor, the share, and the kernels by
//! the time that they lose. `benches/README.md` says how the floor is worked out.
//!
//! ```text
//! cargo bench --bench training                               every workload, on one thread and on all cores
//! cargo bench --bench training -- mlp gpt --threads 1        two of them, on one thread
//! cargo bench --bench training -- --help                     the other options
//! ```

mod measure;
mod models;
mod report;
#[path = "../roofline/mod.rs"]
mod roofline;

use std::fmt::Display;
use std::str::FromStr;

use lexopt::prelude::*;
use models::{Setup, WORKLOADS, Workload};
use tapeless::cpu::isa::Isa;
use tapeless::{Device, Precision};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let options = Options::parse()?;
    match options.purpose {
        Purpose::Measure => measure(&options),
        Purpose::Smoke => smoke(&options.workloads),
    }
}

fn measure(options: &Options) -> Result<()> {
    let mut lines = Vec::new();
    for workload in &options.workloads {
        let setups = options.threads.iter().map(|&n| options.setup(n));
        for measured in measure::workload(workload, &setups.collect::<Vec<_>>(), &options.effort)? {
            report::print(workload, &measured, options.n_rows);
            lines.push(report::line(workload, &measured));
        }
    }
    println!("{}", report::HEAD);
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// A step of everything but the workload that needs gigabytes: does it run?
fn smoke(workloads: &[&Workload]) -> Result<()> {
    for workload in workloads.iter().filter(|workload| workload.name != "gpt2") {
        let mut training = (workload.start)(&Setup::new(Device::cpu()))?;
        let loss = training.step(0)?;
        if !loss.is_finite() {
            return Err(format!("{}: the loss of the first step is {loss}", workload.name).into());
        }
    }
    Ok(())
}

/// What a run is for.
enum Purpose {
    /// `cargo bench` measures.
    Measure,
    /// `cargo test --benches` asks only whether it runs.
    Smoke,
}

/// Where the threads of a device run.
#[derive(Copy, Clone)]
enum Cores {
    /// Where the system puts them.
    Any,
    /// On cores of their own.
    Bound,
}

/// What can be chosen on the command line.
struct Options {
    purpose: Purpose,
    workloads: Vec<&'static Workload>,
    /// Numbers of threads, each measured in turn with the others.
    threads: Vec<usize>,
    /// Whether threads stay on cores of their own.
    cores: Cores,
    /// The instruction path.
    path: Isa,
    precision: Precision,
    effort: measure::Effort,
    /// Kernels in a table.
    n_rows: usize,
}

/// What `--help` prints.
const HELP: &str = "\
Measures training steps against the rates of this machine, which it measures in turns with them.

Usage: cargo bench --bench training -- [WORKLOAD]... [OPTIONS]

Options:
      --threads <N,...>  Numbers of threads [default: 1 and the number of cores]
      --bound            Binds every thread but the first to a core of its own
      --path <PATH>      Instruction path: amx, avx512bf16, avx512, avx2, neon, portable [default: the best]
      --precision <P>    Precision: f32, high, bf16, f64 [default: f32]
      --rounds <N>       Rounds of machine, steps and profiled steps in turns [default: 7]
      --seconds <X>      Seconds of steps, and of profiled steps, a round; one step at least [default: 0.3]
      --rows <N>         Kernels in a table [default: 12]
  -h, --help             Print this text

Workloads [default: all of them]:
";

impl Options {
    /// The setup for a number of threads.
    fn setup(&self, threads: usize) -> Setup {
        let device = Device::cpu().threads(threads).path(self.path);
        let device = match self.cores {
            Cores::Any => device,
            Cores::Bound => device.bound(),
        };
        Setup {
            precision: self.precision,
            ..Setup::new(device)
        }
    }

    fn parse() -> Result<Self> {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            purpose: Purpose::Smoke,
            workloads: Vec::new(),
            threads: if n_cores > 1 { vec![1, n_cores] } else { vec![1] },
            cores: Cores::Any,
            path: Isa::best(),
            precision: Precision::default(),
            effort: measure::Effort::default(),
            n_rows: 12,
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(name) => options.workloads.push(workload(&name.string()?)?),
                Long("threads") => {
                    let list = arguments.value()?.string()?;
                    options.threads = list
                        .split(',')
                        .map(|n| number(n, "--threads"))
                        .collect::<Result<_>>()?;
                }
                Long("bound") => options.cores = Cores::Bound,
                Long("path") => options.path = number(&arguments.value()?.string()?, "--path")?,
                Long("precision") => options.precision = arguments.value()?.parse()?,
                Long("rounds") => options.effort.rounds = number(&arguments.value()?.string()?, "--rounds")?,
                Long("seconds") => {
                    options.effort.seconds = number(&arguments.value()?.string()?, "--seconds")?;
                }
                Long("rows") => options.n_rows = number(&arguments.value()?.string()?, "--rows")?,
                // What cargo passes to every bench.
                Long("bench") => options.purpose = Purpose::Measure,
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    for Workload {
                        name, about, batch, ..
                    } in &WORKLOADS
                    {
                        println!("  {name:<10} {about}, batch {batch}");
                    }
                    std::process::exit(0);
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        if options.workloads.is_empty() {
            options.workloads.extend(&WORKLOADS);
        }
        if options.effort.rounds == 0 || options.threads.contains(&0) {
            return Err("--rounds and --threads begin at 1".into());
        }
        Ok(options)
    }
}

/// The workload of a name.
fn workload(name: &str) -> Result<&'static Workload> {
    let found = WORKLOADS.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| {
        let names = WORKLOADS.each_ref().map(|workload| workload.name).join(", ");
        format!("there is no workload `{name}`; there are {names}").into()
    })
}

/// An option's value as a number. An error names the option.
fn number<T: FromStr<Err: Display>>(text: &str, option: &str) -> Result<T> {
    text.parse()
        .map_err(|error| format!("cannot parse {text:?} for option '{option}': {error}").into())
}

//! Tapeless's side of the comparison: a program that answers the orders of `run.py`, as the programs of the other frameworks do.
//!
//! ```text
//! tapeless_rival export --workload mlp --data FOLDER     writes initial weights and batches for everyone
//! tapeless_rival work --workload mlp --data FOLDER       loads them, and takes orders (see `orders.rs`)
//! tapeless_rival start                                   one step of the mlp from nothing, for the time that it takes
//! tapeless_rival memory --workload mlp                   three steps, for the memory that they take
//! tapeless_rival probe                                   measures multiply-adds on one core whenever a line comes in
//! ```

mod export;
#[path = "../../../training/models/mod.rs"]
mod models;
mod once;
mod orders;
mod probe;

use std::path::PathBuf;

use lexopt::prelude::*;
use models::{Setup, WORKLOADS, Workload};
use tapeless::{Device, Precision};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let options = Options::parse()?;
    let setup = Setup {
        precision: options.precision,
        ..Setup::new(options.device)
    };
    match options.command.as_str() {
        "export" => export::write(options.workload, &options.data),
        "work" => orders::serve(options.workload, setup, &options.data),
        "start" => once::first_step(&setup),
        "memory" => once::memory(options.workload, &setup),
        "probe" => probe::serve(),
        other => {
            Err(format!("there is no command `{other}`; there are export, work, start, memory, probe").into())
        }
    }
}

/// What is chosen on the command line.
struct Options {
    command: String,
    workload: &'static Workload,
    device: Device,
    precision: Precision,
    /// Folder of weights and batches.
    data: PathBuf,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self {
            command: String::new(),
            workload: &WORKLOADS[0],
            device: Device::cpu(),
            precision: Precision::default(),
            data: PathBuf::from("."),
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(command) if options.command.is_empty() => options.command = command.string()?,
                Long("workload") => {
                    let name = arguments.value()?.string()?;
                    options.workload = WORKLOADS
                        .iter()
                        .find(|workload| workload.name == name)
                        .ok_or_else(|| format!("there is no workload `{name}`"))?;
                }
                Long("threads") => options.device = options.device.threads(arguments.value()?.parse()?),
                Long("path") => options.device = options.device.path(arguments.value()?.parse()?),
                Long("precision") => options.precision = arguments.value()?.parse()?,
                Long("data") => options.data = arguments.value()?.into(),
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(options)
    }
}

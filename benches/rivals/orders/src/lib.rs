//! What the rivals written in Rust share: the command line that `run.py` gives them, the orders that they answer (listed in
//! `ours/src/orders.rs`), and the batches of the comparison.

use std::path::{Path, PathBuf};
use std::time::Instant;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// What goes wrong here ends the process with a message.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Batches that are taken in turn.
pub const N_BATCHES: usize = 8;

/// The command line.
pub struct Options {
    /// `work`, `start` or `memory`.
    pub command: String,
    /// The workload's name.
    pub workload: String,
    /// Folder of weights and batches.
    pub data: PathBuf,
}

impl Options {
    /// Reads it; numbers of threads reach these frameworks by environment variables.
    ///
    /// # Errors
    ///
    /// For an option that does not exist or has no value.
    pub fn parse() -> Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let command = arguments.next().ok_or("expected work, start or memory")?;
        let (mut workload, mut data) = (String::from("mlp"), PathBuf::from("."));
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{option} has no value"))?;
            match option.as_str() {
                "--workload" => workload = value,
                "--data" => data = value.into(),
                "--threads" | "--variant" => {}
                _ => return Err(format!("there is no option {option}").into()),
            }
        }
        Ok(Self {
            command,
            workload,
            data,
        })
    }

    /// The file of the initial weights.
    pub fn weights(&self) -> PathBuf {
        self.data.join(format!("{}.weights.safetensors", self.workload))
    }

    /// Inputs and targets of every batch.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn batches(&self) -> Result<Vec<(Tensor, Tensor)>> {
        let tensors = read(&self.data.join(format!("{}.batches.safetensors", self.workload)))?;
        let find = |name: String| -> Result<Tensor> {
            let found = tensors.iter().find(|tensor| tensor.name == name);
            Ok(found.ok_or_else(|| format!("there is no tensor {name}"))?.clone())
        };
        (0..N_BATCHES)
            .map(|k| Ok((find(format!("x.{k}"))?, find(format!("y.{k}"))?)))
            .collect()
    }
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its path.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, row by row.
    pub values: Values,
}

/// Numbers of either kind.
#[derive(Clone, Debug)]
pub enum Values {
    /// Inputs and weights.
    Floats(Vec<f32>),
    /// Labels and tokens.
    Ints(Vec<i64>),
}

/// All tensors of a file.
///
/// # Errors
///
/// If it cannot be read, or has others than 32-bit floats and 64-bit integers.
pub fn read(path: &Path) -> Result<Vec<Tensor>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| -> Result<Tensor> {
        let values = match view.dtype() {
            Dtype::F32 => Values::Floats(
                view.data()
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect(),
            ),
            Dtype::I64 => Values::Ints(
                view.data()
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| i64::from_le_bytes(*b))
                    .collect(),
            ),
            other => return Err(format!("{name}: no reader for {other:?}").into()),
        };
        Ok(Tensor {
            name,
            shape: view.shape().to_vec(),
            values,
        })
    };
    tensors.tensors().into_iter().map(read).collect()
}

/// Whether activations are dropped.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Dropout {
    /// At the rates of the workload.
    AsDefined,
    /// Not at all, for comparing losses.
    Never,
}

impl Dropout {
    /// The rate where the workload has `rate`.
    pub fn rate(self, rate: f64) -> f64 {
        match self {
            Self::AsDefined => rate,
            Self::Never => 0.0,
        }
    }
}

/// How a training begins.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// With the weights and batches of the comparison.
    Files,
    /// With the framework's own weights and a batch of zeros.
    Nothing,
}

/// A step on the batch of a number: its loss.
pub type Step = Box<dyn FnMut(usize) -> Result<f64>>;

/// A prediction of one batch.
pub type Predict = Box<dyn FnMut() -> Result<()>>;

/// A framework.
pub trait Rival {
    /// Its name and version.
    const READY: (&'static str, &'static str);

    /// Begins a training.
    ///
    /// # Errors
    ///
    /// If the workload is not one that it runs.
    fn start(options: &Options, from: From, dropout: Dropout) -> Result<Step>;

    /// Prepares predictions of a batch.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    fn infer(options: &Options, batch: usize) -> Result<Predict>;
}

/// What a rival's `main` does.
///
/// # Errors
///
/// Whatever goes wrong.
pub fn run<R: Rival>() -> Result<()> {
    let options = Options::parse()?;
    let n_steps = match options.command.as_str() {
        "work" => return serve::<R>(&options),
        "start" => 1,
        "memory" => 3,
        other => return Err(format!("there is no command {other}; there are work, start, memory").into()),
    };
    let mut step = R::start(&options, From::Nothing, Dropout::AsDefined)?;
    let losses = (0..n_steps).map(&mut step).collect::<Result<Vec<f64>>>()?;
    println!(
        "{}",
        json!({ "loss": losses.last(), "peak_rss_mb": peak_rss_mb()? })
    );
    Ok(())
}

fn serve<R: Rival>(options: &Options) -> Result<()> {
    let (name, version) = R::READY;
    println!("{}", json!({ "ready": name, "version": version }));
    let (mut training, mut n_steps) = (None, 0);
    let mut inference: Option<(usize, Predict)> = None;
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer: Value = match words.as_slice() {
            ["losses", n] => {
                let step = R::start(options, From::Files, Dropout::Never)?;
                json!({ "losses": (0..n.parse()?).map(step).collect::<Result<Vec<f64>>>()? })
            }
            ["train", seconds] => {
                let mut step = match training.take() {
                    Some(step) => step,
                    None => R::start(options, From::Files, Dropout::AsDefined)?,
                };
                let mut loss = f64::NAN;
                let times = timed(seconds.parse()?, || {
                    loss = step(n_steps)?;
                    n_steps += 1;
                    Ok(())
                })?;
                training = Some(step);
                json!({ "ms": times, "loss": loss })
            }
            ["infer", batch, seconds] => {
                let batch = batch.parse()?;
                let (_, predict) = match &mut inference {
                    Some(inference) if inference.0 == batch => inference,
                    _ => inference.insert((batch, R::infer(options, batch)?)),
                };
                json!({ "ms": timed(seconds.parse()?, predict)? })
            }
            ["peak"] => json!({ "peak_rss_mb": peak_rss_mb()? }),
            _ => return Err(format!("not an order: {line}").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

/// Milliseconds of every call in so many seconds, of one at least.
fn timed(seconds: f64, mut call: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || begin.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        call()?;
        times.push(1e3 * begin.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// The most memory that this process has held, in megabytes, as Linux counts it.
fn peak_rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes.ok_or("the system does not tell VmHWM")?.parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

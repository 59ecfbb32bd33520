//! A character-level GPT that learns to write from the King James New Testament.
//!
//! ```text
//! cargo run --release --example gpt                    trains, shows samples, and saves the weights
//! cargo run --release --example gpt -- write           writes with the saved weights
//! cargo run --release --example gpt -- write --prompt "And Jesus said" --temperature 0.7 --top-k 8
//! ```

mod model;
mod text;
mod write;

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use model::Gpt;
use tapeless::optim::schedule::Progress;
use tapeless::prelude::*;
use text::{Dice, Text, windows};
use write::Style;

const VOCAB: usize = 63;
const CONTEXT: usize = 64;
const WIDTH: usize = 128;
const LAYERS: usize = 4;

/// The model of this example; GPT-2 small is `Gpt<50257, 1024, 12, 12, 768>`.
type CharGpt = Gpt<VOCAB, CONTEXT, LAYERS, 4, WIDTH>;

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let device = match options.threads {
        Some(n) => Device::cpu().threads(n),
        None => Device::cpu(),
    };
    let text = Text::read(&options.data, VOCAB)?;
    let path = options.out.join("gpt.safetensors");
    match options.command {
        Command::Train => {
            std::fs::create_dir_all(&options.out)
                .map_err(|error| Error::config(format!("cannot make {}: {error}", options.out.display())))?;
            let model = train(&device, &options, &text)?;
            model.save(&path)?;
            println!("saved {}", path.display());
            write::write(&model, &text, &options.style)
        }
        Command::Write => {
            let mut model = CharGpt::new(&device, options.seed)?;
            model.load(&path)?;
            write::write(&model, &text, &options.style)
        }
    }
}

fn train(device: &Device, options: &Options, text: &Text) -> Result<CharGpt> {
    let (train, held_out) = text.split();
    let mut model = CharGpt::new(device, options.seed)?;
    println!("{}", CharGpt::summary());
    let mut work = model.loss_workspace(options.batch_size)?;
    let mut adam = AdamW::new(options.lr)
        .betas(0.9, 0.99)
        .weight_decay(0.1)
        .clip_norm(1.0);
    let schedule = Schedule::cosine(0.1).warmup(options.steps as u64 / 20);
    let mut dice = Dice::new(options.seed);
    let (start, mut mean) = (Instant::now(), f64::NAN);
    for step in 0..options.steps {
        adam.set_lr(options.lr * schedule.factor(progress(options, step)));
        let starts = dice.starts(options.batch_size, train, CONTEXT);
        let (tokens, next) = windows(train, &starts, CONTEXT);
        let loss = model.loss_grad(&mut work, &tokens, &next, options.dropout as f32)?;
        adam.step(&mut model, &mut work)?;
        mean = if mean.is_nan() {
            loss
        } else {
            0.98 * mean + 0.02 * loss
        };
        if (step + 1) % 500 == 0 || step + 1 == options.steps {
            let held_out = evaluate(&model, held_out)?;
            let seconds = start.elapsed().as_secs_f64();
            let rate = 1e3 * seconds / (step + 1) as f64;
            println!(
                "step {:>5}/{}  train_loss {mean:.4}  held_out_loss {held_out:.4}  {seconds:.1} s  {rate:.1} ms/step",
                step + 1,
                options.steps
            );
        }
    }
    Ok(model)
}

/// Where training stands, as schedules see it.
fn progress(options: &Options, step: usize) -> Progress {
    Progress {
        step: step as u64,
        steps_per_epoch: options.steps as u64,
        n_epochs: 1,
    }
}

/// The mean loss over windows of the held-out text, spread evenly.
fn evaluate(model: &CharGpt, tokens: &[u16]) -> Result<f64> {
    let n = 128;
    let stride = (tokens.len() - CONTEXT - 1) / n;
    let starts: Vec<usize> = (0..n).map(|k| k * stride).collect();
    let (tokens, next) = windows(tokens, &starts, CONTEXT);
    model.loss(&tokens, &next, 0.0)
}

/// What can be chosen on the command line.
struct Options {
    /// Train, or only write.
    command: Command,
    /// Training steps.
    steps: usize,
    /// Windows a step.
    batch_size: usize,
    /// The highest learning rate of AdamW.
    lr: f64,
    /// Share of activations that are dropped in training.
    dropout: f64,
    /// Seed of initial weights, windows and dropout.
    seed: u64,
    /// Threads; all cores where it is not given.
    threads: Option<usize>,
    /// The text.
    data: PathBuf,
    /// Folder for the weights.
    out: PathBuf,
    /// How to write.
    style: Style,
}

/// What this program can do.
enum Command {
    /// Train a model, save the weights, and write.
    Train,
    /// Write with the saved weights.
    Write,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            command: Command::Train,
            steps: 3000,
            batch_size: 12,
            lr: 1e-3,
            dropout: 0.0,
            seed: 42,
            threads: None,
            data: concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/examples/data/text/kjv-new-testament.txt"
            )
            .into(),
            out: "target/gpt".into(),
            style: Style::default(),
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Trains a small language model, or lets it write.

Usage: gpt [OPTIONS]        train a model, save the weights, and write
       gpt write [OPTIONS]  write with the saved weights

Options:
      --steps <N>        Training steps [default: 3000]
      --batch-size <N>   Windows a step [default: 12]
      --lr <X>           The highest learning rate of AdamW [default: 0.001]
      --dropout <X>      Share of activations that are dropped in training [default: 0]
      --seed <N>         Seed of initial weights, windows and dropout [default: 42]
      --threads <N>      Threads; all cores where it is not given
      --data <FILE>      The text
                         [default: examples/data/text/kjv-new-testament.txt of the repository]
      --out <FOLDER>     Folder for the weights [default: target/gpt]
  -h, --help             Print this text

How to write:
      --prompt <TEXT>    How the text begins [default: 'And ']
      --length <N>       How many characters to write [default: 600]
      --temperature <X>  Below 1, likely characters become likelier; 0 always takes the likeliest
                         [default: 0.8]
      --top-k <N>        Draw from so many of the likeliest characters [default: 16]
      --draw <N>         Seed of the draws [default: 1]
";

impl Options {
    /// Reads the command line.
    fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(word) if word == "write" => options.command = Command::Write,
                Long("steps") => options.steps = value(&mut arguments, "--steps")?,
                Long("batch-size") => options.batch_size = value(&mut arguments, "--batch-size")?,
                Long("lr") => options.lr = value(&mut arguments, "--lr")?,
                Long("dropout") => options.dropout = value(&mut arguments, "--dropout")?,
                Long("seed") => options.seed = value(&mut arguments, "--seed")?,
                Long("threads") => options.threads = Some(value(&mut arguments, "--threads")?),
                Long("data") => options.data = arguments.value()?.into(),
                Long("out") => options.out = arguments.value()?.into(),
                Long("prompt") => options.style.prompt = arguments.value()?.string()?,
                Long("length") => options.style.length = value(&mut arguments, "--length")?,
                Long("temperature") => options.style.temperature = value(&mut arguments, "--temperature")?,
                Long("top-k") => options.style.top_k = value(&mut arguments, "--top-k")?,
                Long("draw") => options.style.draw = value(&mut arguments, "--draw")?,
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    std::process::exit(0);
                }
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }
}

/// The value of an option as a number. An error names the option.
fn value<T: FromStr<Err: Display>>(arguments: &mut lexopt::Parser, option: &str) -> Result<T, lexopt::Error> {
    let text = arguments.value()?.string()?;
    text.parse()
        .map_err(|error| format!("cannot parse {text:?} for option '{option}': {error}").into())
}

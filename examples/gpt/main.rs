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

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use model::Gpt;
use tapeless::optim::schedule::Progress;
use tapeless::prelude::*;
use text::{Dice, Text, windows};

const VOCAB: usize = 63;
const CONTEXT: usize = 64;
const WIDTH: usize = 128;
const LAYERS: usize = 4;

/// The model of this example; GPT-2 small is `Gpt<50257, 1024, 12, 12, 768>`.
type CharGpt = Gpt<VOCAB, CONTEXT, LAYERS, 4, WIDTH>;

/// Trains a small language model, or lets it write.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Write with a trained model.
    Write(write::Style),
}

#[derive(Args)]
struct Options {
    /// Training steps.
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Windows a step.
    #[arg(long, default_value_t = 12)]
    batch_size: usize,
    /// The highest learning rate of AdamW.
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Share of activations that are dropped in training.
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Seed of initial weights, windows and dropout.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// The text.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/text/kjv-new-testament.txt"))]
    data: PathBuf,
    /// Folder for the weights.
    #[arg(long, default_value = "target/gpt")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let device = match cli.options.threads {
        Some(n) => Device::cpu().threads(n),
        None => Device::cpu(),
    };
    let text = Text::read(&cli.options.data, VOCAB)?;
    let path = cli.options.out.join("gpt.safetensors");
    match cli.command {
        None => {
            std::fs::create_dir_all(&cli.options.out).map_err(|error| {
                Error::config(format!("cannot make {}: {error}", cli.options.out.display()))
            })?;
            let model = train(&device, &cli.options, &text)?;
            model.save(&path)?;
            println!("saved {}", path.display());
            write::write(&model, &text, &write::Style::default())
        }
        Some(Command::Write(style)) => {
            let mut model = CharGpt::new(&device, cli.options.seed)?;
            model.load(&path)?;
            write::write(&model, &text, &style)
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

//! Which digits were dialled? A recurrent network that listens to tones in noise, trained without being told when they sound.
//!
//! ```text
//! cargo run --release --example speech
//! cargo run --release --example speech -- --noise 2
//! ```
//!
//! The sound is generated: pairs of tones of any duration and loudness, a little out of tune, between pauses, in noise that
//! is as strong as they are. Of every sentence only its digits are known; connectionist temporal classification sums
//! over all the ways to place them in time.

mod model;
mod sound;

use std::fmt::Display;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use model::{Recogniser, RecogniserLossDims};
use sound::{BANDS, Batch, FRAMES, SENTENCE, Speaker, WORDS};
use tapeless::prelude::*;

/// The digits, and the blank.
type Digits = Recogniser<BANDS, 48, { WORDS + 1 }>;

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let mut teacher = Speaker::new(options.seed, "train", options.noise);
    let mut examiner = Speaker::new(options.seed, "test", options.noise);
    let mut model = Digits::new(&Device::cpu(), options.seed)?;
    println!("{}", Digits::summary());
    train(&mut model, &mut teacher, &options)?;
    let test = examiner.batch(500);
    let found = model.classes(&test.sound, &test.lengths)?;
    let (mut errors, mut total) = (0, 0);
    for (b, classes) in found.outer_iter().enumerate() {
        let said = said(&test, b);
        let heard = decode(classes.iter().take(test.lengths[b] as usize));
        errors += edits(&heard, &said);
        total += said.len();
        if b < 8 {
            let mark = if heard == said { ' ' } else { '!' };
            println!("{mark} said {:<10} heard {}", text(&said), text(&heard));
        }
    }
    println!("token error rate: {:.2} %", 100.0 * errors as f64 / total as f64);
    Ok(())
}

fn train(model: &mut Digits, teacher: &mut Speaker, options: &Options) -> Result<()> {
    let sizes = RecogniserLossDims {
        b: options.batch_size,
        t: FRAMES,
        s: SENTENCE,
    };
    let mut work = model.loss_workspace(sizes)?;
    let mut adam = Adam::new(options.lr).clip_norm(1.0);
    let (start, mut mean) = (Instant::now(), f64::NAN);
    for step in 0..options.steps {
        let way = step as f64 / options.steps as f64;
        adam.set_lr(options.lr * (1.0 - way).max(0.01));
        let Batch {
            sound,
            lengths,
            words,
            n_words,
        } = teacher.batch(options.batch_size);
        let loss = model.train_step(&mut work, &mut adam, &sound, &lengths, &words, &n_words)?;
        mean = if mean.is_nan() {
            loss
        } else {
            0.98 * mean + 0.02 * loss
        };
        if (step + 1) % 100 == 0 {
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "step {:>5}/{}  train_loss {mean:.4}  {seconds:.1} s",
                step + 1,
                options.steps
            );
        }
    }
    Ok(())
}

/// The words of a sentence.
fn said(batch: &Batch, sentence: usize) -> Vec<u8> {
    let words = batch.words.row(sentence);
    words
        .iter()
        .take(batch.n_words[sentence] as usize)
        .copied()
        .collect()
}

/// Greedy decoding: repeats become one, blanks are dropped.
fn decode<'a>(classes: impl Iterator<Item = &'a i64>) -> Vec<u8> {
    let mut words: Vec<u8> = classes.map(|&class| class as u8).collect();
    words.dedup();
    words.retain(|&class| class != 0);
    words
}

/// The least number of words to be put in, left out or changed to make one list of the other (Levenshtein's distance).
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn text(words: &[u8]) -> String {
    words.iter().map(|word| char::from(b'0' + word - 1)).collect()
}

/// What can be chosen on the command line.
struct Options {
    /// Training steps.
    steps: usize,
    /// Sentences a step.
    batch_size: usize,
    /// The highest learning rate of Adam.
    lr: f64,
    /// Deviation of the noise, where a tone has an amplitude of about 1.
    noise: f64,
    /// Seed of sentences and weights.
    seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            steps: 600,
            batch_size: 32,
            lr: 5e-3,
            noise: 1.0,
            seed: 1,
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Learns to hear dialled digits in noise, and is examined on new sentences.

Usage: speech [OPTIONS]

Options:
      --steps <N>       Training steps [default: 600]
      --batch-size <N>  Sentences a step [default: 32]
      --lr <X>          The highest learning rate of Adam [default: 0.005]
      --noise <X>       Deviation of the noise, where a tone has an amplitude of about 1
                        [default: 1]
      --seed <N>        Seed of sentences and weights [default: 1]
  -h, --help            Print this text
";

impl Options {
    /// Reads the command line.
    fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("steps") => options.steps = value(&mut arguments, "--steps")?,
                Long("batch-size") => options.batch_size = value(&mut arguments, "--batch-size")?,
                Long("lr") => options.lr = value(&mut arguments, "--lr")?,
                Long("noise") => options.noise = value(&mut arguments, "--noise")?,
                Long("seed") => options.seed = value(&mut arguments, "--seed")?,
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

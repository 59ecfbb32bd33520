//! Dates as people write them into dates as machines do: an encoder-decoder transformer, character by character.
//!
//! ```text
//! cargo run --release --example translate
//! cargo run --release --example translate -- --ask "tuesday, the 3rd of march 1987"
//! ```
//!
//! The dates are generated in many forms, with slips of the pen: letters left out, doubled, or exchanged.

mod model;

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use model::{Translator, TranslatorLossDims};
use ndarray::{Array2, Array4, Axis};
use tapeless::prelude::*;
use tapeless::rng::{Key, Stream};

/// The characters of both sides; 0 fills up, 1 begins an answer.
const CHARACTERS: &str = "\0\u{1}abcdefghijklmnopqrstuvwxyz0123456789 ,.-/";
const VOCAB: usize = CHARACTERS.len();
const SOURCE: usize = 36;
const TARGET: usize = 10;

/// Two layers that read, two that write.
type Scribe = Translator<VOCAB, 64, 4, 128, 2>;

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let mut dates = Dates {
        stream: Key::for_path(options.seed, "translate").stream(0),
        drawn: 0,
        held_out: HashSet::new(),
    };
    let test: Vec<(String, String)> = (0..500).map(|_| dates.line()).collect();
    dates.held_out = test.iter().map(|(source, _)| source.clone()).collect();
    let mut model = Scribe::new(&Device::cpu(), options.seed)?;
    println!("{}", Scribe::summary());
    train(&mut model, &mut dates, &options)?;
    let questions: Vec<&str> = test.iter().map(|(source, _)| source.as_str()).collect();
    let found = translate(&model, &questions)?;
    let right = found
        .iter()
        .zip(&test)
        .filter(|(found, (_, target))| *found == target)
        .count();
    for (found, (source, target)) in found.iter().zip(&test).take(8) {
        let mark = if found == target { ' ' } else { '!' };
        println!("{mark} {source:<36} {found}");
    }
    println!(
        "exact matches on held-out lines: {:.1} %",
        100.0 * right as f64 / test.len() as f64
    );
    println!(
        "\"{}\" is {}",
        options.ask,
        translate(&model, &[&options.ask])?.concat()
    );
    Ok(())
}

/// Takes the training steps, each on new dates.
fn train(model: &mut Scribe, dates: &mut Dates, options: &Options) -> Result<()> {
    let sizes = TranslatorLossDims {
        b: options.batch_size,
        s: SOURCE,
        t: TARGET,
    };
    let mut work = model.loss_workspace(sizes)?;
    let mut adam = Adam::new(options.lr).clip_norm(1.0);
    let start = Instant::now();
    let mut mean = f64::NAN;
    for step in 0..options.steps {
        let way = step as f64 / options.steps as f64;
        adam.set_lr(options.lr * (step as f64 / 100.0).min(1.0 - way).clamp(0.01, 1.0));
        let lines: Vec<(String, String)> = (0..options.batch_size).map(|_| dates.new_line()).collect();
        let (source, seen) = sources(lines.iter().map(|(source, _)| source.as_str()));
        let (answer, next) = answers(&lines);
        let loss = model.train_step(&mut work, &mut adam, &source, &seen, &answer, &next)?;
        mean = if mean.is_nan() {
            loss
        } else {
            0.98 * mean + 0.02 * loss
        };
        if (step + 1) % 250 == 0 {
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

/// Greedy decoding: every character is the likeliest one, given those before it.
fn translate(model: &Scribe, questions: &[&str]) -> Result<Vec<String>> {
    let (source, seen) = sources(questions.iter().copied());
    let mut answer = Array2::<u8>::ones((questions.len(), 1));
    for _ in 0..TARGET {
        let scores = model.scores(&source, &seen, &answer)?;
        let last = scores.index_axis(Axis(1), answer.ncols() - 1);
        let best = |row: ndarray::ArrayView1<'_, f32>| {
            let ranked = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            ranked.map_or(0, |(k, _)| k as u8)
        };
        let next = last.map_axis(Axis(1), best).insert_axis(Axis(1));
        answer = ndarray::concatenate(Axis(1), &[answer.view(), next.view()]).expect("columns of one height");
    }
    let text = |row: ndarray::ArrayView1<'_, u8>| row.iter().skip(1).map(|&k| character(k)).collect();
    Ok(answer.outer_iter().map(text).collect())
}

fn character(number: u8) -> char {
    CHARACTERS.chars().nth(number.into()).unwrap_or('?')
}

fn number(character: char) -> u8 {
    CHARACTERS.find(character).unwrap_or(0) as u8
}

/// Lines as numbers, filled up to one length, and where they are not filled up.
fn sources<'a>(lines: impl Iterator<Item = &'a str>) -> (Array2<u8>, Array4<bool>) {
    let lines: Vec<Vec<u8>> = lines
        .map(|line| line.chars().take(SOURCE).map(number).collect())
        .collect();
    let source = Array2::from_shape_fn((lines.len(), SOURCE), |(b, t)| {
        lines[b].get(t).copied().unwrap_or(0)
    });
    let seen = Array4::from_shape_fn((lines.len(), 1, 1, SOURCE), |(b, _, _, t)| t < lines[b].len());
    (source, seen)
}

/// What the decoder has, and what it is to say next.
fn answers(lines: &[(String, String)]) -> (Array2<u8>, Array2<u8>) {
    let targets: Vec<Vec<u8>> = lines
        .iter()
        .map(|(_, target)| target.chars().map(number).collect())
        .collect();
    let shape = (lines.len(), TARGET);
    let answer = Array2::from_shape_fn(shape, |(b, t)| if t == 0 { 1 } else { targets[b][t - 1] });
    (answer, Array2::from_shape_fn(shape, |(b, t)| targets[b][t]))
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// A generator of dates, seeded.
struct Dates {
    stream: Stream,
    drawn: u64,
    held_out: HashSet<String>,
}

impl Dates {
    fn below(&mut self, n: usize) -> usize {
        self.drawn += 1;
        (self.stream.uniform_f64(self.drawn) * n as f64) as usize
    }

    /// A line that is not held out.
    fn new_line(&mut self) -> (String, String) {
        loop {
            let line = self.line();
            if !self.held_out.contains(&line.0) {
                return line;
            }
        }
    }

    /// A date as somebody writes it, and as ISO 8601 has it.
    fn line(&mut self) -> (String, String) {
        let (year, month, day) = (1900 + self.below(150), self.below(12), 1 + self.below(28));
        let target = format!("{year}-{:02}-{day:02}", month + 1);
        let name = MONTHS[month];
        let short = &name[..3];
        let ending = match day {
            1 | 21 => "st",
            2 | 22 => "nd",
            3 | 23 => "rd",
            _ => "th",
        };
        let weekday = DAYS[self.below(7)];
        let source = match self.below(7) {
            0 => format!("{day} {name} {year}"),
            1 => format!("{name} {day}{ending}, {year}"),
            2 => format!("the {day}{ending} of {name} {year}"),
            3 => format!("{weekday}, {day} {short} {year}"),
            4 => format!("{day:02}.{:02}.{year}", month + 1),
            5 => format!("{weekday}, the {day}{ending} of {name} {year}"),
            _ => format!("{short}. {day}, {year}"),
        };
        (self.slip(source), target)
    }

    /// Now and then a letter is left out, doubled, or changes places with the next one.
    fn slip(&mut self, line: String) -> String {
        let mut letters: Vec<char> = line.chars().collect();
        let at = self.below(letters.len() - 1);
        if self.below(4) == 0 && letters[at].is_alphabetic() && letters[at + 1].is_alphabetic() {
            match self.below(3) {
                0 => {
                    letters.remove(at);
                }
                1 => letters.insert(at, letters[at]),
                _ => letters.swap(at, at + 1),
            }
        }
        letters.into_iter().take(SOURCE).collect()
    }
}

/// What can be chosen on the command line.
struct Options {
    /// Training steps.
    steps: usize,
    /// Dates a step.
    batch_size: usize,
    /// The highest learning rate of Adam.
    lr: f64,
    /// Seed of dates and weights.
    seed: u64,
    /// A date to translate after training.
    ask: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            steps: 1500,
            batch_size: 64,
            lr: 2e-3,
            seed: 1,
            ask: "tuesday, the 3rd of march 1987".into(),
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Learns to translate dates as people write them into ISO dates, and translates one.

Usage: translate [OPTIONS]

Options:
      --steps <N>       Training steps [default: 1500]
      --batch-size <N>  Dates a step [default: 64]
      --lr <X>          The highest learning rate of Adam [default: 0.002]
      --seed <N>        Seed of dates and weights [default: 1]
      --ask <TEXT>      A date to translate after training [default: tuesday, the 3rd of march 1987]
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
                Long("seed") => options.seed = value(&mut arguments, "--seed")?,
                Long("ask") => options.ask = arguments.value()?.string()?,
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

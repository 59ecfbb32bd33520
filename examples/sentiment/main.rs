//! Is a sentence kind or unkind? An embedding and a bidirectional LSTM over sentences of different lengths.
//!
//! ```text
//! cargo run --release --example sentiment
//! cargo run --release --example sentiment -- --ask "the food was not very good but the waiter was friendly"
//! ```
//!
//! The sentences are generated from a small grammar. A judgement can be turned around by a negation before it, after
//! it ("good, not at all"), and outweighed by what follows "but": word counts do not suffice.

mod model;

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use model::Sentiment;
use ndarray::{Array1, Array2};
use tapeless::data::Arrays;
use tapeless::prelude::*;
use tapeless::rng::{Key, Stream};

const WORDS: &[&str] = &[
    "<end>",
    "the",
    "food",
    "waiter",
    "room",
    "film",
    "music",
    "was",
    "were",
    "is",
    "really",
    "very",
    "quite",
    "not",
    "never",
    "but",
    "and",
    "at",
    "all",
    "good",
    "bad",
    "friendly",
    "rude",
    "lovely",
    "awful",
    "great",
    "boring",
    "warm",
    "cold",
    "i",
    "think",
    "that",
    "yesterday",
    "again",
];
const KIND: &[&str] = &["good", "friendly", "lovely", "great", "warm"];
const UNKIND: &[&str] = &["bad", "rude", "awful", "boring", "cold"];
const VOCAB: usize = WORDS.len();
/// No sentence of the grammar is longer.
const LENGTH: usize = 23;

/// Vectors of 16 numbers, states of 32.
type Judge = Sentiment<VOCAB, 16, 32>;

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let mut grammar = Grammar {
        stream: Key::for_path(options.seed, "sentiment").stream(0),
        drawn: 0,
        seen: HashSet::new(),
    };
    let train = grammar.data(options.sentences)?;
    let test = grammar.data(2000)?;
    let mut model = Judge::new(&Device::cpu(), options.seed)?;
    println!("{}", Judge::summary());
    let start = Instant::now();
    let history = Trainer::new(Adam::new(options.lr))
        .epochs(options.epochs)
        .batch_size(64)
        .seed(options.seed)
        .metric("accuracy", Judge::accuracy)
        .progress()
        .fit(&mut model, &train, &test)?;
    println!("trained in {:.2} s", start.elapsed().as_secs_f64());
    let accuracy = history.last_metric("accuracy").unwrap_or(f64::NAN);
    println!("accuracy on unseen sentences: {:.2} %", 100.0 * accuracy);
    ask(&model, &options.ask)
}

/// Judges one sentence.
fn ask(model: &Judge, sentence: &str) -> Result<()> {
    let known = |word: &str| WORDS.iter().position(|known| *known == word);
    let words: Vec<u16> = sentence
        .split_whitespace()
        .filter_map(known)
        .map(|word| word as u16)
        .collect();
    if words.is_empty() {
        return Err(Error::config("the sentence has no word that the grammar knows"));
    }
    let lengths = Array1::from_elem(1, words.len() as i64);
    let words = Array2::from_shape_fn((1, words.len()), |(_, t)| words[t]);
    let scores = model.scores(&words, &lengths)?;
    let answer = if scores[[0, 1]] > scores[[0, 0]] {
        "kind"
    } else {
        "unkind"
    };
    println!("\"{sentence}\" is {answer}");
    Ok(())
}

/// Sentences as numbers, filled up with 0 behind their ends, their lengths, and whether they are kind.
type Sentences = Arrays<(Array2<u16>, Array1<i64>, Array1<u8>)>;

/// A generator of sentences, seeded. It gives every sentence once.
struct Grammar {
    stream: Stream,
    drawn: u64,
    seen: HashSet<Vec<&'static str>>,
}

impl Grammar {
    fn below(&mut self, n: usize) -> usize {
        self.drawn += 1;
        (self.stream.uniform_f64(self.drawn) * n as f64) as usize
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    /// A sentence and whether it is kind.
    fn sentence(&mut self) -> (Vec<&'static str>, bool) {
        let mut words = Vec::new();
        if self.below(3) == 0 {
            words.extend(["i", "think", "that"]);
        }
        let mut is_kind = self.clause(&mut words);
        if self.below(2) == 0 {
            // What follows "but" is what counts.
            words.push("but");
            is_kind = self.clause(&mut words);
        }
        if self.below(4) == 0 {
            words.push(self.pick(&["yesterday", "again"]));
        }
        (words, is_kind)
    }

    /// A sentence that was not given before.
    fn new_sentence(&mut self) -> (Vec<&'static str>, bool) {
        loop {
            let (words, is_kind) = self.sentence();
            if self.seen.insert(words.clone()) {
                return (words, is_kind);
            }
        }
    }

    fn clause(&mut self, words: &mut Vec<&'static str>) -> bool {
        let mut is_kind = self.below(2) == 0;
        let judgement = if is_kind { KIND } else { UNKIND };
        words.extend(["the", self.pick(&["food", "waiter", "room", "film", "music"])]);
        words.push(self.pick(&["was", "is"]));
        if self.below(3) == 0 {
            words.push(self.pick(&["not", "never"]));
            is_kind = !is_kind;
        }
        if self.below(2) == 0 {
            words.push(self.pick(&["really", "very", "quite"]));
        }
        words.push(self.pick(judgement));
        if self.below(5) == 0 {
            words.extend(["not", "at", "all"]);
            is_kind = !is_kind;
        }
        is_kind
    }

    /// That many sentences.
    fn data(&mut self, n: usize) -> Result<Sentences> {
        let (mut tokens, mut lengths, mut labels) =
            (Array2::zeros((n, LENGTH)), Array1::zeros(n), Array1::zeros(n));
        for k in 0..n {
            let (words, is_kind) = self.new_sentence();
            for (t, word) in words.iter().enumerate() {
                let number = WORDS.iter().position(|known| known == word).unwrap_or(0);
                tokens[[k, t]] = number as u16;
            }
            lengths[k] = words.len() as i64;
            labels[k] = u8::from(is_kind);
        }
        Arrays::new((tokens, lengths, labels))
    }
}

/// What can be chosen on the command line.
struct Options {
    /// Sentences to train on.
    sentences: usize,
    /// Passes over them.
    epochs: usize,
    /// Learning rate of Adam.
    lr: f64,
    /// Seed of sentences, weights and order.
    seed: u64,
    /// A sentence to judge after training, of the words that the grammar knows.
    ask: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sentences: 8000,
            epochs: 4,
            lr: 3e-3,
            seed: 1,
            ask: "i think that the film was boring not at all".into(),
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Learns to tell kind sentences from unkind ones, and judges one.

Usage: sentiment [OPTIONS]

Options:
      --sentences <N>  Sentences to train on [default: 8000]
      --epochs <N>     Passes over them [default: 4]
      --lr <X>         Learning rate of Adam [default: 0.003]
      --seed <N>       Seed of sentences, weights and order [default: 1]
      --ask <TEXT>     A sentence to judge after training, of the words that the grammar knows
                       [default: i think that the film was boring not at all]
  -h, --help           Print this text
";

impl Options {
    /// Reads the command line.
    fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("sentences") => options.sentences = value(&mut arguments, "--sentences")?,
                Long("epochs") => options.epochs = value(&mut arguments, "--epochs")?,
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

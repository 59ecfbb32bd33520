//! Does a stretch of DNA hold one of a few binding sites? A convolution over one-hot bases, and the best place of each filter.
//!
//! ```text
//! cargo run --release --example dna
//! ```
//!
//! The sequences are generated: 200 random bases, into which a site is planted on either strand. Half of them get a site
//! that follows a motif, the others one of the same letters in another order, so that counting letters does not help.

mod model;

use std::fmt::Display;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use model::Motifs;
use ndarray::{Array1, Array2};
use tapeless::data::Arrays;
use tapeless::prelude::*;
use tapeless::rng::{Key, Stream};

const BASES: &[u8; 4] = b"ACGT";
const LENGTH: usize = 200;

/// What the sites look like, in the letters of the IUPAC code: R is A or G, Y is C or T, N is any base, and so on.
const MOTIFS: [&str; 3] = ["TGACTCAGCARWTCCG", "CCGATAAGGTYRACTG", "GGAAGTGSTTNCATGC"];

/// How often a base of a site is not what its motif says.
const SLIP: f64 = 0.05;

/// 32 filters of 16 bases.
type Detector = Motifs<32, 16>;

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let mut genome = Genome {
        stream: Key::for_path(options.seed, "dna").stream(0),
        drawn: 0,
    };
    let train = genome.data(options.sequences)?;
    let test = genome.data(2000)?;
    let mut model = Detector::new(&Device::cpu(), options.seed)?;
    println!("{}", Detector::summary());
    let start = Instant::now();
    let history = Trainer::new(Adam::new(options.lr))
        .epochs(options.epochs)
        .batch_size(64)
        .seed(options.seed)
        .metric("accuracy", Detector::accuracy)
        .progress()
        .fit(&mut model, &train, &test)?;
    println!("trained in {:.2} s", start.elapsed().as_secs_f64());
    let accuracy = history.last_metric("accuracy").unwrap_or(f64::NAN);
    println!("accuracy on unseen sequences: {:.2} %", 100.0 * accuracy);
    show(&model)
}

/// What the filters look for, judged by their weights: the likeliest base at every place, in lower case where it hardly
/// matters. Of all filters the three that speak most for a site.
fn show(model: &Detector) -> Result<()> {
    let (conv, judge) = (model.param("conv.weight")?, model.param("judge.weight")?);
    let vote = |filter: usize| judge[[1, filter]] - judge[[0, filter]];
    let mut filters: Vec<usize> = (0..conv.shape()[0]).collect();
    filters.sort_by(|&a, &b| vote(b).total_cmp(&vote(a)));
    for &filter in filters.iter().take(3) {
        let best = |place: usize| {
            let weight = |base: usize| conv[[filter, base, place]];
            let base = (0..4)
                .max_by(|&a, &b| weight(a).total_cmp(&weight(b)))
                .unwrap_or(0);
            let mean = (0..4).map(weight).sum::<f64>() / 4.0;
            let letter = char::from(BASES[base]);
            if weight(base) - mean > 0.5 {
                letter
            } else {
                letter.to_ascii_lowercase()
            }
        };
        let motif: String = (0..conv.shape()[2]).map(best).collect();
        println!("filter {filter:>2} looks for {motif}");
    }
    Ok(())
}

/// The bases that a letter of the IUPAC code stands for, by their numbers.
fn choices(letter: char) -> &'static [u8] {
    match letter {
        'A' => &[0],
        'C' => &[1],
        'G' => &[2],
        'T' => &[3],
        'R' => &[0, 2],
        'Y' => &[1, 3],
        'S' => &[1, 2],
        'W' => &[0, 3],
        'K' => &[2, 3],
        'M' => &[0, 1],
        _ => &[0, 1, 2, 3],
    }
}

/// Sequences of base numbers, and whether a motif is in them.
type Sequences = Arrays<(Array2<u8>, Array1<u8>)>;

/// A generator of sequences, seeded.
struct Genome {
    stream: Stream,
    drawn: u64,
}

impl Genome {
    fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        self.stream.uniform_f64(self.drawn)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// A site of one of the motifs, with slips.
    fn site(&mut self) -> Vec<u8> {
        let motif = MOTIFS[self.below(MOTIFS.len())];
        let base = |letter| match self.uniform() < SLIP {
            true => self.below(4) as u8,
            false => choices(letter)[self.below(choices(letter).len())],
        };
        motif.chars().map(base).collect()
    }

    /// The bases of a site in random order.
    fn shuffled(&mut self, mut site: Vec<u8>) -> Vec<u8> {
        for k in (1..site.len()).rev() {
            site.swap(k, self.below(k + 1));
        }
        site
    }

    /// A sequence and whether it holds a motif.
    fn sequence(&mut self) -> (Vec<u8>, bool) {
        let mut bases: Vec<u8> = (0..LENGTH).map(|_| self.below(4) as u8).collect();
        let has_motif = self.below(2) == 0;
        let mut site = self.site();
        if !has_motif {
            site = self.shuffled(site);
        }
        if self.below(2) == 0 {
            // The other strand is read from its other end.
            site = site.iter().rev().map(|base| 3 - base).collect();
        }
        let place = self.below(LENGTH - site.len() + 1);
        bases[place..place + site.len()].copy_from_slice(&site);
        (bases, has_motif)
    }

    /// That many sequences.
    fn data(&mut self, n: usize) -> Result<Sequences> {
        let (mut bases, mut labels) = (Array2::zeros((n, LENGTH)), Array1::zeros(n));
        for k in 0..n {
            let (sequence, has_motif) = self.sequence();
            for (t, base) in sequence.into_iter().enumerate() {
                bases[[k, t]] = base;
            }
            labels[k] = u8::from(has_motif);
        }
        Arrays::new((bases, labels))
    }
}

/// What can be chosen on the command line.
struct Options {
    /// Sequences to train on.
    sequences: usize,
    /// Passes over them.
    epochs: usize,
    /// Learning rate of Adam.
    lr: f64,
    /// Seed of sequences, weights and order.
    seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sequences: 8000,
            epochs: 8,
            lr: 5e-3,
            seed: 1,
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Learns to find binding sites in stretches of DNA, and shows what its filters look for.

Usage: dna [OPTIONS]

Options:
      --sequences <N>  Sequences to train on [default: 8000]
      --epochs <N>     Passes over them [default: 8]
      --lr <X>         Learning rate of Adam [default: 0.005]
      --seed <N>       Seed of sequences, weights and order [default: 1]
  -h, --help           Print this text
";

impl Options {
    /// Reads the command line.
    fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("sequences") => options.sequences = value(&mut arguments, "--sequences")?,
                Long("epochs") => options.epochs = value(&mut arguments, "--epochs")?,
                Long("lr") => options.lr = value(&mut arguments, "--lr")?,
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

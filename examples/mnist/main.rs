//! The seed network of every tutorial: 784-128-relu-dropout-10, trained on MNIST.
//!
//! ```text
//! cargo run --release --example mnist                  trains five epochs and saves a checkpoint
//! cargo run --release --example mnist -- --resume      goes on where the checkpoint stopped
//! cargo run --release --example mnist -- predict       ten test digits and what the model says
//! cargo run --release --example mnist -- predict a.png the digit in an image file
//! ```

mod digit;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use tapeless::data;
use tapeless::prelude::*;

const CLASSES: usize = 10;

/// Two fully connected layers.
#[model]
pub struct Mnist {
    fc1: Linear<784, 128>,
    fc2: Linear<_, CLASSES>,
}

#[model]
impl Mnist {
    /// Class scores (unnormalised) of a batch of images.
    fn scores<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, dropout: f32) -> Tensor<B, CLASSES> {
        let hidden = self.fc1(image.flatten()).relu();
        self.fc2(hidden.dropout(dropout))
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>, dropout: f32) -> Scalar {
        cross_entropy(self.scores(image, dropout), label)
    }

    /// The share of images whose highest score is that of their label.
    pub fn accuracy<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        let guess = self.scores(image, 0.0).argmax(axis = 1);
        (guess == label).to_float().mean()
    }

    /// The probability of every class.
    pub fn probabilities<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, CLASSES> {
        self.scores(image, 0.0).softmax(axis = 1)
    }
}

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let device = match options.threads {
        Some(n) => Device::cpu().threads(n),
        None => Device::cpu(),
    };
    match &options.command {
        Command::Train => train(&device, &options),
        Command::Predict { image } => predict(&device, &options, image.as_deref()),
    }
}

fn checkpoint(options: &Options) -> PathBuf {
    options.out.join("mnist.safetensors")
}

fn train(device: &Device, options: &Options) -> Result<()> {
    let digits = data::Mnist::load(&options.data)?;
    let (train, test) = (digits.train.into_dataset()?, digits.test.into_dataset()?);
    let mut model = Mnist::new(device, options.seed)?;
    println!("{}", Mnist::summary());

    let mut trainer = Trainer::new(Adam::new(options.lr))
        .epochs(options.epochs)
        .batch_size(options.batch_size)
        .seed(options.seed)
        .scalar("dropout", options.dropout)
        .metric("accuracy", Mnist::accuracy)
        .checkpoint(checkpoint(options))
        .progress();
    if options.resume {
        trainer = trainer.resume(checkpoint(options));
    }
    let start = Instant::now();
    let history = trainer.fit(&mut model, &train, &test)?;
    let seconds = start.elapsed().as_secs_f64();

    history.to_csv(options.out.join("history.csv"))?;
    println!("trained in {seconds:.2} s");
    println!("saved {}", checkpoint(options).display());
    let accuracy = history.last_metric("accuracy").unwrap_or(f64::NAN);
    println!("test accuracy: {:.2} %", 100.0 * accuracy);
    Ok(())
}

fn predict(device: &Device, options: &Options, image: Option<&Path>) -> Result<()> {
    let mut model = Mnist::new(device, options.seed)?;
    model.load(checkpoint(options))?;
    if let Some(path) = image {
        let pixels = digit::read(path)?;
        return show(&model, &pixels, None);
    }
    let test = data::Mnist::load_test(&options.data)?;
    for (pixels, label) in test.images.outer_iter().zip(&test.labels).take(10) {
        show(&model, &pixels.to_owned(), Some(*label))?;
    }
    Ok(())
}

/// Prints a digit and the probabilities that the model gives to its classes.
fn show(model: &Mnist, pixels: &ndarray::Array2<u8>, label: Option<u8>) -> Result<()> {
    let image = digit::normalised(pixels);
    let probabilities = model.probabilities(&image)?;
    let mut ranked: Vec<(usize, f32)> = probabilities.row(0).iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    println!("{}", digit::text_art(pixels));
    let truth = label.map_or_else(String::new, |label| format!(", label {label}"));
    let answers: Vec<String> = ranked
        .iter()
        .take(3)
        .map(|(k, p)| format!("{k} ({:.1} %)", 100.0 * p))
        .collect();
    println!("answer {}{truth}\n", answers.join(", "));
    Ok(())
}

/// What can be chosen on the command line.
struct Options {
    /// Train, or predict.
    command: Command,
    /// Passes over the training images.
    epochs: usize,
    /// Images a step.
    batch_size: usize,
    /// Learning rate of Adam.
    lr: f64,
    /// Share of hidden units that are dropped in training.
    dropout: f64,
    /// Seed of initial weights, order of the images, and dropout.
    seed: u64,
    /// Threads; all cores where it is not given.
    threads: Option<usize>,
    /// Folder with the four files of MNIST.
    data: PathBuf,
    /// Folder for the checkpoint and the history.
    out: PathBuf,
    /// Go on with the checkpoint in that folder.
    resume: bool,
}

/// What this program can do.
enum Command {
    /// Train a model, and save it.
    Train,
    /// Show what the saved model says to ten test digits, or to an image of one digit (PNG, JPEG, BMP or PNM).
    Predict { image: Option<PathBuf> },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            command: Command::Train,
            epochs: 5,
            batch_size: 64,
            lr: 1e-3,
            dropout: 0.2,
            seed: 42,
            threads: None,
            data: concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist").into(),
            out: "target/mnist".into(),
            resume: false,
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Trains a small network on handwritten digits, or asks it.

Usage: mnist [OPTIONS]                  train a model, and save it
       mnist predict [IMAGE] [OPTIONS]  show what the saved model says to ten test digits, or to an
                                        image of one digit (PNG, JPEG, BMP or PNM)

Options:
      --epochs <N>      Passes over the training images [default: 5]
      --batch-size <N>  Images a step [default: 64]
      --lr <X>          Learning rate of Adam [default: 0.001]
      --dropout <X>     Share of hidden units that are dropped in training [default: 0.2]
      --seed <N>        Seed of initial weights, order of the images, and dropout [default: 42]
      --threads <N>     Threads; all cores where it is not given
      --data <FOLDER>   Folder with the four files of MNIST
                        [default: examples/data/mnist of the repository]
      --out <FOLDER>    Folder for the checkpoint and the history [default: target/mnist]
      --resume          Go on with the checkpoint in that folder
  -h, --help            Print this text
";

impl Options {
    /// Reads the command line.
    fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(word) => {
                    options.command = match options.command {
                        Command::Train if word == "predict" => Command::Predict { image: None },
                        Command::Predict { image: None } => Command::Predict {
                            image: Some(word.into()),
                        },
                        _ => return Err(Value(word).unexpected()),
                    }
                }
                Long("epochs") => options.epochs = value(&mut arguments, "--epochs")?,
                Long("batch-size") => options.batch_size = value(&mut arguments, "--batch-size")?,
                Long("lr") => options.lr = value(&mut arguments, "--lr")?,
                Long("dropout") => options.dropout = value(&mut arguments, "--dropout")?,
                Long("seed") => options.seed = value(&mut arguments, "--seed")?,
                Long("threads") => options.threads = Some(value(&mut arguments, "--threads")?),
                Long("data") => options.data = arguments.value()?.into(),
                Long("out") => options.out = arguments.value()?.into(),
                Long("resume") => options.resume = true,
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

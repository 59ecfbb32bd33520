//! A convolutional network on MNIST: conv 32, conv 64, max-pool, dropout, linear 128, linear 10, trained with Adam.
//!
//! ```text
//! cargo run --release --example mnist_cnn
//! ```

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use tapeless::data;
use tapeless::prelude::*;

/// Two convolutions and two fully connected layers.
#[model]
pub struct MnistCnn {
    conv1: Conv2d<1, 32, 3>,
    conv2: Conv2d<32, 64, 3>,
    fc1: Linear<_, 128>,
    fc2: Linear<128, 10>,
}

#[model]
impl MnistCnn {
    /// Class scores (unnormalised) of a batch of images.
    pub fn scores<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, 10> {
        let edges = self.conv1(image).relu();
        let shapes = self.conv2(edges).relu().max_pool2d(2);
        let hidden = self.fc1(shapes.dropout(0.25).flatten()).relu();
        self.fc2(hidden.dropout(0.5))
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.scores(image), label)
    }

    /// The share of images whose highest score is that of their label.
    pub fn accuracy<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        (self.scores(image).argmax(axis = 1) == label).to_float().mean()
    }
}

fn main() -> Result<()> {
    let options = Options::parse().map_err(|error| Error::config(error.to_string()).hint("see --help"))?;
    let device = match options.threads {
        Some(n) => Device::cpu().threads(n),
        None => Device::cpu(),
    };
    let digits = data::Mnist::load(&options.data)?;
    let (train, test) = (digits.train.into_dataset()?, digits.test.into_dataset()?);
    // Made before the training: what that gives must not be lost for the lack of a folder.
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut model = MnistCnn::new(&device, options.seed)?;
    println!("{}", MnistCnn::summary());

    let start = Instant::now();
    let history = Trainer::new(Adam::new(options.lr))
        .epochs(options.epochs)
        .batch_size(options.batch_size)
        .seed(options.seed)
        .metric("accuracy", MnistCnn::accuracy)
        .progress()
        .fit(&mut model, &train, &test)?;
    println!("trained in {:.1} s", start.elapsed().as_secs_f64());
    model.save(&options.out)?;
    println!("saved {}", options.out.display());
    let accuracy = history.last_metric("accuracy").unwrap_or(f64::NAN);
    println!("test accuracy: {:.2} %", 100.0 * accuracy);
    Ok(())
}

/// What can be chosen on the command line.
struct Options {
    /// Passes over the training images.
    epochs: usize,
    /// Images a step.
    batch_size: usize,
    /// Learning rate of Adam.
    lr: f64,
    /// Seed of initial weights, order of the images, and dropout.
    seed: u64,
    /// Threads; all cores where it is not given.
    threads: Option<usize>,
    /// Folder with the four files of MNIST.
    data: PathBuf,
    /// Where the trained model is saved.
    out: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 64,
            lr: 1e-3,
            seed: 42,
            threads: None,
            data: concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist").into(),
            out: "target/mnist_cnn.safetensors".into(),
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Trains a convolutional network on handwritten digits.

Usage: mnist_cnn [OPTIONS]

Options:
      --epochs <N>      Passes over the training images [default: 3]
      --batch-size <N>  Images a step [default: 64]
      --lr <X>          Learning rate of Adam [default: 0.001]
      --seed <N>        Seed of initial weights, order of the images, and dropout [default: 42]
      --threads <N>     Threads; all cores where it is not given
      --data <FOLDER>   Folder with the four files of MNIST
                        [default: examples/data/mnist of the repository]
      --out <FILE>      Where the trained model is saved [default: target/mnist_cnn.safetensors]
  -h, --help            Print this text
";

impl Options {
    /// Reads the command line.
    fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("epochs") => options.epochs = value(&mut arguments, "--epochs")?,
                Long("batch-size") => options.batch_size = value(&mut arguments, "--batch-size")?,
                Long("lr") => options.lr = value(&mut arguments, "--lr")?,
                Long("seed") => options.seed = value(&mut arguments, "--seed")?,
                Long("threads") => options.threads = Some(value(&mut arguments, "--threads")?),
                Long("data") => options.data = arguments.value()?.into(),
                Long("out") => options.out = arguments.value()?.into(),
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

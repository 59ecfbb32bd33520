//! ResNet-20 on handwritten digits: the network of the crate `tapeless_models` as a layer of another model, trained with
//! momentum, weight decay and a falling learning rate.
//!
//! ```text
//! cargo run --release --example resnet
//! ```

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use lexopt::prelude::*;
use tapeless::data;
use tapeless::prelude::*;
use tapeless_models::ResNet20;

/// ResNet-20 as for CIFAR-10, but with one channel.
#[model]
pub struct Digits {
    resnet: ResNet20<1, 16, 10>,
}

#[model]
impl Digits {
    /// Class scores (unnormalised) of a batch of images, which get a margin of two pixels that makes them as large as those of CIFAR.
    /// A pixel of 0, the paper's, is (0 - 0.1307) / 0.3081 = -0.4242 after normalisation by MNIST's mean and deviation.
    pub fn scores<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, 10> {
        let image = image.pad((0, 0), (0, 0), (2, 2), (2, 2), value = -0.4242);
        self.resnet.logits(image)
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
    let mut model = Digits::new(&device, options.seed)?;
    println!("{}", Digits::summary());

    let start = Instant::now();
    let sgd = Sgd::new(options.lr).momentum(0.9).weight_decay(1e-4);
    let history = Trainer::new(sgd)
        .schedule(Schedule::cosine(0.0).warmup(options.warmup))
        .epochs(options.epochs)
        .batch_size(options.batch_size)
        .seed(options.seed)
        .metric("accuracy", Digits::accuracy)
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
    /// Highest learning rate, reached after the warm-up.
    lr: f64,
    /// Steps of the warm-up.
    warmup: u64,
    /// Seed of initial weights and of the order of the images.
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
            epochs: 1,
            batch_size: 64,
            lr: 0.1,
            warmup: 100,
            seed: 42,
            threads: None,
            data: concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist").into(),
            out: "target/resnet.safetensors".into(),
        }
    }
}

/// What `--help` prints.
const HELP: &str = "\
Trains a residual network on handwritten digits.

Usage: resnet [OPTIONS]

Options:
      --epochs <N>      Passes over the training images [default: 1]
      --batch-size <N>  Images a step [default: 64]
      --lr <X>          Highest learning rate, reached after the warm-up [default: 0.1]
      --warmup <N>      Steps of the warm-up [default: 100]
      --seed <N>        Seed of initial weights and of the order of the images [default: 42]
      --threads <N>     Threads; all cores where it is not given
      --data <FOLDER>   Folder with the four files of MNIST
                        [default: examples/data/mnist of the repository]
      --out <FILE>      Where the trained model is saved [default: target/resnet.safetensors]
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
                Long("warmup") => options.warmup = value(&mut arguments, "--warmup")?,
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

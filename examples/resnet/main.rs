//! ResNet-20 on handwritten digits: the network of the crate `tapeless_models` as a layer of another model, trained with
//! momentum, weight decay and a falling learning rate.
//!
//! ```text
//! cargo run --release --example resnet
//! ```

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
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

/// Trains a residual network on handwritten digits.
#[derive(Parser)]
struct Options {
    /// Passes over the training images.
    #[arg(long, default_value_t = 1)]
    epochs: usize,
    /// Images a step.
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Highest learning rate, reached after the warm-up.
    #[arg(long, default_value_t = 0.1)]
    lr: f64,
    /// Steps of the warm-up.
    #[arg(long, default_value_t = 100)]
    warmup: u64,
    /// Seed of initial weights and of the order of the images.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Folder with the four files of MNIST.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    data: PathBuf,
    /// Where the trained model is saved.
    #[arg(long, default_value = "target/resnet.safetensors")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let device = match options.threads {
        Some(n) => Device::cpu().threads(n),
        None => Device::cpu(),
    };
    let digits = data::Mnist::load(&options.data)?;
    let (train, test) = (digits.train.into_dataset()?, digits.test.into_dataset()?);
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

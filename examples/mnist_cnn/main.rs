//! A convolutional network on MNIST: conv 32, conv 64, max-pool, dropout, linear 128, linear 10, trained with Adam.
//!
//! ```text
//! cargo run --release --example mnist_cnn
//! ```

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
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

/// Trains a convolutional network on handwritten digits.
#[derive(Parser)]
struct Options {
    /// Passes over the training images.
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    /// Images a step.
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Learning rate of Adam.
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Seed of initial weights, order of the images, and dropout.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Folder with the four files of MNIST.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    data: PathBuf,
    /// Where the trained model is saved.
    #[arg(long, default_value = "target/mnist_cnn.safetensors")]
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

//! The perceptrons and the convolutional network in burn; `benches/training/models` is the original.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Int, Tensor, activation};

use crate::weights::{Bias, ConvShape, Weights};

/// What turns a batch into scores.
pub trait Model {
    /// What a batch holds.
    type Input: Clone + 'static;

    /// Scores of the classes, a row each.
    fn scores(&self, x: Self::Input) -> Tensor<2>;
}

/// Rows of numbers.
pub type Rows = Tensor<2>;

/// Rows of tokens.
pub type Tokens = Tensor<2, Int>;

/// Linear layers with relu and dropout between them.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    dropout: Dropout,
}

impl Mlp {
    /// 784-128-10.
    pub fn small(weights: &Weights, dropout: rival_orders::Dropout) -> Self {
        Self::new(&[784, 128, 10], weights, dropout.rate(0.2))
    }

    /// 784-1024-1024-10.
    pub fn large(weights: &Weights) -> Self {
        Self::new(&[784, 1024, 1024, 10], weights, 0.0)
    }

    fn new(sizes: &[usize], weights: &Weights, dropout: f64) -> Self {
        let layer =
            |(k, sizes): (usize, &[usize])| weights.linear(&format!("fc{}", k + 1), [sizes[0], sizes[1]]);
        Self {
            layers: sizes.windows(2).enumerate().map(layer).collect(),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }
}

impl Model for Mlp {
    type Input = Rows;

    fn scores(&self, x: Rows) -> Tensor<2> {
        let (last, hidden) = self.layers.split_last().expect("there are layers");
        let step = |x, layer: &Linear| self.dropout.forward(activation::relu(layer.forward(x)));
        last.forward(hidden.iter().fold(x, step))
    }
}

/// Two convolutions, pooling, two linear layers.
#[derive(Module, Debug)]
pub struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    fc1: Linear,
    fc2: Linear,
    dropout1: Dropout,
    dropout2: Dropout,
}

impl Cnn {
    /// With the rates of the workload.
    pub fn new(weights: &Weights, dropout: rival_orders::Dropout) -> Self {
        let convolution = |name, channels| {
            let shape = ConvShape {
                channels,
                side: 3,
                stride: 1,
                padding: 0,
            };
            weights.convolution(name, shape, Bias::With)
        };
        Self {
            conv1: convolution("conv1", [1, 32]),
            conv2: convolution("conv2", [32, 64]),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            fc1: weights.linear("fc1", [9216, 128]),
            fc2: weights.linear("fc2", [128, 10]),
            dropout1: DropoutConfig::new(dropout.rate(0.25)).init(),
            dropout2: DropoutConfig::new(dropout.rate(0.5)).init(),
        }
    }
}

impl Model for Cnn {
    type Input = Rows;

    fn scores(&self, x: Rows) -> Tensor<2> {
        let [batch, _] = x.dims();
        let x = activation::relu(self.conv1.forward(x.reshape([batch, 1, 28, 28])));
        let x = self.pool.forward(activation::relu(self.conv2.forward(x)));
        let x = activation::relu(self.fc1.forward(self.dropout1.forward(x).flatten::<2>(1, 3)));
        self.fc2.forward(self.dropout2.forward(x))
    }
}

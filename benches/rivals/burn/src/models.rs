//! The workloads in burn; `benches/training/models` is the original. Weights come from the comparison's files where there are any.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rival_orders::{Tensor as Stored, Values};

/// What turns rows of numbers into scores.
pub trait Model {
    /// Scores of the classes, a row each.
    fn scores(&self, x: Tensor<2>) -> Tensor<2>;
}

/// Linear layers with relu and dropout between them.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    dropout: Dropout,
}

impl Mlp {
    /// 784-128-10.
    pub fn small(weights: &[Stored], dropout: rival_orders::Dropout, device: &Device) -> Self {
        Self::new(&[784, 128, 10], weights, dropout.rate(0.2), device)
    }

    /// 784-1024-1024-10.
    pub fn large(weights: &[Stored], device: &Device) -> Self {
        Self::new(&[784, 1024, 1024, 10], weights, 0.0, device)
    }

    fn new(sizes: &[usize], weights: &[Stored], dropout: f64, device: &Device) -> Self {
        let layer = |(k, sizes): (usize, &[usize])| {
            linear(&format!("fc{}", k + 1), [sizes[0], sizes[1]], weights, device)
        };
        Self {
            layers: sizes.windows(2).enumerate().map(layer).collect(),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }
}

impl Model for Mlp {
    fn scores(&self, x: Tensor<2>) -> Tensor<2> {
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
    pub fn new(weights: &[Stored], dropout: rival_orders::Dropout, device: &Device) -> Self {
        Self {
            conv1: convolution("conv1", [1, 32], weights, device),
            conv2: convolution("conv2", [32, 64], weights, device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            fc1: linear("fc1", [9216, 128], weights, device),
            fc2: linear("fc2", [128, 10], weights, device),
            dropout1: DropoutConfig::new(dropout.rate(0.25)).init(),
            dropout2: DropoutConfig::new(dropout.rate(0.5)).init(),
        }
    }
}

impl Model for Cnn {
    fn scores(&self, x: Tensor<2>) -> Tensor<2> {
        let [batch, _] = x.dims();
        let x = activation::relu(self.conv1.forward(x.reshape([batch, 1, 28, 28])));
        let x = self.pool.forward(activation::relu(self.conv2.forward(x)));
        let x = activation::relu(self.fc1.forward(self.dropout1.forward(x).flatten::<2>(1, 3)));
        self.fc2.forward(self.dropout2.forward(x))
    }
}

/// The numbers of a path, where there is a file.
fn find(path: String, weights: &[Stored]) -> Option<Vec<f32>> {
    let found = weights.iter().find(|stored| stored.name == path)?;
    match &found.values {
        Values::Floats(values) => Some(values.clone()),
        Values::Ints(_) => None,
    }
}

/// A linear layer; burn keeps its weight as [in, out], files as [out, in].
fn linear(name: &str, [n_in, n_out]: [usize; 2], weights: &[Stored], device: &Device) -> Linear {
    let mut layer = LinearConfig::new(n_in, n_out).init(device);
    if let Some(values) = find(format!("{name}.weight"), weights) {
        let weight = Tensor::<2>::from_data(TensorData::new(values, [n_out, n_in]), device);
        layer.weight = Param::from_tensor(weight.transpose());
    }
    if let Some(values) = find(format!("{name}.bias"), weights) {
        layer.bias = Some(Param::from_tensor(Tensor::from_data(
            TensorData::new(values, [n_out]),
            device,
        )));
    }
    layer
}

/// A convolution of 3 x 3.
fn convolution(name: &str, [n_in, n_out]: [usize; 2], weights: &[Stored], device: &Device) -> Conv2d {
    let mut layer = Conv2dConfig::new([n_in, n_out], [3, 3]).init(device);
    if let Some(values) = find(format!("{name}.weight"), weights) {
        let weight = TensorData::new(values, [n_out, n_in, 3, 3]);
        layer.weight = Param::from_tensor(Tensor::from_data(weight, device));
    }
    if let Some(values) = find(format!("{name}.bias"), weights) {
        layer.bias = Some(Param::from_tensor(Tensor::from_data(
            TensorData::new(values, [n_out]),
            device,
        )));
    }
    layer
}

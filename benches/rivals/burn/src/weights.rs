//! Layers with the weights of the comparison's files, where there are any; with burn's own otherwise.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d,
};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use rival_orders::{Tensor as Stored, Values};

/// The tensors of a file, if any, and where layers go.
pub struct Weights {
    /// All tensors; none where training begins with burn's own.
    pub stored: Vec<Stored>,
    /// Where layers are made.
    pub device: Device,
}

/// Whether a layer adds something to its products.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Bias {
    /// It does.
    With,
    /// It does not.
    Without,
}

impl Weights {
    /// The numbers of a path, where there is a file.
    fn find<const D: usize>(&self, path: &str, shape: [usize; D]) -> Option<Param<Tensor<D>>> {
        let found = self.stored.iter().find(|stored| stored.name == path)?;
        match &found.values {
            Values::Floats(values) => Some(Param::from_tensor(Tensor::from_data(
                TensorData::new(values.clone(), shape),
                &self.device,
            ))),
            Values::Ints(_) => None,
        }
    }

    /// A table of vectors, small random ones where there is no file.
    pub fn table(&self, path: &str, shape: [usize; 2]) -> Param<Tensor<2>> {
        let random = || Tensor::random(shape, Distribution::Normal(0.0, 0.02), &self.device);
        self.find(path, shape)
            .unwrap_or_else(|| Param::from_tensor(random()))
    }

    /// A linear layer whose weight and bias have the given paths; burn keeps its weight as [in, out], files as [out, in].
    pub fn linear_of(&self, paths: [&str; 2], [n_in, n_out]: [usize; 2], bias: Bias) -> Linear {
        let config = LinearConfig::new(n_in, n_out).with_bias(bias == Bias::With);
        let mut layer = config.init(&self.device);
        if let Some(weight) = self.find(paths[0], [n_out, n_in]) {
            // A copy in order: products with it are faster than with a transposed view.
            let rows = weight.val().transpose().into_data();
            layer.weight = Param::from_tensor(Tensor::from_data(rows, &self.device));
        }
        if let Some(values) = self.find(paths[1], [n_out]) {
            layer.bias = Some(values);
        }
        layer
    }

    /// A linear layer.
    pub fn linear(&self, name: &str, sizes: [usize; 2]) -> Linear {
        self.linear_of(
            [&format!("{name}.weight"), &format!("{name}.bias")],
            sizes,
            Bias::With,
        )
    }

    /// A convolution of so many pixels a side, padded to keep the size but for its stride where it is `padded`.
    pub fn convolution(&self, name: &str, shape: ConvShape, bias: Bias) -> Conv2d {
        let ConvShape {
            channels: [n_in, n_out],
            side,
            stride,
            padding,
        } = shape;
        let config = Conv2dConfig::new([n_in, n_out], [side, side])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(bias == Bias::With);
        let mut layer = config.init(&self.device);
        if let Some(weight) = self.find(&format!("{name}.weight"), [n_out, n_in, side, side]) {
            layer.weight = weight;
        }
        if let Some(values) = self.find(&format!("{name}.bias"), [n_out]) {
            layer.bias = Some(values);
        }
        layer
    }

    /// A norm over the last axis.
    pub fn layer_norm(&self, name: &str, width: usize) -> LayerNorm {
        let mut layer = LayerNormConfig::new(width).init(&self.device);
        if let Some(gamma) = self.find(&format!("{name}.weight"), [width]) {
            layer.gamma = gamma;
        }
        if let Some(beta) = self.find(&format!("{name}.bias"), [width]) {
            layer.beta = Some(beta);
        }
        layer
    }

    /// A norm over a batch.
    pub fn batch_norm(&self, name: &str, width: usize) -> BatchNorm {
        let mut layer = BatchNormConfig::new(width).init(&self.device);
        if let Some(gamma) = self.find(&format!("{name}.weight"), [width]) {
            layer.gamma = gamma;
        }
        if let Some(beta) = self.find(&format!("{name}.bias"), [width]) {
            layer.beta = beta;
        }
        layer
    }
}

/// The sizes of a convolution.
#[derive(Copy, Clone, Debug)]
pub struct ConvShape {
    /// Of input and result.
    pub channels: [usize; 2],
    /// Pixels of a side of the kernel.
    pub side: usize,
    /// Pixels between results.
    pub stride: usize,
    /// Zeros on each side of the image.
    pub padding: usize,
}

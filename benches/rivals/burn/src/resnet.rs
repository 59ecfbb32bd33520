//! ResNet-20 in burn.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Tensor, activation};

use crate::models::{Model, Rows};
use crate::weights::{Bias, ConvShape, Weights};

/// A convolution and a norm.
#[derive(Module, Debug)]
struct Normed {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Normed {
    fn new(weights: &Weights, names: [&str; 2], shape: ConvShape) -> Self {
        Self {
            conv: weights.convolution(names[0], shape, Bias::Without),
            norm: weights.batch_norm(names[1], shape.channels[1]),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

/// Two convolutions beside a shortcut, which is strided where they are.
#[derive(Module, Debug)]
struct Block {
    first: Normed,
    second: Normed,
    shortcut: Option<Normed>,
}

impl Block {
    fn new(weights: &Weights, path: &str, channels: [usize; 2], stride: usize) -> Self {
        let normed = |names: [&str; 2], channels, side, stride| {
            let names = names.map(|name| format!("{path}.{name}"));
            let shape = ConvShape {
                channels,
                side,
                stride,
                padding: side / 2,
            };
            Normed::new(weights, [&names[0], &names[1]], shape)
        };
        let wide = [channels[1], channels[1]];
        Self {
            first: normed(["conv1", "bn1"], channels, 3, stride),
            second: normed(["conv2", "bn2"], wide, 3, 1),
            shortcut: (stride > 1).then(|| normed(["downsample.0", "downsample.1"], channels, 1, stride)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = activation::relu(self.first.forward(x.clone()));
        let y = self.second.forward(y);
        activation::relu(match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + y,
            None => x + y,
        })
    }
}

/// A convolution, nine blocks, the mean, a linear layer.
#[derive(Module, Debug)]
pub struct ResNet20 {
    first: Normed,
    blocks: Vec<Block>,
    fc: Linear,
}

impl ResNet20 {
    /// With the weights that there are.
    pub fn new(weights: &Weights) -> Self {
        let shape = ConvShape {
            channels: [3, 16],
            side: 3,
            stride: 1,
            padding: 1,
        };
        let block = |k: usize| {
            let (stage, place) = (k / 3, k % 3);
            let width = 16 << stage;
            let (n_in, stride) = if stage > 0 && place == 0 {
                (width / 2, 2)
            } else {
                (width, 1)
            };
            Block::new(
                weights,
                &format!("layer{}.{place}", stage + 1),
                [n_in, width],
                stride,
            )
        };
        Self {
            first: Normed::new(weights, ["conv1", "bn1"], shape),
            blocks: (0..9).map(block).collect(),
            fc: weights.linear("fc", [64, 10]),
        }
    }
}

impl Model for ResNet20 {
    type Input = Rows;

    fn scores(&self, x: Rows) -> Tensor<2> {
        let [batch, _] = x.dims();
        let x = activation::relu(self.first.forward(x.reshape([batch, 3, 32, 32])));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.fc
            .forward(x.reshape([batch, 64, 64]).mean_dim(2).flatten(1, 2))
    }
}

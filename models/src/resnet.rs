//! Residual networks: He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (CVPR 2016,
//! [arXiv:1512.03385](https://arxiv.org/abs/1512.03385)).
//!
//! Convolutions before a batch norm have no bias and begin with N(0, 2 / fan in), after He et al., "Delving deep into rectifiers"
//! (2015). (torchvision scales by the fan out; the norm behind takes the scale of a weight out of what is computed.)

use tapeless::prelude::*;

/// Two 3 x 3 convolutions beside a shortcut: y = relu(x + bn2(conv2(relu(bn1(conv1(x)))))).
///
/// Shapes: `x: [B, WIDTH, H, W]` -> `y` of the same. Torchvision: `BasicBlock(WIDTH, WIDTH)`.
#[model]
pub struct BasicBlock<const WIDTH: usize> {
    #[layer(padding = 1, bias = false, init = kaiming_normal)]
    conv1: Conv2d<WIDTH, WIDTH, 3>,
    bn1: BatchNorm2d<WIDTH>,
    #[layer(padding = 1, bias = false, init = kaiming_normal)]
    conv2: Conv2d<WIDTH, WIDTH, 3>,
    bn2: BatchNorm2d<WIDTH>,
}

#[model]
impl<const WIDTH: usize> BasicBlock<WIDTH> {
    /// The block's result, of the shape of `x`.
    pub fn forward<B: Dim, H: Dim, W: Dim>(&self, x: Tensor<B, WIDTH, H, W>) -> Tensor<B, WIDTH, H, W> {
        let y = self.bn1(self.conv1(x)).relu();
        (x + self.bn2(self.conv2(y))).relu()
    }
}

/// The block that begins a stage: it halves the image and changes the number of channels, in its shortcut by a strided
/// 1 x 1 convolution and a batch norm (option B of the paper).
///
/// Shapes: `x: [B, IN, H, W]` with even H and W -> `y: [B, OUT, H / 2, W / 2]`. Torchvision: `BasicBlock(IN, OUT, stride=2)` with
/// its `downsample`.
#[model]
pub struct DownBlock<const IN: usize, const OUT: usize> {
    #[layer(stride = 2, padding = 1, bias = false, init = kaiming_normal)]
    conv1: Conv2d<IN, OUT, 3>,
    bn1: BatchNorm2d<OUT>,
    #[layer(padding = 1, bias = false, init = kaiming_normal)]
    conv2: Conv2d<OUT, OUT, 3>,
    bn2: BatchNorm2d<OUT>,
    #[weights("downsample.0")]
    #[layer(stride = 2, bias = false, init = kaiming_normal)]
    shortcut: Conv2d<IN, OUT, 1>,
    #[weights("downsample.1")]
    shortcut_bn: BatchNorm2d<OUT>,
}

#[model]
impl<const IN: usize, const OUT: usize> DownBlock<IN, OUT> {
    /// The block's result: half as high and half as wide.
    pub fn forward<B: Dim, H: Dim + MultipleOf<2>, W: Dim + MultipleOf<2>>(
        &self,
        x: Tensor<B, IN, H, W>,
    ) -> Tensor<B, OUT, { H / 2 }, { W / 2 }> {
        let y = self.bn1(self.conv1(x)).relu();
        let shortcut = self.shortcut_bn(self.shortcut(x));
        (shortcut + self.bn2(self.conv2(y))).relu()
    }
}

/// The block that begins a stage: it halves the image and doubles the number of channels, with a shortcut without parameters
/// (option A of the paper): every second pixel of every second row, and zeros in the new channels, half of them before and half
/// behind.
///
/// Shapes: `x: [B, WIDTH, H, W]` with even H, W and WIDTH -> `y: [B, 2 WIDTH, H / 2, W / 2]`.
#[model]
pub struct PaddedDownBlock<const WIDTH: usize> {
    #[layer(stride = 2, padding = 1, bias = false, init = kaiming_normal)]
    conv1: Conv2d<WIDTH, { 2 * WIDTH }, 3>,
    bn1: BatchNorm2d<{ 2 * WIDTH }>,
    #[layer(padding = 1, bias = false, init = kaiming_normal)]
    conv2: Conv2d<{ 2 * WIDTH }, { 2 * WIDTH }, 3>,
    bn2: BatchNorm2d<{ 2 * WIDTH }>,
}

#[model]
impl<const WIDTH: usize> PaddedDownBlock<WIDTH> {
    /// The block's result: half as high and half as wide, with twice the channels.
    pub fn forward<B: Dim, H: Dim + MultipleOf<2>, W: Dim + MultipleOf<2>>(
        &self,
        x: Tensor<B, WIDTH, H, W>,
    ) -> Tensor<B, { 2 * WIDTH }, { H / 2 }, { W / 2 }> {
        let y = self.bn1(self.conv1(x)).relu();
        let half = x.slice(.., .., .., .., steps = (1, 1, 2, 2));
        let shortcut = half.pad((0, 0), (WIDTH / 2, WIDTH / 2), (0, 0), (0, 0));
        (shortcut + self.bn2(self.conv2(y))).relu()
    }
}

/// A [`DownBlock`] and `MORE` further blocks, which are one loop in the compiled code.
///
/// Shapes: as those of [`DownBlock`]. Torchvision: `layer2` to `layer4` of a network of basic blocks.
#[model]
pub struct Stage<const IN: usize, const OUT: usize, const MORE: usize> {
    #[weights("0")]
    down: DownBlock<IN, OUT>,
    #[weights("", first = 1)]
    blocks: [BasicBlock<OUT>; MORE],
}

#[model]
impl<const IN: usize, const OUT: usize, const MORE: usize> Stage<IN, OUT, MORE> {
    /// The stage's result: half as high and half as wide.
    pub fn forward<B: Dim, H: Dim + MultipleOf<2>, W: Dim + MultipleOf<2>>(
        &self,
        x: Tensor<B, IN, H, W>,
    ) -> Tensor<B, OUT, { H / 2 }, { W / 2 }> {
        let mut x = self.down(x);
        for block in &self.blocks {
            x = block(x);
        }
        x
    }
}

/// A [`PaddedDownBlock`] and `MORE` further blocks, which are one loop in the compiled code.
///
/// Shapes: as those of [`PaddedDownBlock`].
#[model]
pub struct PaddedStage<const WIDTH: usize, const MORE: usize> {
    #[weights("0")]
    down: PaddedDownBlock<WIDTH>,
    #[weights("", first = 1)]
    blocks: [BasicBlock<{ 2 * WIDTH }>; MORE],
}

#[model]
impl<const WIDTH: usize, const MORE: usize> PaddedStage<WIDTH, MORE> {
    /// The stage's result: half as high and half as wide, with twice the channels.
    pub fn forward<B: Dim, H: Dim + MultipleOf<2>, W: Dim + MultipleOf<2>>(
        &self,
        x: Tensor<B, WIDTH, H, W>,
    ) -> Tensor<B, { 2 * WIDTH }, { H / 2 }, { W / 2 }> {
        let mut x = self.down(x);
        for block in &self.blocks {
            x = block(x);
        }
        x
    }
}

/// The residual network of 20 layers for small images (section 4.2 of the paper, n = 3): a 3 x 3 convolution, three stages of
/// three blocks with `WIDTH`, `2 WIDTH` and `4 WIDTH` channels, global average pooling, a fully connected layer.
///
/// Shortcuts between stages are without parameters (option A), as in the paper. For CIFAR-10 it is `ResNet20<3, 16, 10>`, with
/// images of 3 x 32 x 32 and 269,722 parameters. Heights and widths are multiples of 4.
///
/// The paper trains it with momentum 0.9, weight decay 1e-4 and batches of 128, from a learning rate of 0.1 down by tenths.
#[model]
pub struct ResNet20<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> {
    #[layer(padding = 1, bias = false, init = kaiming_normal)]
    conv1: Conv2d<CHANNELS, WIDTH, 3>,
    bn1: BatchNorm2d<WIDTH>,
    layer1: [BasicBlock<WIDTH>; 3],
    layer2: PaddedStage<WIDTH, 2>,
    layer3: PaddedStage<{ 2 * WIDTH }, 2>,
    fc: Linear<{ 4 * WIDTH }, CLASSES>,
}

#[model]
impl<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> ResNet20<CHANNELS, WIDTH, CLASSES> {
    /// What the last layer sees: the means of the channels behind the last block.
    pub fn features<B: Dim, H: Dim + MultipleOf<4>, W: Dim + MultipleOf<4>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, { 4 * WIDTH }> {
        let mut x = self.bn1(self.conv1(image)).relu();
        for block in &self.layer1 {
            x = block(x);
        }
        self.layer3(self.layer2(x)).global_avg_pool2d()
    }

    /// Class scores (unnormalised) of a batch of images.
    pub fn logits<B: Dim, H: Dim + MultipleOf<4>, W: Dim + MultipleOf<4>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, CLASSES> {
        self.fc(self.features(image))
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim, H: Dim + MultipleOf<4>, W: Dim + MultipleOf<4>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
        label: Tensor<i64, B>,
    ) -> Scalar {
        cross_entropy(self.logits(image), label)
    }

    /// The share of images whose highest score is that of their label.
    pub fn accuracy<B: Dim, H: Dim + MultipleOf<4>, W: Dim + MultipleOf<4>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
        label: Tensor<i64, B>,
    ) -> Scalar {
        (self.logits(image).argmax(axis = 1) == label).to_float().mean()
    }
}

/// The residual network of 18 layers for photographs (table 1 of the paper): a 7 x 7 convolution and a 3 x 3 maximum, of stride 2
/// both, four stages of two blocks with `WIDTH` to `8 WIDTH` channels, global average pooling, a fully connected layer.
///
/// For ImageNet it is `ResNet18<3, 64, 1000>`, with images of 3 x 224 x 224 and 11,689,512 parameters, whose paths and shapes are
/// those of torchvision's `resnet18`. Heights and widths are multiples of 32.
#[model]
pub struct ResNet18<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> {
    #[layer(stride = 2, padding = 3, bias = false, init = kaiming_normal)]
    conv1: Conv2d<CHANNELS, WIDTH, 7>,
    bn1: BatchNorm2d<WIDTH>,
    layer1: [BasicBlock<WIDTH>; 2],
    layer2: Stage<WIDTH, { 2 * WIDTH }, 1>,
    layer3: Stage<{ 2 * WIDTH }, { 4 * WIDTH }, 1>,
    layer4: Stage<{ 4 * WIDTH }, { 8 * WIDTH }, 1>,
    fc: Linear<{ 8 * WIDTH }, CLASSES>,
}

#[model]
impl<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> ResNet18<CHANNELS, WIDTH, CLASSES> {
    /// What the last layer sees: the means of the channels behind the last block.
    pub fn features<B: Dim, H: Dim + MultipleOf<32>, W: Dim + MultipleOf<32>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, { 8 * WIDTH }> {
        let x = self.bn1(self.conv1(image)).relu();
        let mut x = x.max_pool2d(3, stride = 2, padding = 1);
        for block in &self.layer1 {
            x = block(x);
        }
        self.layer4(self.layer3(self.layer2(x))).global_avg_pool2d()
    }

    /// Class scores (unnormalised) of a batch of images.
    pub fn logits<B: Dim, H: Dim + MultipleOf<32>, W: Dim + MultipleOf<32>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, CLASSES> {
        self.fc(self.features(image))
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim, H: Dim + MultipleOf<32>, W: Dim + MultipleOf<32>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
        label: Tensor<i64, B>,
    ) -> Scalar {
        cross_entropy(self.logits(image), label)
    }

    /// The share of images whose highest score is that of their label.
    pub fn accuracy<B: Dim, H: Dim + MultipleOf<32>, W: Dim + MultipleOf<32>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
        label: Tensor<i64, B>,
    ) -> Scalar {
        (self.logits(image).argmax(axis = 1) == label).to_float().mean()
    }
}

//! AlexNet: Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014,
//! [arXiv:1404.5997](https://arxiv.org/abs/1404.5997)), the form without normalisation that torchvision has.

use tapeless::prelude::*;

/// Five convolutions and three fully connected layers with dropout.
///
/// For ImageNet it is `AlexNet<3, 64, 1000>`, with images of 3 x 224 x 224 and 61,100,840 parameters, whose paths, shapes and first
/// values are those of torchvision's `alexnet`. Heights and widths are multiples of 32, at least 64.
#[model]
pub struct AlexNet<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> {
    #[weights("features.0")]
    #[layer(stride = 4, padding = 2)]
    conv1: Conv2d<CHANNELS, WIDTH, 11>,
    #[weights("features.3")]
    #[layer(padding = 2)]
    conv2: Conv2d<WIDTH, { 3 * WIDTH }, 5>,
    #[weights("features.6")]
    #[layer(padding = 1)]
    conv3: Conv2d<{ 3 * WIDTH }, { 6 * WIDTH }, 3>,
    #[weights("features.8")]
    #[layer(padding = 1)]
    conv4: Conv2d<{ 6 * WIDTH }, { 4 * WIDTH }, 3>,
    #[weights("features.10")]
    #[layer(padding = 1)]
    conv5: Conv2d<{ 4 * WIDTH }, { 4 * WIDTH }, 3>,
    #[weights("classifier.1")]
    fc1: Linear<{ 4 * WIDTH * 36 }, { 64 * WIDTH }>,
    #[weights("classifier.4")]
    fc2: Linear<{ 64 * WIDTH }, { 64 * WIDTH }>,
    #[weights("classifier.6")]
    fc3: Linear<{ 64 * WIDTH }, CLASSES>,
}

#[model]
impl<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> AlexNet<CHANNELS, WIDTH, CLASSES> {
    /// What the fully connected layers see: `4 WIDTH` channels on a grid of 6 x 6, in one row.
    pub fn features<B: Dim, H: Dim, W: Dim>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, { 4 * WIDTH * 36 }> {
        let x = self.conv1(image).relu().max_pool2d(3, stride = 2);
        let x = self.conv2(x).relu().max_pool2d(3, stride = 2);
        let x = self.conv4(self.conv3(x).relu()).relu();
        let x = self.conv5(x).relu().max_pool2d(3, stride = 2);
        x.adaptive_avg_pool2d(6).flatten()
    }

    /// Class scores (unnormalised) of a batch of images.
    pub fn logits<B: Dim, H: Dim, W: Dim>(&self, image: Tensor<B, CHANNELS, H, W>) -> Tensor<B, CLASSES> {
        let x = self.fc1(self.features(image).dropout(0.5)).relu();
        let x = self.fc2(x.dropout(0.5)).relu();
        self.fc3(x)
    }

    /// Mean cross-entropy of the batch, in nats.
    pub fn loss<B: Dim, H: Dim, W: Dim>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
        label: Tensor<i64, B>,
    ) -> Scalar {
        cross_entropy(self.logits(image), label)
    }

    /// The share of images whose highest score is that of their label.
    pub fn accuracy<B: Dim, H: Dim, W: Dim>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
        label: Tensor<i64, B>,
    ) -> Scalar {
        (self.logits(image).argmax(axis = 1) == label).to_float().mean()
    }
}

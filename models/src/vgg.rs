//! VGG networks: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (ICLR 2015,
//! [arXiv:1409.1556](https://arxiv.org/abs/1409.1556)).

use tapeless::prelude::*;

/// Configuration A, of eleven layers: eight 3 x 3 convolutions, five maxima of 2 x 2, three fully connected layers with dropout.
///
/// For ImageNet it is `Vgg11<3, 64, 1000>`, with images of 3 x 224 x 224 and 132,863,336 parameters, whose paths and shapes are
/// those of torchvision's `vgg11`. Heights and widths are multiples of 32. Convolutions begin with N(0, 2 / fan in) (He et al. 2015;
/// torchvision scales by the fan out), the others with torchvision's N(0, 0.01²).
#[model]
pub struct Vgg11<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> {
    #[weights("features.0")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv1: Conv2d<CHANNELS, WIDTH, 3>,
    #[weights("features.3")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv2: Conv2d<WIDTH, { 2 * WIDTH }, 3>,
    #[weights("features.6")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv3: Conv2d<{ 2 * WIDTH }, { 4 * WIDTH }, 3>,
    #[weights("features.8")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv4: Conv2d<{ 4 * WIDTH }, { 4 * WIDTH }, 3>,
    #[weights("features.11")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv5: Conv2d<{ 4 * WIDTH }, { 8 * WIDTH }, 3>,
    #[weights("features.13")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv6: Conv2d<{ 8 * WIDTH }, { 8 * WIDTH }, 3>,
    #[weights("features.16")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv7: Conv2d<{ 8 * WIDTH }, { 8 * WIDTH }, 3>,
    #[weights("features.18")]
    #[layer(padding = 1, init = kaiming_normal)]
    conv8: Conv2d<{ 8 * WIDTH }, { 8 * WIDTH }, 3>,
    #[weights("classifier.0")]
    #[layer(init = normal(0.0, 0.01))]
    fc1: Linear<{ 8 * WIDTH * 49 }, { 64 * WIDTH }>,
    #[weights("classifier.3")]
    #[layer(init = normal(0.0, 0.01))]
    fc2: Linear<{ 64 * WIDTH }, { 64 * WIDTH }>,
    #[weights("classifier.6")]
    #[layer(init = normal(0.0, 0.01))]
    fc3: Linear<{ 64 * WIDTH }, CLASSES>,
}

#[model]
impl<const CHANNELS: usize, const WIDTH: usize, const CLASSES: usize> Vgg11<CHANNELS, WIDTH, CLASSES> {
    /// What the fully connected layers see: `8 WIDTH` channels on a grid of 7 x 7, in one row.
    pub fn features<B: Dim, H: Dim + MultipleOf<32>, W: Dim + MultipleOf<32>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, { 8 * WIDTH * 49 }> {
        let x = self.conv1(image).relu().max_pool2d(2);
        let x = self.conv2(x).relu().max_pool2d(2);
        let x = self.conv4(self.conv3(x).relu()).relu().max_pool2d(2);
        let x = self.conv6(self.conv5(x).relu()).relu().max_pool2d(2);
        let x = self.conv8(self.conv7(x).relu()).relu().max_pool2d(2);
        x.adaptive_avg_pool2d(7).flatten()
    }

    /// Class scores (unnormalised) of a batch of images.
    pub fn logits<B: Dim, H: Dim + MultipleOf<32>, W: Dim + MultipleOf<32>>(
        &self,
        image: Tensor<B, CHANNELS, H, W>,
    ) -> Tensor<B, CLASSES> {
        let x = self.fc1(self.features(image)).relu().dropout(0.5);
        let x = self.fc2(x).relu().dropout(0.5);
        self.fc3(x)
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

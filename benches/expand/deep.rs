// Ten layers with weights, six of them followed by batch norm: a small VGG.
use ndarray::{Array1, Array4};
use tapeless::prelude::*;

const WIDTH: usize = 128;

#[model]
pub struct Deep {
    #[layer(padding = 1)]
    conv1: Conv2d<3, 32, 3>,
    norm1: BatchNorm2d<32>,
    #[layer(padding = 1)]
    conv2: Conv2d<32, 32, 3>,
    norm2: BatchNorm2d<32>,
    #[layer(padding = 1)]
    conv3: Conv2d<32, 64, 3>,
    norm3: BatchNorm2d<64>,
    #[layer(padding = 1)]
    conv4: Conv2d<64, 64, 3>,
    norm4: BatchNorm2d<64>,
    #[layer(padding = 1)]
    conv5: Conv2d<64, 128, 3>,
    norm5: BatchNorm2d<128>,
    #[layer(padding = 1)]
    conv6: Conv2d<128, 128, 3>,
    norm6: BatchNorm2d<128>,
    fc1: Linear<_, WIDTH>,
    fc2: Linear<_, 128>,
    fc3: Linear<_, 64>,
    fc4: Linear<_, 10>,
}

#[model]
impl Deep {
    /// Class scores.
    pub fn logits<B: Dim>(&self, image: Tensor<B, 3, 32, 32>) -> Tensor<B, 10> {
        let x = self.norm1(self.conv1(image)).relu();
        let x = self.norm2(self.conv2(x)).relu().max_pool2d(2);
        let x = self.norm3(self.conv3(x)).relu();
        let x = self.norm4(self.conv4(x)).relu().max_pool2d(2);
        let x = self.norm5(self.conv5(x)).relu();
        let x = self.norm6(self.conv6(x)).relu().max_pool2d(2);
        let x = self.fc1(x.dropout(0.25).flatten()).gelu();
        let x = self.fc2(x).tanh();
        let x = self.fc3(x.dropout(0.5)).relu();
        self.fc4(x)
    }

    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 32, 32>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

/// A step of training.
pub fn step(image: &Array4<f32>, label: &Array1<u8>) -> Result<f64> {
    let mut model = Deep::new(&Device::cpu(), 42)?;
    let mut work = model.loss_workspace(64)?;
    model.train_step(&mut work, &mut Adam::default(), image, label)
}

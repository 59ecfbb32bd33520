//! The models whose steps are measured, on random batches in memory.

use ndarray::{Array1, Array4};
use tapeless::prelude::*;

/// The perceptron of the example `mnist`: 784-128-10.
#[model]
pub struct Mlp {
    fc1: Linear<784, 128>,
    fc2: Linear<_, 10>,
}

#[model]
impl Mlp {
    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.fc2(self.fc1(image.flatten()).relu().dropout(0.2)), label)
    }
}

/// The convolutional network of the example `mnist_cnn`.
#[model]
pub struct Cnn {
    conv1: Conv2d<1, 32, 3>,
    conv2: Conv2d<32, 64, 3>,
    fc1: Linear<_, 128>,
    fc2: Linear<128, 10>,
}

#[model]
impl Cnn {
    /// The mean cross entropy of a batch.
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
        let x = self.conv2(self.conv1(image).relu()).relu().max_pool2d(2);
        let x = self.fc1(x.dropout(0.25).flatten()).relu();
        cross_entropy(self.fc2(x.dropout(0.5)), label)
    }
}

/// Samples of a batch.
pub const BATCH: usize = 64;

/// A model in training: a workspace, and a step in it.
pub struct Training {
    /// Name of the model.
    pub name: &'static str,
    /// Threads of its device.
    pub threads: usize,
    work: Workspace,
    step: Box<dyn FnMut(&mut Workspace)>,
}

impl Training {
    /// Takes a step: loss, gradients, Adam's update.
    pub fn step(&mut self) {
        (self.step)(&mut self.work);
    }

    /// Takes a step and says where its time went.
    pub fn profiled_step(&mut self) -> tapeless::Profile {
        self.work.start_profile();
        self.step();
        self.work.stop_profile().expect("a profile was started")
    }
}

/// A constructor for each model: its name, and how a training of it begins on some threads.
macro_rules! trainings {
    ($($name:ident: $model:ident;)*) => {
        /// Every model on some threads.
        pub fn all(threads: usize) -> Vec<Training> {
            vec![$($name(threads)),*]
        }

        $(fn $name(threads: usize) -> Training {
            let mut model = $model::new(&Device::cpu().threads(threads), 1).expect("a model fits into memory");
            let work = model.loss_workspace(BATCH).expect("so does a workspace");
            let (mut adam, (image, label)) = (Adam::new(1e-3), batch());
            let step = move |work: &mut Workspace| {
                model.train_step(work, &mut adam, &image, &label).expect("a step succeeds");
            };
            Training { name: stringify!($name), threads, work, step: Box::new(step) }
        })*
    };
}
trainings! {
    mlp: Mlp;
    cnn: Cnn;
}

fn batch() -> (Array4<f32>, Array1<u8>) {
    let image = Array4::from_shape_fn((BATCH, 1, 28, 28), |(b, _, y, x)| {
        ((b * 7 + y * 3 + x) as f32 * 0.3).sin()
    });
    (image, Array1::from_shape_fn(BATCH, |b| (b % 10) as u8))
}

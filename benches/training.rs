//! Training steps of the two MNIST models, on random batches in memory.

use criterion::{Criterion, criterion_group, criterion_main};
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

const BATCH: usize = 64;

fn batch() -> (Array4<f32>, Array1<u8>) {
    let image = Array4::from_shape_fn((BATCH, 1, 28, 28), |(b, _, y, x)| {
        ((b * 7 + y * 3 + x) as f32 * 0.3).sin()
    });
    (image, Array1::from_shape_fn(BATCH, |b| (b % 10) as u8))
}

fn steps(c: &mut Criterion) {
    let (image, label) = batch();
    for threads in [1, 2] {
        let device = Device::cpu().threads(threads);
        let mut group = c.benchmark_group(format!("step, batch {BATCH}, {threads} threads"));
        group.bench_function("mlp", |b| {
            let mut model = Mlp::new(&device, 1).expect("a model fits into memory");
            let (mut work, mut adam) = (
                model.loss_workspace(BATCH).expect("so does a workspace"),
                Adam::new(1e-3),
            );
            b.iter(|| {
                model
                    .train_step(&mut work, &mut adam, &image, &label)
                    .expect("a step succeeds")
            });
        });
        group.sample_size(20);
        group.bench_function("cnn", |b| {
            let mut model = Cnn::new(&device, 1).expect("a model fits into memory");
            let (mut work, mut adam) = (
                model.loss_workspace(BATCH).expect("so does a workspace"),
                Adam::new(1e-3),
            );
            b.iter(|| {
                model
                    .train_step(&mut work, &mut adam, &image, &label)
                    .expect("a step succeeds")
            });
        });
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);

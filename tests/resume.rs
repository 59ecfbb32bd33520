//! Interrupted at every step of an epoch with a short last batch, batch norm and dropout, and resumed from the file alone, a
//! training ends with the same bits as without.

#![allow(missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array4};
use tapeless::data::{Arrays, Dataset};
use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv2d<1, 4, 3>,
    norm: BatchNorm2d<4>,
    fc: Linear<_, 3>,
}

#[model]
impl Net {
    fn scores<B: Dim>(&self, image: Tensor<B, 1, 6, 6>, rate: f32) -> Tensor<B, 3> {
        let maps = self.norm(self.conv(image)).relu();
        self.fc(maps.flatten().dropout(rate))
    }

    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 6, 6>, label: Tensor<u8, B>, rate: f32) -> Scalar {
        cross_entropy(self.scores(image, rate), label)
    }

    pub fn accuracy<B: Dim>(&self, image: Tensor<B, 1, 6, 6>, label: Tensor<u8, B>) -> Scalar {
        (self.scores(image, 0.0).argmax(axis = 1) == label)
            .to_float()
            .mean()
    }
}

/// A data set that fails after a number of batches, as a process does whose machine goes down.
struct Failing<'a, D> {
    data: &'a D,
    left: AtomicUsize,
}

impl<D: Dataset> Dataset for Failing<'_, D> {
    type Batch = D::Batch;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn empty_batch(&self, capacity: usize) -> Result<Self::Batch> {
        self.data.empty_batch(capacity)
    }

    fn batch(&self, indices: &[usize], into: &mut Self::Batch) -> Result<()> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_err(|_| Error::new(ErrorKind::Callback, "the power has failed"))?;
        self.data.batch(indices, into)
    }
}

fn images(n: usize) -> (Array4<f32>, Array1<u8>) {
    let image = Array4::from_shape_fn((n, 1, 6, 6), |(b, _, y, x)| {
        ((b * 11 + y * 5 + x * 3) as f32 * 0.37).sin()
    });
    (image, Array1::from_shape_fn(n, |b| (b % 3) as u8))
}

fn bits(model: &Net) -> Vec<u64> {
    let params = model
        .params()
        .into_iter()
        .map(|(path, _)| model.param(path).unwrap());
    let states = model
        .states()
        .into_iter()
        .map(|(path, _)| model.state(path).unwrap());
    params
        .chain(states)
        .flat_map(|x| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        .collect()
}

fn trainer<'a>(path: &std::path::Path) -> Trainer<'a, Net, Adam> {
    Trainer::new(Adam::new(0.01))
        .epochs(2)
        .batch_size(4)
        .scalar("rate", 0.3)
        .metric("accuracy", Net::accuracy)
        .checkpoint(path)
        .checkpoint_steps(1)
}

#[test]
fn an_interruption_at_any_step_changes_no_bit() -> Result<()> {
    let path = std::env::temp_dir().join(format!("tapeless-resume-{}.safetensors", std::process::id()));
    let (train, test) = (Arrays::new(images(11))?, Arrays::new(images(5))?);
    let device = Device::cpu();
    let mut whole = Net::new(&device, 4)?;
    trainer(&path).fit(&mut whole, &train, &test)?;
    // Two epochs of three batches, the last of which has three samples.
    for n_done in 1..6 {
        let failing = Failing {
            data: &train,
            left: n_done.into(),
        };
        let mut first = Net::new(&device, 4)?;
        let error = trainer(&path)
            .prefetch(0)
            .fit(&mut first, &failing, &test)
            .unwrap_err();
        assert!(error.to_string().contains("the power has failed"), "{error}");

        // Another process: nothing but the file is known, not even the seed.
        let mut second = Net::new(&Device::cpu().threads(1), 99)?;
        trainer(&path).resume(&path).fit(&mut second, &train, &test)?;
        assert!(bits(&second) == bits(&whole), "interrupted after {n_done} steps");
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

//! The hand-over of definitions from model to model, as a user's crate sees it.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all)]

use ndarray::{Array2, array};
use tapeless::prelude::*;

const CLASSES: usize = 3;

/// A layer perceptron.
#[model]
pub struct Mlp {
    fc1: Linear<4, 8>,
    fc2: Linear<_, CLASSES>,
}

#[model]
impl Mlp {
    /// Class scores.
    pub fn logits<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, CLASSES> {
        let hidden = self.fc1(x).relu();
        self.fc2(hidden)
    }

    /// Mean cross-entropy.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 4>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(x), label)
    }
}

#[test]
fn a_model_computes() -> tapeless::Result<()> {
    let mut model = Mlp::new(&Device::cpu(), 42)?;
    let x = Array2::<f32>::from_elem((5, 4), 0.5);
    let label = array![0_u8, 1, 2, 0, 1];
    assert_eq!(model.logits(&x)?.dim(), (5, 3));
    assert_eq!(model.logits_as::<f64>(&x)?.dim(), (5, 3));
    let loss = model.loss(&x, &label)?;
    assert!(loss > 0.0 && loss < 3.0, "{loss}");
    let mut work = model.loss_workspace(5)?;
    let again = model.loss_grad(&mut work, &x, &label)?;
    assert!((again - loss).abs() < 1e-6);
    assert_eq!(Mlp::summary().lines().filter(|line| line.contains("fc")).count(), 2);
    Ok(())
}

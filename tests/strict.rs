//! Emitted code in a crate with the strictest settings: no unsafe code, no warnings of rustc or clippy, and the default
//! recursion limit. That this file compiles is the test; its functions show that the models work.

#![forbid(unsafe_code)]
#![deny(warnings)]
#![deny(clippy::all)]
#![deny(missing_docs)]

use ndarray::{Array1, Array2};
use tapeless::prelude::*;

const WIDTH: usize = 6;

/// A model that uses most of what emission can emit.
#[model]
pub struct Strict {
    fc1: Linear<4, WIDTH>,
    norm: BatchNorm1d<WIDTH>,
    fc2: Linear<{ 2 * WIDTH }, 3>,
    #[layer(init = ones)]
    scale: Param<3>,
}

#[model]
impl Strict {
    /// Scores of three classes.
    pub fn scores<B: Dim>(&self, x: Tensor<B, 4>, rate: f32) -> Tensor<B, 3> {
        let hidden = self.norm(self.fc1(x)).gelu().dropout(rate);
        let both = concat((hidden, hidden.flip(axis = 1)), axis = 1);
        self.fc2(both) * self.scale
    }

    /// Mean cross-entropy.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 4>, label: Tensor<u8, B>, rate: f32) -> Scalar {
        cross_entropy(self.scores(x, rate), label)
    }

    /// The most likely class, and its score.
    pub fn best<B: Dim>(&self, x: Tensor<B, 4>) -> (Tensor<i64, B>, Tensor<B>) {
        let scores = self.scores(x, 0.0);
        (scores.argmax(axis = 1), scores.max(axis = 1))
    }
}

#[test]
fn a_strict_crate_trains() -> Result<()> {
    let mut model = Strict::new(&Device::cpu(), 3)?;
    let x = Array2::from_shape_fn((8, 4), |(i, j)| ((i * 4 + j) as f32 * 0.7).sin());
    let label = Array1::from_shape_fn(8, |i| (i % 3) as u8);
    let mut work = model.loss_workspace(8)?;
    let mut adam = Adam::new(0.05);
    let first = model.loss_grad(&mut work, &x, &label, 0.0)?;
    for _ in 0..60 {
        model.train_step(&mut work, &mut adam, &x, &label, 0.0)?;
    }
    let last = model.loss_grad(&mut work, &x, &label, 0.0)?;
    assert!(last < 0.5 * first, "the loss went from {first} to {last}");
    let (best, score) = model.best(&x)?;
    assert_eq!((best.len(), score.len()), (8, 8));
    Ok(())
}

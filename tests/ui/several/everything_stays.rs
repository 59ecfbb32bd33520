//! After an error in a function, fields and all generated methods are there, so that nothing else is reported.

use ndarray::{Array1, Array2};
use tapeless::prelude::*;

#[model]
pub struct Net {
    pub fc1: Linear<8, 4>,
    pub fc2: Linear<5, 3>,
}

#[model]
impl Net {
    /// Scores.
    pub fn scores<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, 3> {
        self.fc2(self.fc1(x))
    }

    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, y: Tensor<T>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.scores(x), label) + y.mean()
    }
}

fn main() -> tapeless::Result<()> {
    let mut net = Net::new(&Device::cpu(), 1)?;
    let (_, _) = (&net.fc1, &net.fc2);
    let (x, y, label) = (Array2::<f32>::zeros((1, 8)), Array1::<f32>::zeros(2), Array1::<u8>::zeros(1));
    let _: Array2<f32> = net.scores(&x)?;
    let _: Array2<f64> = net.scores_as::<f64>(&x)?;
    let mut plain = net.scores_workspace(4)?;
    let _ = net.scores_in(&mut plain, &x)?;
    let _ = net.scores_trace(&x)?;
    let mut work = net.loss_workspace(NetLossDims { b: 4, t: 2 })?;
    let _: f64 = net.loss_grad(&mut work, &x, &y, &label)?;
    let _: f64 = net.loss_accumulate(&mut work, &x, &y, &label)?;
    let _: f64 = net.train_step(&mut work, &mut Adam::new(1e-3), &x, &y, &label)?;
    let _ = (Net::summary(), Net::explain(), Net::diagram(), net.n_params());
    net.save("net.safetensors")
}

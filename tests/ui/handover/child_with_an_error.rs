//! A mistake in a model is reported there, once, and not again by the models and calls that use it.
use tapeless::prelude::*;

#[model]
pub struct Child {
    fc: Linear<4, 8>,
}

#[model]
impl Child {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 8> {
        self.fc(x)
    }
}

#[model]
pub struct Parent {
    child: Child,
}

#[model]
impl Parent {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 8> {
        self.child(x)
    }
}

fn main() {
    let model = Parent::new(&Device::cpu(), 0).unwrap();
    let _ = model.scores(&ndarray::Array2::<f32>::zeros((1, 5))).unwrap();
    let _ = model.scores_workspace(3).unwrap();
}

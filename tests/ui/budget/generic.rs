//! A generic model has no memory of its own.

use tapeless::prelude::*;

#[model]
pub struct Net<const D: usize> {
    fc: Linear<D, 8>,
}

#[model]
impl<const D: usize> Net<D> {
    #[model(max_memory = "1 MiB", dims(B = 64))]
    pub fn f<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, 8> {
        self.fc(x)
    }
}

fn main() {
    let _ = Net::<4>::new(&Device::cpu(), 1);
}

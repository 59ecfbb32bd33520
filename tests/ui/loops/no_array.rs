//! A loop goes through an array, not through a single layer.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc: Linear<8, 8>,
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut x = x + xs.sum(axis = 1);
        for fc in &self.fc {
            x = fc(x);
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

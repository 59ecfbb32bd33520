//! `Steps` that no loop fills have no shape.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let ys = Steps::new();
        x + xs.sum(axis = 1) + ys.stack().sum(axis = 0)
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

//! A carried tensor keeps its shape from layer to layer.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 9>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut x = x + xs.sum(axis = 1);
        for fc in &self.fcs {
            x = fc(x);
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

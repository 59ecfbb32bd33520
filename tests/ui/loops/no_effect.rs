//! `let` in the body makes a new variable, so that the loop does nothing.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let x = x + xs.sum(axis = 1);
        for fc in &self.fcs {
            let x = fc(x);
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

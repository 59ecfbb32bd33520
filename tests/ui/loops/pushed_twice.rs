//! `Steps` take one value a step.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut ys = Steps::new();
        for x_t in xs.steps(axis = 1) {
            ys.push(x_t);
            ys.push(x_t * 2.0);
        }
        x + ys.stack().sum(axis = 0)
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

//! A number that is carried is a tensor without axes.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut total = 0.0;
        for x_t in xs.steps(axis = 1) {
            total += x_t;
        }
        x * total
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

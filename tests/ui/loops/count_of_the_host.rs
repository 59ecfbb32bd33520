//! The number of steps is a size, because the compiler plans with it.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>, n: usize) -> Tensor<B, 8> {
        let mut x = x + xs.sum(axis = 1);
        for _ in 0..n {
            x = x * 0.5;
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

//! A loop over a tensor says along which axis.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut x = x;
        for x_t in xs {
            x = x + x_t;
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

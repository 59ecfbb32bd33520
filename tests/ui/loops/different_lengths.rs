//! What is zipped has equal lengths.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
    others: [Linear<8, 8>; 2],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut x = x + xs.sum(axis = 1);
        for (a, b) in self.fcs.iter().zip(&self.others) {
            x = b(a(x));
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

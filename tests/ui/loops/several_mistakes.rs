//! Mistakes in two loops are both reported, what follows from them is not.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fcs: [Linear<8, 8>; 3],
}

#[model]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>) -> Tensor<B, 8> {
        let mut ys = Steps::new();
        let mut x = x;
        for fc in &self.fcs {
            x = fc(x.rleu());
        }
        for x_t in xs.steps(axis = 2) {
            ys.push(x_t + x);
        }
        let mut z = x;
        for x_t in xs.steps(axis = 7) {
            z = x_t;
        }
        z + ys.stack().sum(axis = 0)
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

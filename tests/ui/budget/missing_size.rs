//! A budget holds for sizes, which have to be there and to be of the function.

use tapeless::prelude::*;

#[model(dims(X = 1))]
pub struct Net {
    fc: Linear<8, 8>,
}

#[model(max_memory = "1 MiB", dims(B = 64))]
impl Net {
    pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T, 8>) -> Tensor<B, T, 8> {
        self.fc(x)
    }

    #[model(dims(H = 30))]
    pub fn g<H: Dim + MultipleOf<16>>(&self, x: Tensor<H, 8>) -> Tensor<H, 8> {
        self.fc(x)
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

//! A function that does not exist.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc1: Linear<784, 128>,
    fc2: Linear<128, 10>,
}

#[model]
impl Net {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, y: Tensor<u8, B>) -> Scalar {
        crossentropy(self.fc2(self.fc1(x)), y)
    }
}

fn main() {
}

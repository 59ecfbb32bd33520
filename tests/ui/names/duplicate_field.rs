//! A field declared twice.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc: Linear<784, 10>,
    fc: Linear<784, 10>,
}

#[model]
impl Net {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc(x)
    }
}

fn main() {
}

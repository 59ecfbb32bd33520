//! What only rustc can evaluate is checked by rustc.

use tapeless::prelude::*;

const CLASSES: usize = 11;

#[model]
pub struct Net {
    fc: Linear<784, CLASSES>,
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc(x)
    }
}

fn main() {
}

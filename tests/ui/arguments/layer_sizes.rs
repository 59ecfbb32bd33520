//! A layer with a size missing.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc: Linear<784>,
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc(x)
    }
}

fn main() {
}

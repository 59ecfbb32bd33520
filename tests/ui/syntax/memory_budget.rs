//! A memory budget is refused as long as nothing checks it.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc: Linear<784, 10>,
}

#[model(max_memory = "64 MiB", dims(B = 32))]
impl Net {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc(x)
    }
}

fn main() {}

//! A step that needs more than its budget is an error with a table.

use tapeless::prelude::*;

#[model(max_memory = "1 MiB", dims(B = 64))]
pub struct Net {
    fc1: Linear<784, 512>,
    fc2: Linear<512, 10>,
}

#[model]
impl Net {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc2(self.fc1(x).gelu().dropout(0.1))
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(x), label)
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

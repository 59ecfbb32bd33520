//! Conditional fields would make two models of one name.

use tapeless::prelude::*;

#[model]
pub struct Net {
    #[cfg(test)]
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

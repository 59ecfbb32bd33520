//! A layer that does not exist.
use tapeless::prelude::*;

#[model]
struct Net {
    fc: Linaer<2, 2>,
}

#[model]
impl Net {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.fc(x)
    }
}

fn main() {}

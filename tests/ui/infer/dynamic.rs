//! Parameters cannot have a size that is known at run time only.

use tapeless::prelude::*;

#[model]
pub struct Net {
    fc: Linear<_, 10>,
}

#[model]
impl Net {
    pub fn a<B: Dim, N: Dim>(&self, x: Tensor<B, N>) -> Tensor<B, 10> {
        self.fc(x)
    }
}

fn main() {
}

//! A kernel fits into its padded sequence.

use tapeless::prelude::*;

#[model]
pub struct Net {
    conv: Conv1d<4, 8, 12>,
}

#[model]
impl Net {
    pub fn maps<B: Dim>(&self, x: Tensor<B, 4, 10>) -> Tensor<B, 8, 1> {
        self.conv(x)
    }
}

fn main() {
}

//! A model that contains itself.
use tapeless::prelude::*;

#[model]
pub struct Turtle {
    below: Turtle,
}

#[model]
impl Turtle {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
        self.below(x)
    }
}

fn main() {}

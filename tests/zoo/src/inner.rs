//! A private module with a public model, which is made of another.

use ml::prelude::*;

/// A constant of the same name as one outside, with another value.
const FACTOR: usize = 3;

/// A block for vectors of `N / 3` numbers, thrice.
#[model(crate = ::ml)]
pub struct Nested<const N: usize> {
    block: crate::Block<{ FACTOR * N }>,
}

#[model(crate = ::ml)]
impl<const N: usize> Nested<N> {
    /// The block on vectors of three times the width.
    pub fn forward<B: Dim>(&self, x: Tensor<B, { FACTOR * N }>) -> Tensor<B, { FACTOR * N }> {
        self.block(x)
    }
}

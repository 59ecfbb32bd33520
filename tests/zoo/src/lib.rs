//! Models for the tests of the hand-over: layers that come from another crate.
//!
//! This crate knows the library as `ml`; those who use its models need not know that.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all)]

mod inner;

pub use inner::Nested;
use ml::prelude::*;

/// Not visible to the crates that use [`Block`].
const FACTOR: usize = 2;

const fn widened(size: usize) -> usize {
    FACTOR * size
}

/// Doubles every number, by way of a wider tensor: y = x A B with A of ones and B of 1 / D.
#[model(crate = ::ml)]
pub struct Block<const D: usize> {
    #[layer(init = ones)]
    up: Param<D, { widened(D) }>,
    #[layer(init = ones)]
    down: Param<{ widened(D) }, D>,
}

#[model(crate = ::ml)]
impl<const WIDTH: usize> Block<WIDTH> {
    /// The sum of each row, times twice the width, in every place.
    pub fn forward<B: Dim>(&self, x: Tensor<B, WIDTH>) -> Tensor<B, WIDTH> {
        Self::twice(x.matmul(self.up).matmul(self.down)) * 0.5
    }

    fn twice<B: Dim>(x: Tensor<B, WIDTH>) -> Tensor<B, WIDTH> {
        x * 2.0
    }
}

/// Adds 7.
#[model(crate = ::ml)]
pub struct Linear {
    #[layer(init = constant(7.0))]
    bias: Param<1>,
}

#[model(crate = ::ml)]
impl Linear {
    /// x + 7
    pub fn forward<B: Dim, D: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        x + self.bias
    }
}

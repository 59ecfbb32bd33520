//! Random batches in memory.

use ndarray::{Array, ArrayD, Dimension, ShapeBuilder};
use tapeless::rng::{Key, Stream};

/// What the two tensors of a batch hold, whatever the type of their elements.
pub enum Values {
    /// Numbers.
    Floats(ArrayD<f32>),
    /// Labels or tokens.
    Ints(ArrayD<i64>),
}

/// Inputs and targets of a step.
pub trait Batch {
    /// Name and values of both.
    fn values(&self) -> [(&'static str, Values); 2];
}

/// Samples of a continuous kind with a class each.
impl<D: Dimension> Batch for (Array<f32, D>, ndarray::Array1<u8>) {
    fn values(&self) -> [(&'static str, Values); 2] {
        let labels = self.1.mapv(i64::from).into_dyn();
        [
            ("x", Values::Floats(self.0.clone().into_dyn())),
            ("y", Values::Ints(labels)),
        ]
    }
}

/// Tokens, and the token that follows each.
impl<D: Dimension> Batch for (Array<u16, D>, Array<u16, D>) {
    fn values(&self) -> [(&'static str, Values); 2] {
        let ints = |tokens: &Array<u16, D>| Values::Ints(tokens.mapv(i64::from).into_dyn());
        [("x", ints(&self.0)), ("y", ints(&self.1))]
    }
}

/// Numbers of a standard normal distribution.
pub fn normal<Sh: ShapeBuilder>(shape: Sh, index: usize) -> Array<f32, Sh::Dim> {
    draw(shape, "x", index, |stream, element| {
        stream.normal_f64(element) as f32
    })
}

/// Classes, each equally likely.
pub fn classes(n: usize, n_classes: u8, index: usize) -> ndarray::Array1<u8> {
    draw(n, "y", index, |stream, element| {
        stream.below(u64::from(n_classes), element) as u8
    })
}

/// Tokens, each equally likely; `name` keeps two arrays of a batch apart.
pub fn tokens<Sh: ShapeBuilder>(name: &str, shape: Sh, vocabulary: u16, index: usize) -> Array<u16, Sh::Dim> {
    draw(shape, name, index, |stream, element| {
        stream.below(u64::from(vocabulary), element) as u16
    })
}

/// An array of the numbers that `number` draws for elements 0, 1, …
fn draw<T, Sh: ShapeBuilder>(
    shape: Sh,
    name: &str,
    index: usize,
    number: impl Fn(&Stream, u64) -> T,
) -> Array<T, Sh::Dim> {
    let stream = Key::for_path(super::SEED, name).at(index as u64).stream(0);
    let mut element = 0;
    Array::from_shape_simple_fn(shape, || {
        element += 1;
        number(&stream, element - 1)
    })
}

//! Random *source texts*: models as a user would write them, drawn by a seed.
//!
//! Where [`generate`](super::generate) draws graphs, this draws the language: structs and impls, layers of the library and models
//! as layers of models, parameters and carried tensors, helpers, shadowed bindings, tuples, functions that call each other. The
//! drawing keeps its own account of every shape and writes it into signatures, so that the compiler's shape rules are compared
//! with a second opinion.
//!
//! - [`pen`] writes one function, [`moves`], [`loops`] and [`images`] are what it can write, [`model`] is the plan of a whole text.
//! - [`answer`] lowers a text with the compiler's own front end and says by the naive interpreter what the model computes.
//! - [`files`] is the form of `tests/random`, where the first seeds are compiled for real.
//!
//! All numbers that a model starts from are given by [`unit`], a formula without rounding, which the tests of the real macro
//! repeat.

mod answer;
mod files;
mod images;
mod loops;
mod model;
mod moves;
mod pen;
mod size;
mod tests;

/// A model in the language, with the models that are its layers.
pub struct Source {
    /// Constants of the module, with their values.
    pub constants: Vec<(&'static str, usize)>,
    /// Structs and impls in turn, children before parents; the last pair is the model `Net`.
    pub items: Vec<String>,
}

impl Source {
    /// The structs and impls as one text.
    pub fn text(&self) -> String {
        self.items.join("\n")
    }
}

/// The text of a seed.
pub fn source(seed: u64) -> Source {
    model::draw(seed)
}

/// Every size of every model: the batch and the number of steps.
pub const DIMS: [(&str, usize); 2] = [("B", 3), ("T", 2)];

/// Every host argument of every model: it is exact in f32.
pub const HOST: f64 = 0.25;

/// Integers are below this: a label of every loss and a token of every table.
pub const INTEGERS: u64 = 5;

/// The seed of every model's random streams.
pub const STREAMS: u64 = 7;

/// Element `element` of tensor `tensor`: a multiple of 1/512 in -1..1, so that it is exact in f32 too.
///
/// Parameters are half of it, carried tensors 1 more than that half (a variance is positive), float arguments it itself,
/// integer arguments `hash % INTEGERS`. Tensors count from 0 among the parameters, from 1000 among the carried tensors, from 2000
/// among the arguments of a function.
pub fn unit(tensor: u64, element: u64) -> f64 {
    (hash(tensor, element) % 1024) as f64 / 512.0 - 1.0
}

/// The bits behind [`unit`]: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014) of both numbers.
pub fn hash(tensor: u64, element: u64) -> u64 {
    let mut z = (tensor << 32 | element).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

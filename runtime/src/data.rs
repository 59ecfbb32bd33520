//! Data sets: files, arrays in memory, and the loader that turns them into batches.
//!
//! Samples flow one way: files ([`idx`], [`npy`], [`csv`], [`Mnist`]) become `ndarray` arrays; arrays become
//! the columns of a [`Dataset`] ([`Arrays`], [`Pixels`]), which adapters divide and change
//! ([`Dataset::split`], [`Dataset::map`]); a [`Loader`] decides the order and fills a fixed set of batches,
//! in the background.
//!
//! Two invariants hold throughout. A file's header is a claim, not a fact: nothing is allocated on its word
//! alone. And a training loop allocates nothing per step: every batch is filled again and again.

mod adapters;
mod batch;
mod bytes;
mod column;
pub mod csv;
mod dataset;
pub mod idx;
mod loader;
mod mnist;
pub mod npy;
mod order;
mod queue;

pub use adapters::{Map, MapInPlace, Part, Subset};
pub use batch::{Batch, BatchArray};
pub use column::{Column, Columns, Pixels};
pub use dataset::{Arrays, Dataset, Portion};
pub use loader::{Batches, Loader};
pub use mnist::{DigitArrays, Digits, Mnist};
pub use order::shuffle_epoch;

//! The runtime of Tapeless.

pub mod cpu;
pub mod error;
pub mod real;
pub mod rng;

pub use error::{Error, ErrorKind, Result};

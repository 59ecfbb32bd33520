//! The runtime of Tapeless.

pub mod arena;
pub mod cpu;
pub mod cx;
pub mod data;
pub mod dtype;
pub mod error;
pub mod init;
pub mod ops;
pub mod program;
pub mod real;
pub mod rng;
#[doc(hidden)]
pub mod rt;

pub use dtype::Precision;
pub use error::{Error, ErrorKind, Result};

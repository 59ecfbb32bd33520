//! The runtime of Tapeless.

pub mod error;

pub use error::{Error, ErrorKind, Result};

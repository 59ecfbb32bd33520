//! The runtime of Tapeless.

pub mod data;
pub mod error;

pub use error::{Error, ErrorKind, Result};

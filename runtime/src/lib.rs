//! The runtime of Tapeless.

pub mod cpu;
pub mod init;
pub mod real;
pub mod rng;

//! The runtime of Tapeless.

pub mod cpu;
pub mod real;
pub mod rng;

//! The compiler of Tapeless.
#![forbid(unsafe_code)]

#[allow(dead_code)]
#[allow(unused_imports)]
mod shape;

//! The compiler of Tapeless.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)]

mod ast;
mod diag;
mod emit;
mod fuse;
mod grad;
mod ir;
mod layers;
mod memory;
mod model;
mod ops;
#[cfg(test)]
mod oracle;
mod parse;
mod plan;
mod shape;
mod simplify;

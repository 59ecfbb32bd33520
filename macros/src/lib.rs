//! The compiler of Tapeless.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)]

mod ast;
mod compile;
mod diag;
mod emit;
mod fuse;
mod grad;
mod ir;
mod layers;
mod lower;
mod memory;
mod model;
mod ops;
mod parse;
mod plan;
mod samples;
mod shape;
mod simplify;

//! The compiler of Tapeless.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)]

mod ast;
mod diag;
mod grad;
mod ir;
mod ops;
mod plan;
mod shape;
mod simplify;

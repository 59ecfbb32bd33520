//! The compiler of Tapeless.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)]

mod ast;
mod diag;
mod grad;
mod ir;
mod layers;
mod lower;
mod model;
mod ops;
mod plan;
mod shape;
mod simplify;
#[allow(dead_code, reason = "its readers are the stages after parse")]
mod parse;

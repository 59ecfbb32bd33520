//! The compiler of Tapeless.
#![forbid(unsafe_code)]
#![allow(dead_code)]

mod ast;
mod diag;
mod ir;
mod ops;
mod shape;

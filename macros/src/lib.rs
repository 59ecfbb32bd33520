//! The compiler of Tapeless.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "its readers are the stages after parse")]
mod ast;
#[allow(dead_code, reason = "its readers are the stages after parse")]
mod diag;
#[allow(dead_code, reason = "its readers are the stages after parse")]
mod parse;

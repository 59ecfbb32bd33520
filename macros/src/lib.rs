//! The compiler of Tapeless.
#![forbid(unsafe_code)]

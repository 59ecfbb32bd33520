//! Emission: plans as Rust source.
//!
//! What comes out is what a patient engineer would have written: one type for every distinct pointwise group, one small
//! function for every sweep, and constant tables that tell the runtime what there is. Sizes are arguments everywhere; nothing
//! here needs a number, except to find out whether a network is small (`code/whole.rs`).

mod code;
mod flops;
mod formulas;
mod group;
mod names;
mod sizes;
mod tables;
#[cfg(test)]
mod tests;

pub use tables::{Emission, EmitFunction, program};

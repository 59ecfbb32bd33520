//! The CPU as a device: its threads, its instruction sets, its elementary functions.

pub(crate) mod affinity;
pub mod amx;
pub mod gemm;
pub mod isa;
pub mod threads;
pub mod vecmath;

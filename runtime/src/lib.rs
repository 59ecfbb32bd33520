//! The runtime of Tapeless.

// Module docs explain how a module works, private items included.
#![allow(rustdoc::private_intra_doc_links)]

pub mod arena;
pub mod call;
pub mod checkpoint;
pub mod cpu;
pub mod cx;
pub mod data;
pub mod device;
mod diagram;
pub mod dtype;
pub mod error;
pub mod flat;
pub mod init;
pub mod model;
pub mod ops;
pub mod optim;
pub mod profile;
pub mod program;
pub mod real;
pub mod rng;
#[doc(hidden)]
pub mod rt;
#[doc(hidden)]
pub mod small;
mod sort;
mod summary;
pub mod train;
mod vector;
mod versioned;
pub mod workspace;

pub use call::{Accumulate, Probe, Trace};
pub use device::Device;
pub use dtype::Precision;
pub use error::{Error, ErrorKind, Result};
pub use model::{Builder, Model, Network};
pub use profile::Profile;
pub use train::{History, Trainer};
pub use vector::ParamVector;
pub use workspace::Workspace;

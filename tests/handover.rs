//! The hand-over of definitions from model to model, as a user's crate sees it: the strictest lints, the default limits.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all)]

#[path = "handover/bodies.rs"]
mod bodies;
#[path = "handover/crates.rs"]
mod crates;
#[path = "handover/many.rs"]
mod many;
#[path = "handover/methods.rs"]
mod methods;
#[path = "handover/names.rs"]
mod names;

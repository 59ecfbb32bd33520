//! The intermediate representation: a typed, static single-assignment tensor graph.
//!
//! # Grammar
//!
//! ```text
//! graph  := node*  output*
//! node   := %id[.k] : type = op(attributes) (value, ...)  [body]
//! value  := %id.k                    the k-th result of a node that stands earlier in the list
//! type   := dtype [dim, ...]         float | int | bool, and a polynomial for every axis
//! output := result k | state s | gradient of parameter p | gradient of input i | next c | collect k   = value
//! body   := graph                    of a loop (`scan`), nested; `next` and `collect` stand only there
//! ```
//!
//! # Meaning
//!
//! Nodes are evaluated in list order; every node is a pure function of its inputs and attributes.
//! Effects are values: new running statistics are outputs of kind [`OutputKind::State`], and a random
//! operation names its stream by a key, so that evaluating it twice gives the same numbers.
//!
//! Operations on images say in which order the axes of images lie ([`Images`]): as users write them where a graph comes out of
//! lowering, channels last behind the layout stage, whose types show it.
//!
//! # Invariants (checked by [`verify`])
//!
//! 1. Inputs of a node precede it, and the result that they name exists.
//! 2. The types of a node are what the shape rule of its operation says; no untyped node exists.
//! 3. A graph that contains a poison node has at least one recorded error and is never scheduled.
//! 4. A node of the backward phase is never an input of a node of the forward phase.
//! 5. Every body satisfies the same invariants, and reads nothing but the arguments of its loop.
//!
//! Broadcasting does not exist here: pointwise operations take operands of one shape, and lowering
//! inserts explicit `expand` nodes. What an operation means, how it is differentiated and which kernel
//! runs it is known in one place only, its [`rule::Rule`].

pub mod build;
pub mod graph;
pub mod id;
pub mod images;
pub mod layout;
pub mod print;
pub mod rule;
pub mod scalar;
pub mod surface;
pub mod ty;
pub mod verify;

pub use build::{Builder, Mode, Steps};
pub use graph::{Graph, Node, Origin, Output, OutputKind, Phase};
pub use id::{InputId, NodeId, ParamId, StateId, Value};
pub use images::Images;
pub use layout::{Layout, ViewMap};
pub use rule::{
    Body, Call, CallArg, Constraints, Cotangents, Demand, Kernel, PackForm, PackedInput, Packing, Residual,
    Rows, Rule, SMALL_FACTOR, Sample, SampleGradient, ShapeError, Site, may_be_small,
};
pub use scalar::Scalar;
pub use surface::{Args, Flag, Form, Operand, Surface};
pub use ty::{DType, Type};

//! The layers of the library, as types of the fields of a model.
//!
//! None of these types has values: a field `fc1: Linear<784, 128>` declares parameters of the model and what
//! `self.fc1(x)` computes. Options are written on the field: `#[layer(padding = 1)] conv: Conv2d<3, 16, 3>`.
//!
//! A layer is a type and a hidden macro of the same name; an import brings both.

tapeless_macros::builtin_layers! {}

//! Types of values: an element kind and a symbolic shape.

use crate::shape::{self, Dim};

/// The kind of a tensor's elements.
///
/// The width of `Float` is the precision that the model was created with; every integer type that a
/// user declares is carried as 64 bits, so that class labels and token numbers are exact.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum DType {
    /// Real numbers in the precision of the model (f32 or f64).
    Float,
    /// 64-bit signed integers.
    Int,
    /// Truth values, a byte each: 0 or 1.
    Bool,
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DType::Float => "float",
            DType::Int => "int",
            DType::Bool => "bool",
        })
    }
}

/// The type of a value: element kind and shape. A tensor of rank 0 has an empty shape.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Type {
    /// Element kind.
    pub dtype: DType,
    /// Size of every axis, outermost first (row-major).
    pub shape: Vec<Dim>,
}

impl Type {
    /// A type from its parts.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> Self {
        Self { dtype, shape }
    }

    /// A float tensor.
    pub fn float(shape: Vec<Dim>) -> Self {
        Self::new(DType::Float, shape)
    }

    /// The 0-d float tensor: what a loss is.
    pub fn scalar() -> Self {
        Self::float(Vec::new())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn numel(&self) -> Dim {
        shape::numel(&self.shape)
    }

    /// The same shape with another element kind.
    pub fn with_dtype(&self, dtype: DType) -> Self {
        Self {
            dtype,
            shape: self.shape.clone(),
        }
    }

    /// The same element kind with another shape.
    pub fn with_shape(&self, shape: Vec<Dim>) -> Self {
        Self {
            dtype: self.dtype,
            shape,
        }
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.dtype, shape::display(&self.shape))
    }
}

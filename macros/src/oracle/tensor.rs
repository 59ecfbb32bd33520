//! Tensors of the interpreter: owned, row-major, as simple as can be.

use ndarray::{ArrayD, IxDyn};

use crate::ir::DType;

/// A tensor of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    Float(ArrayD<f64>),
    Int(ArrayD<i64>),
    Bool(ArrayD<bool>),
}

/// A tensor of `shape` whose element at index `i` is `f(i)`, indices taken in row-major order.
pub fn build<T>(shape: &[usize], mut f: impl FnMut(&[usize]) -> T) -> ArrayD<T> {
    let mut elements = Vec::new();
    indices(shape, |i| elements.push(f(i)));
    ArrayD::from_shape_vec(IxDyn(shape), elements).expect("an element for every index")
}

/// Visits every index of a shape, the last axis fastest.
pub fn indices(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        visit(&index);
        let Some(axis) = (0..shape.len()).rev().find(|&k| index[k] + 1 < shape[k]) else {
            return;
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

impl Tensor {
    /// A number without axes.
    pub fn scalar(value: f64) -> Self {
        Self::Float(ArrayD::from_elem(IxDyn(&[]), value))
    }

    /// Elements that are all `value`, as truth values where it is not zero.
    pub fn filled(dtype: DType, shape: &[usize], value: f64) -> Self {
        match dtype {
            DType::Float => Self::Float(build(shape, |_| value)),
            DType::Int => Self::Int(build(shape, |_| value as i64)),
            DType::Bool => Self::Bool(build(shape, |_| value != 0.0)),
        }
    }

    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Float(x) => x.shape(),
            Self::Int(x) => x.shape(),
            Self::Bool(x) => x.shape(),
        }
    }

    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    pub fn dtype(&self) -> DType {
        match self {
            Self::Float(_) => DType::Float,
            Self::Int(_) => DType::Int,
            Self::Bool(_) => DType::Bool,
        }
    }

    /// The floats.
    #[track_caller]
    pub fn float(&self) -> &ArrayD<f64> {
        match self {
            Self::Float(x) => x,
            other => panic!("floats were expected, found {:?}", other.dtype()),
        }
    }

    /// The integers.
    #[track_caller]
    pub fn int(&self) -> &ArrayD<i64> {
        match self {
            Self::Int(x) => x,
            other => panic!("integers were expected, found {:?}", other.dtype()),
        }
    }

    /// The element at `index(i)` of this tensor at every index `i` of `shape`.
    pub fn gather(&self, shape: &[usize], index: impl Fn(&[usize]) -> Vec<usize>) -> Self {
        match self {
            Self::Float(x) => Self::Float(build(shape, |i| x[&index(i)[..]])),
            Self::Int(x) => Self::Int(build(shape, |i| x[&index(i)[..]])),
            Self::Bool(x) => Self::Bool(build(shape, |i| x[&index(i)[..]])),
        }
    }

    /// The same elements in row-major order under another shape.
    #[track_caller]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        assert_eq!(
            self.len(),
            shape.iter().product::<usize>(),
            "{:?} as {shape:?}",
            self.shape()
        );
        match self {
            Self::Float(x) => Self::Float(reshape(x, shape)),
            Self::Int(x) => Self::Int(reshape(x, shape)),
            Self::Bool(x) => Self::Bool(reshape(x, shape)),
        }
    }

    /// Every element as a number, in row-major order.
    pub fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Float(x) => x.iter().copied().collect(),
            Self::Int(x) => x.iter().map(|&n| n as f64).collect(),
            Self::Bool(x) => x.iter().map(|&b| f64::from(u8::from(b))).collect(),
        }
    }
}

fn reshape<T: Clone>(x: &ArrayD<T>, shape: &[usize]) -> ArrayD<T> {
    ArrayD::from_shape_vec(IxDyn(shape), x.iter().cloned().collect()).expect("as many elements")
}

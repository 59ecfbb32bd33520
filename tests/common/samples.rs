//! Random arguments for the op table's samples.

use ndarray::{ArrayD, IxDyn};
use tapeless::call::HostArg;
use tapeless::rt::{Function, InputKind, InputSpec};

/// A deterministic stream of numbers in [0, 1): Weyl's sequence of the golden ratio, hashed by position.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// An argument of a sample.
#[derive(Clone, Debug)]
pub enum Value {
    /// Real numbers.
    Float(ArrayD<f64>),
    /// Real numbers in single precision.
    Single(ArrayD<f32>),
    /// Labels or indices.
    Int(ArrayD<i64>),
    /// Truth values.
    Bool(ArrayD<bool>),
}

impl Value {
    /// The same value; real numbers in single precision.
    pub fn narrow(self) -> Self {
        match self {
            Value::Float(x) => Value::Single(x.mapv(|x| x as f32)),
            other => other,
        }
    }
}

/// The bound of integer arguments for a sample's own sizes: below the smallest, so that they are labels and indices of every
/// axis.
pub fn index_bound(dims: &[usize]) -> usize {
    dims.iter().copied().filter(|&n| n > 0).min().unwrap_or(1)
}

/// Random arguments of a sample's function for the given sizes: floats of the domain (those of a probe in -1..1), integers
/// in `0..bound`.
pub fn arguments(
    function: &Function,
    dims: &[usize],
    domain: (f64, f64),
    bound: usize,
    numbers: &mut Numbers,
) -> Vec<Value> {
    let sizes = function.sizes(dims, &[]);
    let make = |input: &InputSpec, numbers: &mut Numbers| {
        let (shape, rank) = sizes.shape(input.shape);
        let shape = IxDyn(&shape[..rank]);
        match input.kind {
            InputKind::Float => {
                let (low, high) = if input.name == "probe" {
                    (-1.0, 1.0)
                } else {
                    domain
                };
                Value::Float(ArrayD::from_shape_simple_fn(shape, || {
                    low + (high - low) * numbers.next()
                }))
            }
            InputKind::Bool => Value::Bool(ArrayD::from_shape_simple_fn(shape, || numbers.next() < 0.5)),
            _ => Value::Int(ArrayD::from_shape_simple_fn(shape, || {
                (numbers.next() * bound as f64) as i64
            })),
        }
    };
    function.inputs.iter().map(|input| make(input, numbers)).collect()
}

/// The arguments as a call takes them.
pub fn host(values: &[Value]) -> Vec<HostArg<'_>> {
    values
        .iter()
        .map(|value| match value {
            Value::Float(x) => HostArg::of(x),
            Value::Single(x) => HostArg::of(x),
            Value::Int(x) => HostArg::of(x),
            Value::Bool(x) => HostArg::of(x),
        })
        .collect()
}

//! What a function is called with: sizes, host scalars, arguments, parameters, carried tensors, seed and step.

use crate::map::Map;

use super::tensor::Tensor;
use crate::ir::Scalar;
use crate::ir::scalar::ScalarFn;
use crate::shape::{Atom, Dim};

/// Values for everything that a graph leaves open.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Dynamic dimensions and const generics by name, constant expressions by their text.
    pub sizes: Map<String, i64>,
    /// Host scalars by name.
    pub scalars: Map<String, f64>,
    pub inputs: Vec<Tensor>,
    pub params: Vec<Tensor>,
    /// One for each parameter, where a Hessian is multiplied with it.
    pub direction: Vec<Tensor>,
    pub states: Vec<Tensor>,
    /// In the body of a loop: its arguments in this step.
    pub args: Vec<Tensor>,
    /// The steps of the enclosing loops, outermost first.
    pub steps: Vec<usize>,
    /// Seed of the model.
    pub seed: u64,
    /// Number of the step.
    pub step: u64,
}

impl World {
    /// A size as a number, of either sign.
    #[track_caller]
    pub fn number(&self, dim: &Dim) -> i64 {
        let value = |atom: &Atom| match atom {
            Atom::Dynamic(symbol) | Atom::Generic(symbol) => self.sizes.get(symbol.name()).copied(),
            Atom::Const(text) => self.sizes.get(&**text).copied(),
            _ => None,
        };
        dim.eval(&value)
            .unwrap_or_else(|| panic!("`{dim}` has no value in {:?}", self.sizes))
    }

    /// A size.
    #[track_caller]
    pub fn size(&self, dim: &Dim) -> usize {
        let n = self.number(dim);
        usize::try_from(n).unwrap_or_else(|_| panic!("`{dim}` is {n}, which is no size"))
    }

    /// Where a layout begins, as emitted code spells it: never before its buffer.
    #[track_caller]
    pub fn offset(&self, dim: &Dim) -> usize {
        self.number(dim).max(0) as usize
    }

    /// Several sizes.
    #[track_caller]
    pub fn shape(&self, dims: &[Dim]) -> Vec<usize> {
        dims.iter().map(|dim| self.size(dim)).collect()
    }

    /// A host scalar.
    #[track_caller]
    pub fn scalar(&self, scalar: &Scalar) -> f64 {
        match scalar {
            Scalar::Lit(bits) => f64::from_bits(*bits),
            Scalar::Arg(name) => self.scalars[&**name],
            Scalar::Dim(dim) => self.number(dim) as f64,
            Scalar::Unary(f, a) => host(*f, self.scalar(a), f64::NAN),
            Scalar::Binary(f, a, b) => host(*f, self.scalar(a), self.scalar(b)),
            Scalar::If(condition, a, b) => self.scalar(if self.scalar(condition) != 0.0 { a } else { b }),
        }
    }
}

fn host(f: ScalarFn, a: f64, b: f64) -> f64 {
    let truth = |b: bool| f64::from(u8::from(b));
    match f {
        ScalarFn::Neg => -a,
        ScalarFn::Not => truth(a == 0.0),
        ScalarFn::Sqrt => a.sqrt(),
        ScalarFn::Exp => a.exp(),
        ScalarFn::Log => a.ln(),
        ScalarFn::Abs => a.abs(),
        ScalarFn::Floor => a.floor(),
        ScalarFn::Recip => 1.0 / a,
        ScalarFn::Add => a + b,
        ScalarFn::Sub => a - b,
        ScalarFn::Mul => a * b,
        ScalarFn::Div => a / b,
        ScalarFn::Pow => a.powf(b),
        ScalarFn::Max => a.max(b),
        ScalarFn::Min => a.min(b),
        ScalarFn::Lt => truth(a < b),
        ScalarFn::Le => truth(a <= b),
        ScalarFn::Eq => truth(a == b),
    }
}

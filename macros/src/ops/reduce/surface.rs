//! How reductions are written, and those that are compositions: mean, variance, norm, log-sum-exp.

use super::{Reduce, ReduceKind};
use crate::ir::scalar::ScalarFn;
use crate::ir::{
    Args, Builder, DType, Flag, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface, Type, Value,
};
use crate::shape::Dim;

macro_rules! surfaces {
    ($($name:literal $options:literal $build:expr;)*) => {
        pub(super) static SURFACES: &[Surface] = &[$(Surface {
            name: $name,
            form: Form::Method,
            usage: concat!("x.", $name, "(axis = 1, keepdim = false", $options, ")"),
            lower: |b, args| lower(b, args, $build),
        },)*];
    };
}

surfaces! {
    "sum" "" |b, x, axes, _| Ok(b.sum(x, axes));
    "mean" "" |b, x, axes, _| Ok(b.mean(x, axes));
    "max" "" |b, x, axes, _| Ok(b.reduce(ReduceKind::Max, x, axes));
    "min" "" |b, x, axes, _| Ok(b.reduce(ReduceKind::Min, x, axes));
    "prod" "" |b, x, axes, _| Ok(b.reduce(ReduceKind::Prod, x, axes));
    "var" ", unbiased = true" |b, x, axes, args| Ok(b.variance(x, axes, divisor(args)?));
    "std" ", unbiased = true" |b, x, axes, args| {
        let variance = b.variance(x, axes, divisor(args)?);
        Ok(b.root(variance))
    };
    "norm" "" |b, x, axes, _| {
        let square = b.mul(x, x);
        let sum = b.sum(square, axes);
        Ok(b.root(sum))
    };
    "logsumexp" "" |b, x, axes, _| Ok(b.logsumexp(x, axes));
}

type Build = fn(&mut Builder, Value, &[usize], &mut Args) -> Result<Value, ShapeError>;

/// `x.name(axis = 1, keepdim = true)`; `axis` may be a tuple, and is all axes where it is not given.
fn lower(b: &mut Builder, args: &mut Args, build: Build) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let name = if args.named.iter().any(|(name, ..)| name == "axes") { "axes" } else { "axis" };
    let axes = args.axes_or_all(name, b.ty(x).rank())?;
    let keepdim = args.flag_or("keepdim", Flag::No)?;
    let ty = b.ty(x);
    if ty.dtype != DType::Float {
        let message = format!("`{}` takes a float tensor, found {ty}", args.usage);
        return Err(ShapeError::new(message).help("convert it with `.to_float()`"));
    }
    let y = build(b, x, &axes, args)?;
    args.finish()?;
    Ok(Operand::Tensor(b.keep_axes(y, &axes, keepdim)))
}

/// What the squares are divided by.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Divisor {
    /// The number of elements.
    Count,
    /// The number of elements less one (Bessel's correction).
    CountLessOne,
}

fn divisor(args: &mut Args) -> Result<Divisor, ShapeError> {
    Ok(match args.flag_or("unbiased", Flag::Yes)? {
        Flag::Yes => Divisor::CountLessOne,
        Flag::No => Divisor::Count,
    })
}

/// Constructors of reductions.
impl Builder {
    /// A reduction over `axes`, which vanish from the shape.
    pub fn reduce(&mut self, kind: ReduceKind, x: Value, axes: &[usize]) -> Value {
        if axes.is_empty() { x } else { self.push(Reduce { kind, axes: axes.to_vec() }, &[x]) }
    }

    /// Number of elements along axes.
    fn count(&self, x: Value, axes: &[usize]) -> Dim {
        let shape = self.shape(x);
        Dim::product(axes.iter().filter_map(|&axis| shape.get(axis)))
    }

    /// Mean over `axes`: the sum, times one over the count. NaN over no elements.
    pub fn mean(&mut self, x: Value, axes: &[usize]) -> Value {
        let count = self.count(x, axes);
        let sum = self.sum(x, axes);
        if count.is_one() { sum } else { self.scale(sum, Scalar::dim(&count).recip()) }
    }

    /// Mean square of the deviations from the mean, in two passes.
    pub fn variance(&mut self, x: Value, axes: &[usize], divisor: Divisor) -> Value {
        let shape = self.shape(x);
        let count = Scalar::dim(&self.count(x, axes));
        let mean = self.mean(x, axes);
        let mean = self.expand_axes(mean, axes, &shape);
        let deviation = self.sub(x, mean);
        let square = self.mul(deviation, deviation);
        let sum = self.sum(square, axes);
        let count = match divisor {
            Divisor::Count => count,
            Divisor::CountLessOne => Scalar::binary(ScalarFn::Sub, count, Scalar::lit(1.0)),
        };
        self.scale(sum, count.recip())
    }

    /// Square root whose derivative at 0 is taken as 0, as PyTorch does for norms and deviations.
    pub fn root(&mut self, x: Value) -> Value {
        let (zero, one) = (self.fill_like(x, 0.0), self.fill_like(x, 1.0));
        let is_zero = self.pointwise("eq", &[x, zero]);
        let positive = self.select(is_zero, one, x);
        let root = self.pointwise("sqrt", &[positive]);
        self.select(is_zero, zero, root)
    }

    /// `log sum exp(x)`, without overflow: the largest element is taken out first, and no gradient flows through it.
    pub fn logsumexp(&mut self, x: Value, axes: &[usize]) -> Value {
        let shape = self.shape(x);
        let largest = self.reduce(ReduceKind::Max, x, axes);
        let largest = self.pointwise("detach", &[largest]);
        // An infinite maximum would make NaN of the difference.
        let size = self.pointwise("abs", &[largest]);
        let (zero, infinite) = (self.fill_like(largest, 0.0), self.fill_like(largest, f64::INFINITY));
        let is_infinite = self.pointwise("eq", &[size, infinite]);
        let offset = self.select(is_infinite, zero, largest);
        let spread = self.expand_axes(offset, axes, &shape);
        let below = self.sub(x, spread);
        let terms = self.pointwise("exp", &[below]);
        let sum = self.sum(terms, axes);
        let log = self.pointwise("log", &[sum]);
        self.add(log, offset)
    }

    /// Puts axes of size 1 where `axes` were reduced, if that is asked.
    pub fn keep_axes(&mut self, y: Value, axes: &[usize], keep: Flag) -> Value {
        if keep == Flag::No || self.is_poison(y) {
            return y;
        }
        let mut shape = self.shape(y);
        for &axis in axes {
            shape.insert(axis.min(shape.len()), Dim::one());
        }
        self.reshape(y, shape)
    }
}

/// The product of the sizes before an axis, the size along it, and the product of the sizes after it.
pub fn around(shape: &[Dim], axis: usize) -> [Dim; 3] {
    [Dim::product(&shape[..axis]), shape[axis].clone(), Dim::product(&shape[axis + 1..])]
}

/// Demands a float tensor that has the axis.
pub fn float_with_axis(name: &str, x: &Type, axis: usize) -> Result<(), ShapeError> {
    if x.dtype != DType::Float {
        let message = format!("`{name}` takes a float tensor, found {x}");
        return Err(ShapeError::new(message).help("convert it with `.to_float()`"));
    }
    if axis >= x.rank() {
        return Err(ShapeError::new(format!("axis {axis} of {x}, which has {} axes", x.rank())));
    }
    Ok(())
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |name, ret, body, domain| Sample {
        name,
        dims: "A: Dim, B: Dim, C: Dim",
        args: "x: Tensor<A, B, C>",
        ret,
        body,
        sizes: &[&[2, 2, 2], &[1, 3, 2], &[3, 5, 7], &[2, 67, 3]],
        domain,
        gradient: SampleGradient::Checked,
    };
    let (wide, positive) = ((-2.0, 2.0), (0.5, 1.5));
    vec![
        sample("sum_all", "Scalar", "x.sum()", wide),
        sample("sum_axis", "Tensor<A, C>", "x.sum(axis = 1)", wide),
        sample("sum_axes", "Tensor<1, B, 1>", "x.sum(axis = (0, 2), keepdim = true)", wide),
        sample("mean_all", "Scalar", "x.mean()", wide),
        sample("mean_last", "Tensor<A, B>", "x.mean(axis = -1)", wide),
        sample("max_last", "Tensor<A, B>", "x.max(axis = 2)", wide),
        sample("min_first", "Tensor<B, C>", "x.min(axis = 0)", wide),
        sample("prod_last", "Tensor<A, B>", "x.prod(axis = 2)", positive),
        sample("var_last", "Tensor<A, B>", "x.var(axis = 2)", wide),
        sample("var_biased", "Tensor<C>", "x.var(axis = (0, 1), unbiased = false)", wide),
        sample("std_last", "Tensor<A, B>", "x.std(axis = 2)", wide),
        sample("norm_all", "Scalar", "x.norm()", wide),
        sample("logsumexp_middle", "Tensor<A, 1, C>", "x.logsumexp(axis = 1, keepdim = true)", wide),
    ]
}

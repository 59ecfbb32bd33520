//! The surface of operations: what a user may write, and the nodes that it stands for.
//!
//! Lowering evaluates the arguments of `x.softmax(axis = 1)` or `cross_entropy(a, b)` to [`Args`] and hands them to the
//! [`Surface`] of that name; the operation's own file says what it takes, what is optional, and what it builds.

use proc_macro2::Span;

use super::{Builder, DType, Scalar, ShapeError, Value};
use crate::shape::{self, Dim};

/// A value of the language, as an argument of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A tensor.
    Tensor(Value),
    /// A whole number that the compiler can calculate with: a literal, a constant, a size.
    Size(Dim),
    /// A number or truth value (0 or 1) of the host.
    Scalar(Scalar),
    /// Several of them: `(a, b)` or `[1, 2]`.
    Tuple(Vec<Operand>),
    /// `a..b`, with either end open.
    Range(Option<Dim>, Option<Dim>),
    /// A string literal.
    Text(String),
}

impl Operand {
    fn describe(&self) -> &'static str {
        match self {
            Self::Tensor(_) => "a tensor",
            Self::Size(_) => "a whole number",
            Self::Scalar(_) => "a number",
            Self::Tuple(_) => "a list",
            Self::Range(..) => "a range",
            Self::Text(_) => "a string",
        }
    }
}

/// How an operation is written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// `x.name(..)`: the first positional argument is the receiver.
    Method,
    /// `name(a, b, ..)`, for equal partners.
    Function,
}

/// A name of the language and what it builds.
pub struct Surface {
    /// The name.
    pub name: &'static str,
    /// Method or function.
    pub form: Form,
    /// One line for error messages: `"softmax(axis)"`.
    pub usage: &'static str,
    /// Builds the nodes. Mistakes are answered as errors or left to the shape rules of the nodes.
    pub lower: fn(&mut Builder, &mut Args) -> Result<Operand, ShapeError>,
}

/// The evaluated arguments of one call. Every accessor takes its argument away; [`Args::finish`] complains about the rest.
#[derive(Clone, Debug)]
pub struct Args {
    /// Arguments without a name, the receiver first; taken ones are `None`.
    pub positional: Vec<Option<Operand>>,
    /// `name = value`.
    pub named: Vec<(String, Operand, Span)>,
    /// How the operation is written, for messages.
    pub usage: &'static str,
}

impl Args {
    fn take(&mut self, index: usize, name: &str) -> Option<Operand> {
        if let Some(k) = self.named.iter().position(|(n, ..)| n == name) {
            return Some(self.named.remove(k).1);
        }
        self.positional.get_mut(index)?.take()
    }

    fn wrong(&self, name: &str, expected: &str, found: Option<&Operand>) -> ShapeError {
        if let (None, Some((unknown, ..))) = (found, self.named.first()) {
            return ShapeError::new(format!("`{name}` is missing, and there is no option `{unknown}`"))
                .help(format!("it is written `{}`", self.usage));
        }
        let found = found.map_or("nothing", Operand::describe);
        ShapeError::new(format!("`{name}` should be {expected}, found {found}"))
            .help(format!("it is written `{}`", self.usage))
    }

    /// The tensor at `index` (0 is the receiver) or under `name`.
    pub fn tensor(&mut self, index: usize, name: &str) -> Result<Value, ShapeError> {
        match self.take(index, name) {
            Some(Operand::Tensor(value)) => Ok(value),
            other => Err(self.wrong(name, "a tensor", other.as_ref())),
        }
    }

    /// An optional tensor, by name only.
    pub fn tensor_named(&mut self, name: &str) -> Result<Option<Value>, ShapeError> {
        match self.take(usize::MAX, name) {
            None => Ok(None),
            Some(Operand::Tensor(value)) => Ok(Some(value)),
            other => Err(self.wrong(name, "a tensor", other.as_ref())),
        }
    }

    /// Several tensors: a tuple at `index`.
    pub fn tensors(&mut self, index: usize, name: &str) -> Result<Vec<Value>, ShapeError> {
        match self.take(index, name) {
            Some(Operand::Tuple(items)) => items
                .iter()
                .map(|item| match item {
                    Operand::Tensor(value) => Ok(*value),
                    other => Err(self.wrong(name, "tensors", Some(other))),
                })
                .collect(),
            other => Err(self.wrong(name, "a tuple of tensors", other.as_ref())),
        }
    }

    /// Whatever stands at `index` or under `name`.
    pub fn any(&mut self, index: usize, name: &str) -> Option<Operand> {
        self.take(index, name)
    }

    /// A whole number.
    pub fn size(&mut self, index: usize, name: &str) -> Result<Option<Dim>, ShapeError> {
        match self.take(index, name) {
            None => Ok(None),
            Some(Operand::Size(dim)) => Ok(Some(dim)),
            other => Err(self.wrong(name, "a whole number", other.as_ref())),
        }
    }

    /// A whole number that must be written as a literal, because the structure of the program depends on it.
    pub fn literal(&mut self, index: usize, name: &str) -> Result<Option<i64>, ShapeError> {
        match self.size(index, name)? {
            None => Ok(None),
            Some(dim) => match dim.as_lit() {
                Some(n) => Ok(Some(n)),
                None => Err(ShapeError::new(format!(
                    "`{name}` must be a literal, found `{dim}`"
                ))),
            },
        }
    }

    /// A host number with a default.
    pub fn scalar_or(&mut self, index: usize, name: &str, default: f64) -> Result<Scalar, ShapeError> {
        Ok(self.scalar(index, name)?.unwrap_or(Scalar::lit(default)))
    }

    /// A host number.
    pub fn scalar(&mut self, index: usize, name: &str) -> Result<Option<Scalar>, ShapeError> {
        match self.take(index, name) {
            None => Ok(None),
            Some(Operand::Scalar(scalar)) => Ok(Some(scalar)),
            Some(Operand::Size(dim)) => Ok(Some(Scalar::dim(&dim))),
            other => Err(self.wrong(name, "a number", other.as_ref())),
        }
    }

    /// `true` or `false`, written out: it decides the structure of the program.
    pub fn flag_or(&mut self, name: &str, default: Flag) -> Result<Flag, ShapeError> {
        match self.take(usize::MAX, name) {
            None => Ok(default),
            Some(Operand::Scalar(scalar)) if scalar.as_lit().is_some() => {
                Ok(if scalar.as_lit() == Some(0.0) {
                    Flag::No
                } else {
                    Flag::Yes
                })
            }
            other => Err(self.wrong(name, "`true` or `false`", other.as_ref())),
        }
    }

    /// One axis of a tensor of that rank; negative numbers count from the end.
    pub fn axis(&mut self, index: usize, name: &str, rank: usize) -> Result<usize, ShapeError> {
        let operand = self.take(index, name);
        match &operand {
            Some(Operand::Size(_)) => normal_axis(operand.as_ref(), rank).map_err(|e| e.help(self.usage)),
            _ => Err(self.wrong(name, "an axis", operand.as_ref())),
        }
    }

    /// One or several axes, ascending; all of them where nothing is given.
    pub fn axes_or_all(&mut self, name: &str, rank: usize) -> Result<Vec<usize>, ShapeError> {
        let mut axes = match self.take(usize::MAX, name) {
            None => return Ok((0..rank).collect()),
            Some(Operand::Tuple(items)) => items
                .iter()
                .map(|item| normal_axis(Some(item), rank))
                .collect::<Result<Vec<_>, _>>()?,
            one => vec![normal_axis(one.as_ref(), rank)?],
        };
        axes.sort_unstable();
        if let Some(pair) = axes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ShapeError::new(format!("axis {} is named twice", pair[0])));
        }
        Ok(axes)
    }

    /// A list of whole numbers; one number stands for `len` equal ones.
    pub fn pair_or(&mut self, name: &str, default: i64) -> Result<[i64; 2], ShapeError> {
        let number = |item: &Operand| match item {
            Operand::Size(dim) => dim.as_lit(),
            _ => None,
        };
        match self.take(usize::MAX, name) {
            None => Ok([default; 2]),
            Some(Operand::Tuple(items)) if items.len() == 2 => match (number(&items[0]), number(&items[1])) {
                (Some(a), Some(b)) => Ok([a, b]),
                _ => Err(self.wrong(name, "two literals", items.first())),
            },
            Some(one) => match number(&one) {
                Some(n) => Ok([n; 2]),
                None => Err(self.wrong(name, "a literal or two", Some(&one))),
            },
        }
    }

    /// Complains about arguments that nobody took.
    pub fn finish(&mut self) -> Result<(), ShapeError> {
        if let Some((name, ..)) = self.named.first() {
            let message = format!("there is no option `{name}`");
            return Err(ShapeError::new(message).help(format!("it is written `{}`", self.usage)));
        }
        if let Some(k) = self.positional.iter().position(Option::is_some) {
            let message = format!("argument {} is too much", k + 1);
            return Err(ShapeError::new(message).help(format!("it is written `{}`", self.usage)));
        }
        Ok(())
    }
}

/// A choice that is written `true` or `false`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Flag {
    /// `true`.
    Yes,
    /// `false`.
    No,
}

fn normal_axis(operand: Option<&Operand>, rank: usize) -> Result<usize, ShapeError> {
    let Some(Operand::Size(dim)) = operand else {
        return Err(ShapeError::new("an axis is a whole number"));
    };
    let Some(axis) = dim.as_lit() else {
        return Err(ShapeError::new(format!(
            "an axis must be a literal, found `{dim}`"
        )));
    };
    let wrapped = if axis < 0 { axis + rank as i64 } else { axis };
    match usize::try_from(wrapped) {
        Ok(k) if k < rank => Ok(k),
        _ => Err(ShapeError::new(format!(
            "axis {axis} of a tensor with {rank} axes"
        ))),
    }
}

impl Builder {
    /// Broadcasts two tensors to one shape, by NumPy's rules; only a literal size of 1 is repeated.
    pub fn broadcast(&mut self, a: Value, b: Value) -> Result<(Value, Value), ShapeError> {
        let (left, right) = self.solved_shapes(a, b);
        match shape::broadcast(&left, &right) {
            Ok((shape, checks)) => {
                for (l, r) in checks {
                    if !self.constraints.equal(&l, &r) {
                        return Err(mismatch(&left, &right));
                    }
                }
                Ok((self.expand_checked(a, &shape), self.expand_checked(b, &shape)))
            }
            Err(_) => Err(mismatch(&left, &right)),
        }
    }

    /// Both shapes, after an open `_` in one of them took the size that it meets in the other.
    fn solved_shapes(&mut self, a: Value, b: Value) -> (Vec<Dim>, Vec<Dim>) {
        let (left, right) = (self.shape(a), self.shape(b));
        let is_open = |size: &Dim, other: &Dim| size.has_infer() && !other.is_one();
        for (l, r) in left.iter().rev().zip(right.iter().rev()) {
            if is_open(l, r) || is_open(r, l) {
                // What does not fit is said by the comparison that follows.
                let _ = self.constraints.equal(l, r);
            }
        }
        let resolve = |shape: Vec<Dim>| shape.iter().map(|size| self.constraints.resolve(size)).collect();
        (resolve(left), resolve(right))
    }

    /// Expands where the shapes differ in more than what rustc will check.
    fn expand_checked(&mut self, x: Value, shape: &[Dim]) -> Value {
        let own = self.shape(x);
        let is_broadcast = own.len() != shape.len()
            || own
                .iter()
                .zip(shape)
                .any(|(from, to)| from.is_one() && !to.is_one());
        if is_broadcast { self.expand(x, shape) } else { x }
    }

    /// An operand as a tensor: host numbers are spread over the shape of `like`.
    pub fn as_tensor(&mut self, operand: &Operand, like: Value) -> Result<Value, ShapeError> {
        match operand {
            Operand::Tensor(value) => Ok(*value),
            Operand::Size(dim) if self.ty(like).dtype == DType::Int => {
                let ty = self.ty(like).clone();
                Ok(self.push(
                    crate::ops::fill::Fill {
                        value: Scalar::dim(dim),
                        ty,
                    },
                    &[],
                ))
            }
            Operand::Size(dim) => Ok(self.fill_like(like, Scalar::dim(dim))),
            Operand::Scalar(scalar) => Ok(self.fill_like(like, scalar.clone())),
            other => Err(ShapeError::new(format!(
                "expected a tensor or a number, found {}",
                other.describe()
            ))),
        }
    }
}

fn mismatch(a: &[Dim], b: &[Dim]) -> ShapeError {
    let message = format!(
        "the shapes {} and {} do not fit together",
        shape::display(a),
        shape::display(b)
    );
    ShapeError::new(message)
        .help("axes are compared from the last one on; they are equal, or one of them is 1")
}

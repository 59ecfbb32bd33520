//! The layer table: built-in layers as compositions of operations.
//!
//! A layer is data: the names of its sizes and options, the tensors that it declares (with PyTorch's names, layouts and
//! initialisers, so that PyTorch's weights load without a map), and its `forward`, written with the operations that a
//! user would write. Lowering knows no layer by name.
//!
//! To add a layer: write its [`Builtin`] in the file of its family, and add it to that file's list.

mod activation;
mod attention;
mod conv;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod pool;
mod recurrent;

use std::borrow::Cow;

use crate::ir::{Args, Builder, Form, Operand, ShapeError, StateId, Value};
use crate::model::InitSpec;
use crate::ops;
use crate::shape::{self, Dim};

/// A layer of the library.
#[derive(Debug)]
pub struct Builtin {
    /// The name of its type.
    pub name: &'static str,
    /// What it computes: formula, shapes, PyTorch's equivalent. The documentation of its type.
    pub doc: &'static str,
    /// How it is written, for messages: `Linear<IN, OUT>`.
    pub usage: &'static str,
    /// The names of its sizes.
    pub sizes: Sizes,
    /// The names of its options. `init`, the first values of the tensor `weight`, is taken before `declare` sees the others.
    pub options: &'static [&'static str],
    /// The tensors that it declares.
    pub declare: fn(&mut Args) -> Result<Vec<Declared>, ShapeError>,
    /// Its result. The tensors of the call come by position; what it leaves of the named ones is an error.
    pub forward: Forward,
}

/// How a layer computes its result.
#[derive(Copy, Clone, Debug)]
pub enum Forward {
    /// One tensor.
    One(fn(&mut Builder, &Layer, &mut Args) -> Result<Value, ShapeError>),
    /// A tuple of tensors.
    Several(fn(&mut Builder, &Layer, &mut Args) -> Result<Vec<Value>, ShapeError>),
}

impl Builtin {
    /// What a call gives.
    pub fn call(&self, b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Operand, ShapeError> {
        Ok(match self.forward {
            Forward::One(forward) => Operand::Tensor(forward(b, layer, args)?),
            Forward::Several(forward) => {
                let values = forward(b, layer, args)?;
                Operand::Tuple(values.into_iter().map(Operand::Tensor).collect())
            }
        })
    }
}

/// The sizes in angle brackets.
#[derive(Copy, Clone, Debug)]
pub enum Sizes {
    /// One for each of these names.
    Named(&'static [&'static str]),
    /// At least so many of these names, in order.
    Between(usize, &'static [&'static str]),
    /// One or more.
    Trailing(&'static str),
}

/// A tensor that a layer declares.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The last part of its path: `weight`.
    pub name: Cow<'static, str>,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Its first values.
    pub init: InitSpec,
    /// Trained or carried.
    pub role: Role,
}

/// What a declared tensor is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// A trained tensor.
    Param,
    /// A carried tensor.
    State,
}

impl Declared {
    /// A trained tensor.
    pub fn param(name: impl Into<Cow<'static, str>>, shape: Vec<Dim>, init: InitSpec) -> Self {
        Self {
            name: name.into(),
            shape,
            init,
            role: Role::Param,
        }
    }

    /// A carried tensor.
    pub fn state(name: impl Into<Cow<'static, str>>, shape: Vec<Dim>, init: InitSpec) -> Self {
        Self {
            name: name.into(),
            shape,
            init,
            role: Role::State,
        }
    }
}

/// A layer at work: its sizes, options and tensors.
#[derive(Clone, Debug)]
pub struct Layer {
    /// How it is written where it is declared: `Linear<784, 128>`.
    pub written: String,
    /// Its sizes by position, its options by name; taken from a copy, see [`Layer::config`].
    pub config: Args,
    /// The trained tensors that it declared.
    pub params: Vec<(Cow<'static, str>, Value)>,
    /// The carried tensors that it declared, with their committed values.
    pub states: Vec<(Cow<'static, str>, StateId, Value)>,
}

impl Layer {
    /// Sizes and options, to take from.
    pub fn config(&self) -> Args {
        self.config.clone()
    }

    /// The options of these names that are given, for an operation that has them too.
    pub fn options(&self, names: &[&str]) -> Vec<(String, Operand)> {
        let given = self
            .config
            .named
            .iter()
            .filter(|(name, ..)| names.contains(&name.as_str()));
        given
            .map(|(name, value, _)| (name.clone(), value.clone()))
            .collect()
    }

    /// A trained tensor, where the options did not do without it.
    pub fn param(&self, name: &str) -> Option<Value> {
        self.params
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| *value)
    }

    /// A carried tensor, where the options did not do without it.
    pub fn state(&self, name: &str) -> Option<(StateId, Value)> {
        self.states
            .iter()
            .find(|(n, ..)| n == name)
            .map(|(_, id, value)| (*id, *value))
    }

    /// A trained tensor that is always there.
    pub fn weight(&self, name: &str) -> Result<Value, ShapeError> {
        let missing = || ShapeError::new(format!("`{}` has no tensor `{name}`", self.written));
        self.param(name).ok_or_else(missing)
    }

    /// Both tensors of an affine map, where the options did not do without it.
    pub fn affine(&self) -> Option<(Value, Value)> {
        Some((self.param("weight")?, self.param("bias")?))
    }

    /// The error that says what the layer expects of its input: "`Linear<784, 128>` expects inputs of 784 features,
    /// found 780 in [B, 780]".
    pub fn expects(&self, what: &str, found: &str, shape: &[Dim]) -> ShapeError {
        let shape = shape::display(shape);
        ShapeError::new(format!(
            "`{}` expects inputs of {what}, found {found} in {shape}",
            self.written
        ))
    }

    /// Demands that an axis of the input has this size; `unit` says what lies along it. An `_` is solved.
    ///
    /// # Errors
    /// Where the input has no such axis, or one of another size.
    pub fn expect_axis(
        &self,
        b: &mut Builder,
        x: Value,
        axis: Axis,
        size: &Dim,
        unit: &str,
    ) -> Result<(), ShapeError> {
        let shape = b.shape(x);
        let expected = format!("{} {unit}", b.constraints.resolve(size));
        let found = match axis {
            Axis::Last => shape.last(),
            Axis::Channel => shape.get(1),
        };
        match found {
            None if shape.is_empty() => Err(self.expects(&expected, "a number without axes", &shape)),
            None => Err(self.expects(&expected, "no axis 1", &shape)),
            Some(found) if !b.constraints.equal(found, size) => {
                Err(self.expects(&expected, &found.to_string(), &shape))
            }
            Some(_) => Ok(()),
        }
    }

    /// Demands that the input has so many axes; `axes` names them: `[B, C, H, W]`.
    ///
    /// # Errors
    /// Where it has another number.
    pub fn expect_rank(&self, b: &Builder, x: Value, ranks: &[usize], axes: &str) -> Result<(), ShapeError> {
        let shape = b.shape(x);
        if ranks.contains(&shape.len()) {
            return Ok(());
        }
        Err(self.expects(&format!("shape {axes}"), &format!("{} axes", shape.len()), &shape))
    }
}

/// An axis by its meaning.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Axis {
    /// The last one: features.
    Last,
    /// Axis 1: channels.
    Channel,
}

/// A size that must be there: the checks of the sizes' number come before any layer sees them.
pub fn size(config: &mut Args, index: usize, name: &str) -> Result<Dim, ShapeError> {
    config
        .size(index, name)?
        .ok_or_else(|| ShapeError::new(format!("the size `{name}` is missing")))
}

/// Applies an operation of the language by its name.
pub fn apply(
    b: &mut Builder,
    name: &'static str,
    form: Form,
    positional: Vec<Operand>,
    named: Vec<(String, Operand)>,
) -> Result<Value, ShapeError> {
    let Some(surface) = ops::surfaces().find(|surface| surface.name == name && surface.form == form) else {
        return Err(ShapeError::new(format!(
            "the operation `{name}` is not in the language yet"
        )));
    };
    let span = b.origin.span.start;
    let mut args = Args {
        positional: positional.into_iter().map(Some).collect(),
        named: named
            .into_iter()
            .map(|(name, operand)| (name, operand, span))
            .collect(),
        usage: surface.usage,
    };
    match (surface.lower)(b, &mut args)? {
        Operand::Tensor(value) => Ok(value),
        _ => Err(ShapeError::new(format!("`{name}` gives no tensor"))),
    }
}

/// Every layer of the library.
pub fn all() -> impl Iterator<Item = &'static Builtin> {
    let families = [
        linear::LAYERS,
        conv::LAYERS,
        embedding::LAYERS,
        norm::LAYERS,
        pool::LAYERS,
        recurrent::LAYERS,
        attention::LAYERS,
        dropout::LAYERS,
        activation::LAYERS,
    ];
    families.into_iter().flatten()
}

/// The layer of that name.
pub fn named(name: &str) -> Option<&'static Builtin> {
    all().find(|layer| layer.name == name)
}

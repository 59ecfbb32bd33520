//! What the compiler must know of an operation: the contract between the stages and the op table.

use crate::map::Map;
use std::rc::Rc;

use super::{Builder, DType, Scalar, Surface, Type, Value, ViewMap};
use crate::ops::pointwise::Row;
use crate::shape::{self, Dim, Relation};

/// Everything the compiler knows about one operation.
///
/// There are no default methods, so that nothing can be forgotten. The files in `ops/` implement this once
/// for each family; stages call it and know no operation by name.
pub trait Rule {
    /// The name that printed graphs, schedules and emitted bindings use.
    fn name(&self) -> &'static str;

    /// The attributes, as printed graphs show them (`axis = 1`); empty where there are none.
    fn attributes(&self) -> String;

    /// The types of the results. Sizes that only rustc can compare are recorded in `constraints`.
    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError>;

    /// The cotangents of the inputs, written in the IR's own words.
    ///
    /// `out_bars` has an entry a result: the cotangent that arrived there, or `None` where none did.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents;

    /// What runs the operation.
    fn kernel(&self, inputs: &[Type], outputs: &[Type]) -> Kernel;

    /// Floating point operations of one evaluation (a multiply-add counts as two).
    fn flops(&self, inputs: &[Type], outputs: &[Type]) -> Dim;

    /// What a user writes to get it; empty where only the compiler makes it.
    fn surfaces() -> &'static [Surface]
    where
        Self: Sized;

    /// Small programs of the language that use the operation: tests, sweeps and benches are made of them.
    fn samples() -> Vec<Sample>
    where
        Self: Sized;
}

/// A node as its gradient rule sees it.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Operands.
    pub inputs: &'a [Value],
    /// Results.
    pub outputs: &'a [Value],
}

/// What a gradient rule answers.
pub enum Cotangents {
    /// One entry an input; `None` where no gradient flows to that input.
    Flow(Vec<Option<Value>>),
    /// The results once more, as a composition of operations that have derivatives, made just now behind all other nodes, of the
    /// node's operands: the gradient stage differentiates the composition. So a fused operation needs no gradient rule beside its
    /// definition. `None` for a result that has no derivative.
    Composed(Vec<Option<Value>>),
    /// The operation has bodies of its own, which the gradient stage differentiates.
    Nested,
    /// The operation has no derivative, and why (an error only where the whole gradient depends on it).
    Blocked(&'static str),
}

/// How an operation is executed.
pub enum Kernel {
    /// It is there already: an argument, a parameter, a carried tensor.
    Leaf,
    /// No code: the operand's memory read in another way, where its layout allows.
    View(ViewMap),
    /// A scalar expression for every element: may join a group.
    Pointwise(Body),
    /// A call of the runtime.
    Call(Call),
    /// A loop over a body with kernels of its own.
    Loop,
}

/// The scalar expression of a pointwise operation.
pub enum Body {
    /// A row of the pointwise table.
    Row(&'static Row),
    /// The same number everywhere.
    Immediate(Scalar),
}

/// A call `rt::function(cx, args...)`.
pub struct Call {
    /// Name of the function in `runtime/src/rt.rs`.
    pub function: &'static str,
    /// Arguments after the context.
    pub args: Vec<CallArg>,
    /// Working memory for the duration of the call: element kind and number of elements.
    pub scratch: Vec<(DType, Dim)>,
}

/// An argument of a [`Call`].
#[derive(Clone, Debug, PartialEq)]
pub enum CallArg {
    /// The buffer of an input, contiguous and row-major.
    In(usize),
    /// The buffers of several inputs, as an array; each contiguous and row-major.
    Ins(Vec<usize>),
    /// An input in whatever strided layout it has (an `rt::View`).
    InView(usize),
    /// The same, a matrix whose rows lie in so many runs and are read interleaved (`rt::View::interleaved`).
    Interleaved(usize, Dim),
    /// The buffer of a result.
    Out(usize),
    /// The buffer of a piece of scratch memory.
    Scratch(usize),
    /// A size.
    Size(Dim),
    /// A list of sizes, as an array.
    Sizes(Vec<Dim>),
    /// A host scalar (`f64`).
    Scalar(Scalar),
    /// A constant of the runtime's vocabulary: `"Pool::Max"` is emitted as `rt::Pool::Max`.
    Constant(&'static str),
    /// A struct of the runtime's vocabulary with named fields.
    Struct(&'static str, Vec<(&'static str, CallArg)>),
    /// An optional input: `Some(buffer)`; rules write `Absent` for `None`.
    Present(Box<CallArg>),
    /// `None`.
    Absent,
    /// The random stream of this node (`u64`): a hash of its layer path and place, the same in forward and backward.
    Stream(u64),
    /// Place of the epilogue (bias along `channel_axis`, residual, activation, pooling) that the fuse stage may fill; the call's
    /// first result is what it applies to.
    Epilogue {
        /// The axis of the result along which a bias varies.
        channel_axis: usize,
        /// Whether a tensor of the result's shape may be added.
        residual: Residual,
        /// The function to call, with the sizes as one more argument, where the result is pooled at once.
        pooling: Option<&'static str>,
    },
    /// An input that the fuse stage may have packed before a loop in which it stays the same, or once for many calls; else it is
    /// what its packing says.
    Packable(usize, Packing),
    /// An input and where it is packed.
    Packed(Box<PackedInput>),
}

/// Whether an epilogue adds tensors.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Residual {
    /// It does.
    Added,
    /// It does not.
    Refused,
}

/// An input and where it is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedInput {
    /// The input.
    pub input: usize,
    /// The read operand that holds it packed.
    pub packed: usize,
    /// Its number among those that are packed there.
    pub index: Dim,
    /// What it is.
    pub form: PackForm,
}

/// An input that can be packed, and the sizes on which that depends.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    /// What it is.
    pub form: PackForm,
    /// Rows of the product, or places of the result.
    pub rows: Dim,
    /// Rows and columns of the factor: the numbers that an element of the result is a sum over, and the columns of the result.
    pub shape: [Dim; 2],
}

/// Numbers of the largest factor that the runtime's small products take. They read it where it lies.
pub const SMALL_FACTOR: i64 = 1 << 12;

/// Whether a factor of so many numbers is a small one, or may be in some call.
pub fn may_be_small(numbers: &Dim) -> bool {
    match numbers.as_lit() {
        Some(numbers) => numbers <= SMALL_FACTOR,
        None => numbers
            .atoms()
            .iter()
            .any(|atom| matches!(atom, shape::Atom::Dynamic(_))),
    }
}

/// What is packed.
#[derive(Clone, Debug, PartialEq)]
pub enum PackForm {
    /// The second factor of a product, a view, by `rt::pack`.
    Factor(Rows),
    /// The weights of a convolution (an `rt::Conv2d`), a buffer, by `rt::pack_window`.
    Window(Box<CallArg>),
}

/// In which order a product reads the rows of its second factor.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    /// As they lie.
    InOrder,
    /// They lie in so many runs: of each run the first, then of each the second.
    Interleaved(Dim),
}

impl PackForm {
    /// The input where it is not packed.
    pub fn plain(&self, input: usize) -> CallArg {
        match self {
            Self::Factor(Rows::InOrder) => CallArg::InView(input),
            Self::Factor(Rows::Interleaved(runs)) => CallArg::Interleaved(input, runs.clone()),
            Self::Window(_) => CallArg::In(input),
        }
    }

    /// Elements of the windows; one where there are none.
    pub fn elements(&self) -> Dim {
        let kernel = match self {
            Self::Window(spec) => match &**spec {
                CallArg::Struct(_, fields) => fields.iter().find(|(name, _)| *name == "kernel"),
                _ => None,
            },
            Self::Factor(_) => None,
        };
        match kernel {
            Some((_, CallArg::Sizes(kernel))) => shape::numel(kernel),
            _ => Dim::lit(1),
        }
    }
}

impl Packing {
    /// Floats that the packed factor takes at most, in any precision on any instruction set: what budgets count. (Worked out where an
    /// input is packed: rules are asked for their kernels often.)
    ///
    /// The largest form is that of tiles: a block of 32 x 32 numbers is three parts of 2 bytes each, and for 4096 rows of 32 columns
    /// there is a tile of 1 KiB that says how large their numbers are. Windows of nine elements may be summed by tiles of places, for which
    /// four numbers stand for each weight, in whole vectors of columns.
    pub fn len(&self) -> Dim {
        let [rows, columns] = &self.shape;
        let in_parts = |size: &Dim, part: i64| (size + (part - 1)).floor_div(&Dim::lit(part));
        if let PackForm::Window(_) = self.form
            && self.form.elements().as_lit().is_none_or(|n| n == 9)
        {
            return in_parts(columns, 32) * rows * 128;
        }
        in_parts(columns, 32) * (in_parts(rows, 32) * 1536 + in_parts(rows, 4096) * 256)
    }
}

/// A small program that uses an operation, for tests and benches.
///
/// It reads as `fn sample<dims>(args) -> ret { body }`; every `sizes` row gives the dynamic dimensions, in
/// order.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Unique name, a Rust identifier.
    pub name: &'static str,
    /// Dynamic dimensions: `"B: Dim, N: Dim"`.
    pub dims: &'static str,
    /// Arguments: `"x: Tensor<B, N>"`.
    pub args: &'static str,
    /// Type of the result: `"Tensor<B, N>"`.
    pub ret: &'static str,
    /// Expression: `"x.softmax(axis = 1)"`.
    pub body: &'static str,
    /// Sizes to try, one row a run.
    pub sizes: &'static [&'static [usize]],
    /// Range that float arguments are drawn from, away from kinks and poles.
    pub domain: (f64, f64),
    /// Whether float arguments have a gradient to check.
    pub gradient: SampleGradient,
}

/// Whether the gradient of a [`Sample`] is checked against finite differences.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SampleGradient {
    /// In f64, to 1e-6.
    Checked,
    /// The operation has no derivative.
    None,
}

/// Why an operation cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// What is wrong, with what was expected and found.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl ShapeError {
    /// An error without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// Says which operation it is about, if the message does not.
    pub fn of(mut self, operation: &str) -> Self {
        if !self.message.contains(&format!("`{operation}")) {
            self.message = format!("`{operation}`: {}", self.message);
        }
        self
    }

    /// Adds advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// That a size is not below another: decided at each call, because it depends on dynamic dimensions, or on constants that only rustc
/// knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The size that must not be below the other.
    pub larger: Dim,
    /// The other.
    pub smaller: Dim,
    /// What to say where it is: `the window of ...`.
    pub message: String,
}

/// What type rules ask of sizes that the compiler cannot decide alone.
#[derive(Clone, Debug, Default)]
pub struct Constraints {
    /// Equations for rustc to check, in the order they arose.
    pub checks: Vec<(Dim, Dim)>,
    /// Sizes that are large enough in some calls only, in the order they arose.
    pub demands: Vec<Demand>,
    /// Solutions of `_`, by number.
    pub solved: Map<u32, Dim>,
    /// The indices of the loops whose bodies are being built, the outermost first, each with the number of steps that it
    /// stays below.
    pub indices: Vec<(Rc<str>, Dim)>,
}

impl Constraints {
    /// The dim with every solved `_` replaced.
    pub fn resolve(&self, dim: &Dim) -> Dim {
        if dim.has_infer() {
            dim.substitute(&|atom| match atom {
                shape::Atom::Infer(k) => self.solved.get(k).cloned(),
                _ => None,
            })
        } else {
            dim.clone()
        }
    }

    /// A number that the size is never below: [`Dim::lower_bound`], knowing that the index of a loop is below the number
    /// of its steps.
    pub fn lower_bound(&self, dim: &Dim) -> Option<i64> {
        // An index may be bounded by that of an outer loop, so the innermost is replaced first.
        let bounded = self
            .indices
            .iter()
            .rev()
            .fold(dim.clone(), |dim, (index, count)| {
                let index = Dim::dynamic(index);
                let falls = |term: &shape::Term| {
                    *term.monomial() == *index.terms()[0].monomial() && term.coefficient() < 0
                };
                let slope = dim
                    .terms()
                    .iter()
                    .find(|term| falls(term))
                    .map_or(0, shape::Term::coefficient);
                // `slope * index` is least at the last step.
                dim - &index * slope + (count - 1) * slope
            });
        bounded.lower_bound()
    }

    /// Demands that a size is not below another: known now, or checked at the call.
    ///
    /// # Errors
    /// The message, where it is known to be below; and where it depends on the step of a loop, which no call can check.
    pub fn at_least(
        &mut self,
        larger: &Dim,
        smaller: &Dim,
        message: impl FnOnce() -> String,
    ) -> Result<(), ShapeError> {
        let (larger, smaller) = (self.resolve(larger), self.resolve(smaller));
        let room = &larger - &smaller;
        if self.lower_bound(&room).is_some_and(|least| least >= 0) {
            return Ok(());
        }
        let is_index = |atom: &shape::Atom| {
            let index = |symbol: &str| self.indices.iter().any(|(name, _)| **name == *symbol);
            matches!(atom, shape::Atom::Dynamic(symbol) if index(symbol.name()))
        };
        if room.as_lit().is_some() || room.atoms().iter().any(is_index) {
            return Err(ShapeError::new(message()));
        }
        let demand = Demand {
            larger,
            smaller,
            message: message(),
        };
        if !self.demands.contains(&demand) {
            self.demands.push(demand);
        }
        Ok(())
    }

    /// Demands that two sizes are equal. A lone `_` is solved; what only rustc can decide is recorded.
    /// Returns false where they differ or cannot be proved equal.
    #[must_use]
    pub fn equal(&mut self, a: &Dim, b: &Dim) -> bool {
        let (a, b) = (self.resolve(a), self.resolve(b));
        if let Some((k, solution)) = shape::solve_infer(&a, &b) {
            self.solved.insert(k, solution);
            return true;
        }
        match shape::compare(&a, &b) {
            Relation::Equal => true,
            Relation::Different => false,
            Relation::Check(conditions) => {
                for condition in conditions {
                    if !self.checks.contains(&condition) {
                        self.checks.push(condition);
                    }
                }
                true
            }
        }
    }

    /// Demands that two shapes are equal, axis by axis.
    #[must_use]
    pub fn equal_shapes(&mut self, a: &[Dim], b: &[Dim]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.equal(a, b))
    }
}

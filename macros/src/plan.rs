//! The vocabulary of the back end: kernels, their order, and where every value lies.

mod print;

use crate::map::Map;
use std::ops::Range;
use std::rc::Rc;

use crate::ir::{Call, DType, Layout, Output, Packing, Phase, Scalar, Type, Value};
use crate::ops::pointwise::Row;
use crate::ops::scan::Order;
use crate::shape::Dim;

/// A value that a trace shows.
#[derive(Clone, Debug)]
pub struct Named {
    /// The user's name, or the layer's.
    pub name: Rc<str>,
    /// The value.
    pub value: Value,
    /// Its type, as it is stored.
    pub ty: Type,
    /// Where it is shown with its axes in another order: which axis of the stored value each one is.
    pub order: Option<Vec<usize>>,
}

/// A stored value read in some layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// The value whose memory is read.
    pub value: Value,
    /// How it is read.
    pub layout: Layout,
    /// Kind of its elements.
    pub dtype: DType,
}

/// One launch: a call of the runtime.
pub struct Kernel {
    /// What runs.
    pub task: Task,
    /// Stored values that it reads, in the order that the task refers to.
    pub reads: Vec<Operand>,
    /// Values that it stores.
    pub writes: Vec<Written>,
    /// Working memory for its duration.
    pub scratch: Vec<(DType, Dim)>,
    /// Forward or backward.
    pub phase: Phase,
    /// Floating point operations.
    pub flops: Dim,
    /// What it computes, for people: `matmul + bias + relu`.
    pub title: String,
}

/// A value that a kernel stores.
#[derive(Clone, Debug)]
pub struct Written {
    /// The value.
    pub value: Value,
    /// Its type.
    pub ty: Type,
    /// The user's name for it, or the layer's, or the operation's.
    pub name: Rc<str>,
}

/// What a kernel does.
pub enum Task {
    /// A function of the runtime.
    Call(Box<Call>, Epilogue),
    /// A fused pointwise group.
    Group(Group),
    /// A strided operand laid out row-major.
    Copy,
    /// Matrices laid out as products read them; the operand has an axis for each loop that goes over them.
    Pack(Pack),
}

/// Second factors of products that are packed once for all products by them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pack {
    /// One of them.
    pub packing: Packing,
    /// How many there are, one behind the other.
    pub count: Dim,
    /// For how long they are the same.
    pub lasts: Lasts,
}

/// For how long something is the same.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// In all steps of a loop.
    Loop,
    /// From call to call, until parameters change.
    Calls,
}

/// What follows a matmul or convolution while its result is in cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Index in [`Kernel::reads`] of a bias along the channel axis.
    pub bias: Option<usize>,
    /// Index in [`Kernel::reads`] of a tensor of the result's shape that is added.
    pub residual: Option<usize>,
    /// Name of the runtime's `Activation`.
    pub activation: Option<&'static str>,
}

/// A fused pointwise group: straight-line scalar code for every element of one shape.
#[derive(Clone, Debug)]
pub struct Group {
    /// The iteration space, and the shape of every result.
    pub shape: Vec<Dim>,
    /// Scalar code in evaluation order.
    pub lines: Vec<Line>,
    /// For every [`Kernel::writes`], the line that gives its elements.
    pub results: Vec<usize>,
    /// Host scalars that the lines use.
    pub scalars: Vec<Scalar>,
    /// For every [`Kernel::reads`], the line that loads it.
    pub loads: Vec<usize>,
}

/// One line of scalar code.
#[derive(Clone, Debug)]
pub struct Line {
    /// A name for the reader.
    pub name: Rc<str>,
    /// Kind of the result.
    pub dtype: DType,
    /// What it computes.
    pub code: LineCode,
}

/// What a line computes.
#[derive(Clone, Debug)]
pub enum LineCode {
    /// The element of a read operand.
    Load(usize),
    /// A host scalar.
    Scalar(usize),
    /// A row of the pointwise table, of earlier lines.
    Row(&'static Row, Vec<usize>),
}

/// Where a stored value lies.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Place {
    /// A slot of the workspace.
    Slot(usize),
    /// An argument.
    Input(usize),
    /// A parameter.
    Param(usize),
    /// The gradient of a parameter.
    Grad(usize),
    /// The direction of a product with the Hessian, as far as it concerns that parameter.
    Direction(usize),
    /// A carried tensor as committed.
    State(usize),
    /// A carried tensor of this step.
    NewState(usize),
}

/// A slot of the workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Kind of its elements.
    pub dtype: DType,
    /// Number of elements.
    pub len: Dim,
    /// Index of the first kernel that writes it.
    pub first: usize,
    /// Index of the last kernel that reads it; `usize::MAX` where the caller or a later call does.
    pub last: usize,
    /// What is packed there. The runtime knows how many elements that takes; `len` is the most that it can be.
    pub pack: Option<Pack>,
}

/// Kernels that run once a step.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The name of the index of the step.
    pub index: Rc<str>,
    /// The number of steps.
    pub count: Dim,
    /// The direction.
    pub order: Order,
    /// The kernels, by position; those of inner loops are among them.
    pub kernels: Range<usize>,
    /// What it is called.
    pub name: Rc<str>,
}

impl Loop {
    /// Whether it takes more than the one step of a recomputed layer. Only then does the step count in random streams, so
    /// that recomputation changes no number.
    pub fn is_repeated(&self) -> bool {
        !self.count.is_one()
    }
}

/// Where a value lies that has no memory of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Within {
    /// The value whose memory it lies in.
    pub of: Value,
    /// From which element on.
    pub offset: Dim,
}

/// A value that no kernel computes.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its type.
    pub ty: Type,
    /// Where it lies, if that is given.
    pub place: Option<Place>,
    /// A name for the reader.
    pub name: Rc<str>,
}

/// Memory that a loop keeps from step to step.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// The value that stands for it.
    pub value: Value,
    /// The position of its loop.
    pub owner: usize,
}

/// Kernels in order, and memory: what is emitted.
pub struct Plan {
    /// The kernels.
    pub kernels: Vec<Kernel>,
    /// The loops; an outer one before those inside of it.
    pub loops: Vec<Loop>,
    /// Values that lie within others.
    pub within: Map<Value, Within>,
    /// How many of them are forward.
    pub n_forward: usize,
    /// Place of every stored value.
    pub places: Map<Value, Place>,
    /// Arguments, parameters, carried tensors, buffers and windows.
    pub leaves: Map<Value, Leaf>,
    /// For every kernel, the slots of its scratch memory.
    pub scratch: Vec<Vec<usize>>,
    /// The workspace.
    pub slots: Vec<Slot>,
    /// Results, new states and gradients.
    pub outputs: Vec<Output>,
    /// Results that the caller reads, in order, and their types.
    pub results: Vec<(Value, Type)>,
    /// Values for tracing.
    pub named: Vec<Named>,
}

impl Plan {
    /// The value in whose own memory another lies, and where.
    pub fn home(&self, value: Value) -> (Value, Dim) {
        home(&self.within, value)
    }

    /// Whether two values are the same memory.
    pub fn is_same_memory(&self, a: Value, b: Value) -> bool {
        let ((a, from_a), (b, from_b)) = (self.home(a), self.home(b));
        self.places[&a] == self.places[&b] && from_a == from_b
    }

    /// The loops around a kernel, outermost first.
    pub fn loops_around(&self, kernel: usize) -> impl Iterator<Item = &Loop> {
        self.loops.iter().filter(move |l| l.kernels.contains(&kernel))
    }

    /// The type of a stored value.
    pub fn stored_type(&self, value: Value) -> &Type {
        let written = self
            .kernels
            .iter()
            .flat_map(|k| &k.writes)
            .find(|w| w.value == value);
        written.map_or_else(|| &self.leaves[&value].ty, |w| &w.ty)
    }

    /// True where an operand reads as many elements as are stored.
    pub fn is_whole(&self, operand: &Operand) -> bool {
        Dim::product(&operand.layout.shape) == self.stored_type(operand.value).numel()
    }
}

/// A list of kernels with the leaves that they read: the output of fusion.
pub struct Fused {
    /// The kernels, in an order that respects their dependencies.
    pub kernels: Vec<Kernel>,
    /// The loops; an outer one before those inside of it.
    pub loops: Vec<Loop>,
    /// What the loops keep.
    pub buffers: Vec<Buffer>,
    /// Values that lie within others.
    pub within: Map<Value, Within>,
    /// Values that no kernel computes.
    pub leaves: Map<Value, Leaf>,
    /// What leaves the graph; every value in it is stored by a kernel or is a leaf.
    pub outputs: Vec<Output>,
    /// Types of the outputs.
    pub output_types: Vec<Type>,
    /// The node that a stored value came from, for names in traces.
    pub named: Vec<Named>,
}

/// The value in whose own memory another lies, and from which element on.
pub fn home(within: &Map<Value, Within>, mut value: Value) -> (Value, Dim) {
    let mut offset = Dim::zero();
    while let Some(inner) = within.get(&value) {
        value = inner.of;
        offset = offset + &inner.offset;
    }
    (value, offset)
}

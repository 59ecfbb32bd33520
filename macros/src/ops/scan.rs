//! The loop: one body, run for every layer of an array or for every step in time.
//!
//! ```text
//! %9: float[B, D], float[4, B, D] = scan[block = 0..4](%2 carry, %5 step, %7 outer)
//!     %0: float[B, D] = arg[0]             the carry as the step before left it
//!     %1: float[D, D] = arg[1]             %5[block]
//!     %2: float[D] = arg[2]                %7, the same in every step
//!     %3: ...
//!     next 0 = %6                          what the next step gets as carry
//!     collect 0 = %4                       row `block` of the second result
//! ```
//!
//! The results are the carries after the last step (as they came in, where there is no step), then what was collected, stacked
//! along a new first axis. The body may use the index of the step as a size. A body reads nothing but its arguments.
//!
//! The gradient of a loop is a loop in the other direction. It takes a whole graph to differentiate a body, so the
//! gradient stage does it; the schedule of a loop is made by the stages behind it in the same way.

use std::rc::Rc;

use crate::ir::{
    Builder, Constraints, Cotangents, Graph, Kernel, NodeId, OutputKind, Rule, Sample, SampleGradient, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::leaf::LeafKind;
use crate::shape::{Atom, Dim};

/// A loop.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// What it goes over, for the reader: `blocks`, `x_t`.
    pub name: Rc<str>,
    /// What its way back gets.
    pub recording: Recording,
    /// The name of the index in the sizes of the body; no enclosing loop has the same.
    pub index: Rc<str>,
    /// The number of steps.
    pub count: Dim,
    /// In which direction the steps are taken.
    pub order: Order,
    /// What the operands are to the body, one an operand.
    pub roles: Vec<Role>,
    /// What is done in every step.
    pub body: Graph,
}

/// The direction of a loop.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// From step 0 to the last.
    Ascending,
    /// From the last step to 0.
    Descending,
}

impl Order {
    /// The other direction.
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// What the way back of a loop gets of the values of each step.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Recording {
    /// What it reads is kept, but for what follows by a few pointwise operations from the rest.
    Values,
    /// Only carries are kept: it computes the step again (`#[recompute]`; Chen et al., "Training deep nets with sublinear
    /// memory cost", 2016).
    Carries,
}

/// What an operand of a loop is to its body.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// The first step gets it, every other what the step before made of it.
    Carry,
    /// Every step gets its own slice along the first axis.
    Step,
    /// Every step gets the whole.
    Outer,
}

impl Scan {
    /// The operands that are carried, in order: carry `c` is operand `carries()[c]` and result `c`.
    pub fn carries(&self) -> Vec<usize> {
        let carried = self.roles.iter().enumerate().filter(|(_, role)| **role == Role::Carry);
        carried.map(|(k, _)| k).collect()
    }

    /// The type that the body sees of an operand of type `ty`.
    pub fn arg_type(&self, k: usize, ty: &Type) -> Type {
        match self.roles[k] {
            Role::Step => ty.with_shape(ty.shape[1..].to_vec()),
            Role::Carry | Role::Outer => ty.clone(),
        }
    }

    /// The leaf of the body that stands for operand `k`, if the body reads it.
    pub fn arg(&self, k: usize) -> Option<Value> {
        let is_it = |id: NodeId| self.body.node(id).leaf() == Some(LeafKind::Arg(k));
        self.body.iter().map(|(id, _)| id).find(|id| is_it(*id)).map(Value::first)
    }

    /// The value that carry `c` has after a step.
    pub fn next(&self, c: usize) -> Option<Value> {
        self.output(OutputKind::Next(c))
    }

    /// The value of the body that result `carries + k` collects.
    pub fn collected(&self, k: usize) -> Option<Value> {
        self.output(OutputKind::Collect(k))
    }

    fn output(&self, kind: OutputKind) -> Option<Value> {
        self.body.outputs.iter().find(|o| o.kind == kind).map(|o| o.value)
    }

    /// How many values are collected.
    pub fn n_collected(&self) -> usize {
        self.body.outputs.iter().filter(|o| matches!(o.kind, OutputKind::Collect(_))).count()
    }

    /// The index of the step, as a size in the body.
    pub fn step(&self) -> Dim {
        Dim::dynamic(&self.index)
    }
}

impl Rule for Scan {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn attributes(&self) -> String {
        let roles = self.roles.iter().map(|role| match role {
            Role::Carry => "carry",
            Role::Step => "step",
            Role::Outer => "outer",
        });
        let range = match self.order {
            Order::Ascending => format!("0..{}", self.count),
            Order::Descending => format!("(0..{}).rev()", self.count),
        };
        format!("{} in {range}; {}", self.index, roles.collect::<Vec<_>>().join(", "))
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        if inputs.len() != self.roles.len() {
            return Err(ShapeError::new(format!("a loop of {} operands got {}", self.roles.len(), inputs.len())));
        }
        for (k, ty) in inputs.iter().enumerate() {
            if self.roles[k] == Role::Step && !ty.shape.first().is_some_and(|n| constraints.equal(n, &self.count)) {
                let message = format!("{ty} has no {} slices along its first axis", self.count);
                return Err(ShapeError::new(message));
            }
            if let Some(leaf) = self.arg(k)
                && *self.body.ty(leaf) != self.arg_type(k, ty)
            {
                let message = format!("argument {k} of the body is {}, not {}", self.body.ty(leaf), self.arg_type(k, ty));
                return Err(ShapeError::new(message));
            }
        }
        let mut types = Vec::new();
        for (c, k) in self.carries().into_iter().enumerate() {
            let next = self.next(c).ok_or_else(|| ShapeError::new(format!("carry {c} has no next value")))?;
            let next = self.body.ty(next);
            if next.dtype != inputs[k].dtype || !constraints.equal_shapes(&next.shape, &inputs[k].shape) {
                let message = format!("what is carried was {} and becomes {next}", inputs[k]);
                return Err(ShapeError::new(message));
            }
            types.push(inputs[k].clone());
        }
        for k in 0..self.n_collected() {
            let value = self.collected(k).ok_or_else(|| ShapeError::new(format!("{k} is not collected")))?;
            let ty = self.body.ty(value);
            if self.varies(ty) {
                return Err(ShapeError::new(format!("{ty} has another size in every step")));
            }
            let shape = std::iter::once(&self.count).chain(&ty.shape).cloned().collect();
            types.push(ty.with_shape(shape));
        }
        Ok(types)
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Nested
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        Kernel::Loop
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        let flops = self.body.iter().map(|(_, node)| {
            let inputs: Vec<Type> = node.inputs.iter().map(|v| self.body.ty(*v).clone()).collect();
            node.op.rule().flops(&inputs, &node.types)
        });
        Dim::sum(flops.collect::<Vec<_>>()) * &self.count
    }

    fn surfaces() -> &'static [Surface] {
        // A `for` in the source.
        &[]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body| Sample {
            name,
            dims: "B: Dim, T: Dim, N: Dim",
            args,
            ret,
            body,
            sizes: &[&[1, 1, 1], &[2, 5, 3], &[3, 2, 7], &[2, 0, 3], &[0, 2, 3]],
            domain: (-1.0, 1.0),
            gradient: SampleGradient::Checked,
        };
        vec![
            sample(
                "scan_running_sum",
                "x: Tensor<B, T, N>, h: Tensor<B, N>",
                "Tensor<B, N>",
                "{ let mut h = h; for x_t in x.steps(axis = 1) { h = h * 0.5 + x_t; } h }",
            ),
            sample(
                "scan_cell",
                "x: Tensor<B, T, N>, h: Tensor<B, N>, w: Tensor<N, N>",
                "Tensor<B, N>",
                "{ let mut h = h; for x_t in x.steps(axis = 1) { h = (x_t + h.matmul(w)).tanh(); } h }",
            ),
            sample(
                "scan_outputs",
                "x: Tensor<B, T, N>, h: Tensor<B, N>",
                "Tensor<B, N, T>",
                "{ let mut h = h; let mut ys = Steps::new();
                for (t, x_t) in x.steps(axis = 1).enumerate() { h = h * x_t + 0.1 * t; ys.push(h.sin()); }
                ys.stack(axis = -1) }",
            ),
            sample(
                "scan_reversed",
                "x: Tensor<B, T, N>, h: Tensor<B, N>",
                "Tensor<T, B, N>",
                "{ let mut h = h; let mut ys = Steps::new();
                for x_t in x.steps(axis = 1).rev() { h = (h + x_t) * x_t; ys.push(h); }
                ys.stack() }",
            ),
            sample(
                "scan_zip",
                "x: Tensor<B, T, N>, y: Tensor<T, N>, h: Tensor<B, N>",
                "Tensor<B, N>",
                "{ let mut pair = (h, 1.0);
                for (x_t, y_t) in x.steps(axis = 1).zip(y.steps(axis = 0).rev()) {
                    pair = ((pair.0 + x_t) * y_t, pair.1 * 0.5 + y_t.sum());
                }
                pair.0 * pair.1 }",
            ),
            sample(
                "scan_slices",
                "x: Tensor<T, B, N>, h: Tensor<B, N>",
                "Tensor<B, N>",
                "{ let mut h = h; for t in 0..T { h = h * x.slice(t) + x.slice(T - 1 - t..T - t).sum(axis = 0); } h }",
            ),
            sample(
                "scan_nested",
                "x: Tensor<B, T, N>, w: Tensor<N, N>",
                "Tensor<B, T>",
                "{ let mut rows = Steps::new();
                let mut total = 0.5;
                for x_b in x.steps(axis = 0) {
                    let mut h = w.sum(axis = 0);
                    let mut sums = Steps::new();
                    for x_t in x_b.steps(axis = 0) { h = (h.matmul(w) + x_t).tanh(); sums.push(h.sum() * total); }
                    total = total * 0.5 + h.sum();
                    rows.push(sums.stack());
                }
                rows.stack() }",
            ),
        ]
    }
}

impl Scan {
    /// Whether a type depends on the index of the step.
    pub fn varies(&self, ty: &Type) -> bool {
        let is_index = |atom: &Atom| matches!(atom, Atom::Dynamic(symbol) if symbol.name() == &*self.index);
        ty.shape.iter().any(|n| n.atoms().iter().any(is_index))
    }
}

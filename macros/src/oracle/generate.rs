//! Random programs: well typed, shared, several results, drawn from the op table by a seed.
//!
//! A program grows by [`moves`](MOVES) applied to values that exist already, most often recent ones. Every value is interpreted
//! as soon as it exists, so that the generator sees numbers: operands are brought into the domain of a row (away from
//! its poles) by a squashing function, and values that are not finite or grow large are left behind as dead code.

mod dice;
mod moves;

use super::differences::Variable;
use super::interpret::Interpretation;
use super::tensor::{Tensor, build};
use super::world::World;
use crate::diag::SourceSpan;
use crate::grad::Wanted;
use crate::ir::Output;
use crate::ir::{Builder, DType, Graph, InputId, Mode, Origin, OutputKind, ParamId, StateId, Type, Value};
use crate::ops::leaf::{Leaf, LeafKind};
use crate::shape::Dim;

pub use dice::Dice;
pub use moves::MOVES;

/// A program, what it is called with, and whose gradients are wanted.
#[derive(Clone)]
pub struct Program {
    pub graph: Graph,
    pub world: World,
    pub wanted: Wanted,
}

impl Program {
    /// What can be varied: everything whose gradient is wanted.
    pub fn variables(&self) -> Vec<Variable> {
        let params = self.wanted.params.iter().map(|&id| Variable::Param(id));
        params
            .chain(self.wanted.inputs.iter().map(|&id| Variable::Input(id)))
            .collect()
    }
}

/// Values larger than this are not built upon.
const LARGEST: f64 = 30.0;

/// Tensors of more elements are not built upon.
const MOST_ELEMENTS: usize = 240;

/// The program of a seed.
pub fn program(seed: u64) -> Program {
    let mut draft = Draft::new(seed);
    let n_moves = 8 + draft.dice.below(16);
    for _ in 0..n_moves {
        let (_, go) = MOVES[draft.dice.below(MOVES.len())];
        let Some(x) = draft.pick() else { continue };
        if let Some(y) = go(&mut draft, x) {
            draft.keep(y);
        }
    }
    draft.finish()
}

/// A program that grows.
pub struct Draft {
    pub b: Builder,
    pub dice: Dice,
    pub world: World,
    seen: Interpretation,
    pool: Vec<Value>,
    wanted: Wanted,
}

impl Draft {
    /// Two arguments and two parameters to begin with.
    pub fn new(seed: u64) -> Self {
        let mut draft = Self::empty(seed);
        let batch = [1, 2, 3, 5, 0][draft.dice.weighted(&[3, 4, 4, 3, 1])];
        draft.world.sizes.insert("B".into(), batch);
        let steps = 1 + draft.dice.below(4) as i64;
        draft.world.sizes.insert("T".into(), steps);
        draft.world.scalars.insert("alpha".into(), 0.75);
        for _ in 0..2 {
            let shape = draft.shape();
            let x = draft.input(shape);
            draft.keep(x);
            let shape = draft.shape();
            let w = draft.param(shape);
            draft.keep(w);
        }
        draft
    }

    /// Nothing yet; for programs that are written by hand.
    pub fn empty(seed: u64) -> Self {
        let world = World {
            seed,
            step: 3,
            ..World::default()
        };
        Self {
            b: Builder::new(Origin::root(SourceSpan::call_site()), Mode::Train),
            dice: Dice::new(seed),
            world,
            seen: Interpretation::default(),
            pool: Vec::new(),
            wanted: Wanted::default(),
        }
    }

    /// A size: dynamic or a small number.
    pub fn dim(&mut self) -> Dim {
        match self.dice.below(6) {
            0 | 1 => Dim::dynamic("B"),
            2 => Dim::dynamic("T"),
            _ => Dim::lit(1 + self.dice.below(4) as i64),
        }
    }

    fn shape(&mut self) -> Vec<Dim> {
        let rank = 1 + self.dice.below(3);
        (0..rank).map(|_| self.dim()).collect()
    }

    fn leaf(&mut self, kind: LeafKind, ty: Type) -> Value {
        self.b.push(Leaf { kind, ty }, &[])
    }

    /// Numbers of a size around 1, exact in f32 so that both precisions start from the same.
    fn numbers(&mut self, shape: &[Dim]) -> Tensor {
        let shape = self.world.shape(shape);
        Tensor::Float(build(&shape, |_| f64::from((1.5 * self.dice.symmetric()) as f32)))
    }

    /// An argument with random values; every second one's gradient is wanted.
    pub fn input(&mut self, shape: Vec<Dim>) -> Value {
        let id = InputId::new(self.world.inputs.len());
        let values = self.numbers(&shape);
        self.world.inputs.push(values);
        if self.dice.below(2) == 0 {
            self.wanted.inputs.push(id);
        }
        self.leaf(LeafKind::Input(id), Type::float(shape))
    }

    /// An argument with these values.
    pub fn argument(&mut self, shape: Vec<Dim>, values: Tensor) -> Value {
        let id = InputId::new(self.world.inputs.len());
        let ty = Type::new(values.dtype(), shape);
        assert_eq!(
            values.shape(),
            self.world.shape(&ty.shape),
            "values in the declared shape"
        );
        self.world.inputs.push(values);
        self.leaf(LeafKind::Input(id), ty)
    }

    /// Class labels in `0..classes`.
    pub fn labels(&mut self, shape: Vec<Dim>, classes: usize) -> Value {
        let sizes = self.world.shape(&shape);
        let labels = build(&sizes, |_| self.dice.below(classes) as i64);
        self.argument(shape, Tensor::Int(labels))
    }

    /// A parameter with random values.
    pub fn param(&mut self, shape: Vec<Dim>) -> Value {
        // The sizes of parameters are known before a call.
        let shape: Vec<Dim> = shape
            .into_iter()
            .map(|n| Dim::lit(self.world.number(&n)))
            .collect();
        let id = ParamId::new(self.world.params.len());
        let values = self.numbers(&shape);
        self.world.params.push(values);
        self.wanted.params.push(id);
        self.leaf(LeafKind::Param(id), Type::float(shape))
    }

    /// A carried tensor.
    pub fn state(&mut self, shape: Vec<Dim>) -> (StateId, Value) {
        let id = StateId::new(self.world.states.len());
        let values = self.numbers(&shape);
        self.world.states.push(values);
        (id, self.leaf(LeafKind::State(id), Type::float(shape)))
    }

    /// Asks for the gradient of an argument.
    pub fn want(&mut self, x: Value) {
        match self.b.graph.node(x.node).leaf() {
            Some(LeafKind::Input(id)) => self.wanted.inputs.push(id),
            other => panic!("the gradient of an argument is asked for, not of {other:?}"),
        }
    }

    /// What a value is in numbers.
    pub fn see(&mut self, x: Value) -> &Tensor {
        self.seen.extend(&self.b.graph, &self.world);
        self.seen.value(x)
    }

    pub fn dtype(&self, x: Value) -> DType {
        self.b.ty(x).dtype
    }

    /// The value scaled, squashed and moved into `low..high` where it is not there already.
    pub fn within(&mut self, x: Value, (low, high): (f64, f64)) -> Value {
        let is_inside = self.see(x).float().iter().all(|v| (low..=high).contains(v));
        if is_inside {
            return x;
        }
        let squashed = self.b.pointwise("tanh", &[x]);
        let scaled = self.b.scale(squashed, 0.49 * (high - low));
        self.b.offset(scaled, 0.5 * (low + high))
    }

    /// A value to go on with, one of the last ones more often than not.
    fn pick(&mut self) -> Option<Value> {
        let n = self.pool.len().checked_sub(1)? + 1;
        let recent = self.dice.below(3) > 0;
        let from = if recent { n.saturating_sub(3) } else { 0 };
        Some(self.pool[from + self.dice.below(n - from)])
    }

    /// Another value of the pool that `fits`.
    pub fn other(&mut self, fits: impl Fn(&Type) -> bool) -> Option<Value> {
        let found: Vec<Value> = self
            .pool
            .iter()
            .copied()
            .filter(|v| fits(self.b.ty(*v)))
            .collect();
        (!found.is_empty()).then(|| found[self.dice.below(found.len())])
    }

    /// Adds a value to those that are built upon, if it is tame.
    fn keep(&mut self, x: Value) {
        let mistakes: Vec<&str> = self.b.errors.iter().map(|(_, error)| &*error.message).collect();
        assert!(
            mistakes.is_empty(),
            "the generator made an ill-typed node: {mistakes:?}"
        );
        let values = self.see(x);
        let is_tame = values.len() <= MOST_ELEMENTS && values.numbers().iter().all(|v| v.abs() <= LARGEST);
        if is_tame && self.pool.last() != Some(&x) {
            self.pool.push(x);
        }
    }

    /// The weighted sum of some values as the loss, others as further results, and now and then a carried tensor.
    fn finish(mut self) -> Program {
        let mut loss: Option<Value> = None;
        for _ in 0..2 + self.dice.below(3) {
            let Some(x) = self.other(|ty| ty.dtype == DType::Float) else {
                continue;
            };
            let term = self.weigh(x);
            loss = Some(loss.map_or(term, |sum| self.b.add(sum, term)));
        }
        let last = self
            .pool
            .iter()
            .rev()
            .copied()
            .find(|v| self.b.ty(*v).dtype == DType::Float);
        let term = self.weigh(last.expect("arguments are floats"));
        let loss = loss.map_or(term, |sum| self.b.add(sum, term));
        self.result(loss);
        for _ in 0..self.dice.below(4) {
            let x = self.other(|_| true).expect("the pool has values");
            self.result(x);
        }
        if self.dice.below(3) == 0 {
            self.carry();
        }
        self.program()
    }

    /// `sum(x * probe)` with a random probe.
    pub fn weigh(&mut self, x: Value) -> Value {
        let shape = self.b.shape(x);
        let values = self.numbers(&shape);
        let probe = self.argument(shape.clone(), values);
        let weighted = self.b.mul(x, probe);
        let axes: Vec<usize> = (0..shape.len()).collect();
        self.b.sum(weighted, &axes)
    }

    /// Makes a value the next result.
    pub fn result(&mut self, value: Value) {
        let outputs = self.b.graph.outputs.iter();
        let n_results = outputs
            .filter(|output| matches!(output.kind, OutputKind::Result(_)))
            .count();
        let kind = OutputKind::Result(n_results);
        self.b.graph.outputs.push(Output { kind, value });
    }

    /// `state' = 0.9 state + 0.1 x`.
    fn carry(&mut self) {
        let is_fixed = |ty: &Type| ty.dtype == DType::Float && ty.shape.iter().all(|n| n.as_lit().is_some());
        let Some(x) = self.other(is_fixed) else { return };
        let shape = self.b.shape(x);
        let (id, state) = self.state(shape);
        let (old, new) = (self.b.scale(state, 0.9), self.b.scale(x, 0.1));
        let sum = self.b.add(old, new);
        self.b.update_state(id, sum);
    }

    /// What was drafted.
    pub fn program(mut self) -> Program {
        let mistakes: Vec<&str> = self.b.errors.iter().map(|(_, error)| &*error.message).collect();
        assert!(mistakes.is_empty(), "an ill-typed node: {mistakes:?}");
        self.seen.extend(&self.b.graph, &self.world);
        Program {
            graph: self.b.graph,
            world: self.world,
            wanted: self.wanted,
        }
    }
}

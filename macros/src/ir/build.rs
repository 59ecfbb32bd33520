//! The builder: the only way to make nodes, so that every node is typed when it comes into being.
//!
//! Operations add their own constructors (`impl Builder { pub fn softmax(..) }`) in their files; here are the
//! ones that gradient rules and layers of every family need.

use super::{
    Constraints, DType, Graph, Node, NodeId, Origin, Output, OutputKind, Phase, Scalar, ShapeError, StateId,
    Type, Value, ViewMap,
};
use crate::diag::SourceSpan;
use crate::map::Set;
use crate::ops::fill::Fill;
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::scan::{Order, Recording, Role, Scan};
use crate::ops::view::View;
use crate::ops::{Op, pointwise};
use crate::shape::Dim;

/// Whether dropout and batch statistics are at work.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Mode {
    /// Plain calls: no dropout, running statistics.
    Eval,
    /// Losses that are differentiated: dropout, statistics of the batch, running statistics updated.
    Train,
}

/// The steps of a loop that [`Builder::scan`] makes.
pub struct Steps<'a> {
    /// What it goes over.
    pub name: &'a str,
    /// The number of steps.
    pub count: Dim,
    /// The direction.
    pub order: Order,
}

/// Appends typed nodes to a graph.
///
/// A type rule that fails records an error at the current origin and yields a *poison* value; whatever
/// has a poison operand is poison too, silently, so that one mistake gives one error.
pub struct Builder {
    /// The graph so far.
    pub graph: Graph,
    /// Position and layer of what is being built.
    pub origin: Origin,
    /// Forward while lowering, backward while differentiating.
    pub phase: Phase,
    /// Train or eval.
    pub mode: Mode,
    /// Equations for rustc and solutions of `_`.
    pub constraints: Constraints,
    /// What went wrong, with the user's token.
    pub errors: Vec<(SourceSpan, ShapeError)>,
    /// Names of sizes, numbers and indices that a new index must not have.
    pub taken: Set<String>,
    n_streams: u64,
}

impl Builder {
    /// An empty graph.
    pub fn new(origin: Origin, mode: Mode) -> Self {
        Self {
            mode,
            ..Self::over(Graph::default(), origin, Phase::Forward)
        }
    }

    /// Goes on with a graph in the given phase.
    pub fn over(graph: Graph, origin: Origin, phase: Phase) -> Self {
        let constraints = Constraints::default();
        Self {
            graph,
            origin,
            phase,
            mode: Mode::Train,
            constraints,
            errors: Vec::new(),
            taken: Set::new(),
            n_streams: 0,
        }
    }

    /// Begins the body of a loop: what is pushed from here on stands there. Returns the surroundings.
    #[must_use]
    pub fn enter(&mut self) -> Self {
        let mut body = Self::over(Graph::default(), self.origin.clone(), self.phase);
        body.mode = self.mode;
        self.hand_over(&mut body);
        std::mem::replace(self, body)
    }

    /// Ends the body that [`enter`](Self::enter) began, and goes on in its surroundings.
    pub fn leave(&mut self, mut surroundings: Self) -> Graph {
        self.hand_over(&mut surroundings);
        std::mem::replace(self, surroundings).graph
    }

    /// A loop that a layer or operation is made of: `body` gets the index and what the operands are to a step, and gives the next
    /// carries and what is collected. The results are the last carries and the stacks.
    pub fn scan(
        &mut self,
        steps: Steps<'_>,
        operands: &[(Value, Role)],
        body: impl FnOnce(&mut Self, &Dim, &[Value]) -> (Vec<Value>, Vec<Value>),
    ) -> Vec<Value> {
        let index = self.fresh_index();
        let mut scan = Scan {
            name: steps.name.into(),
            recording: Recording::Values,
            index: index.as_str().into(),
            count: steps.count,
            order: steps.order,
            roles: operands.iter().map(|(_, role)| *role).collect(),
            body: Graph::default(),
        };
        let types: Vec<Type> = operands.iter().map(|(v, _)| self.ty(*v).clone()).collect();
        let surroundings = self.enter();
        self.constraints
            .indices
            .push((scan.index.clone(), scan.count.clone()));
        let args: Vec<Value> = types
            .iter()
            .enumerate()
            .map(|(k, ty)| {
                let ty = scan.arg_type(k, ty);
                self.push(
                    Leaf {
                        kind: LeafKind::Arg(k),
                        ty,
                    },
                    &[],
                )
            })
            .collect();
        let (next, collected) = body(self, &scan.step(), &args);
        self.constraints.indices.pop();
        let is_poison = next.iter().chain(&collected).any(|v| self.is_poison(*v));
        let next = next.into_iter().enumerate();
        let next = next.map(|(c, value)| (OutputKind::Next(c), value));
        let collected = collected.into_iter().enumerate();
        let collected = collected.map(|(k, value)| (OutputKind::Collect(k), value));
        let outputs = next.chain(collected).map(|(kind, value)| Output { kind, value });
        self.graph.outputs = outputs.collect();
        scan.body = self.leave(surroundings);
        self.taken.remove(&*scan.index);
        let n_results = scan.body.outputs.len();
        let inputs: Vec<Value> = operands.iter().map(|(v, _)| *v).collect();
        if is_poison {
            return vec![self.poison(); n_results];
        }
        let results = self.push_all(scan, &inputs);
        if results.len() == n_results {
            results
        } else {
            vec![self.poison(); n_results]
        }
    }

    /// A name for the index of a loop.
    fn fresh_index(&mut self) -> String {
        let names = (1..).map(|k| if k == 1 { "t".to_owned() } else { format!("t{k}") });
        let mut free = names.into_iter().filter(|name| !self.taken.contains(name));
        let name = free.next().expect("some number is free");
        self.taken.insert(name.clone());
        name
    }

    /// What belongs to the function as a whole.
    fn hand_over(&mut self, to: &mut Self) {
        to.constraints = std::mem::take(&mut self.constraints);
        to.errors = std::mem::take(&mut self.errors);
        to.taken = std::mem::take(&mut self.taken);
        to.n_streams = self.n_streams;
    }

    /// The key of a new random stream: a hash (FNV-1a) of the layer's path and of how many streams came before.
    pub fn stream(&mut self) -> u64 {
        self.n_streams += 1;
        let bytes = self.origin.scope.bytes().chain(self.n_streams.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Declares the new value of a carried tensor.
    pub fn update_state(&mut self, id: StateId, value: Value) {
        self.graph.outputs.push(Output {
            kind: OutputKind::State(id),
            value,
        });
    }

    /// Appends a node with one result.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Value {
        Value::first(self.node(op.into(), inputs))
    }

    /// Appends a node with several results. A poisoned node still has `n` results to name.
    pub fn push_many<const N: usize>(&mut self, op: impl Into<Op>, inputs: &[Value]) -> [Value; N] {
        let node = self.node(op.into(), inputs);
        let is_poison = self.graph.node(node).types.len() != N;
        std::array::from_fn(|output| Value {
            node,
            output: if is_poison { 0 } else { output },
        })
    }

    /// Appends a node with as many results as its rule says: one that is poison where the rule fails.
    pub fn push_all(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Vec<Value> {
        let node = self.node(op.into(), inputs);
        let n_results = self.graph.node(node).types.len();
        (0..n_results).map(|output| Value { node, output }).collect()
    }

    /// Records an error at the current origin and yields a poison value.
    pub fn fail(&mut self, error: ShapeError) -> Value {
        self.errors.push((self.origin.span, error));
        self.poison()
    }

    /// A value that stands for the result of a mistake reported before.
    pub fn poison(&mut self) -> Value {
        let leaf = Leaf {
            kind: LeafKind::Poison,
            ty: Type::scalar(),
        };
        Value::first(self.append(leaf.into(), &[], vec![Type::scalar()]))
    }

    /// True for the result of a mistake.
    pub fn is_poison(&self, value: Value) -> bool {
        self.graph.node(value.node).leaf() == Some(LeafKind::Poison)
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        self.graph.ty(value)
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Vec<Dim> {
        self.graph.ty(value).shape.clone()
    }

    fn node(&mut self, op: Op, inputs: &[Value]) -> NodeId {
        if let Some(poison) = inputs.iter().find(|v| self.is_poison(**v)) {
            return poison.node;
        }
        let types: Vec<Type> = inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
        match op.rule().types(&types, &mut self.constraints) {
            Ok(types) => self.append(op, inputs, types),
            Err(error) => self.fail(error).node,
        }
    }

    fn append(&mut self, op: Op, inputs: &[Value], types: Vec<Type>) -> NodeId {
        self.graph.append(Node {
            op,
            inputs: inputs.to_vec(),
            types,
            phase: self.phase,
            origin: self.origin.clone(),
        })
    }
}

/// Constructors that rules of every family use.
impl Builder {
    /// A tensor of one number in the shape of `like`.
    pub fn fill_like(&mut self, like: Value, value: impl Into<Scalar>) -> Value {
        let ty = self.ty(like).with_dtype(DType::Float);
        self.push(
            Fill {
                value: value.into(),
                ty,
            },
            &[],
        )
    }

    /// A row of the pointwise table applied to operands of one shape.
    ///
    /// # Panics
    /// Where the table has no row of that name: a mistake in the compiler, found by its first test.
    pub fn pointwise(&mut self, name: &str, operands: &[Value]) -> Value {
        let op = pointwise::named(name).unwrap_or_else(|| panic!("the pointwise table has no row `{name}`"));
        self.push(op, operands)
    }

    /// `a + b`, operands of one shape.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.pointwise("add", &[a, b])
    }

    /// `a - b`, operands of one shape.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.pointwise("sub", &[a, b])
    }

    /// `a * b`, operands of one shape.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.pointwise("mul", &[a, b])
    }

    /// `a / b`, operands of one shape.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.pointwise("div", &[a, b])
    }

    /// `-a`.
    pub fn neg(&mut self, a: Value) -> Value {
        self.pointwise("neg", &[a])
    }

    /// `a * factor` with a host scalar.
    pub fn scale(&mut self, a: Value, factor: impl Into<Scalar>) -> Value {
        let factor = self.fill_like(a, factor);
        self.mul(a, factor)
    }

    /// `a + term` with a host scalar.
    pub fn offset(&mut self, a: Value, term: impl Into<Scalar>) -> Value {
        let term = self.fill_like(a, term);
        self.add(a, term)
    }

    /// `if mask { a } else { b }`, elementwise.
    pub fn select(&mut self, mask: Value, a: Value, b: Value) -> Value {
        self.pointwise("select", &[mask, a, b])
    }

    /// The same elements under another shape of as many elements.
    pub fn reshape(&mut self, x: Value, shape: Vec<Dim>) -> Value {
        if self.ty(x).shape == shape {
            x
        } else {
            self.push(View(ViewMap::Reshape(shape)), &[x])
        }
    }

    /// Axis `k` of the result is axis `perm[k]` of `x`.
    pub fn permute(&mut self, x: Value, perm: &[usize]) -> Value {
        if perm.iter().enumerate().all(|(k, p)| k == *p) {
            x
        } else {
            self.push(View(ViewMap::Permute(perm.to_vec())), &[x])
        }
    }

    /// Swaps the last two axes.
    pub fn transpose(&mut self, x: Value) -> Value {
        let rank = self.ty(x).rank();
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 1, rank - 2);
        self.permute(x, &perm)
    }

    /// Broadcasts to `shape`: axes are added in front, axes of size 1 repeated.
    pub fn expand(&mut self, x: Value, shape: &[Dim]) -> Value {
        if self.ty(x).shape == shape {
            x
        } else {
            self.push(View(ViewMap::Expand(shape.to_vec())), &[x])
        }
    }

    /// Broadcasts `x`, whose axes are those of `shape` except `axes`, over those axes: the inverse of reducing.
    pub fn expand_axes(&mut self, x: Value, axes: &[usize], shape: &[Dim]) -> Value {
        let kept = shape.iter().enumerate();
        let unit = kept
            .map(|(k, n)| if axes.contains(&k) { Dim::one() } else { n.clone() })
            .collect();
        let x = self.reshape(x, unit);
        self.expand(x, shape)
    }

    /// Broadcasts a rank-1 `x` along axis `axis` of `shape`, as a bias of that axis.
    pub fn expand_channel(&mut self, x: Value, axis: usize, shape: &[Dim]) -> Value {
        let others: Vec<usize> = (0..shape.len()).filter(|&k| k != axis).collect();
        self.expand_axes(x, &others, shape)
    }

    /// Sum over `axes`, which vanish from the shape.
    pub fn sum(&mut self, x: Value, axes: &[usize]) -> Value {
        if axes.is_empty() {
            return x;
        }
        self.push(
            Reduce {
                kind: ReduceKind::Sum,
                axes: axes.to_vec(),
            },
            &[x],
        )
    }

    /// Sums what a broadcast from `shape` repeated: the transpose of [`Self::expand`].
    pub fn sum_to(&mut self, x: Value, shape: &[Dim]) -> Value {
        let from = self.shape(x);
        let added = from.len() - shape.len();
        let axes: Vec<usize> = (0..from.len())
            .filter(|&k| k < added || (shape[k - added].is_one() && !from[k].is_one()))
            .collect();
        let summed = self.sum(x, &axes);
        self.reshape(summed, shape.to_vec())
    }
}

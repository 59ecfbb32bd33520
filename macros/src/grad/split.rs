//! Taking a differentiated body apart: what the loop does, what the loop that goes back does, and what the one keeps for the
//! other.
//!
//! A forward value that the way back reads is kept, one row a step, unless it is there anyway: an operand that every step
//! sees, a constant, a view of either. A short pointwise expression of such values, or of values that are kept already, is
//! computed again instead. A loop that records only its carries has its whole body computed again.

use crate::map::{Map, Set};

use crate::ir::{Graph, Kernel, Node, NodeId, Output, OutputKind, Phase, Type, Value};
use crate::ops::Op;
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::scan::{Recording, Role, Scan};

/// The longest pointwise expression, in operations, that is computed again rather than kept.
const MAX_LENGTH: usize = 16;

/// A body and its way back.
pub(super) struct Halves {
    /// The body, which also collects what is kept.
    pub(super) forward: Graph,
    /// The types of what is kept.
    pub(super) kept: Vec<Type>,
    /// The way back.
    pub(super) backward: Graph,
    /// What each argument of the way back is.
    pub(super) args: Vec<Needed>,
}

/// An argument of the way back.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Needed {
    /// An operand of the loop, or a cotangent: the argument of that number in the differentiated body.
    Operand(usize),
    /// The `k`-th value that is kept.
    Kept(usize),
}

/// Splits the differentiated body of a loop. Its first `n_outputs` outputs are those of the body itself, its first arguments
/// the operands of the loop.
pub(super) fn split(joint: &Graph, n_outputs: usize, scan: &Scan) -> Halves {
    let mut splitter = Splitter {
        joint,
        scan,
        kept: Vec::new(),
    };
    splitter.decide(n_outputs);
    let forward = splitter.forward(n_outputs, scan.n_collected());
    let (backward, args) = splitter.backward(n_outputs);
    let kept = splitter.kept.iter().map(|v| joint.ty(*v).clone()).collect();
    Halves {
        forward,
        kept,
        backward,
        args,
    }
}

struct Splitter<'a> {
    joint: &'a Graph,
    scan: &'a Scan,
    /// Values that are collected for the way back.
    kept: Vec<Value>,
}

/// How a forward node reaches the way back.
enum Passage {
    /// It is an operand of both loops.
    Given,
    /// It is made again from its own operands: a view or a constant; anything, where only carries are recorded.
    Transparent,
    /// A pointwise expression.
    Pointwise,
    /// It has to be kept.
    Opaque,
}

impl Splitter<'_> {
    fn passage(&self, node: &Node) -> Passage {
        if let Some(LeafKind::Arg(k)) = node.leaf() {
            let is_carried = self.scan.roles.get(k) == Some(&Role::Carry);
            return if is_carried {
                Passage::Opaque
            } else {
                Passage::Given
            };
        }
        if matches!(node.op, Op::Fill(_)) {
            return Passage::Transparent;
        }
        let inputs: Vec<Type> = node.inputs.iter().map(|v| self.joint.ty(*v).clone()).collect();
        match node.op.rule().kernel(&inputs, &node.types) {
            Kernel::View(_) => Passage::Transparent,
            Kernel::Pointwise(_) if self.scan.recording == Recording::Carries => Passage::Transparent,
            Kernel::Pointwise(_) => Passage::Pointwise,
            Kernel::Call(_) | Kernel::Loop if self.scan.recording == Recording::Carries => {
                Passage::Transparent
            }
            Kernel::Leaf | Kernel::Call(_) | Kernel::Loop => Passage::Opaque,
        }
    }

    /// Decides what is kept and what is computed again.
    fn decide(&mut self, n_outputs: usize) {
        let mut cheap = Set::new();
        for (_, node) in self
            .joint
            .iter()
            .filter(|(_, node)| node.phase == Phase::Backward)
        {
            let is_pointwise = matches!(self.passage(node), Passage::Pointwise);
            for &input in &node.inputs {
                self.need(input, is_pointwise, &mut cheap);
            }
        }
        for output in &self.joint.outputs[n_outputs..] {
            self.need(output.value, false, &mut cheap);
        }
        for value in cheap {
            let mut length = 0;
            if !self.follows(value, &mut length) {
                self.kept.push(value);
            }
        }
    }

    /// Notes that the way back reads a value. What a pointwise operation reads may be computed again.
    fn need(&mut self, value: Value, by_pointwise: bool, cheap: &mut Set<Value>) {
        let node = self.joint.node(value.node);
        if node.phase == Phase::Backward {
            return;
        }
        match self.passage(node) {
            Passage::Given => {}
            Passage::Transparent => {
                for &input in &node.inputs {
                    self.need(input, by_pointwise, cheap);
                }
            }
            Passage::Pointwise if by_pointwise => {
                cheap.insert(value);
            }
            Passage::Pointwise | Passage::Opaque => {
                if !self.is_kept(value) {
                    self.kept.push(value);
                }
            }
        }
    }

    fn is_kept(&self, value: Value) -> bool {
        self.kept.contains(&value)
    }

    /// True where a value follows, by a few pointwise operations, from what the way back has.
    fn follows(&self, value: Value, length: &mut usize) -> bool {
        if self.is_kept(value) {
            return true;
        }
        let node = self.joint.node(value.node);
        match self.passage(node) {
            Passage::Given => true,
            Passage::Opaque => false,
            Passage::Transparent => node.inputs.iter().all(|v| self.follows(*v, length)),
            Passage::Pointwise => {
                *length += 1;
                *length <= MAX_LENGTH && node.inputs.iter().all(|v| self.follows(*v, length))
            }
        }
    }

    /// The body with what is kept among its outputs.
    fn forward(&self, n_outputs: usize, n_collected: usize) -> Graph {
        let mut graph = Graph::default();
        let mut moved: Vec<Option<NodeId>> = Vec::with_capacity(self.joint.len());
        for (_, node) in self.joint.iter() {
            moved.push((node.phase == Phase::Forward).then(|| {
                let inputs = node.inputs.iter().map(|v| follow(&moved, *v)).collect();
                graph.append(Node {
                    inputs,
                    ..node.clone()
                })
            }));
        }
        let own = self.joint.outputs[..n_outputs].iter().map(|o| Output {
            value: follow(&moved, o.value),
            ..*o
        });
        let kept = self.kept.iter().enumerate().map(|(k, value)| Output {
            kind: OutputKind::Collect(n_collected + k),
            value: follow(&moved, *value),
        });
        graph.outputs = own.chain(kept).collect();
        graph
    }

    /// The way back, and what its arguments are.
    fn backward(&self, n_outputs: usize) -> (Graph, Vec<Needed>) {
        let mut half = Half {
            splitter: self,
            graph: Graph::default(),
            args: Vec::new(),
            moved: Map::new(),
        };
        for (id, node) in self.joint.iter() {
            if node.phase == Phase::Backward && node.leaf().is_none() {
                half.copy(id);
            }
        }
        let outputs = self.joint.outputs[n_outputs..].iter().map(|o| Output {
            value: half.value(o.value),
            ..*o
        });
        half.graph.outputs = outputs.collect();
        (half.graph, half.args)
    }
}

fn follow(moved: &[Option<NodeId>], value: Value) -> Value {
    let node = moved[value.node.index()].expect("a body reads nothing of its way back");
    Value { node, ..value }
}

/// The way back as it is copied.
struct Half<'a> {
    splitter: &'a Splitter<'a>,
    graph: Graph,
    args: Vec<Needed>,
    moved: Map<Value, Value>,
}

impl Half<'_> {
    fn copy(&mut self, id: NodeId) -> NodeId {
        let node = self.splitter.joint.node(id).clone();
        let inputs = node.inputs.iter().map(|v| self.value(*v)).collect();
        let copy = self.graph.append(Node {
            inputs,
            phase: Phase::Backward,
            ..node.clone()
        });
        for output in 0..node.types.len() {
            self.moved
                .insert(Value { node: id, output }, Value { node: copy, output });
        }
        copy
    }

    /// A value as the way back has it.
    fn value(&mut self, value: Value) -> Value {
        if let Some(&found) = self.moved.get(&value) {
            return found;
        }
        let node = self.splitter.joint.node(value.node);
        if let Some(k) = self.splitter.kept.iter().position(|kept| *kept == value) {
            return self.arg(value, Needed::Kept(k));
        }
        if let Some(LeafKind::Arg(k)) = node.leaf() {
            return self.arg(value, Needed::Operand(k));
        }
        Value {
            node: self.copy(value.node),
            ..value
        }
    }

    fn arg(&mut self, value: Value, needed: Needed) -> Value {
        let joint = self.splitter.joint;
        let node = joint.node(value.node);
        let ty = joint.ty(value).clone();
        let leaf = Leaf {
            kind: LeafKind::Arg(self.args.len()),
            ty: ty.clone(),
        };
        self.args.push(needed);
        let id = self.graph.append(Node {
            op: leaf.into(),
            inputs: Vec::new(),
            types: vec![ty],
            phase: Phase::Backward,
            origin: node.origin.clone(),
        });
        self.moved.insert(value, Value::first(id));
        Value::first(id)
    }
}

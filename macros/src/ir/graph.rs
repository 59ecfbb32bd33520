//! The graph: an append-only list of typed nodes.

use std::rc::Rc;

use super::{InputId, NodeId, ParamId, StateId, Type, Value};
use crate::diag::SourceSpan;
use crate::ops::Op;
use crate::ops::leaf::LeafKind;

/// Which sweep a node belongs to.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Phase {
    /// Computes the function.
    Forward,
    /// Computes its gradient.
    Backward,
}

/// Where a node comes from: what errors point at and emitted code is named after.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Path of the layer that made the node (`blocks.attn`); empty in the function itself.
    pub scope: Rc<str>,
    /// The name that the user gave the value (`hidden`), if any.
    pub name: Option<Rc<str>>,
    /// The user's token.
    pub span: SourceSpan,
}

impl Origin {
    /// The origin of what the function body itself computes.
    pub fn root(span: SourceSpan) -> Self {
        Self {
            scope: "".into(),
            name: None,
            span,
        }
    }
}

/// An operation applied to earlier values. Nodes are equal if they compute the same, wherever they come from.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed, attributes included.
    pub op: Op,
    /// Operands.
    pub inputs: Vec<Value>,
    /// One type a result.
    pub types: Vec<Type>,
    /// Forward or backward.
    pub phase: Phase,
    /// Source position and name.
    pub origin: Origin,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op
            && self.inputs == other.inputs
            && self.types == other.types
            && self.phase == other.phase
    }
}

impl Node {
    /// What kind of leaf it is, if it is one.
    pub fn leaf(&self) -> Option<LeafKind> {
        match &self.op {
            Op::Leaf(leaf) => Some(leaf.kind),
            _ => None,
        }
    }

    /// The name in a trace: layer path and the user's name.
    pub fn trace_name(&self) -> Rc<str> {
        match (&self.origin.name, &*self.origin.scope) {
            (Some(name), "") => name.clone(),
            (Some(name), scope) => format!("{scope}.{name}").into(),
            (None, "") => self.op.rule().name().into(),
            (None, scope) => format!("{scope}.{}", self.op.rule().name()).into(),
        }
    }

    /// The name to show: the user's, or the layer's, or the operation's.
    pub fn display_name(&self) -> &str {
        match (&self.origin.name, &*self.origin.scope) {
            (Some(name), _) => name,
            (None, "") => self.op.rule().name(),
            (None, scope) => scope,
        }
    }
}

/// What a result of the graph is for.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum OutputKind {
    /// The `k`-th returned tensor of the function.
    Result(usize),
    /// The new value of a carried tensor, committed by the optimizer's step.
    State(StateId),
    /// The gradient of a parameter.
    ParamGrad(ParamId),
    /// The gradient of an argument marked `#[grad]`.
    InputGrad(InputId),
    /// In the body of a loop: the value of that carry in the next step.
    Next(usize),
    /// In the body of a loop: what the loop collects.
    Collect(usize),
}

/// A result of the graph.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What it is for.
    pub kind: OutputKind,
    /// The value.
    pub value: Value,
}

/// A list of nodes in evaluation order and what is wanted of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    /// The values that leave the graph.
    pub outputs: Vec<Output>,
}

impl Graph {
    /// Appends a node. Only [`Builder::push`](super::Builder::push) and passes that copy well-typed nodes call this.
    pub fn append(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId::new(self.nodes.len() - 1)
    }

    /// The node with that id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node with that id, to rename it.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.node(value.node).types[value.output]
    }

    /// All nodes, in evaluation order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes
            .iter()
            .enumerate()
            .map(|(k, node)| (NodeId::new(k), node))
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Gives the arguments of a body the numbers that `place` says; an argument without one must not be read any more.
    pub fn renumber_args(&mut self, place: &dyn Fn(usize) -> Option<usize>) {
        for node in &mut self.nodes {
            if let Op::Leaf(leaf) = &mut node.op
                && let LeafKind::Arg(k) = &mut leaf.kind
            {
                *k = place(*k).unwrap_or(usize::MAX);
            }
        }
    }

    /// For every node, the nodes that read one of its results (a node that reads two stands there twice).
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.iter() {
            for input in &node.inputs {
                users[input.node.index()].push(id);
            }
        }
        users
    }
}

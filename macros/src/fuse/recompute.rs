//! Recomputation: cheap pointwise values that only backward reads are computed again there.
//!
//! A forward value that exists only because backward reads it costs a store, a load, and memory between the two
//! sweeps. Where it follows by a few pointwise operations from values that are stored anyway (arguments, parameters, results
//! of calls, pointwise values that calls read), its expression is copied into the backward sweep, where it joins the groups
//! that use it.

use crate::map::Map;

use crate::ir::{Graph, Kernel, Node, NodeId, Output, Phase, Type, Value};
use crate::ops::Op;

use super::epilogue::Epilogues;

/// The longest expression, in pointwise operations, that is computed twice rather than recorded.
const MAX_LENGTH: usize = 16;

/// The graph with cheap values recomputed in the backward sweep.
pub(super) fn recompute(graph: &Graph, epilogues: &Epilogues) -> Graph {
    let stored = stored_anyway(graph, epilogues);
    let mut copier = Copier {
        graph,
        stored,
        out: Graph::default(),
        moved: Vec::new(),
        again: Map::new(),
    };
    for (_, node) in graph.iter() {
        copier.copy(node);
    }
    let moved = |o: &Output| Output {
        value: copier.moved(o.value),
        ..*o
    };
    let outputs = graph.outputs.iter().map(moved).collect();
    copier.out.outputs = outputs;
    copier.out
}

/// The nodes whose results lie in memory whatever backward does.
fn stored_anyway(graph: &Graph, epilogues: &Epilogues) -> Vec<bool> {
    let is_pointwise: Vec<bool> = graph
        .iter()
        .map(|(_, node)| {
            let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
            matches!(node.op.rule().kernel(&inputs, &node.types), Kernel::Pointwise(_))
        })
        .collect();
    let mut stored: Vec<bool> = graph
        .iter()
        .map(|(id, _)| !is_pointwise[id.index()] || epilogues.stores(id) || epilogues.adds(id))
        .collect();
    for (id, node) in graph.iter() {
        if node.phase == Phase::Forward && !is_pointwise[id.index()] {
            node.inputs.iter().for_each(|v| stored[v.node.index()] = true);
        }
    }
    graph
        .outputs
        .iter()
        .for_each(|o| stored[o.value.node.index()] = true);
    stored
}

struct Copier<'a> {
    graph: &'a Graph,
    stored: Vec<bool>,
    out: Graph,
    moved: Vec<NodeId>,
    /// Forward nodes that were copied into the backward sweep.
    again: Map<NodeId, NodeId>,
}

impl Copier<'_> {
    fn moved(&self, value: Value) -> Value {
        Value {
            node: self.moved[value.node.index()],
            output: value.output,
        }
    }

    fn copy(&mut self, node: &Node) {
        let inputs = node.inputs.iter().map(|&input| {
            let is_forward = self.graph.node(input.node).phase == Phase::Forward;
            if node.phase == Phase::Backward && is_forward && self.is_cheap(input.node) {
                self.again(input)
            } else {
                self.moved(input)
            }
        });
        let inputs = inputs.collect::<Vec<_>>();
        let id = self.out.append(Node {
            inputs,
            ..node.clone()
        });
        self.moved.push(id);
    }

    /// True where a forward pointwise value is not stored for another reason and its expression is short.
    fn is_cheap(&self, id: NodeId) -> bool {
        let mut length = 0;
        !self.stored[id.index()] && self.measure(id, &mut length)
    }

    fn measure(&self, id: NodeId, length: &mut usize) -> bool {
        let node = self.graph.node(id);
        if self.stored[id.index()] || matches!(node.op, Op::Fill(_)) {
            return true;
        }
        *length += 1;
        *length <= MAX_LENGTH && node.inputs.iter().all(|input| self.measure(input.node, length))
    }

    /// The same value, computed in the backward sweep.
    fn again(&mut self, value: Value) -> Value {
        if self.stored[value.node.index()] {
            return self.moved(value);
        }
        if let Some(&node) = self.again.get(&value.node) {
            return Value { node, ..value };
        }
        let node = self.graph.node(value.node).clone();
        let inputs = node.inputs.iter().map(|&input| self.again(input)).collect();
        let id = self.out.append(Node {
            inputs,
            phase: Phase::Backward,
            ..node
        });
        self.again.insert(value.node, id);
        Value { node: id, ..value }
    }
}

//! Pointwise groups: operations over one shape that run as a single pass over memory.
//!
//! Nodes are visited last to first. A node joins the group of a node that reads it, if the two have one shape and one
//! phase and if nothing outside the group lies on a path from the one to the other (the group could then not run in one
//! piece). Constant tensors belong to no group: they are literals inside each.

use crate::map::{Map, Set};
use std::rc::Rc;

use crate::ir::{Body, Graph, Kernel as OpKernel, Node, NodeId, Scalar, Type, Value};
use crate::ops::Op;
use crate::plan::{Group, Kernel, Line, LineCode, Operand, Task, Written};
use crate::shape::Dim;

use super::epilogue::Epilogues;
use super::flatten::Flat;
use super::reads::Reads;

/// The most operands of one group: those that the kernel takes of one kind.
const MAX_OPERANDS: usize = 16;

/// The most results of one group, likewise.
const MAX_RESULTS: usize = 8;

/// A partition of the pointwise nodes.
pub(super) struct Groups {
    members: Vec<Set<NodeId>>,
}

impl Groups {
    /// Every pointwise node alone.
    pub(super) fn single(graph: &Graph) -> Self {
        let alone = graph
            .iter()
            .filter(|(_, node)| is_pointwise(graph, node))
            .map(|(id, _)| Set::from([id]));
        Self {
            members: alone.collect(),
        }
    }

    /// As few groups as the greedy walk finds.
    pub(super) fn find(flat: &Flat, epilogues: &Epilogues, reads: &Reads) -> Self {
        let graph = &flat.graph;
        let mut finder = Finder {
            flat,
            graph,
            users: graph.users(),
            group_of: Map::new(),
            members: Vec::new(),
        };
        for (id, node) in graph.iter().rev() {
            let is_free =
                is_pointwise(graph, node) && !epilogues.absorbs(id) && !matches!(node.op, Op::Fill(_));
            if is_free {
                finder.place(id, node, reads);
            } else if matches!(node.op, Op::Fill(_)) && finder.is_stored_fill(id) {
                finder.open(id);
            }
        }
        Self {
            members: finder.members,
        }
    }

    /// The groups, each with its nodes in evaluation order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Set<NodeId>> {
        self.members.iter().filter(|members| !members.is_empty())
    }
}

fn is_pointwise(graph: &Graph, node: &Node) -> bool {
    body(graph, node).is_some()
}

fn body(graph: &Graph, node: &Node) -> Option<Body> {
    let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
    match node.op.rule().kernel(&inputs, &node.types) {
        OpKernel::Pointwise(body) => Some(body),
        _ => None,
    }
}

struct Finder<'a> {
    flat: &'a Flat,
    graph: &'a Graph,
    users: Vec<Vec<NodeId>>,
    group_of: Map<NodeId, usize>,
    members: Vec<Set<NodeId>>,
}

impl Finder<'_> {
    fn place(&mut self, id: NodeId, node: &Node, reads: &Reads) {
        let mut tried = Set::new();
        for user in self.users[id.index()].clone() {
            let Some(&group) = self.group_of.get(&user) else {
                continue;
            };
            if tried.insert(group) && self.may_join(id, node, group, reads) {
                self.members[group].insert(id);
                self.group_of.insert(id, group);
                return;
            }
        }
        self.open(id);
    }

    fn open(&mut self, id: NodeId) {
        self.group_of.insert(id, self.members.len());
        self.members.push(Set::from([id]));
    }

    /// A constant tensor is stored only where something other than a pointwise node reads it.
    fn is_stored_fill(&self, id: NodeId) -> bool {
        let is_output = self.graph.outputs.iter().any(|o| o.value.node == id);
        is_output
            || self.users[id.index()]
                .iter()
                .any(|&user| !is_pointwise(self.graph, self.graph.node(user)))
    }

    fn may_join(&self, id: NodeId, node: &Node, group: usize, reads: &Reads) -> bool {
        let members = &self.members[group];
        let first = *members.first().expect("a group has members");
        let region = |id: NodeId| self.flat.region_of[id.index()];
        if region(id) != region(first) {
            return false;
        }
        let first = self.graph.node(first);
        node.phase == first.phase
            && node.types[0].shape == first.types[0].shape
            && !self.leads_back(id, group)
            && self.has_room(id, members, reads)
    }

    /// True where a path from `id` to the group leads through something outside it.
    fn leads_back(&self, id: NodeId, group: usize) -> bool {
        let outside = |n: &NodeId| self.group_of.get(n) != Some(&group);
        let mut stack: Vec<NodeId> = self.users[id.index()].iter().copied().filter(outside).collect();
        let mut seen = Set::new();
        while let Some(n) = stack.pop() {
            if !seen.insert(n) {
                continue;
            }
            // Whatever runs together with `n` runs after `id` as well.
            let region = self.flat.region_of[id.index()];
            let together = match (self.flat.loop_in(region, n), self.group_of.get(&n)) {
                (Some(inner), _) => self.flat.nodes_of(inner),
                (None, Some(&other)) => self.members[other].iter().copied().collect(),
                (None, None) => vec![n],
            };
            seen.extend(together.iter().copied());
            for user in together.iter().flat_map(|m| &self.users[m.index()]) {
                if self.group_of.get(user) == Some(&group) {
                    return true;
                }
                stack.push(*user);
            }
        }
        false
    }

    /// Whether the group and `id` together read and write no more than the kernel takes.
    fn has_room(&self, id: NodeId, members: &Set<NodeId>, reads: &Reads) -> bool {
        let inside = |n: &NodeId| *n == id || members.contains(n);
        // One stored value that is read in two layouts is two operands.
        let mut operands: Vec<Operand> = Vec::new();
        let mut n_results = 0;
        for member in members.iter().chain([&id]) {
            for &input in &self.graph.node(*member).inputs {
                if inside(&input.node) || matches!(self.graph.node(input.node).op, Op::Fill(_)) {
                    continue;
                }
                let operand = reads.operand(self.graph, input);
                if !operands.contains(&operand) {
                    operands.push(operand);
                }
            }
            let is_read = self.users[member.index()].iter().any(|user| !inside(user));
            let is_output = self.graph.outputs.iter().any(|o| o.value.node == *member);
            n_results += usize::from(is_read || is_output);
        }
        operands.len() <= MAX_OPERANDS && n_results <= MAX_RESULTS
    }
}

/// The kernel of a group, and its place in the graph; `None` where nobody reads it.
pub(super) fn kernel(
    graph: &Graph,
    reads: &Reads,
    epilogues: &Epilogues,
    members: &Set<NodeId>,
) -> Option<(usize, Kernel)> {
    let mut body = Scalarizer {
        graph,
        reads,
        epilogues,
        lines: Vec::new(),
        line_of: Map::new(),
        scalars: Vec::new(),
        loads: Vec::new(),
        operands: Vec::new(),
    };
    for &id in members {
        body.line(Value::first(id), members);
    }
    let (mut writes, mut results) = (Vec::new(), Vec::new());
    for &id in members {
        if is_read_outside(graph, id, members) {
            let node = graph.node(id);
            let name: Rc<str> = node.display_name().into();
            writes.push(Written {
                value: Value::first(id),
                ty: node.types[0].clone(),
                name,
            });
            results.push(body.line_of[&Value::first(id)]);
        }
    }
    let last = *members.last()?;
    let first = graph.node(last);
    if writes.is_empty() {
        return None;
    }
    let group = Group {
        shape: first.types[0].shape.clone(),
        lines: body.lines,
        results,
        scalars: body.scalars,
        loads: body.loads,
    };
    let flops = members.iter().map(|&id| {
        let node = graph.node(id);
        node.op.rule().flops(&[], &node.types)
    });
    let kernel = Kernel {
        title: title(graph, members),
        reads: body.operands,
        writes,
        scratch: Vec::new(),
        phase: first.phase,
        flops: Dim::sum(flops.collect::<Vec<_>>()),
        task: Task::Group(group),
    };
    Some((last.index(), kernel))
}

fn title(graph: &Graph, members: &Set<NodeId>) -> String {
    let names: Vec<&str> = members
        .iter()
        .map(|&id| graph.node(id).op.rule().name())
        .collect();
    names.join(" + ")
}

fn is_read_outside(graph: &Graph, id: NodeId, members: &Set<NodeId>) -> bool {
    let by_output = graph.outputs.iter().any(|o| o.value.node == id);
    by_output
        || graph
            .iter()
            .any(|(user, node)| !members.contains(&user) && node.inputs.iter().any(|v| v.node == id))
}

/// Turns members of a group into lines of scalar code.
struct Scalarizer<'a> {
    graph: &'a Graph,
    reads: &'a Reads,
    epilogues: &'a Epilogues,
    lines: Vec<Line>,
    line_of: Map<Value, usize>,
    scalars: Vec<Scalar>,
    loads: Vec<usize>,
    operands: Vec<Operand>,
}

impl Scalarizer<'_> {
    fn line(&mut self, value: Value, members: &Set<NodeId>) -> usize {
        if let Some(&line) = self.line_of.get(&value) {
            return line;
        }
        let node = self.graph.node(value.node);
        let is_fill = matches!(node.op, Op::Fill(_));
        let code = match body(self.graph, node) {
            Some(Body::Row(row)) if members.contains(&value.node) => {
                let operands = node
                    .inputs
                    .iter()
                    .map(|input| self.line(*input, members))
                    .collect();
                LineCode::Row(row, operands)
            }
            Some(Body::Immediate(scalar)) if is_fill => LineCode::Scalar(self.scalar(scalar)),
            _ => LineCode::Load(self.load(value)),
        };
        let source = match &code {
            LineCode::Load(k) => self.graph.node(self.operands[*k].value.node),
            _ => node,
        };
        let (dtype, name) = (self.graph.ty(value).dtype, source.display_name().into());
        if let LineCode::Load(k) = code
            && let Some(&line) = self.loads.get(k)
        {
            self.line_of.insert(value, line);
            return line;
        }
        if matches!(code, LineCode::Load(_)) {
            self.loads.push(self.lines.len());
        }
        self.lines.push(Line { name, dtype, code });
        self.line_of.insert(value, self.lines.len() - 1);
        self.lines.len() - 1
    }

    fn scalar(&mut self, scalar: Scalar) -> usize {
        self.scalars.iter().position(|s| *s == scalar).unwrap_or_else(|| {
            self.scalars.push(scalar);
            self.scalars.len() - 1
        })
    }

    /// The operand of a load; equal readings of one stored value are one operand.
    fn load(&mut self, value: Value) -> usize {
        debug_assert!(!self.epilogues.absorbs(value.node) || self.epilogues.stores(value.node));
        let operand = self.reads.operand(self.graph, value);
        self.operands
            .iter()
            .position(|o| *o == operand)
            .unwrap_or_else(|| {
                self.operands.push(operand);
                self.operands.len() - 1
            })
    }
}

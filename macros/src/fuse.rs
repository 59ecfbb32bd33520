//! Fusion: from a graph of operations to a list of kernels.
//!
//! 1. [`epilogue`]: a bias and an activation that follow a matmul or convolution move into its call.
//! 2. [`recompute`]: cheap pointwise values that only backward would read are computed again there instead of recorded.
//! 3. [`reads`]: views become layouts of stored values; what cannot be read in place is copied.
//! 4. [`group`]: pointwise operations over one shape become groups, each a single pass over memory.
//! 5. The kernels are ordered by their dependencies.
//!
//! The numbers that come out are those of the unfused graph: fusion changes where values lie, not how they are computed.
//! [`unfused`] makes a kernel of every operation, for tracing.

mod epilogue;
mod group;
mod reads;
mod recompute;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::ir::{
    Call, CallArg, DType, Graph, Kernel as OpKernel, Node, NodeId, Output, OutputKind, Phase, Type, Value,
};
use crate::ops::leaf::LeafKind;
use crate::plan::{Epilogue, Fused, Kernel, Operand, Place, Task, Written};
use crate::shape::Dim;

use epilogue::Epilogues;
use group::Groups;
use reads::Reads;

/// Kernels of a graph, fused.
pub fn fuse(graph: &Graph) -> Fused {
    let graph = recompute::recompute(graph, &Epilogues::find(graph));
    let epilogues = Epilogues::find(&graph);
    let reads = Reads::resolve(&graph);
    let groups = Groups::find(&graph, &epilogues, &reads);
    Fuser {
        graph: &graph,
        epilogues,
        reads,
        groups,
    }
    .run()
}

/// Kernels of a graph, one an operation, so that every value is stored.
pub fn unfused(graph: &Graph) -> Fused {
    let epilogues = Epilogues::default();
    let reads = Reads::resolve(graph);
    let groups = Groups::single(graph);
    Fuser {
        graph,
        epilogues,
        reads,
        groups,
    }
    .run()
}

struct Fuser<'a> {
    graph: &'a Graph,
    epilogues: Epilogues,
    reads: Reads,
    groups: Groups,
}

/// A kernel and the node whose place in the graph it takes.
struct Placed {
    at: usize,
    kernel: Kernel,
}

impl Fuser<'_> {
    fn run(self) -> Fused {
        let mut placed = Vec::new();
        for (id, node) in self.graph.iter() {
            if self.epilogues.absorbs(id) {
                continue;
            }
            let inputs: Vec<Type> = node.inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
            if let OpKernel::Call(call) = node.op.rule().kernel(&inputs, &node.types) {
                self.call(id, node, call, &mut placed);
            } else if self.reads.is_copied(id) {
                placed.push(self.view_copy(id, node));
            }
        }
        for group in self.groups.iter() {
            placed.extend(
                group::kernel(self.graph, &self.reads, &self.epilogues, group)
                    .map(|(at, kernel)| Placed { at, kernel }),
            );
        }
        let (outputs, finals) = self.outputs(&mut placed);
        let output_types = outputs.iter().map(|o| self.output_type(o, &finals)).collect();
        Fused {
            kernels: order(placed),
            leaves: self.leaves(),
            leaf_types: self.leaf_types(),
            outputs,
            output_types,
            named: self.named(),
        }
    }

    /// The call of a structured operation, preceded by copies of operands that it cannot read as they lie.
    fn call(&self, id: NodeId, node: &Node, call: Call, placed: &mut Vec<Placed>) {
        let epilogue = self.epilogues.of(id);
        let mut reads = Vec::new();
        for (k, &input) in node.inputs.iter().enumerate() {
            let mut operand = self.reads.operand(self.graph, input);
            let is_strided = call.args.iter().any(|arg| reads_strided(arg, k));
            if !is_strided && !operand.layout.is_contiguous() {
                let copy = self.reads.copy_of(input);
                if !placed.iter().any(|p: &Placed| p.kernel.writes[0].value == copy) {
                    placed.push(self.copy(id.index(), node.phase, operand, copy, input));
                }
                operand = reads::whole(copy, self.graph.ty(input));
            }
            reads.push(operand);
        }
        let mut title = node.op.rule().name().to_owned();
        let bias = epilogue.and_then(|e| e.bias).map(|bias| {
            title.push_str(" + bias");
            reads.push(self.reads.operand(self.graph, bias));
            reads.len() - 1
        });
        let activation = epilogue.and_then(|e| e.activation);
        if let Some(name) = activation {
            title.push_str(" + ");
            title.push_str(&name.to_lowercase());
        }
        let last = epilogue.map_or(Value::first(id), |e| e.result);
        let mut writes: Vec<Written> = self.written(id, node);
        writes[0] = Written {
            value: last,
            ..self.written(last.node, self.graph.node(last.node))[0].clone()
        };
        let types: Vec<Type> = node.inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let flops = node.op.rule().flops(&types, &node.types);
        let scratch = call.scratch.clone();
        let task = Task::Call(Box::new(call), Epilogue { bias, activation });
        placed.push(Placed {
            at: id.index(),
            kernel: Kernel {
                task,
                reads,
                writes,
                scratch,
                phase: node.phase,
                flops,
                title,
            },
        });
    }

    fn written(&self, id: NodeId, node: &Node) -> Vec<Written> {
        let name: Rc<str> = node.display_name().into();
        let result = |(output, ty): (usize, &Type)| Written {
            value: Value { node: id, output },
            ty: ty.clone(),
            name: if output == 0 {
                name.clone()
            } else {
                format!("{name}_{output}").into()
            },
        };
        node.types.iter().enumerate().map(result).collect()
    }

    /// A view whose elements have to be laid out anew.
    fn view_copy(&self, id: NodeId, node: &Node) -> Placed {
        let value = Value::first(id);
        let from = self.reads.source_of_copy(self.graph, id);
        Placed {
            at: id.index(),
            kernel: copy_kernel(from, value, &node.types[0], node),
        }
    }

    fn copy(&self, at: usize, phase: Phase, from: Operand, to: Value, of: Value) -> Placed {
        let node = self.graph.node(of.node);
        let kernel = copy_kernel(from, to, self.graph.ty(of), node);
        Placed {
            at,
            kernel: Kernel {
                phase: kernel.phase.max(phase),
                ..kernel
            },
        }
    }

    /// The outputs, each a value that some kernel stores as a whole; leaves, strided views and values that two outputs share
    /// are copied. The second result maps a copy to what it is a copy of.
    fn outputs(&self, placed: &mut Vec<Placed>) -> (Vec<Output>, BTreeMap<Value, Value>) {
        let mut taken = BTreeSet::new();
        let mut finals = BTreeMap::new();
        let mut outputs = Vec::new();
        for (k, output) in self.graph.outputs.iter().enumerate() {
            let operand = self.reads.operand(self.graph, output.value);
            let is_leaf = self.graph.node(operand.value.node).leaf().is_some();
            // The beginning of a larger value is contiguous too, but a gradient has room for its own elements only.
            let is_all = Dim::product(&operand.layout.shape) == self.graph.ty(operand.value).numel();
            let fits = operand.layout.is_whole() && is_all && !is_leaf && taken.insert(operand.value);
            let value = if fits {
                operand.value
            } else {
                // Copies for outputs get ids of their own behind all nodes of the graph.
                let copy = Value {
                    node: NodeId::new(self.graph.len() + k),
                    output: 0,
                };
                let phase = match output.kind {
                    OutputKind::Result(_) | OutputKind::State(_) => Phase::Forward,
                    OutputKind::Next(_) | OutputKind::Collect(_) => {
                        unreachable!("only the body of a loop has outputs of that kind")
                    }
                    OutputKind::ParamGrad(_) | OutputKind::InputGrad(_) => Phase::Backward,
                };
                placed.push(self.copy(self.graph.len() + k, phase, operand, copy, output.value));
                copy
            };
            finals.insert(value, output.value);
            outputs.push(Output { value, ..*output });
        }
        (outputs, finals)
    }

    fn output_type(&self, output: &Output, finals: &BTreeMap<Value, Value>) -> Type {
        self.graph.ty(finals[&output.value]).clone()
    }

    fn leaves(&self) -> BTreeMap<Value, Place> {
        let place = |node: &Node| match node.leaf()? {
            LeafKind::Input(id) => Some(Place::Input(id.index())),
            LeafKind::Param(id) => Some(Place::Param(id.index())),
            LeafKind::State(id) => Some(Place::State(id.index())),
            LeafKind::Arg(_) | LeafKind::Poison => None,
        };
        self.graph
            .iter()
            .filter_map(|(id, node)| Some((Value::first(id), place(node)?)))
            .collect()
    }

    fn leaf_types(&self) -> BTreeMap<Value, Type> {
        let leaves = self.graph.iter().filter(|(_, node)| node.leaf().is_some());
        leaves
            .map(|(id, node)| (Value::first(id), node.types[0].clone()))
            .collect()
    }

    /// Values that have a name of the user's or stand for a whole layer, where they are stored as they are.
    fn named(&self) -> Vec<(Rc<str>, Value, Type)> {
        let mut named: Vec<(Rc<str>, Value, Type)> = Vec::new();
        for (id, node) in self.graph.iter() {
            let operand = self.reads.operand(self.graph, Value::first(id));
            let is_stored = operand.layout.is_whole() && node.leaf().is_none();
            if is_stored && node.phase == Phase::Forward {
                named.push((node.trace_name(), operand.value, node.types[0].clone()));
            }
        }
        named
    }
}

/// True where argument `arg` (or a part of it) reads input `k` in any layout.
fn reads_strided(arg: &CallArg, k: usize) -> bool {
    match arg {
        CallArg::InView(j) => *j == k,
        CallArg::Struct(_, fields) => fields.iter().any(|(_, arg)| reads_strided(arg, k)),
        CallArg::Present(arg) => reads_strided(arg, k),
        _ => false,
    }
}

fn copy_kernel(from: Operand, to: Value, ty: &Type, node: &Node) -> Kernel {
    Kernel {
        task: Task::Copy,
        reads: vec![from],
        writes: vec![Written {
            value: to,
            ty: ty.clone(),
            name: node.display_name().into(),
        }],
        scratch: Vec::<(DType, Dim)>::new(),
        phase: node.phase,
        flops: Dim::zero(),
        title: "copy".into(),
    }
}

/// Kernels in an order in which every kernel follows those whose values it reads; among those that could run, the one whose
/// last operation stands earliest in the graph, forward before backward.
fn order(placed: Vec<Placed>) -> Vec<Kernel> {
    let mut writer = BTreeMap::new();
    for (k, p) in placed.iter().enumerate() {
        for written in &p.kernel.writes {
            writer.insert(written.value, k);
        }
    }
    let mut waiting: Vec<BTreeSet<usize>> = Vec::new();
    let mut followers = vec![Vec::new(); placed.len()];
    for (k, p) in placed.iter().enumerate() {
        let needs: BTreeSet<usize> = p
            .kernel
            .reads
            .iter()
            .filter_map(|r| writer.get(&r.value).copied())
            .collect();
        needs.iter().for_each(|&n| followers[n].push(k));
        waiting.push(needs);
    }
    let priority = |k: usize, placed: &[Option<Placed>]| {
        placed[k]
            .as_ref()
            .map(|p| (p.kernel.phase, p.at, k))
            .expect("a kernel is placed once")
    };
    let mut placed: Vec<Option<Placed>> = placed.into_iter().map(Some).collect();
    let ready = (0..placed.len()).filter(|&k| waiting[k].is_empty());
    let mut ready: BTreeSet<_> = ready.map(|k| priority(k, &placed)).collect();
    let mut ordered = Vec::new();
    while let Some((_, _, k)) = ready.pop_first() {
        for &follower in &followers[k] {
            waiting[follower].remove(&k);
            if waiting[follower].is_empty() {
                ready.insert(priority(follower, &placed));
            }
        }
        ordered.push(placed[k].take().expect("a kernel is placed once").kernel);
    }
    assert!(
        placed.iter().all(Option::is_none),
        "fusion made a cycle of kernels"
    );
    ordered
}

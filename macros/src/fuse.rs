//! Fusion: from a graph of operations to a list of kernels.
//!
//! 1. [`epilogue`]: a bias, a residual and an activation that follow a matmul or convolution move into its call.
//! 2. [`recompute`]: cheap pointwise values that only backward would read are computed again there instead of recorded.
//! 3. [`flatten`]: loops are laid open, so that what follows sees one list of operations.
//! 4. [`reads`]: views become layouts of stored values; what cannot be read in place is copied.
//! 5. [`group`]: pointwise operations over one shape become groups, each a single pass over memory.
//! 6. [`pack`]: what every step of a loop multiplies by is packed before the loop, what every call does for as long as parameters stay.
//! 7. [`order`]: the kernels are ordered by their dependencies, those of a loop one after the other.
//!
//! The numbers that come out are those of the unfused graph: fusion changes where values lie, not how they are computed.
//! [`unfused`] makes a kernel of every operation, for tracing.

mod epilogue;
mod flatten;
mod group;
mod order;
mod pack;
mod reads;
mod recompute;

use crate::map::{Map, Set};
use std::rc::Rc;

use crate::ir::images::{first_of_last, last_of_first};
use crate::ir::{
    Call, CallArg, DType, Graph, Kernel as OpKernel, Node, NodeId, Output, OutputKind, PackForm, Phase,
    SMALL_FACTOR, Type, Value, ViewMap,
};
use crate::ops::Op;
use crate::ops::leaf::LeafKind;
use crate::ops::view::View;
use crate::plan::{Buffer, Epilogue, Fused, Kernel, Leaf, Named, Operand, Place, Task, Within, Written};
use crate::shape::Dim;

use epilogue::Epilogues;
use flatten::{Flat, Region, Stays, Store, flatten};
use group::Groups;
use order::{Ordered, order};
use pack::Packed;
use reads::Reads;

/// How calls of a function follow one another.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Calls {
    /// Parameters are others in the next one, as when training.
    Apart,
    /// Many see the same parameters: what they give may stay in the workspace.
    Repeated {
        /// Elements of the smallest factor for which that pays.
        least: i64,
    },
}

impl Calls {
    /// Many with the same parameters, where factors stay packed that are larger than those of the runtime's small products.
    pub const REPEATED: Self = Self::Repeated {
        least: SMALL_FACTOR + 1,
    };
}

/// Kernels of a graph, fused.
pub fn fuse(graph: &Graph, calls: Calls) -> Fused {
    let flat = flatten(&recompute::recompute(graph, &Epilogues::find_in(graph)));
    let epilogues = Epilogues::find(&flat);
    let reads = Reads::resolve(&flat, Keep::Results);
    let groups = Groups::find(&flat, &epilogues, &reads);
    Fuser::new(&flat, epilogues, reads, groups, (Keep::Results, calls)).run()
}

/// Kernels of a graph, one an operation, so that every value is stored, of every step of a loop.
pub fn unfused(graph: &Graph) -> Fused {
    let flat = flatten(graph);
    let reads = Reads::resolve(&flat, Keep::Everything);
    let groups = Groups::single(&flat.graph);
    let keep = (Keep::Everything, Calls::Apart);
    Fuser::new(&flat, Epilogues::default(), reads, groups, keep).run()
}

/// What is there when all kernels have run.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Keep {
    /// Results, and what the caller asked for.
    Results,
    /// Every value, of every step of a loop.
    Everything,
}

struct Fuser<'a> {
    flat: &'a Flat,
    graph: &'a Graph,
    epilogues: Epilogues,
    reads: Reads,
    groups: Groups,
    keep: Keep,
    calls: Calls,
    placed: Vec<Placed>,
    within: Map<Value, Within>,
    /// For every loop, values that it needs besides those that its kernels read.
    needs: Vec<Vec<Value>>,
    /// Factors that are packed before loops and calls.
    packs: Vec<Packed>,
    /// Values whose place is decided.
    taken: Set<Value>,
    /// Buffers that no loop has by itself: every step's value, for a trace.
    kept: Vec<(Value, Type, usize)>,
    n_copies: usize,
}

/// A kernel, the node whose place in the list it takes, and the loop that it stands in.
struct Placed {
    at: usize,
    region: usize,
    kernel: Kernel,
}

impl<'a> Fuser<'a> {
    fn new(
        flat: &'a Flat,
        epilogues: Epilogues,
        reads: Reads,
        groups: Groups,
        (keep, calls): (Keep, Calls),
    ) -> Self {
        let windows = flat.windows.iter();
        let windows = windows.map(|(window, of, offset)| {
            let (of, offset) = (*of, offset.clone());
            (*window, Within { of, offset })
        });
        Self {
            flat,
            graph: &flat.graph,
            epilogues,
            reads,
            groups,
            keep,
            calls,
            placed: Vec::new(),
            within: windows.collect(),
            needs: vec![Vec::new(); flat.regions.len()],
            packs: Vec::new(),
            taken: Set::new(),
            kept: Vec::new(),
            n_copies: 0,
        }
    }

    fn run(mut self) -> Fused {
        for (id, node) in self.graph.iter() {
            if self.epilogues.absorbs(id) {
                continue;
            }
            let inputs: Vec<Type> = node.inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
            if let OpKernel::Call(call) = node.op.rule().kernel(&inputs, &node.types) {
                self.call(id, node, call);
            } else if self.reads.is_copied(id) {
                self.view_copy(id, node);
            }
        }
        for group in self.groups.iter() {
            let region = group.first().map_or(0, |id| self.flat.region_of[id.index()]);
            let kernel = group::kernel(self.graph, &self.reads, &self.epilogues, group);
            self.placed
                .extend(kernel.map(|(at, kernel)| Placed { at, region, kernel }));
        }
        let (outputs, finals) = self.outputs();
        for store in &self.flat.stores {
            self.store(store);
        }
        if self.keep == Keep::Everything {
            self.keep_every_step();
        }
        let output_types = outputs.iter().map(|o| self.output_type(o, &finals)).collect();
        let (leaves, named) = (self.leaves(), self.named());
        let ordered = order(self.flat, std::mem::take(&mut self.placed), &self.needs);
        Fused {
            buffers: self.buffers(&ordered),
            kernels: ordered.kernels,
            loops: ordered.loops,
            within: self.within,
            leaves,
            outputs,
            output_types,
            named,
        }
    }

    /// What an operation reads, with copies before it of operands that it cannot read as they lie.
    fn operands(&mut self, id: NodeId, node: &Node, call: &Call) -> Vec<Operand> {
        let mut reads = Vec::new();
        for (k, &input) in node.inputs.iter().enumerate() {
            let mut operand = self.reads.operand(self.graph, input);
            let is_strided = call.args.iter().any(|arg| reads_strided(arg, k));
            if !is_strided && !operand.layout.is_contiguous() {
                let copy = self.reads.copy_of(input);
                if !self.placed.iter().any(|p| p.kernel.writes[0].value == copy) {
                    let region = self.flat.region_of[input.node.index()];
                    let copied = self.copy((id.index(), region), node.phase, operand, copy, input);
                    self.placed.push(copied);
                }
                operand = reads::whole(copy, self.graph.ty(input));
            }
            reads.push(operand);
        }
        reads
    }

    /// The call of a structured operation, with what fusion has moved into it.
    fn call(&mut self, id: NodeId, node: &Node, mut call: Call) {
        let epilogue = self.epilogues.of(id).copied();
        let mut reads = self.operands(id, node, &call);
        self.interleave(node, &mut call.args);
        self.pack(id, &mut call.args, &mut reads);
        let mut title = node.op.rule().name().to_owned();
        let bias = epilogue.and_then(|e| e.bias).map(|bias| {
            title.push_str(" + bias");
            reads.push(self.reads.operand(self.graph, bias));
            reads.len() - 1
        });
        let residual = epilogue.and_then(|e| e.residual).map(|residual| {
            title.push_str(" + add");
            reads.push(self.reads.operand(self.graph, residual));
            reads.len() - 1
        });
        let activation = epilogue.and_then(|e| e.activation);
        if let Some(name) = activation {
            title.push_str(" + ");
            title.push_str(&name.to_lowercase());
        }
        let types =
            |node: &Node| -> Vec<Type> { node.inputs.iter().map(|v| self.graph.ty(*v).clone()).collect() };
        let mut flops = node.op.rule().flops(&types(node), &node.types);
        if let Some((pool, function)) = epilogue.and_then(|e| e.pooling) {
            let (node, sizes) = (self.graph.node(pool), epilogue::pooled_at_once(self.graph, pool));
            title.push_str(" + ");
            title.push_str(node.op.rule().name());
            flops = flops + node.op.rule().flops(&types(node), &node.types);
            call.function = function;
            call.args.extend(sizes);
        }
        let last = epilogue.map_or(Value::first(id), |e| e.result);
        let mut writes: Vec<Written> = self.written(id, node);
        writes[0] = Written {
            value: last,
            ..self.written(last.node, self.graph.node(last.node))[0].clone()
        };
        let scratch = call.scratch.clone();
        let epilogue = Epilogue {
            bias,
            residual,
            activation,
        };
        let task = Task::Call(Box::new(call), epilogue);
        self.placed.push(Placed {
            at: id.index(),
            region: self.flat.region_of[id.index()],
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
    fn view_copy(&mut self, id: NodeId, node: &Node) {
        let value = Value::first(id);
        let from = self.reads.source_of_copy(self.graph, id);
        self.placed.push(Placed {
            at: id.index(),
            region: self.flat.region_of[id.index()],
            kernel: copy_kernel(from, value, &node.types[0], node),
        });
    }

    fn copy(
        &self,
        (at, region): (usize, usize),
        phase: Phase,
        from: Operand,
        to: Value,
        of: Value,
    ) -> Placed {
        let node = self.graph.node(of.node);
        let kernel = copy_kernel(from, to, self.graph.ty(of), node);
        Placed {
            at,
            region,
            kernel: Kernel {
                phase: kernel.phase.max(phase),
                ..kernel
            },
        }
    }

    /// The outputs, each a value that some kernel stores as a whole; leaves, strided views and values that two outputs share
    /// are copied. The second result maps a copy to what it is a copy of.
    fn outputs(&mut self) -> (Vec<Output>, Map<Value, Value>) {
        let mut finals = Map::new();
        let mut outputs = Vec::new();
        for output in &self.graph.outputs {
            let operand = self.reads.operand(self.graph, output.value);
            let value = if self.is_free(&operand) && self.taken.insert(operand.value) {
                operand.value
            } else {
                let phase = match output.kind {
                    OutputKind::Result(_) | OutputKind::State(_) => Phase::Forward,
                    OutputKind::ParamGrad(_) | OutputKind::InputGrad(_) => Phase::Backward,
                    OutputKind::Next(_) | OutputKind::Collect(_) => {
                        unreachable!("loops are laid open")
                    }
                };
                let copy = self.new_value();
                let copied = self.copy((copy.node.index(), 0), phase, operand, copy, output.value);
                self.placed.push(copied);
                copy
            };
            finals.insert(value, output.value);
            outputs.push(Output { value, ..*output });
        }
        (outputs, finals)
    }

    /// A value that no node of the list computes.
    fn new_value(&mut self) -> Value {
        self.n_copies += 1;
        Value::first(NodeId::new(self.graph.len() + self.n_copies - 1))
    }

    /// True for an operand that is all of a value for which a kernel of the list has memory, wherever that is.
    fn is_free(&self, operand: &Operand) -> bool {
        // The beginning of a larger value is contiguous too, but a gradient has room for its own elements only.
        let is_all = Dim::product(&operand.layout.shape) == self.graph.ty(operand.value).numel();
        let leaf = self.graph.node(operand.value.node).leaf();
        operand.layout.is_whole() && is_all && matches!(leaf, None | Some(LeafKind::Buffer))
    }

    /// Has a value written into a buffer: by the kernel that computes it, or by a copy.
    fn store(&mut self, store: &Store) {
        let operand = self.reads.operand(self.graph, store.value);
        let node = operand.value.node.index();
        let is_ours = self.keep == Keep::Results
            && self.graph.node(operand.value.node).leaf().is_none()
            && self.flat.region_of[node] == store.region
            && self.flat.regions[store.owner].phase == self.graph.node(operand.value.node).phase
            && (store.stays == Stays::Always || self.is_read_once(operand.value));
        let within = Within {
            of: store.buffer,
            offset: store.offset.clone(),
        };
        let value = if is_ours && self.is_free(&operand) && self.taken.insert(operand.value) {
            operand.value
        } else {
            let copy = self.new_value();
            let phase = self.flat.regions[store.owner].phase;
            let copied = self.copy((store.at, store.region), phase, operand, copy, store.value);
            self.placed.push(copied);
            copy
        };
        self.within.insert(value, within);
        if store.region != store.owner {
            self.needs[store.owner].push(value);
        }
    }

    /// Whether just one node reads a value.
    fn is_read_once(&self, value: Value) -> bool {
        let reads = self.graph.iter().flat_map(|(_, node)| &node.inputs);
        reads.filter(|input| **input == value).count() == 1
    }

    /// Gives every value of a loop a row a step.
    fn keep_every_step(&mut self) {
        let mut kept = Vec::new();
        for placed in self.placed.iter().filter(|p| p.region != 0) {
            for written in &placed.kernel.writes {
                if !self.within.contains_key(&written.value) {
                    kept.push((written.value, written.ty.clone(), placed.region));
                }
            }
        }
        for (value, ty, region) in kept {
            let (mut shape, mut row, mut outer) = (ty.shape.clone(), ty.numel(), region);
            let mut offset = Dim::zero();
            let mut owner = region;
            while outer != 0 {
                let Region {
                    index, count, parent, ..
                } = &self.flat.regions[outer];
                offset = offset + Dim::dynamic(index) * &row;
                row = row * count;
                shape.insert(0, count.clone());
                (owner, outer) = (outer, *parent);
            }
            let of = self.new_value();
            self.kept.push((of, ty.with_shape(shape), owner));
            self.within.insert(value, Within { of, offset });
        }
    }

    /// What the loops keep. A loop that runs no kernel needs nothing.
    fn buffers(&self, ordered: &Ordered) -> Vec<Buffer> {
        let regions = self.flat.regions.iter().enumerate();
        let own = regions.flat_map(|(owner, region)| {
            let buffers = region.buffers.iter();
            buffers.map(move |value| (*value, owner))
        });
        own.chain(self.kept.iter().map(|(value, _, owner)| (*value, *owner)))
            .filter_map(|(value, owner)| {
                let owner = ordered.loop_of[owner]?;
                Some(Buffer { value, owner })
            })
            .collect()
    }

    fn output_type(&self, output: &Output, finals: &Map<Value, Value>) -> Type {
        self.graph.ty(finals[&output.value]).clone()
    }

    fn leaves(&self) -> Map<Value, Leaf> {
        let place = |kind: LeafKind| match kind {
            LeafKind::Input(id) => Some(Place::Input(id.index())),
            LeafKind::Param(id) => Some(Place::Param(id.index())),
            LeafKind::State(id) => Some(Place::State(id.index())),
            LeafKind::Direction(id) => Some(Place::Direction(id.index())),
            LeafKind::Arg(_) | LeafKind::Buffer | LeafKind::Window | LeafKind::Sink | LeafKind::Poison => {
                None
            }
        };
        let leaf = |(id, node): (NodeId, &Node)| {
            let leaf = Leaf {
                ty: node.types[0].clone(),
                place: place(node.leaf()?),
                name: node.display_name().into(),
            };
            Some((Value::first(id), leaf))
        };
        let kept = self.kept.iter().map(|(value, ty, _)| {
            let leaf = Leaf {
                ty: ty.clone(),
                place: None,
                name: "steps".into(),
            };
            (*value, leaf)
        });
        self.graph.iter().filter_map(leaf).chain(kept).collect()
    }

    /// For a trace, values that have a name of the user's or stand for a whole layer, where they are stored as they are, or channels
    /// last. Of a loop, all steps together.
    fn named(&self) -> Vec<Named> {
        let mut named = Vec::new();
        if self.keep == Keep::Results {
            return named;
        }
        let shown: Map<NodeId, Vec<usize>> = self
            .graph
            .iter()
            .filter_map(|(id, _)| shown(self.graph, id))
            .collect();
        for (id, node) in self.graph.iter() {
            let operand = self.reads.operand(self.graph, Value::first(id));
            let is_stored = operand.layout.is_whole() && node.leaf().is_none();
            // The last row of what a loop carries was shown among its steps.
            let of_loop = self.graph.node(operand.value.node).leaf() == Some(LeafKind::Buffer);
            let is_again = of_loop && node.origin.name.is_none() || turned(self.graph, id).is_some();
            if !is_stored || is_again || node.phase != Phase::Forward {
                continue;
            }
            let kept = self.within.get(&operand.value);
            let kept = kept.and_then(|within| self.kept.iter().find(|(of, ..)| *of == within.of));
            let (value, ty) = match kept {
                Some((of, ty, _)) => (*of, ty.clone()),
                None => (operand.value, node.types[0].clone()),
            };
            let order = shown.get(&id).map(|perm| {
                let n_loops = ty.rank() - perm.len();
                (0..n_loops)
                    .chain(perm.iter().map(|axis| n_loops + axis))
                    .collect()
            });
            let name = node.trace_name();
            named.push(Named {
                name,
                value,
                ty,
                order,
            });
        }
        named
    }
}

/// The value that a node shows to the reader of a trace, and the order of its axes: an image that lies channels last.
fn shown(graph: &Graph, id: NodeId) -> Option<(NodeId, Vec<usize>)> {
    turned(graph, id).filter(|(_, perm)| *perm == first_of_last(perm.len()))
}

/// The value that the layout stage has turned for the reader of a trace, under the name that it has, and how.
fn turned(graph: &Graph, id: NodeId) -> Option<(NodeId, Vec<usize>)> {
    let node = graph.node(id);
    let Op::View(View(ViewMap::Permute(perm))) = &node.op else {
        return None;
    };
    let source = node.inputs[0].node;
    let is_turn =
        perm.len() > 2 && (*perm == first_of_last(perm.len()) || *perm == last_of_first(perm.len()));
    let is_same = is_turn && node.trace_name() == graph.node(source).trace_name();
    is_same.then(|| (source, perm.clone()))
}

/// True where argument `arg` (or a part of it) reads input `k` in any layout.
fn reads_strided(arg: &CallArg, k: usize) -> bool {
    match arg {
        CallArg::InView(j) => *j == k,
        CallArg::Packable(j, packing) => matches!(packing.form, PackForm::Factor(_)) && *j == k,
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

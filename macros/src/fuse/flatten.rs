//! Loops laid open: one list of all operations, each with the loop that it stands in, and what loops keep in memory.
//!
//! A carry lives in a *buffer* of several rows. Step `t` reads row `t` and writes row `t + 1`, so that nothing is copied and no
//! step overwrites what it reads: two rows used in turn (one for a sum, which is updated in place), or a row a step where the carry of every step is collected (then the
//! collected tensor *is* the buffer). Everything else that is collected has a buffer with a row a step.
//!
//! ```text
//! %9 = buffer: [2, B, D]  (%2)           row 0 begins as %2
//!     %10 = window of %9 at (i % 2) * B * D
//!     %11 = window of %5 at i * D * D    what this step gets of an operand that is taken apart
//!     ...
//!     sink (%17)                         %17 is written to row (i + 1) % 2 of %9
//! %19 = row count % 2 of %9              the carry after the last step
//! ```
//!
//! Windows and stored values lie *within* another value's memory; later stages know no more of loops than that.

use std::rc::Rc;

use crate::ir::{Graph, Kernel, Node, NodeId, Origin, Phase, Type, Value, ViewMap};
use crate::ops::Op;
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::scan::{Order, Role, Scan};
use crate::ops::view::View;
use crate::shape::Dim;

/// Operations of all loops in one list.
pub(super) struct Flat {
    /// The list. Outputs are those of the function.
    pub(super) graph: Graph,
    /// The loop that each node stands in.
    pub(super) region_of: Vec<usize>,
    /// The function (0) and its loops; a loop follows the one that it stands in.
    pub(super) regions: Vec<Region>,
    /// What is written into buffers.
    pub(super) stores: Vec<Store>,
    /// Parts of other values: what of, and from which element on.
    pub(super) windows: Vec<(Value, Value, Dim)>,
}

/// A loop, or the function as a whole.
pub(super) struct Region {
    /// The region that it stands in; its own number for the function.
    pub(super) parent: usize,
    /// The name of its index.
    pub(super) index: Rc<str>,
    /// The number of steps.
    pub(super) count: Dim,
    /// The direction.
    pub(super) order: Order,
    /// The sweep that it belongs to.
    pub(super) phase: Phase,
    /// The place of its first node in the list.
    pub(super) at: usize,
    /// Its buffers.
    pub(super) buffers: Vec<Value>,
    /// What it is called: the layers that it goes over, or the name of what it carries.
    pub(super) name: Rc<str>,
}

/// A value that goes into a buffer.
pub(super) struct Store {
    /// The value.
    pub(super) value: Value,
    /// The buffer.
    pub(super) buffer: Value,
    /// The element of the buffer from which on.
    pub(super) offset: Dim,
    /// The region at whose end it must be there.
    pub(super) region: usize,
    /// The loop that the buffer belongs to.
    pub(super) owner: usize,
    /// The node of the list behind which it is written.
    pub(super) at: usize,
    /// For how long it stays there.
    pub(super) stays: Stays,
}

/// For how long a value stays in a buffer.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Stays {
    /// As long as the buffer is there.
    Always,
    /// Until a step writes over it: whoever else reads it must not do so there.
    UntilOverwritten,
}

/// Lays the loops of a graph open.
pub(super) fn flatten(graph: &Graph) -> Flat {
    let function = Region {
        parent: 0,
        index: "".into(),
        count: Dim::one(),
        order: Order::Ascending,
        phase: Phase::Forward,
        at: 0,
        buffers: Vec::new(),
        name: "".into(),
    };
    let mut flat = Flat {
        graph: Graph::default(),
        region_of: Vec::new(),
        regions: vec![function],
        stores: Vec::new(),
        windows: Vec::new(),
    };
    let moved = flat.region(graph, 0, &[]);
    let outputs = graph.outputs.iter().map(|o| crate::ir::Output {
        value: moved[o.value.node.index()][o.value.output],
        ..*o
    });
    flat.graph.outputs = outputs.collect();
    flat
}

impl Flat {
    /// Appends the nodes of a graph to a region; gives the results of each.
    fn region(&mut self, graph: &Graph, region: usize, args: &[Option<Value>]) -> Vec<Vec<Value>> {
        let mut moved: Vec<Vec<Value>> = Vec::with_capacity(graph.len());
        for (_, node) in graph.iter() {
            let inputs: Vec<Value> = node
                .inputs
                .iter()
                .map(|v| moved[v.node.index()][v.output])
                .collect();
            let results = match (&node.op, node.leaf()) {
                (_, Some(LeafKind::Arg(k))) => vec![args[k].expect("what a body reads is an argument")],
                (Op::Scan(scan), _) => self.scan(node, scan, &inputs, region),
                _ => {
                    let id = self.append(
                        Node {
                            inputs,
                            ..node.clone()
                        },
                        region,
                    );
                    (0..node.types.len())
                        .map(|output| Value { node: id, output })
                        .collect()
                }
            };
            moved.push(results);
        }
        moved
    }

    fn append(&mut self, node: Node, region: usize) -> NodeId {
        self.region_of.push(region);
        self.graph.append(node)
    }

    /// A node without code, named after what it stands for.
    fn leaf(
        &mut self,
        kind: LeafKind,
        ty: Type,
        inputs: Vec<Value>,
        (phase, origin): (Phase, Origin),
        region: usize,
    ) -> Value {
        let op = Leaf { kind, ty: ty.clone() }.into();
        Value::first(self.append(
            Node {
                op,
                inputs,
                types: vec![ty],
                phase,
                origin,
            },
            region,
        ))
    }

    fn view(&mut self, map: ViewMap, x: Value, shape: Vec<Dim>, node: &Node, region: usize) -> Value {
        let ty = self.graph.ty(x).with_shape(shape);
        Value::first(self.append(
            Node {
                op: View(map).into(),
                inputs: vec![x],
                types: vec![ty],
                phase: node.phase,
                origin: node.origin.clone(),
            },
            region,
        ))
    }

    /// Row `at` of a tensor.
    fn row(&mut self, x: Value, at: Dim, node: &Node, region: usize) -> Value {
        let shape = self.graph.ty(x).shape.clone();
        let one: Vec<Dim> = std::iter::once(Dim::one())
            .chain(shape[1..].iter().cloned())
            .collect();
        let mut starts = vec![Dim::zero(); shape.len()];
        starts[0] = at;
        let map = ViewMap::Slice {
            starts,
            steps: vec![1; shape.len()],
            sizes: one.clone(),
        };
        let row = self.view(map, x, one, node, region);
        self.view(
            ViewMap::Reshape(shape[1..].to_vec()),
            row,
            shape[1..].to_vec(),
            node,
            region,
        )
    }

    /// A part of another value, as a value of its own.
    fn window(&mut self, of: Value, offset: Dim, ty: Type, node: (Phase, Origin), region: usize) -> Value {
        let window = self.leaf(LeafKind::Window, ty, vec![of], node, region);
        self.windows.push((window, of, offset));
        window
    }

    fn scan(&mut self, node: &Node, scan: &Scan, inputs: &[Value], parent: usize) -> Vec<Value> {
        let region = self.regions.len();
        self.regions.push(Region {
            parent,
            index: scan.index.clone(),
            count: scan.count.clone(),
            order: scan.order,
            phase: node.phase,
            at: self.graph.len(),
            buffers: Vec::new(),
            name: scan.name.clone(),
        });
        let carries: Vec<Carry> = (0..scan.carries().len())
            .map(|c| self.carry(node, scan, c, inputs, region))
            .collect();
        let stacks = self.stacks(node, scan, &carries, region);
        let args = self.args(node, scan, inputs, &carries, region);
        let moved = self.region(&scan.body, region, &args);
        let of = |value: Value| moved[value.node.index()][value.output];
        let mut sink = Vec::new();
        for carry in &carries {
            let row = carry.row(&(scan.taken() + Dim::one()));
            sink.push((of(carry.next), carry.buffer, row * carry.ty.numel()));
        }
        for (k, stack) in stacks.iter().enumerate() {
            if let Stack::Own(buffer) = stack {
                let value = scan.collected(k).expect("every result is collected");
                sink.push((of(value), *buffer, scan.step() * scan.body.ty(value).numel()));
            }
        }
        self.sink(sink, node, region);
        let mut results = Vec::new();
        for carry in &carries {
            results.push(self.row(carry.buffer, carry.row(&scan.count), node, parent));
        }
        for stack in stacks {
            results.push(match stack {
                Stack::Own(buffer) => buffer,
                Stack::Of(c, first) => self.rows(&carries[c], first, scan, node, parent),
            });
        }
        results
    }

    /// Rows `first..first + count` of a carry's buffer, in the order of the steps' indices.
    fn rows(&mut self, carry: &Carry, first: i64, scan: &Scan, node: &Node, region: usize) -> Value {
        let shape: Vec<Dim> = std::iter::once(&scan.count)
            .chain(&carry.ty.shape)
            .cloned()
            .collect();
        let mut starts = vec![Dim::zero(); shape.len()];
        starts[0] = Dim::lit(first);
        let map = ViewMap::Slice {
            starts,
            steps: vec![1; shape.len()],
            sizes: shape.clone(),
        };
        let rows = self.view(map, carry.buffer, shape.clone(), node, region);
        match scan.order {
            Order::Ascending => rows,
            Order::Descending => self.view(ViewMap::Flip(vec![0]), rows, shape, node, region),
        }
    }

    /// Opens the buffer of a carry.
    fn carry(&mut self, node: &Node, scan: &Scan, c: usize, inputs: &[Value], region: usize) -> Carry {
        let operand = scan.carries()[c];
        let (init, next) = (
            inputs[operand],
            scan.next(c).expect("every carry has a next value"),
        );
        let is_collected = |value: Option<Value>| {
            value.is_some() && (0..scan.n_collected()).any(|k| scan.collected(k) == value)
        };
        let rows = if is_collected(Some(next)) || is_collected(scan.arg(operand)) {
            Rows::EveryStep
        } else if is_updated_in_place(scan, operand, next) {
            Rows::One
        } else {
            Rows::InTurn
        };
        let ty = self.graph.ty(init).clone();
        let n_rows = match rows {
            Rows::EveryStep => &scan.count + &Dim::one(),
            Rows::InTurn => Dim::lit(2),
            Rows::One => Dim::one(),
        };
        let stacked = ty.with_shape(std::iter::once(n_rows).chain(ty.shape.iter().cloned()).collect());
        let origin = scan
            .body
            .node(scan.arg(operand).unwrap_or(next).node)
            .origin
            .clone();
        let parent = self.regions[region].parent;
        let buffer = self.leaf(
            LeafKind::Buffer,
            stacked,
            vec![init],
            (node.phase, origin.clone()),
            parent,
        );
        self.regions[region].buffers.push(buffer);
        self.stores.push(Store {
            value: init,
            buffer,
            offset: Dim::zero(),
            region: parent,
            owner: region,
            at: buffer.node.index(),
            stays: match rows {
                Rows::EveryStep => Stays::Always,
                Rows::InTurn | Rows::One => Stays::UntilOverwritten,
            },
        });
        Carry {
            buffer,
            rows,
            next,
            ty,
            origin,
        }
    }

    /// Opens buffers for what is collected, where it does not lie in that of a carry.
    fn stacks(&mut self, node: &Node, scan: &Scan, carries: &[Carry], region: usize) -> Vec<Stack> {
        let parent = self.regions[region].parent;
        let mut stacks = Vec::new();
        for k in 0..scan.n_collected() {
            let value = scan.collected(k).expect("every result is collected");
            let before = carries
                .iter()
                .zip(scan.carries())
                .position(|(_, operand)| scan.arg(operand) == Some(value));
            let after = carries.iter().position(|carry| carry.next == value);
            stacks.push(match (before, after) {
                (Some(c), _) => Stack::Of(c, 0),
                (None, Some(c)) => Stack::Of(c, 1),
                (None, None) => {
                    let ty = scan.body.ty(value);
                    let shape = std::iter::once(&scan.count).chain(&ty.shape).cloned().collect();
                    let origin = scan.body.node(value.node).origin.clone();
                    let buffer = self.leaf(
                        LeafKind::Buffer,
                        ty.with_shape(shape),
                        Vec::new(),
                        (node.phase, origin),
                        parent,
                    );
                    self.regions[region].buffers.push(buffer);
                    Stack::Own(buffer)
                }
            });
        }
        stacks
    }

    /// What the body gets for each operand, where it reads it.
    fn args(
        &mut self,
        node: &Node,
        scan: &Scan,
        inputs: &[Value],
        carries: &[Carry],
        region: usize,
    ) -> Vec<Option<Value>> {
        let mut carries = carries.iter();
        let mut args = Vec::new();
        for (k, (&input, role)) in inputs.iter().zip(&scan.roles).enumerate() {
            let arg = scan.arg(k);
            let value = match role {
                Role::Outer => input,
                Role::Carry => {
                    let carry = carries.next().expect("every carry has a buffer");
                    let offset = carry.row(&scan.taken()) * carry.ty.numel();
                    self.window(
                        carry.buffer,
                        offset,
                        carry.ty.clone(),
                        (node.phase, carry.origin.clone()),
                        region,
                    )
                }
                Role::Step if arg.is_none() => input,
                Role::Step => self.step(node, scan, (k, input), region),
            };
            args.push(arg.map(|_| value));
        }
        args
    }

    /// The slice of an operand that a step gets: a window where it lies in one piece.
    fn step(&mut self, node: &Node, scan: &Scan, (k, input): (usize, Value), region: usize) -> Value {
        let ty = scan.arg_type(k, self.graph.ty(input));
        // Under another shape, the same elements lie there in the same order.
        let mut stored = input;
        while let Op::View(View(ViewMap::Reshape(_))) = self.graph.node(stored.node).op {
            stored = self.graph.node(stored.node).inputs[0];
        }
        if matches!(self.graph.node(stored.node).op, Op::View(_)) {
            return self.row(input, scan.step(), node, region);
        }
        let origin = scan
            .arg(k)
            .map_or(&node.origin, |leaf| &scan.body.node(leaf.node).origin)
            .clone();
        self.window(stored, scan.step() * ty.numel(), ty, (node.phase, origin), region)
    }

    /// Writes down what a step leaves. The sink is a reader of all of it.
    fn sink(&mut self, stored: Vec<(Value, Value, Dim)>, node: &Node, region: usize) {
        let values = stored.iter().map(|(value, ..)| *value).collect();
        let at = self.leaf(
            LeafKind::Sink,
            Type::scalar(),
            values,
            (node.phase, node.origin.clone()),
            region,
        );
        for (value, buffer, offset) in stored {
            self.stores.push(Store {
                value,
                buffer,
                offset,
                region,
                owner: region,
                at: at.node.index(),
                // What a step leaves is read in that step only.
                stays: Stays::Always,
            });
        }
    }

    /// Whether a sum is stored over one of its terms: the next value of a carry that has a single row.
    pub(super) fn is_summed_in_place(&self, sum: Value, term: Value) -> bool {
        self.stores
            .iter()
            .filter(|store| store.value == sum)
            .any(|store| {
                let has_one_row = self.graph.ty(store.buffer).shape[0].is_one();
                has_one_row
                    && self
                        .windows
                        .iter()
                        .any(|(window, of, _)| *window == term && *of == store.buffer)
            })
    }

    /// The loop standing directly in `region` that a node belongs to; `None` where it stands in `region` itself, or outside.
    pub(super) fn loop_in(&self, region: usize, node: NodeId) -> Option<usize> {
        let owner = (1..self.regions.len()).find(|&r| self.regions[r].buffers.iter().any(|b| b.node == node));
        self.child_of(region, owner.unwrap_or(self.region_of[node.index()]))
    }

    /// The nodes of a loop, those of the loops inside of it, and its buffers.
    pub(super) fn nodes_of(&self, region: usize) -> Vec<NodeId> {
        let parent = self.regions[region].parent;
        let all = (0..self.graph.len()).map(NodeId::new);
        all.filter(|id| self.loop_in(parent, *id) == Some(region))
            .collect()
    }

    /// The region directly in `region` that `inner` is or stands in.
    pub(super) fn child_of(&self, region: usize, mut inner: usize) -> Option<usize> {
        while inner != 0 {
            if self.regions[inner].parent == region {
                return Some(inner);
            }
            inner = self.regions[inner].parent;
        }
        None
    }
}

impl Scan {
    /// How many steps were taken before this one.
    fn taken(&self) -> Dim {
        match self.order {
            Order::Ascending => self.step(),
            Order::Descending => &self.count - &(self.step() + Dim::one()),
        }
    }
}

/// Whether a step reads a carry in just one place, the pointwise operation that gives the next one.
fn is_updated_in_place(scan: &Scan, operand: usize, next: Value) -> bool {
    let Some(arg) = scan.arg(operand) else {
        return false;
    };
    let node = scan.body.node(next.node);
    let inputs: Vec<Type> = node.inputs.iter().map(|v| scan.body.ty(*v).clone()).collect();
    let is_pointwise = matches!(node.op.rule().kernel(&inputs, &node.types), Kernel::Pointwise(_));
    let readings = scan
        .body
        .iter()
        .flat_map(|(_, node)| &node.inputs)
        .filter(|v| **v == arg);
    let is_left = scan.body.outputs.iter().any(|o| o.value == arg);
    is_pointwise && readings.count() == 1 && node.inputs.contains(&arg) && !is_left
}

/// A carry and its buffer.
struct Carry {
    buffer: Value,
    rows: Rows,
    /// What a step makes of it, in the body's own numbering.
    next: Value,
    ty: Type,
    origin: Origin,
}

/// The rows of a carry's buffer.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Rows {
    /// Two.
    InTurn,
    /// One, where a step changes it element by element and nothing else reads it: a sum.
    One,
    /// One more than there are steps.
    EveryStep,
}

impl Carry {
    /// The row that holds the carry after `taken` steps.
    fn row(&self, taken: &Dim) -> Dim {
        match self.rows {
            Rows::EveryStep => taken.clone(),
            Rows::One => Dim::zero(),
            Rows::InTurn => taken - &(taken.floor_div(&Dim::lit(2)) * 2),
        }
    }
}

/// Where what is collected lies.
enum Stack {
    /// In a buffer of its own.
    Own(Value),
    /// In that of a carry, from this row on.
    Of(usize, i64),
}

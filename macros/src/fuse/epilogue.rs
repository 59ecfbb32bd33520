//! Epilogues: a bias, a residual, an activation and a pooling that move into the matmul or convolution before them.
//!
//! ```text
//! %2 = matmul(x, w)                      %2 = matmul(x, w) + bias + relu
//! %3 = expand(bias)            becomes
//! %4 = add(%2, %3)
//! %5 = relu(%4)
//! ```
//!
//! A residual is any tensor that lies row-major in memory and is added to a product: what skips a layer, what another product has
//! made, the input's part of the gates of a recurrent cell. A sum of several products is then a chain of them, each adding to
//! what the one before has stored.
//!
//! A pooling whose windows share out the image moves into a convolution: the image before it is then never stored, but some lines at
//! a time. That is for predictions above all: gradients of a maximum and of an activation read the image, that of an average alone
//! does not.
//!
//! Allowed where nobody else reads the value in between, so that it need not exist: a backward pass that reads the value before
//! the activation keeps the activation out.

use crate::map::{Map, Set};

use super::flatten::Flat;

use crate::ir::{CallArg, Graph, Kernel, NodeId, Residual, Type, Value, ViewMap};
use crate::ops::Op;

/// What was absorbed into one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absorbed {
    /// The bias: a rank-1 value that exists before the call.
    pub(super) bias: Option<Value>,
    /// What is added to every element: a value that exists before the call.
    pub(super) residual: Option<Value>,
    /// Name of the runtime's `Activation`.
    pub(super) activation: Option<&'static str>,
    /// The pooling, and the function that does it.
    pub(super) pooling: Option<(NodeId, &'static str)>,
    /// The value that the call stores in the end.
    pub(super) result: Value,
}

/// The epilogues of a graph.
#[derive(Default)]
pub(super) struct Epilogues {
    calls: Map<NodeId, Absorbed>,
    absorbed: Set<NodeId>,
    results: Set<NodeId>,
    residuals: Set<NodeId>,
}

impl Epilogues {
    /// Finds them. What stands in a loop does not move out of it.
    pub(super) fn find(flat: &Flat) -> Self {
        Self::search(&flat.graph, &|id| flat.region_of[id.index()], &|sum, other| {
            flat.is_summed_in_place(sum, other)
        })
    }

    /// Those of a graph whose loops are closed.
    pub(super) fn find_in(graph: &Graph) -> Self {
        Self::search(graph, &|_| 0, &|_, _| false)
    }

    fn search(
        graph: &Graph,
        region: &dyn Fn(NodeId) -> usize,
        in_place: &dyn Fn(Value, Value) -> bool,
    ) -> Self {
        let around = Around {
            graph,
            uses: Uses::count(graph),
            region,
            in_place,
        };
        let mut epilogues = Self::default();
        for (id, node) in graph.iter() {
            let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
            let Kernel::Call(call) = node.op.rule().kernel(&inputs, &node.types) else {
                continue;
            };
            let place = call.args.iter().find_map(|arg| match arg {
                CallArg::Epilogue {
                    channel_axis,
                    residual,
                    pooling,
                } => Some(Room {
                    channel_axis: *channel_axis,
                    residual: *residual,
                    pooling: *pooling,
                }),
                _ => None,
            });
            if let Some(room) = place {
                epilogues.extend(&around, id, room);
            }
        }
        epilogues
    }

    fn extend(&mut self, around: &Around<'_>, call: NodeId, room: Room) {
        let (graph, uses, region) = (around.graph, &around.uses, around.region);
        let mut absorbed = Absorbed {
            bias: None,
            residual: None,
            activation: None,
            pooling: None,
            result: Value::first(call),
        };
        let mut path = Vec::new();
        if let Some(add) = uses.only_user(absorbed.result)
            && region(add) == region(call)
            && let Some(bias) = bias_of(graph, add, absorbed.result, room.channel_axis)
        {
            absorbed = Absorbed {
                bias: Some(bias),
                result: Value::first(add),
                ..absorbed
            };
            path.push(add);
        }
        if room.residual == Residual::Added
            && let Some((reshape, add)) = around.next(call, absorbed.result)
            && !self.absorbed.contains(&add)
            && let Some(other) = around.residual(add, reshape.map_or(absorbed.result, Value::first))
        {
            absorbed = Absorbed {
                residual: Some(other),
                result: Value::first(add),
                ..absorbed
            };
            path.extend(reshape);
            path.push(add);
        }
        if let Some((reshape, user)) = around.next(call, absorbed.result)
            && let Op::Pointwise(row) = &graph.node(user).op
            && let Some(name) = row.0.activation
        {
            absorbed = Absorbed {
                activation: Some(name),
                result: Value::first(user),
                ..absorbed
            };
            path.extend(reshape);
            path.push(user);
        }
        if let Some(pool) = around.pooling(call, absorbed.result, &room) {
            let result = Value::first(pool.0);
            absorbed = Absorbed {
                pooling: Some(pool),
                result,
                ..absorbed
            };
            path.push(pool.0);
        }
        if !path.is_empty() {
            self.results.insert(absorbed.result.node);
            self.residuals.extend(absorbed.residual.map(|other| other.node));
            self.absorbed.extend(path);
            self.calls.insert(call, absorbed);
        }
    }

    /// What was absorbed into a call.
    pub(super) fn of(&self, call: NodeId) -> Option<&Absorbed> {
        self.calls.get(&call)
    }

    /// True for a node that runs inside a call.
    pub(super) fn absorbs(&self, node: NodeId) -> bool {
        self.absorbed.contains(&node)
    }

    /// True for a node whose result a call stores.
    pub(super) fn stores(&self, node: NodeId) -> bool {
        self.results.contains(&node)
    }

    /// True for a node whose result a call adds, so that it lies in memory.
    pub(super) fn adds(&self, node: NodeId) -> bool {
        self.residuals.contains(&node)
    }
}

/// What a call has room for.
struct Room {
    /// Of a bias.
    channel_axis: usize,
    /// Whether it adds a tensor.
    residual: Residual,
    /// The function that pools as well.
    pooling: Option<&'static str>,
}

/// The sizes of a pooling that may move into a convolution.
pub(super) fn pooled_at_once(graph: &Graph, id: NodeId) -> Option<CallArg> {
    let node = graph.node(id);
    let Op::Pool2d(pool) = &node.op else { return None };
    pool.at_once(&graph.ty(node.inputs[0]).shape, &node.types[0].shape)
}

/// What surrounds a call.
struct Around<'a> {
    graph: &'a Graph,
    uses: Uses,
    /// The loop that a node stands in.
    region: &'a dyn Fn(NodeId) -> usize,
    /// Whether a sum lies where one of its terms does.
    in_place: &'a dyn Fn(Value, Value) -> bool,
}

impl Around<'_> {
    /// The one node that reads a value, in the loop and the sweep of a call, and the reshape before it, if nobody else sees that.
    ///
    /// (A convolution of sequences gives an image of one row, a layer applied to sequences the rows of all of them: both are reshaped
    /// before anybody else sees them.)
    fn next(&self, call: NodeId, value: Value) -> Option<(Option<NodeId>, NodeId)> {
        let (graph, uses, region) = (self.graph, &self.uses, self.region);
        let is_beside =
            |id: &NodeId| graph.node(*id).phase == graph.node(call).phase && region(*id) == region(call);
        let reshape = uses
            .only_user(value)
            .filter(|id| is_beside(id) && is_reshape(graph, *id));
        let user = uses.only_user(reshape.map_or(value, Value::first));
        Some((reshape, user.filter(is_beside)?))
    }

    /// The pooling that follows a call, and the function that does it as well.
    fn pooling(&self, call: NodeId, value: Value, room: &Room) -> Option<(NodeId, &'static str)> {
        let function = room.pooling?;
        let (None, pool) = self.next(call, value)? else {
            return None;
        };
        pooled_at_once(self.graph, pool).map(|_| (pool, function))
    }

    /// What `add` adds to `x`, where it is as large and lies row-major in memory of its own.
    fn residual(&self, add: NodeId, x: Value) -> Option<Value> {
        let graph = self.graph;
        let node = graph.node(add);
        let is_add = matches!(&node.op, Op::Pointwise(row) if row.0.name == "add");
        if !is_add || node.types[0] != *graph.ty(x) {
            return None;
        }
        let other = *node.inputs.iter().find(|input| **input != x)?;
        let mut stored = other;
        while is_reshape(graph, stored.node) {
            stored = graph.node(stored.node).inputs[0];
        }
        let lies = !matches!(graph.node(stored.node).op, Op::View(_) | Op::Fill(_));
        (lies && !(self.in_place)(Value::first(add), stored)).then_some(stored)
    }
}

/// The same elements in the same order under another shape.
fn is_reshape(graph: &Graph, id: NodeId) -> bool {
    matches!(&graph.node(id).op, Op::View(view) if matches!(view.0, ViewMap::Reshape(_)))
}

/// The bias, where `add` adds a value of rank 1, spread along the channel axis, to `x`.
fn bias_of(graph: &Graph, add: NodeId, x: Value, channel_axis: usize) -> Option<Value> {
    let node = graph.node(add);
    let Op::Pointwise(row) = &node.op else { return None };
    if row.0.name != "add" || node.phase != graph.node(x.node).phase || node.types[0] != *graph.ty(x) {
        return None;
    }
    let other = if node.inputs[0] == x {
        node.inputs[1]
    } else {
        node.inputs[0]
    };
    let rank = graph.ty(x).rank();
    let mut value = other;
    let mut axis = channel_axis;
    loop {
        let ty = graph.ty(value);
        let source = graph.node(value.node);
        if ty.rank() == 1 && axis == 0 {
            let same = ty.shape[0] == graph.ty(x).shape[channel_axis];
            let lies = !matches!(source.op, Op::View(_) | Op::Fill(_));
            return (same && lies).then_some(value);
        }
        let Op::View(view) = &source.op else { return None };
        let inner = graph.ty(source.inputs[0]);
        match &view.0 {
            // Axes added in front.
            ViewMap::Expand(_) => axis = axis.checked_sub(ty.rank() - inner.rank())?,
            // From rank 1 to [1, C, 1, 1].
            ViewMap::Reshape(shape) if inner.rank() == 1 && shape.len() <= rank => {
                let is_channel = shape.iter().enumerate().all(|(k, n)| k == axis || n.is_one());
                if !is_channel {
                    return None;
                }
                axis = 0;
            }
            _ => return None,
        }
        value = source.inputs[0];
    }
}

/// Who reads what, outputs of the graph included.
struct Uses {
    users: Map<Value, Vec<Option<NodeId>>>,
}

impl Uses {
    fn count(graph: &Graph) -> Self {
        let mut users: Map<Value, Vec<Option<NodeId>>> = Map::new();
        for (id, node) in graph.iter() {
            for input in &node.inputs {
                users.get_or_insert_with(*input, Default::default).push(Some(id));
            }
        }
        for output in &graph.outputs {
            users
                .get_or_insert_with(output.value, Default::default)
                .push(None);
        }
        Self { users }
    }

    /// The one node that reads a value, where there is exactly one use.
    fn only_user(&self, value: Value) -> Option<NodeId> {
        match self.users.get(&value)?.as_slice() {
            [user] => *user,
            _ => None,
        }
    }
}

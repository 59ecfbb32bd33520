//! Epilogues: a bias and an activation that move into the matmul or convolution before them.
//!
//! ```text
//! %2 = matmul(x, w)                      %2 = matmul(x, w) + bias + relu
//! %3 = expand(bias)            becomes
//! %4 = add(%2, %3)
//! %5 = relu(%4)
//! ```
//!
//! Allowed where nobody else reads the value in between, so that it need not exist: a backward pass that reads the value before
//! the activation keeps the activation out.

use crate::map::{Map, Set};

use super::flatten::Flat;

use crate::ir::{CallArg, Graph, Kernel, NodeId, Type, Value, ViewMap};
use crate::ops::Op;

/// What was absorbed into one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absorbed {
    /// The bias: a rank-1 value that exists before the call.
    pub(super) bias: Option<Value>,
    /// Name of the runtime's `Activation`.
    pub(super) activation: Option<&'static str>,
    /// The value that the call stores in the end.
    pub(super) result: Value,
}

/// The epilogues of a graph.
#[derive(Default)]
pub(super) struct Epilogues {
    calls: Map<NodeId, Absorbed>,
    absorbed: Set<NodeId>,
    results: Set<NodeId>,
}

impl Epilogues {
    /// Finds them. What stands in a loop does not move out of it.
    pub(super) fn find(flat: &Flat) -> Self {
        Self::search(&flat.graph, &|id| flat.region_of[id.index()])
    }

    /// Those of a graph whose loops are closed.
    pub(super) fn find_in(graph: &Graph) -> Self {
        Self::search(graph, &|_| 0)
    }

    fn search(graph: &Graph, region: &dyn Fn(NodeId) -> usize) -> Self {
        let uses = Uses::count(graph);
        let mut epilogues = Self::default();
        for (id, node) in graph.iter() {
            let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
            let Kernel::Call(call) = node.op.rule().kernel(&inputs, &node.types) else {
                continue;
            };
            let Some(channel_axis) = call.args.iter().find_map(|arg| match arg {
                CallArg::Epilogue { channel_axis } => Some(*channel_axis),
                _ => None,
            }) else {
                continue;
            };
            epilogues.extend(graph, (&uses, region), id, channel_axis);
        }
        epilogues
    }

    fn extend(
        &mut self,
        graph: &Graph,
        (uses, region): (&Uses, &dyn Fn(NodeId) -> usize),
        call: NodeId,
        channel_axis: usize,
    ) {
        let mut absorbed = Absorbed {
            bias: None,
            activation: None,
            result: Value::first(call),
        };
        let mut path = Vec::new();
        if let Some(add) = uses.only_user(absorbed.result)
            && region(add) == region(call)
            && let Some(bias) = bias_of(graph, add, absorbed.result, channel_axis)
        {
            absorbed = Absorbed {
                bias: Some(bias),
                result: Value::first(add),
                ..absorbed
            };
            path.push(add);
        }
        // A convolution of sequences gives an image of one row, which is reshaped before anybody else sees it.
        let is_beside =
            |id: NodeId| graph.node(id).phase == graph.node(call).phase && region(id) == region(call);
        let reshape = uses
            .only_user(absorbed.result)
            .filter(|&id| is_beside(id) && is_reshape(graph, id));
        if let Some(user) = uses.only_user(reshape.map_or(absorbed.result, Value::first))
            && is_beside(user)
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
        if !path.is_empty() {
            self.results.insert(absorbed.result.node);
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
}

/// The same elements in the same order under another shape.
fn is_reshape(graph: &Graph, id: NodeId) -> bool {
    matches!(&graph.node(id).op, Op::View(view) if matches!(view.0, ViewMap::Reshape(_)))
}

/// The bias, where `add` adds a leaf of rank 1, spread along the channel axis, to `x`.
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
            return (same && source.leaf().is_some()).then_some(value);
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

//! Local rewrites, common subexpressions and dead code.
//!
//! One forward walk copies the graph. Every node is offered to the [`RULES`]; what no rule replaces is looked up
//! among the nodes copied so far, so that equal expressions are computed once (a backward node that equals a forward
//! node becomes that node: recorded instead of computed again). A second walk drops what no output needs.
//!
//! No rule changes a result beyond the sign of a zero, and none makes a graph larger.

mod join;
mod loops;

use crate::map::{Map, Set};
use std::collections::HashMap;

use crate::ir::{Graph, Node, NodeId, Output, Type, Value, ViewMap};
use crate::ops::Op;
use crate::ops::fill::Fill;
use crate::ops::scan::Scan;
use crate::ops::view::View;

/// The simplest graph with the same outputs.
pub fn simplify(graph: &Graph) -> Graph {
    remove_dead(&rewrite(graph))
}

/// What a rule does with a node whose operands are simplified already.
enum Rewrite {
    /// The node is equal to an earlier value.
    Same(Value),
    /// The node is equal to another operation on other operands.
    Instead(Op, Vec<Value>),
}

type RewriteRule = fn(&Graph, &Op, &[Value], &Type) -> Option<Rewrite>;

/// The rewrites, tried in order.
const RULES: &[RewriteRule] = &[
    view_of_fill,
    view_of_view,
    view_that_changes_nothing,
    neutral_element,
    double_negation,
    join::sum_of_parts,
];

fn rewrite(graph: &Graph) -> Graph {
    let mut out = Graph::default();
    let mut copied: Vec<Vec<Value>> = Vec::with_capacity(graph.len());
    let mut known: HashMap<(&'static str, Vec<Value>), Vec<NodeId>> = HashMap::new();
    let users = graph.users();
    for (_, node) in graph.iter() {
        let inputs: Vec<Value> = node
            .inputs
            .iter()
            .map(|v| copied[v.node.index()][v.output])
            .collect();
        let transposed = transposed_product(graph, node, &users, &copied, &mut out);
        copied.push(match transposed {
            Some(value) => vec![value],
            None => place(&mut out, &mut known, node, within(&node.op), inputs),
        });
    }
    let moved = |o: &Output| Output {
        value: copied[o.value.node.index()][o.value.output],
        ..*o
    };
    out.outputs = graph.outputs.iter().map(moved).collect();
    out
}

/// The operation with the simplest body, where it has one.
fn within(op: &Op) -> Op {
    match op {
        Op::Scan(scan) => Op::Scan(Scan {
            body: simplify(&scan.body),
            ..scan.clone()
        }),
        other => other.clone(),
    }
}

/// Puts a node, or what it is equal to, into the new graph and answers its results.
fn place(
    out: &mut Graph,
    known: &mut HashMap<(&'static str, Vec<Value>), Vec<NodeId>>,
    node: &Node,
    op: Op,
    inputs: Vec<Value>,
) -> Vec<Value> {
    if node.types.len() == 1 {
        match RULES
            .iter()
            .find_map(|rule| rule(out, &op, &inputs, &node.types[0]))
        {
            Some(Rewrite::Same(value)) => {
                inherit_name(out, value, node);
                return vec![value];
            }
            Some(Rewrite::Instead(op, inputs)) => return place(out, known, node, op, inputs),
            None => {}
        }
    }
    let results = |id: NodeId| {
        (0..node.types.len())
            .map(|output| Value { node: id, output })
            .collect()
    };
    let candidates = known.entry((op.rule().name(), inputs.clone())).or_default();
    if let Some(&twin) = candidates
        .iter()
        .find(|&&id| out.node(id).op == op && out.node(id).types == node.types)
    {
        return results(twin);
    }
    let id = out.append(Node {
        op,
        inputs,
        ..node.clone()
    });
    candidates.push(id);
    results(id)
}

/// A value that replaces a named node takes over the name, unless the user named it already.
fn inherit_name(out: &mut Graph, value: Value, replaced: &Node) {
    let kept = out.node_mut(value.node);
    if kept.origin.name.is_none() && kept.phase == replaced.phase && kept.leaf().is_none() {
        kept.origin.name = replaced.origin.name.clone();
    }
}

fn as_fill(graph: &Graph, value: Value) -> Option<&Fill> {
    match &graph.node(value.node).op {
        Op::Fill(fill) => Some(fill),
        _ => None,
    }
}

fn as_view(graph: &Graph, value: Value) -> Option<(&ViewMap, Value)> {
    let node = graph.node(value.node);
    match &node.op {
        Op::View(View(map)) => Some((map, node.inputs[0])),
        _ => None,
    }
}

/// Any view of a constant tensor is a constant tensor.
fn view_of_fill(graph: &Graph, op: &Op, inputs: &[Value], ty: &Type) -> Option<Rewrite> {
    let Op::View(_) = op else { return None };
    let fill = as_fill(graph, inputs[0])?;
    let value = fill.value.clone();
    Some(Rewrite::Instead(
        Fill {
            value,
            ty: ty.clone(),
        }
        .into(),
        Vec::new(),
    ))
}

/// Two reshapes, two permutations or two broadcasts are one.
fn view_of_view(graph: &Graph, op: &Op, inputs: &[Value], _: &Type) -> Option<Rewrite> {
    let Op::View(View(outer)) = op else { return None };
    let (inner, source) = as_view(graph, inputs[0])?;
    let merged = match (inner, outer) {
        (ViewMap::Reshape(_), ViewMap::Reshape(shape)) => ViewMap::Reshape(shape.clone()),
        (ViewMap::Expand(_), ViewMap::Expand(shape)) => ViewMap::Expand(shape.clone()),
        (ViewMap::Permute(first), ViewMap::Permute(then)) => {
            ViewMap::Permute(then.iter().map(|&axis| first[axis]).collect())
        }
        _ => return None,
    };
    Some(Rewrite::Instead(View(merged).into(), vec![source]))
}

/// A reshape or broadcast to the shape that is there, and the permutation that moves nothing.
fn view_that_changes_nothing(graph: &Graph, op: &Op, inputs: &[Value], ty: &Type) -> Option<Rewrite> {
    let Op::View(View(map)) = op else { return None };
    let same = match map {
        ViewMap::Reshape(_) | ViewMap::Expand(_) => graph.ty(inputs[0]) == ty,
        ViewMap::Permute(perm) => perm.iter().enumerate().all(|(k, &axis)| k == axis),
        ViewMap::Slice { starts, steps, sizes } => {
            starts.iter().all(|d| d.is_zero())
                && steps.iter().all(|&step| step == 1)
                && *sizes == graph.ty(inputs[0]).shape
        }
        ViewMap::Flip(axes) => axes.is_empty(),
    };
    same.then_some(Rewrite::Same(inputs[0]))
}

/// `x + 0`, `x - 0`, `x * 1`, `x / 1`.
fn neutral_element(graph: &Graph, op: &Op, inputs: &[Value], ty: &Type) -> Option<Rewrite> {
    let Op::Pointwise(row) = op else { return None };
    let (neutral, commutes) = match row.0.name {
        "add" => (0.0, true),
        "sub" => (0.0, false),
        "mul" => (1.0, true),
        "div" => (1.0, false),
        _ => return None,
    };
    let is_neutral = |v: Value| as_fill(graph, v).is_some_and(|fill| fill.value.as_lit() == Some(neutral));
    let kept = if is_neutral(inputs[1]) {
        inputs[0]
    } else if commutes && is_neutral(inputs[0]) {
        inputs[1]
    } else {
        return None;
    };
    // Where sizes are equal only by a check of rustc's, the declared type stays.
    (graph.ty(kept) == ty).then_some(Rewrite::Same(kept))
}

/// `-(-x)`.
fn double_negation(graph: &Graph, op: &Op, inputs: &[Value], _: &Type) -> Option<Rewrite> {
    let is_neg = |op: &Op| matches!(op, Op::Pointwise(row) if row.0.name == "neg");
    let inner = graph.node(inputs.first()?.node);
    (is_neg(op) && is_neg(&inner.op)).then(|| Rewrite::Same(inner.inputs[0]))
}

/// `(A B)^T = B^T A^T`, where nothing else reads the product: a weight's gradient is then written as the weight lies.
fn transposed_product(
    graph: &Graph,
    node: &Node,
    users: &[Vec<NodeId>],
    copied: &[Vec<Value>],
    out: &mut Graph,
) -> Option<Value> {
    let Op::View(View(ViewMap::Permute(perm))) = &node.op else {
        return None;
    };
    let product = graph.node(node.inputs[0].node);
    let rank = perm.len();
    let swaps_last =
        rank >= 2 && perm[..rank - 2].iter().enumerate().all(|(k, &p)| k == p) && perm[rank - 2] == rank - 1;
    let is_output = graph.outputs.iter().any(|o| o.value == node.inputs[0]);
    if !matches!(product.op, Op::Matmul(_))
        || !swaps_last
        || users[node.inputs[0].node.index()].len() != 1
        || is_output
    {
        return None;
    }
    let operands: Vec<Value> = product
        .inputs
        .iter()
        .rev()
        .map(|v| copied[v.node.index()][v.output])
        .collect();
    if operands.iter().any(|v| out.ty(*v).rank() != rank) {
        return None;
    }
    let turned = operands
        .into_iter()
        .map(|x| transposed(out, x, perm, node))
        .collect();
    Some(Value::first(out.append(Node {
        op: product.op.clone(),
        inputs: turned,
        ..node.clone()
    })))
}

/// `x` with its last two axes swapped; a transposition of a transposition is undone.
fn transposed(out: &mut Graph, x: Value, perm: &[usize], of: &Node) -> Value {
    if let Some((ViewMap::Permute(inner), source)) = as_view(out, x)
        && inner == perm
    {
        return source;
    }
    let ty = out.ty(x);
    let ty = ty.with_shape(perm.iter().map(|&k| ty.shape[k].clone()).collect());
    let op = View(ViewMap::Permute(perm.to_vec())).into();
    Value::first(out.append(Node {
        op,
        inputs: vec![x],
        types: vec![ty],
        ..of.clone()
    }))
}

/// Copies what some output depends on.
fn remove_dead(graph: &Graph) -> Graph {
    let live = live_values(graph);
    let mut out = Graph::default();
    let mut moved: Map<Value, Value> = Map::new();
    for (id, node) in graph.iter() {
        let results: Vec<Value> = (0..node.types.len())
            .map(|output| Value { node: id, output })
            .collect();
        let is_live: Vec<bool> = results.iter().map(|v| live.contains(v)).collect();
        if !is_live.contains(&true) {
            continue;
        }
        let mut node = node.clone();
        let mut places: Vec<Option<usize>> = (0..results.len()).map(Some).collect();
        if let Op::Scan(scan) = &node.op {
            let pruned = loops::prune(scan, &is_live);
            node.inputs = pruned.operands.iter().map(|&k| node.inputs[k]).collect();
            node.types = pruned.results.iter().map(|&k| node.types[k].clone()).collect();
            places = (0..results.len())
                .map(|k| pruned.results.iter().position(|r| *r == k))
                .collect();
            node.op = Op::Scan(pruned.scan);
        }
        node.inputs = node.inputs.iter().map(|v| moved[v]).collect();
        let new = out.append(node);
        for (result, place) in results.into_iter().zip(places) {
            moved.extend(place.map(|output| (result, Value { node: new, output })));
        }
    }
    out.outputs = graph
        .outputs
        .iter()
        .map(|o| Output {
            value: moved[&o.value],
            ..*o
        })
        .collect();
    out
}

/// The values that some output depends on.
fn live_values(graph: &Graph) -> Set<Value> {
    let mut live: Set<Value> = graph.outputs.iter().map(|o| o.value).collect();
    for (id, node) in graph.iter().rev() {
        let is_live: Vec<bool> = (0..node.types.len())
            .map(|output| live.contains(&Value { node: id, output }))
            .collect();
        if !is_live.contains(&true) {
            continue;
        }
        match &node.op {
            Op::Scan(scan) => {
                let pruned = loops::prune(scan, &is_live);
                live.extend(pruned.operands.iter().map(|&k| node.inputs[k]));
            }
            _ => live.extend(node.inputs.iter().copied()),
        }
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceSpan;
    use crate::ir::{Builder, InputId, Mode, Origin, OutputKind, verify::verify};
    use crate::ops::leaf::{Leaf, LeafKind};
    use crate::ops::pad::Pad;
    use crate::shape::Dim;

    fn simplified(f: impl FnOnce(&mut Builder, Value) -> Value) -> String {
        let mut b = Builder::new(Origin::root(SourceSpan::call_site()), Mode::Train);
        let ty = Type::float(vec![Dim::dynamic("B"), Dim::lit(3)]);
        let x = b.push(
            Leaf {
                kind: LeafKind::Input(InputId::new(0)),
                ty,
            },
            &[],
        );
        let y = f(&mut b, x);
        b.graph.outputs.push(Output {
            kind: OutputKind::Result(0),
            value: y,
        });
        let graph = simplify(&b.graph);
        verify(&graph).unwrap();
        graph.to_string()
    }

    #[test]
    fn neutral_elements_vanish() {
        let text = simplified(|b, x| {
            let y = b.scale(x, 1.0);
            b.offset(y, 0.0)
        });
        assert_eq!(text, "%0: float[B, 3] = input[arg0]\nresult 0 = %0\n");
    }

    #[test]
    fn equal_expressions_are_computed_once() {
        let text = simplified(|b, x| {
            let (y, z) = (b.pointwise("exp", &[x]), b.pointwise("exp", &[x]));
            b.add(y, z)
        });
        assert_eq!(text.matches("exp").count(), 1, "{text}");
    }

    #[test]
    fn gradients_of_all_slices_are_joined() {
        let slice = |b: &mut Builder, x: Value, k: i64| {
            let map = ViewMap::Slice {
                starts: vec![Dim::zero(), Dim::lit(k)],
                steps: vec![1, 1],
                sizes: vec![Dim::dynamic("B"), Dim::one()],
            };
            b.push(View(map), &[x])
        };
        let placed = |b: &mut Builder, x: Value, k: i64| {
            let shape = vec![Dim::dynamic("B"), Dim::lit(3)];
            let pad = Pad::scatter(vec![Dim::zero(), Dim::lit(k)], vec![1, 1], shape);
            let part = slice(b, x, k);
            b.push(pad, &[part])
        };
        let sum = |order: [i64; 3]| {
            simplified(|b, x| {
                let [p, q, r] = order.map(|k| placed(b, x, k));
                let two = b.add(p, q);
                b.add(two, r)
            })
        };
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let text = sum(order);
            assert!(
                text.contains("concat") && !text.contains("pad") && !text.contains("add"),
                "{text}"
            );
        }
        // What overlaps, and what leaves a gap, is added up.
        for order in [[0, 1, 1], [0, 0, 2]] {
            assert!(!sum(order).contains("concat"));
        }
    }

    #[test]
    fn transposing_twice_is_nothing() {
        let text = simplified(|b, x| {
            let t = b.transpose(x);
            b.transpose(t)
        });
        assert_eq!(text, "%0: float[B, 3] = input[arg0]\nresult 0 = %0\n");
    }

    #[test]
    fn a_broadcast_constant_is_a_constant() {
        let text = simplified(|b, x| {
            let one = b.push(
                Fill {
                    value: 2.0.into(),
                    ty: Type::scalar(),
                },
                &[],
            );
            let shape = b.shape(x);
            let spread = b.expand(one, &shape);
            b.mul(x, spread)
        });
        assert!(!text.contains("expand"), "{text}");
    }
}

//! Sums that leave a loop: what a loop adds up over its steps is computed after it, for all steps at once.
//!
//! ```text
//! for i in (0..T).rev() { w_bar += g[i]^T x[i]; }     becomes     w_bar = [g[0]; g[1]; ..]^T [x[0]; x[1]; ..]
//! ```
//!
//! So the gradient of a weight that every step of a recurrent network uses is one large product instead of T small ones, each
//! followed by a pass over the weight; the operands are collected, as large as the activations that are kept anyway. (The same
//! is done by hand in cuDNN's recurrent layers: Appleyard et al., "Optimizing performance of recurrent neural networks on
//! GPUs", 2016.) It holds for products of matrices and for sums over axes. A carry qualifies if nothing reads it but the sum.
//!
//! The order of summation changes, within the rounding of a sum.

use crate::map::Set;

use crate::diag::SourceSpan;
use crate::ir::{Builder, Graph, Node, Origin, Output, OutputKind, Phase, Type, Value, ViewMap};
use crate::ops::Op;
use crate::ops::matmul::Matmul;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::scan::{Role, Scan};
use crate::ops::view::View;

/// The graph with sums computed after their loops.
pub fn hoist(graph: &Graph) -> Graph {
    let mut b = Builder::over(
        Graph::default(),
        Origin::root(SourceSpan::call_site()),
        Phase::Forward,
    );
    let mut moved: Vec<Vec<Value>> = Vec::with_capacity(graph.len());
    for (_, node) in graph.iter() {
        let inputs = node
            .inputs
            .iter()
            .map(|v| moved[v.node.index()][v.output])
            .collect();
        let node = Node {
            inputs,
            ..node.clone()
        };
        (b.phase, b.origin) = (node.phase, node.origin.clone());
        moved.push(match &node.op {
            Op::Scan(scan) => lighten(&mut b, &node, scan),
            _ => append(&mut b, node),
        });
    }
    assert!(
        b.errors.is_empty(),
        "hoisting made an ill-typed node: {:?}",
        b.errors
    );
    let outputs = graph.outputs.iter().map(|o| Output {
        value: moved[o.value.node.index()][o.value.output],
        ..*o
    });
    b.graph.outputs = outputs.collect();
    b.graph
}

fn append(b: &mut Builder, node: Node) -> Vec<Value> {
    let n = node.types.len();
    let id = b.graph.append(node);
    (0..n).map(|output| Value { node: id, output }).collect()
}

/// A sum that can be taken after the loop.
struct Sum {
    /// The carry that it was.
    carry: usize,
    /// What is added in every step.
    term: Term,
    /// Views of the term, innermost first.
    views: Vec<ViewMap>,
}

/// What a step adds: an operation on values of the step.
enum Term {
    /// A product of matrices.
    Product(Factor, Factor),
    /// The sum of a value over axes.
    Sum(Value, Vec<usize>),
}

/// A matrix of a step, or the transpose of one.
#[derive(Copy, Clone)]
struct Factor {
    value: Value,
    turn: Turn,
}

/// How a matrix is read.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Turn {
    Plain,
    Transposed,
}

impl Turn {
    fn other(self) -> Self {
        match self {
            Self::Plain => Self::Transposed,
            Self::Transposed => Self::Plain,
        }
    }
}

/// Appends a loop without its sums, and the sums.
fn lighten(b: &mut Builder, node: &Node, scan: &Scan) -> Vec<Value> {
    let body = hoist(&scan.body);
    let scan = Scan { body, ..scan.clone() };
    let carries = scan.carries();
    let sums: Vec<Sum> = (0..carries.len()).filter_map(|c| sum(&scan, c)).collect();
    if sums.is_empty() || scan.count.is_one() {
        return append(
            b,
            Node {
                op: scan.into(),
                ..node.clone()
            },
        );
    }
    let mut light = Light::new(&scan, &sums);
    let operands: Vec<Value> = light.operands.iter().map(|&k| node.inputs[k]).collect();
    light.scan.roles = light.operands.iter().map(|&k| scan.roles[k]).collect();
    let results = b.push_all(light.scan.clone(), &operands);
    let n_kept = carries.len() - sums.len();
    let mut kept = 0..n_kept;
    let mut all = Vec::new();
    for (c, &operand) in carries.iter().enumerate() {
        all.push(match sums.iter().find(|sum| sum.carry == c) {
            None => results[kept.next().expect("a result for every carry")],
            Some(sum) => {
                let first = node.inputs[operand];
                let total = light.total(b, sum, node, &results[n_kept..]);
                b.add(first, total)
            }
        });
    }
    all.extend(&results[n_kept..n_kept + scan.n_collected()]);
    all
}

/// The sum that carry `c` is, if it is one.
fn sum(scan: &Scan, c: usize) -> Option<Sum> {
    let arg = scan.arg(scan.carries()[c])?;
    let next = scan.next(c)?;
    let body = &scan.body;
    let add = body.node(next.node);
    let is_add = matches!(&add.op, Op::Pointwise(row) if row.0.name == "add") && add.inputs.contains(&arg);
    let readings = body
        .iter()
        .flat_map(|(_, node)| &node.inputs)
        .filter(|v| **v == arg);
    let is_output = |value: Value| body.outputs.iter().filter(|o| o.value == value).count();
    let next_is_read = body.iter().any(|(_, node)| node.inputs.contains(&next));
    if !is_add || readings.count() != 1 || next_is_read || is_output(arg) > 0 || is_output(next) > 1 {
        return None;
    }
    let mut value = *add.inputs.iter().find(|v| **v != arg)?;
    let mut views = Vec::new();
    while let Op::View(View(map)) = &body.node(value.node).op {
        views.insert(0, map.clone());
        value = body.node(value.node).inputs[0];
    }
    let node = body.node(value.node);
    let term = match &node.op {
        Op::Matmul(_) if node.types[0].rank() == 2 => {
            Term::Product(factor(body, node.inputs[0]), factor(body, node.inputs[1]))
        }
        Op::Reduce(Reduce {
            kind: ReduceKind::Sum,
            axes,
        }) => Term::Sum(node.inputs[0], axes.clone()),
        _ => return None,
    };
    let is_fixed = term.values().iter().all(|v| !scan.varies(body.ty(*v)));
    let steps_over = views
        .iter()
        .all(|map| matches!(map, ViewMap::Reshape(_) | ViewMap::Permute(_)));
    (is_fixed && steps_over).then_some(Sum {
        carry: c,
        term,
        views,
    })
}

fn factor(body: &Graph, value: Value) -> Factor {
    match &body.node(value.node).op {
        Op::View(View(ViewMap::Permute(_))) => Factor {
            value: body.node(value.node).inputs[0],
            turn: Turn::Transposed,
        },
        _ => Factor {
            value,
            turn: Turn::Plain,
        },
    }
}

impl Term {
    fn values(&self) -> Vec<Value> {
        match self {
            Term::Product(a, b) => vec![a.value, b.value],
            Term::Sum(x, _) => vec![*x],
        }
    }
}

/// A loop that collects what its sums are made of.
struct Light {
    scan: Scan,
    /// Its operands, by their numbers in the old loop.
    operands: Vec<usize>,
    /// The collected values, in the numbering of the body.
    collected: Vec<Value>,
    /// Values that are slices of an operand, which needs no collecting.
    slices: Vec<(Value, usize)>,
}

impl Light {
    fn new(scan: &Scan, sums: &[Sum]) -> Self {
        let carries = scan.carries();
        let gone: Set<usize> = sums.iter().map(|sum| sum.carry).collect();
        let is_gone = |k: usize| {
            carries
                .iter()
                .position(|c| *c == k)
                .is_some_and(|c| gone.contains(&c))
        };
        let operands: Vec<usize> = (0..scan.roles.len()).filter(|&k| !is_gone(k)).collect();
        let steps = (0..scan.roles.len()).filter(|&k| scan.roles[k] == Role::Step);
        let slices = steps.filter_map(|k| Some((scan.arg(k)?, k))).collect();
        let mut light = Self {
            scan: scan.clone(),
            operands,
            collected: (0..scan.n_collected())
                .filter_map(|k| scan.collected(k))
                .collect(),
            slices,
        };
        for value in sums.iter().flat_map(|sum| sum.term.values()) {
            if light.slice(value).is_none() && !light.collected.contains(&value) {
                light.collected.push(value);
            }
        }
        let kept: Vec<usize> = (0..carries.len()).filter(|c| !gone.contains(c)).collect();
        let next = kept.iter().enumerate().filter_map(|(new, c)| {
            let value = scan.next(*c)?;
            Some(Output {
                kind: OutputKind::Next(new),
                value,
            })
        });
        let collected = light.collected.iter().enumerate();
        let collected = collected.map(|(k, &value)| Output {
            kind: OutputKind::Collect(k),
            value,
        });
        light.scan.body.outputs = next.chain(collected).collect();
        light.renumber();
        light
    }

    /// The operand of which a value is the slice of each step.
    fn slice(&self, value: Value) -> Option<usize> {
        self.slices
            .iter()
            .find(|(slice, _)| *slice == value)
            .map(|(_, k)| *k)
    }

    /// Numbers the arguments of the body by the operands that are left.
    fn renumber(&mut self) {
        let operands = self.operands.clone();
        self.scan
            .body
            .renumber_args(&|k| operands.iter().position(|old| *old == k));
    }

    /// The values of all steps, stacked.
    fn stack(&self, value: Value, node: &Node, results: &[Value]) -> Value {
        match self.slice(value) {
            Some(operand) => node.inputs[operand],
            None => {
                let place = self.collected.iter().position(|v| *v == value);
                results[place.expect("what a sum is made of is collected")]
            }
        }
    }

    /// The sum over all steps.
    fn total(&self, b: &mut Builder, sum: &Sum, node: &Node, results: &[Value]) -> Value {
        let mut total = match &sum.term {
            Term::Sum(x, axes) => {
                let x = self.stack(*x, node, results);
                let axes: Vec<usize> = std::iter::once(0)
                    .chain(axes.iter().map(|axis| axis + 1))
                    .collect();
                b.sum(x, &axes)
            }
            Term::Product(x, y) => {
                let (left, right) = (
                    self.stack(x.value, node, results),
                    self.stack(y.value, node, results),
                );
                let left = side_by_side(b, left, x.turn);
                let right = side_by_side(b, right, y.turn.other());
                let right = b.transpose(right);
                b.push(Matmul, &[left, right])
            }
        };
        for map in &sum.views {
            total = b.push(View(map.clone()), &[total]);
        }
        total
    }
}

/// The matrices of all steps (or their transposes) side by side: `[n, T m]` of `[T, n, m]`.
fn side_by_side(b: &mut Builder, stack: Value, turn: Turn) -> Value {
    let Type { shape, .. } = b.ty(stack).clone();
    let (steps, rows, columns) = (&shape[0], &shape[1], &shape[2]);
    if turn == Turn::Transposed {
        let tall = b.reshape(stack, vec![steps * rows, columns.clone()]);
        return b.transpose(tall);
    }
    let beside = b.permute(stack, &[1, 0, 2]);
    b.reshape(beside, vec![rows.clone(), steps * columns])
}

//! Views resolved: every value as a layout of a stored one.
//!
//! A matrix whose rows lie in runs, and that is the second factor of products and nothing else, is no copy either: products read its
//! rows interleaved. Small products do not, and a factor that may be one of theirs is copied.
//! So is any where every value is kept.
//!
//! ```text
//! %1: float[10, 16, 400] = reshape(%w)              rows `p c` of %3 are rows `c p` of [6400, 10] with steps [1, 6400]:
//! %2: float[400, 16, 10] = permute[[2, 1, 0]](%1)   %3 = %w as that, 16 runs of rows interleaved
//! %3: float[6400, 10] = reshape(%2)
//! ```

use crate::map::{Map, Set};

use crate::ir::{CallArg, Graph, Kernel, Layout, Node, NodeId, PackForm, Type, Value, ViewMap, may_be_small};
use crate::plan::Operand;
use crate::shape::Dim;

use super::Keep;
use super::flatten::Flat;

/// For every value, which stored value it is read from, and how.
pub(super) struct Reads {
    resolved: Vec<(Value, Layout)>,
    copied: Set<NodeId>,
    /// Matrices whose rows are read interleaved, and in how many runs they lie; `resolved` is how they lie.
    interleaved: Map<NodeId, Dim>,
}

impl Reads {
    /// Follows views to what is stored. A view that needs its elements in another order becomes a stored copy.
    pub(super) fn resolve(flat: &Flat, keep: Keep) -> Self {
        let graph = &flat.graph;
        let mut reads = Self {
            resolved: Vec::with_capacity(graph.len()),
            copied: Set::new(),
            interleaved: Map::new(),
        };
        for (id, node) in graph.iter() {
            let own = Value::first(id);
            let resolved = match kernel(graph, node) {
                Kernel::View(map) => {
                    let (root, layout) = reads.of(graph, node.inputs[0]);
                    match (layout.apply(&map), in_runs(&layout, &map)) {
                        (Some(layout), _) => (root, layout),
                        (None, Some((layout, runs)))
                            if keep == Keep::Results && is_factor_only(flat, own) =>
                        {
                            reads.interleaved.insert(id, runs);
                            (root, layout)
                        }
                        (None, _) => {
                            reads.copied.insert(id);
                            (own, Layout::contiguous(&node.types[0].shape))
                        }
                    }
                }
                _ => (own, Layout::contiguous(&node.types[0].shape)),
            };
            reads.resolved.push(resolved);
        }
        reads
    }

    /// In how many runs the rows of a matrix lie that are read interleaved.
    pub(super) fn runs(&self, value: Value) -> Option<&Dim> {
        self.interleaved.get(&value.node)
    }

    fn of(&self, graph: &Graph, value: Value) -> (Value, Layout) {
        if value.output == 0 {
            self.resolved[value.node.index()].clone()
        } else {
            (value, Layout::contiguous(&graph.ty(value).shape))
        }
    }

    /// A value as it is read from memory.
    pub(super) fn operand(&self, graph: &Graph, value: Value) -> Operand {
        let (root, layout) = self.of(graph, value);
        Operand {
            value: root,
            layout,
            dtype: graph.ty(value).dtype,
        }
    }

    /// True for a view that is copied.
    pub(super) fn is_copied(&self, id: NodeId) -> bool {
        self.copied.contains(&id)
    }

    /// What a copied view is a copy of: its operand, read in the order of the operand's own shape.
    pub(super) fn source_of_copy(&self, graph: &Graph, id: NodeId) -> Operand {
        self.operand(graph, graph.node(id).inputs[0])
    }

    /// The name under which a row-major copy of a strided value is stored: the view node itself, which stores nothing else.
    pub(super) fn copy_of(&self, value: Value) -> Value {
        value
    }
}

fn kernel(graph: &Graph, node: &Node) -> Kernel {
    let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
    node.op.rule().kernel(&inputs, &node.types)
}

/// The matrix that a reshape makes of `[places, runs, columns]`, as its rows lie, where those of a run follow each other and runs do:
/// how, and in how many runs.
fn in_runs(layout: &Layout, map: &ViewMap) -> Option<(Layout, Dim)> {
    let (ViewMap::Reshape(to), [places, runs, columns]) = (map, layout.shape.as_slice()) else {
        return None;
    };
    let [place, run, column] = layout.strides.as_slice() else {
        return None;
    };
    let rows = places * runs;
    let is_matrix = matches!(to.as_slice(), [k, n] if *k == rows && n == columns);
    let numbers = &rows * columns;
    (is_matrix && *run == place * places && !may_be_small(&numbers)).then(|| {
        let lies = Layout {
            shape: vec![rows, columns.clone()],
            strides: vec![place.clone(), column.clone()],
            offset: layout.offset.clone(),
        };
        (lies, runs.clone())
    })
}

/// Whether a value is read as the second factor of products, and by nobody else.
fn is_factor_only(flat: &Flat, value: Value) -> bool {
    let leaves = flat.graph.outputs.iter().any(|output| output.value == value);
    let is_kept = flat.stores.iter().any(|store| store.value == value)
        || flat.windows.iter().any(|(_, of, _)| *of == value);
    let mut users = flat.graph.iter().filter(|(_, node)| node.inputs.contains(&value));
    !leaves && !is_kept && users.all(|(_, node)| is_factor_of(&flat.graph, node, value))
}

/// Whether an operation reads a value as a factor that can be packed.
fn is_factor_of(graph: &Graph, node: &Node, value: Value) -> bool {
    let Kernel::Call(call) = kernel(graph, node) else {
        return false;
    };
    let is_factor = |k: usize| {
        let mut args = call.args.iter();
        args.any(|arg| matches!(arg, CallArg::Packable(j, packing) if *j == k && matches!(packing.form, PackForm::Factor(_))))
    };
    let inputs = node.inputs.iter().enumerate();
    inputs
        .filter(|(_, input)| **input == value)
        .all(|(k, _)| is_factor(k))
}

/// A stored value, read as it lies.
pub(super) fn whole(value: Value, ty: &Type) -> Operand {
    Operand {
        value,
        layout: Layout::contiguous(&ty.shape),
        dtype: ty.dtype,
    }
}

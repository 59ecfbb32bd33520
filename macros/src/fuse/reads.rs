//! Views resolved: every value as a layout of a stored one.

use crate::map::Set;

use crate::ir::{Graph, Kernel, Layout, NodeId, Type, Value};
use crate::plan::Operand;

/// For every value, which stored value it is read from, and how.
pub(super) struct Reads {
    resolved: Vec<(Value, Layout)>,
    copied: Set<NodeId>,
}

impl Reads {
    /// Follows views to what is stored. A view that needs its elements in another order becomes a stored copy.
    pub(super) fn resolve(graph: &Graph) -> Self {
        let mut reads = Self {
            resolved: Vec::with_capacity(graph.len()),
            copied: Set::new(),
        };
        for (id, node) in graph.iter() {
            let own = Value::first(id);
            let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
            let resolved = match node.op.rule().kernel(&inputs, &node.types) {
                Kernel::View(map) => {
                    let (root, layout) = reads.of(graph, node.inputs[0]);
                    match layout.apply(&map) {
                        Some(layout) => (root, layout),
                        None => {
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

/// A stored value, read as it lies.
pub(super) fn whole(value: Value, ty: &Type) -> Operand {
    Operand {
        value,
        layout: Layout::contiguous(&ty.shape),
        dtype: ty.dtype,
    }
}

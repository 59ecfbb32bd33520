//! The invariants of a graph, checked between stages.

use super::{Constraints, Graph, NodeId, Phase};
use crate::ops::Op;
use crate::ops::leaf::LeafKind;

/// A broken invariant: a mistake in the compiler, never in a user's program.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// The node, where it is one node's.
    pub node: Option<NodeId>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.node {
            Some(node) => write!(f, "{node}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Checks the invariants that [`ir`](super) lists, on a graph without mistakes of the user.
pub fn verify(graph: &Graph) -> Result<(), Violation> {
    for (id, node) in graph.iter() {
        let fail = |message: String| {
            Err(Violation {
                node: Some(id),
                message,
            })
        };
        if node.leaf() == Some(LeafKind::Poison) {
            return fail("a poison node has passed the front end".into());
        }
        for input in &node.inputs {
            if input.node >= id {
                return fail(format!("reads {input}, which does not precede it"));
            }
            let source = graph.node(input.node);
            if input.output >= source.types.len() {
                return fail(format!(
                    "reads {input}, but that node has {} results",
                    source.types.len()
                ));
            }
            if node.phase == Phase::Forward && source.phase == Phase::Backward {
                return fail(format!("is forward but reads {input} of the backward phase"));
            }
        }
        let inputs: Vec<_> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
        match node.op.rule().types(&inputs, &mut Constraints::default()) {
            Ok(types) if types == node.types => {}
            Ok(types) => return fail(format!("is typed {:?}, but its rule says {types:?}", node.types)),
            Err(error) => return fail(format!("is ill-typed: {}", error.message)),
        }
        if let Op::Scan(scan) = &node.op {
            verify(&scan.body)?;
        }
    }
    for output in &graph.outputs {
        if output.value.node.index() >= graph.len() {
            let message = format!("{} names {}, which does not exist", output.kind, output.value);
            return Err(Violation { node: None, message });
        }
    }
    Ok(())
}

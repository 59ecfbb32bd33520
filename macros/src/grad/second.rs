//! The gradient differentiated once more, along a direction: products of the matrix of second derivatives with a vector.
//!
//! The product `H v` is the gradient of `g . v`, where `g` is the gradient and `v` is held fixed (Pearlmutter, "Fast exact
//! multiplication by the Hessian", 1994). So the joint graph of function and gradient is taken as a function of its own, and swept
//! backwards with the direction as the cotangent of each gradient. No matrix of second derivatives is stored, `g . v` itself is never
//! computed, and what of the gradient only served it is dead code. A gradient that has a kernel of its own (of attention, norms,
//! losses) is differentiated as a composition of simpler operations, which takes more time and memory than the kernel.

use super::{Sweep, Tidy, Wanted, active_nodes};
use crate::diag::SourceSpan;
use crate::ir::{Graph, NodeId, OutputKind, ParamId, Phase, Value};
use crate::ops::Op;
use crate::ops::leaf::{Leaf, LeafKind};

/// Why there is no product.
#[derive(Debug)]
pub struct NoSecondDerivative {
    /// The operation's answer.
    pub why: &'static str,
    /// Where the operation, or the loop around it, came from.
    pub span: SourceSpan,
}

/// From the joint graph of a function and its gradient, the graph of the function and the product of its Hessian with a
/// direction. The product has an output `ParamGrad` for each parameter that the gradient depends on; for others it is zero.
pub fn hessian_product(joint: &Graph, wanted: &Wanted, tidy: Tidy) -> Result<Graph, NoSecondDerivative> {
    let (function, gradient) = taken_apart(joint);
    let by_params = Wanted {
        params: wanted.params.clone(),
        inputs: Vec::new(),
    };
    let targets = by_params.targets(&function);
    let active = active_nodes(&function, |id| targets.contains_key(&id));
    let mut sweep = Sweep::new(function, active, tidy);
    for (param, value) in gradient {
        if sweep.active[value.node.index()] {
            sweep.b.origin = sweep.b.graph.node(value.node).origin.clone();
            let (kind, ty) = (LeafKind::Direction(param), sweep.b.ty(value).clone());
            let direction = sweep.b.push(Leaf { kind, ty }, &[]);
            sweep.accumulate(value, direction);
        }
    }
    sweep.run();
    if let Some((why, span)) = sweep.blocked {
        return Err(NoSecondDerivative { why, span });
    }
    Ok(sweep.finish_with(&targets))
}

/// The joint graph as a function without effects, whose backward sweep is a part of it like any other, and the gradients.
fn taken_apart(joint: &Graph) -> (Graph, Vec<(ParamId, Value)>) {
    let mut function = as_forward(joint);
    let mut gradient = Vec::new();
    function.outputs.retain(|output| {
        if let OutputKind::ParamGrad(param) = output.kind {
            gradient.push((param, output.value));
        }
        matches!(output.kind, OutputKind::Result(_))
    });
    (function, gradient)
}

/// The graph with all of its nodes in the forward sweep, those of bodies too.
fn as_forward(graph: &Graph) -> Graph {
    let mut copy = graph.clone();
    for k in 0..copy.len() {
        let node = copy.node_mut(NodeId::new(k));
        node.phase = Phase::Forward;
        if let Op::Scan(scan) = &mut node.op {
            scan.body = as_forward(&scan.body);
        }
    }
    copy
}

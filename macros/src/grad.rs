//! Reverse-mode differentiation: a graph goes in, the same graph with its backward sweep comes out.
//!
//! The sweep visits nodes last to first. It carries a cotangent for every value that the loss depends on, asks
//! the node's [rule](crate::ir::Rule::grad) for the cotangents of the operands, and sums where a value is used more
//! than once. It knows no operation by name: adding an operation changes nothing here. An operation with a body, the loop, says
//! so, and is differentiated by [`scan`].
//!
//! Only *active* nodes are visited, those that depend on a parameter or an argument whose gradient is wanted; and
//! since the result is a graph again, what backward reads of forward is simply an edge, and what nobody reads is dead
//! code for the next stage. Being a graph, it is differentiated again by the same sweep: [`hessian_product`].

mod scan;
mod second;
mod split;

pub use second::hessian_product;

use crate::map::{self, Map};
use std::rc::Rc;

use crate::diag::SourceSpan;
use crate::ir::{
    Builder, Cotangents, Graph, InputId, Node, NodeId, Origin, Output, OutputKind, ParamId, Phase, Site,
    Value,
};
use crate::ops::leaf::LeafKind;

/// Whose gradients are asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Parameters that are trained.
    pub params: Vec<ParamId>,
    /// Arguments marked `#[grad]`.
    pub inputs: Vec<InputId>,
}

impl Wanted {
    /// The leaves whose gradients are asked for, and what the gradients are to the graph.
    fn targets(&self, graph: &Graph) -> Map<NodeId, OutputKind> {
        let targets = graph.iter();
        targets
            .filter_map(|(id, node)| Some((id, self.output(node)?)))
            .collect()
    }

    fn output(&self, node: &Node) -> Option<OutputKind> {
        match node.leaf()? {
            LeafKind::Param(id) if self.params.contains(&id) => Some(OutputKind::ParamGrad(id)),
            LeafKind::Input(id) if self.inputs.contains(&id) => Some(OutputKind::InputGrad(id)),
            _ => None,
        }
    }
}

/// What differentiation found.
#[derive(Debug)]
pub enum Gradient {
    /// The joint graph: forward, then backward, with a gradient output for all that is wanted and reached.
    Joint(Graph),
    /// The loss depends on nothing whose gradient is wanted; the reason, where an operation blocked it.
    Unreached(Option<&'static str>),
}

/// What tidies the graph of a differentiated body before it is taken apart.
pub type Tidy = fn(&Graph) -> Graph;

/// Appends the gradient of the first result, a float scalar.
pub fn differentiate(graph: Graph, wanted: &Wanted, tidy: Tidy) -> Gradient {
    let Some(loss) = graph
        .outputs
        .iter()
        .find(|o| o.kind == OutputKind::Result(0))
        .map(|o| o.value)
    else {
        return Gradient::Unreached(None);
    };
    let targets = wanted.targets(&graph);
    let active = active_nodes(&graph, |id| targets.contains_key(&id));
    let is_reached = active[loss.node.index()];
    let mut sweep = Sweep::new(graph, active, tidy);
    if is_reached {
        sweep.b.origin = sweep.b.graph.node(loss.node).origin.clone();
        let seed = sweep.b.fill_like(loss, 1.0);
        sweep.bars.insert(loss, seed);
        sweep.run();
    }
    if sweep.of_leaves.is_empty() {
        return Gradient::Unreached(sweep.blocked.map(|(why, _)| why));
    }
    Gradient::Joint(sweep.finish_with(&targets))
}

/// The nodes that depend on a leaf whose gradient is wanted.
fn active_nodes(graph: &Graph, is_target: impl Fn(NodeId) -> bool) -> Vec<bool> {
    let mut active = vec![false; graph.len()];
    for (id, node) in graph.iter() {
        let depends = node.inputs.iter().any(|v| active[v.node.index()]);
        active[id.index()] = depends || is_target(id);
    }
    active
}

/// The walk from the last node to the first.
struct Sweep {
    b: Builder,
    /// Cotangents so far, of values whose node was not visited yet.
    bars: Map<Value, Value>,
    /// The nodes of the forward graph that are visited.
    active: Vec<bool>,
    /// The cotangents of the leaves that were reached.
    of_leaves: Map<NodeId, Value>,
    /// The last answer of an operation without a derivative, and where that, or the loop around it, came from.
    blocked: Option<(&'static str, SourceSpan)>,
    tidy: Tidy,
}

impl Sweep {
    fn new(graph: Graph, active: Vec<bool>, tidy: Tidy) -> Self {
        Self {
            b: Builder::over(graph, Origin::root(SourceSpan::call_site()), Phase::Backward),
            bars: Map::new(),
            active,
            of_leaves: Map::new(),
            blocked: None,
            tidy,
        }
    }

    fn run(&mut self) {
        for k in (0..self.active.len()).rev() {
            self.visit(NodeId::new(k));
        }
    }

    fn visit(&mut self, id: NodeId) {
        if !self.active[id.index()] {
            return;
        }
        let node = self.b.graph.node(id).clone();
        let outputs: Vec<Value> = (0..node.types.len())
            .map(|output| Value { node: id, output })
            .collect();
        let bars: Vec<Option<Value>> = outputs.iter().map(|v| self.bars.remove(v)).collect();
        if bars.iter().all(Option::is_none) {
            return;
        }
        if node.leaf().is_some() {
            self.of_leaves.extend(bars[0].map(|bar| (id, bar)));
            return;
        }
        self.b.origin = Origin {
            name: None,
            ..node.origin.clone()
        };
        let site = Site {
            inputs: &node.inputs,
            outputs: &outputs,
        };
        let behind = self.b.graph.len();
        let answer = match node.op.rule().grad(&mut self.b, &site, &bars) {
            Cotangents::Nested => self.nested(id, &node.op, &site, &bars),
            answer => answer,
        };
        match answer {
            Cotangents::Nested => unreachable!("a body has been differentiated"),
            Cotangents::Blocked(why) => self.blocked = Some((why, node.origin.span)),
            Cotangents::Composed(results) => self.composed(behind, &results, &bars),
            Cotangents::Flow(cotangents) => {
                let rule = node.op.rule().name();
                assert_eq!(
                    cotangents.len(),
                    node.inputs.len(),
                    "the gradient rule of `{rule}` forgot an operand"
                );
                for (input, bar) in node.inputs.iter().zip(cotangents) {
                    if let Some(bar) = bar.filter(|_| self.active[input.node.index()]) {
                        self.accumulate(*input, bar);
                    }
                }
            }
        }
    }

    /// Differentiates the nodes from `behind` on, of which an operation's results are composed.
    fn composed(&mut self, behind: usize, results: &[Option<Value>], bars: &[Option<Value>]) {
        let end = self.b.graph.len();
        self.active.resize(behind, false);
        for k in behind..end {
            let node = self.b.graph.node(NodeId::new(k));
            let is_active = node.inputs.iter().any(|v| self.active[v.node.index()]);
            self.active.push(is_active);
        }
        for (result, bar) in results.iter().zip(bars) {
            if let (Some(result), Some(bar)) = (result, bar)
                && self.active[result.node.index()]
            {
                self.accumulate(*result, *bar);
            }
        }
        for k in (behind..end).rev() {
            self.visit(NodeId::new(k));
        }
    }

    /// Adds to the cotangent of a value. The first producer writes it; nothing is zeroed.
    fn accumulate(&mut self, value: Value, bar: Value) {
        let name = self.gradient_name(value);
        self.name(bar, &name);
        let sum = match self.bars.get(&value) {
            Some(&earlier) => {
                let sum = self.b.add(earlier, bar);
                self.name(sum, &name);
                sum
            }
            None => bar,
        };
        self.bars.insert(value, sum);
    }

    /// `hidden_grad` for the cotangent of `hidden`.
    fn gradient_name(&self, value: Value) -> Rc<str> {
        let node = self.b.graph.node(value.node);
        format!("{}_grad", node.display_name()).into()
    }

    fn name(&mut self, value: Value, name: &Rc<str>) {
        let node = self.b.graph.node_mut(value.node);
        if node.phase == Phase::Backward && node.origin.name.is_none() {
            node.origin.name = Some(name.clone());
        }
    }

    /// The graph with the cotangents of these leaves, as far as they were reached, among its outputs.
    fn finish_with(self, targets: &Map<NodeId, OutputKind>) -> Graph {
        let gradients = self.of_leaves.iter();
        let gradients = gradients.map(|(leaf, &value)| Output {
            kind: targets[leaf],
            value,
        });
        let mut gradients: Vec<Output> = gradients.collect();
        map::sort_by_key(&mut gradients, |output| output.kind);
        let mut graph = self.finish();
        graph.outputs.extend(gradients);
        graph
    }

    fn finish(self) -> Graph {
        assert!(
            self.b.errors.is_empty(),
            "a gradient rule made an ill-typed node: {:?}",
            self.b.errors
        );
        self.b.graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Mode, Type, verify::verify};
    use crate::ops::leaf::Leaf;
    use crate::shape::Dim;

    fn leaf(b: &mut Builder, kind: LeafKind) -> Value {
        let ty = Type::float(vec![Dim::dynamic("B"), Dim::lit(3)]);
        b.push(Leaf { kind, ty }, &[])
    }

    fn loss_of(f: impl FnOnce(&mut Builder, Value, Value) -> Value) -> Graph {
        let mut b = Builder::new(Origin::root(SourceSpan::call_site()), Mode::Train);
        let x = leaf(&mut b, LeafKind::Input(InputId::new(0)));
        let w = leaf(&mut b, LeafKind::Param(ParamId::new(0)));
        let y = f(&mut b, x, w);
        let loss = b.sum(y, &[0, 1]);
        b.graph.outputs.push(Output {
            kind: OutputKind::Result(0),
            value: loss,
        });
        b.graph
    }

    fn wanted() -> Wanted {
        Wanted {
            params: vec![ParamId::new(0)],
            inputs: Vec::new(),
        }
    }

    #[test]
    fn a_value_used_twice_sums_its_cotangents() {
        let graph = loss_of(|b, _, w| b.mul(w, w));
        let Gradient::Joint(joint) = differentiate(graph, &wanted(), Graph::clone) else {
            panic!("a gradient exists")
        };
        verify(&joint).unwrap();
        let text = joint.to_string();
        assert!(text.contains("gradient of param0"), "{text}");
        assert!(text.contains("= add("), "{text}");
    }

    #[test]
    fn only_what_depends_on_a_parameter_is_differentiated() {
        let graph = loss_of(|b, x, w| {
            let y = b.pointwise("exp", &[x]);
            b.add(y, w)
        });
        let Gradient::Joint(joint) = differentiate(graph, &wanted(), Graph::clone) else {
            panic!("a gradient exists")
        };
        let mut backward = joint.iter().filter(|(_, n)| n.phase == Phase::Backward);
        assert!(backward.all(|(_, n)| n.op.rule().name() != "mul"), "{joint}");
    }

    #[test]
    fn a_loss_without_parameters_has_no_gradient() {
        let graph = loss_of(|b, x, _| b.pointwise("exp", &[x]));
        assert!(matches!(
            differentiate(graph, &wanted(), Graph::clone),
            Gradient::Unreached(None)
        ));
    }
}

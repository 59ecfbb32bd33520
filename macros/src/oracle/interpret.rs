//! A naive interpreter of graphs: what every operation means, by its definition, in f64.
//!
//! A family of operations is a line of [`twins!`] and a function in a file of its own; an operation without one fails a
//! test. Clarity is all that counts here: sums are taken element by element in the order of the indices, nothing is
//! shared between operations, and nothing is called that the runtime computes with (the bits of random streams are part of
//! the definition of a random operation and are taken from there).

mod along;
mod attention;
mod cross_entropy;
mod ctc;
mod dropout;
mod indexing;
mod matmul;
mod norm;
mod pointwise;
mod position;
mod reduce;
mod scan;
mod view;
mod window;

use crate::map::Map;

pub use pointwise::{Element, evaluate, operands_of};

use super::tensor::Tensor;
use super::world::World;
use crate::ir::{Graph, OutputKind, Value};
use crate::ops::Op;
use crate::ops::leaf::{Leaf, LeafKind};

/// Operands and surroundings of one node.
pub struct Node<'a> {
    /// Operands.
    pub inputs: Vec<&'a Tensor>,
    /// Shapes of the results.
    pub shapes: Vec<Vec<usize>>,
    /// Sizes, scalars, streams.
    pub world: &'a World,
}

/// The naive twins of the op table; a family without one does not compile.
macro_rules! twins {
    ($($family:ident => $twin:expr;)*) => {
        /// The family of an operation.
        pub fn family(op: &Op) -> &'static str {
            match op {
                $(Op::$family(_) => stringify!($family),)*
            }
        }

        fn apply(op: &Op, node: &Node<'_>) -> Vec<Tensor> {
            match op {
                $(Op::$family(op) => $twin(op, node),)*
            }
        }
    };
}

twins! {
    Leaf => leaf;
    Fill => view::fill;
    Pointwise => pointwise::pointwise;
    View => view::view;
    Pad => view::pad;
    Reduce => reduce::reduce;
    Matmul => matmul::matmul;
    Conv2d => window::conv2d;
    Conv2dInputGrad => window::conv2d_input_grad;
    Conv2dWeightGrad => window::conv2d_weight_grad;
    Pool2d => window::pool2d;
    Pool2dGrad => window::pool2d_grad;
    Pool2dPick => window::pool2d_pick;
    Softmax => along::softmax;
    SoftmaxGrad => along::softmax_grad;
    Attention => attention::attention;
    AttentionGrad => attention::gradient;
    Sinusoid => position::sinusoid;
    Rotary => position::rotary;
    Arg => along::arg;
    Cumsum => along::cumsum;
    Concat => along::concat;
    CrossEntropy => cross_entropy::loss;
    CrossEntropyGrad => cross_entropy::gradient;
    Ctc => ctc::loss;
    CtcGrad => ctc::gradient;
    CtcCurvature => ctc::curvature;
    Dropout => dropout::dropout;
    Take => indexing::take;
    TakeGrad => indexing::take_grad;
    Gather => indexing::gather;
    Scatter => indexing::scatter;
    OneHot => indexing::one_hot;
    LayerNorm => norm::layer_norm;
    LayerNormGrad => norm::layer_norm_grad;
    BatchNorm => norm::batch_norm;
    BatchNormGrad => norm::batch_norm_grad;
    Scan => scan::scan;
}

/// The results of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Interpretation {
    results: Vec<Vec<Tensor>>,
}

impl Interpretation {
    /// Evaluates a graph.
    pub fn of(graph: &Graph, world: &World) -> Self {
        let mut interpretation = Self::default();
        interpretation.extend(graph, world);
        interpretation
    }

    /// Evaluates the nodes that a graph has gained since the last time.
    pub fn extend(&mut self, graph: &Graph, world: &World) {
        for (_, node) in graph.iter().skip(self.results.len()) {
            let site = Node {
                inputs: node.inputs.iter().map(|v| self.value(*v)).collect(),
                shapes: node.types.iter().map(|ty| world.shape(&ty.shape)).collect(),
                world,
            };
            let results = apply(&node.op, &site);
            let name = node.op.rule().name();
            assert_eq!(
                results.len(),
                node.types.len(),
                "the twin of `{name}` forgot a result"
            );
            for ((result, ty), shape) in results.iter().zip(&node.types).zip(&site.shapes) {
                assert_eq!(
                    (result.dtype(), result.shape()),
                    (ty.dtype, &shape[..]),
                    "type of `{name}`"
                );
            }
            self.results.push(results);
        }
    }

    /// A value.
    pub fn value(&self, value: Value) -> &Tensor {
        &self.results[value.node.index()][value.output]
    }

    /// What the graph computes.
    pub fn outputs(&self, graph: &Graph) -> Map<OutputKind, Tensor> {
        graph
            .outputs
            .iter()
            .map(|output| (output.kind, self.value(output.value).clone()))
            .collect()
    }
}

/// The outputs of a graph.
pub fn interpret(graph: &Graph, world: &World) -> Map<OutputKind, Tensor> {
    Interpretation::of(graph, world).outputs(graph)
}

fn leaf(leaf: &Leaf, node: &Node<'_>) -> Vec<Tensor> {
    let world = node.world;
    vec![match leaf.kind {
        LeafKind::Input(id) => world.inputs[id.index()].clone(),
        LeafKind::Param(id) => world.params[id.index()].clone(),
        LeafKind::State(id) => world.states[id.index()].clone(),
        LeafKind::Direction(id) => world.direction[id.index()].clone(),
        LeafKind::Arg(k) => world.args[k].clone(),
        LeafKind::Buffer | LeafKind::Window | LeafKind::Sink => {
            unreachable!("loops are interpreted, not laid open")
        }
        LeafKind::Poison => unreachable!("a graph with mistakes is never interpreted"),
    }]
}

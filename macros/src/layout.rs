//! The layout of images: users write them channels first, kernels read them channels last.
//!
//! ```text
//! %0: float[B, 3, 8, 8] = input               %0: float[B, 3, 8, 8] = input
//! %2: float[B, 4, 6, 6] = conv2d(%0, %1)      %1: float[B, 8, 8, 3] = permute[[0, 2, 3, 1]](%0)
//! %3: float[B, 4, 6, 6] = relu(%2)            %3: float[B, 6, 6, 4] = conv2d[channels last](%1, %2)
//! %4: float[B, 144] = reshape(%3)       to    %4: float[B, 6, 6, 4] = relu(%3)
//!                                             %5: float[B, 4, 6, 6] = permute[[0, 3, 1, 2]](%4)
//!                                             %6: float[B, 144] = reshape(%5)
//! ```
//!
//! One walk forwards makes the graph anew. Every value is computed in one order of its axes, as the user wrote it or channels
//! last, and the other is a view of it, made where somebody asks for it. Convolutions and poolings ask for their images channels
//! last and leave them so; what works element by element or along axes ([`axes`]) works on the order in which its operands lie; all
//! else, the results of the function among it, asks for what the user wrote. So permutations that move elements stand where a
//! network enters and leaves its images, and nowhere between. A loop carries what its body leaves channels last in that order
//! ([`loops`]). A product sums in the order in which a flattened image lies, where that moves fewer numbers than turning the image
//! ([`products`]).
//!
//! The walk stands before differentiation: the way back of an image that lies channels last does so as well, with nothing said
//! about it here. Types, names and streams of random numbers stay what they are; elements that are dropped at random are counted
//! channels first, so that no mask depends on this stage.

mod axes;
mod loops;
mod products;
#[cfg(test)]
mod tests;

use crate::diag::SourceSpan;
use crate::ir::images::{Images, first_of_last, last_of_first};
use crate::ir::{Builder, Graph, Node, Origin, Output, Phase, Type, Value, ViewMap};
use crate::ops::Op;
use crate::ops::fill::Fill;
use crate::ops::view::View;
use crate::shape::Dim;

/// What a graph is turned for: how often its numbers are moved follows from that.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Sweeps {
    /// It is computed.
    Forward,
    /// It is computed and differentiated, as by a step of training.
    Both,
}

/// The graph with images channels last inside. Its results are what they were, but for the order of sums over flattened images.
pub fn turn(graph: &Graph, sweeps: Sweeps) -> Graph {
    turned(graph, sweeps, Show::Nothing)
}

/// The same graph, in which every value that lies channels last has a permutation of its name behind it: what a trace shows. It has no
/// factors in another order, and sums over flattened images as they were written.
pub fn turn_and_show(graph: &Graph) -> Graph {
    turned(graph, Sweeps::Forward, Show::Everything)
}

/// Whether values channels last are permuted back for the reader.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Show {
    /// Where somebody asks.
    Nothing,
    /// All.
    Everything,
}

fn turned(graph: &Graph, sweeps: Sweeps, show: Show) -> Graph {
    if !has_images(graph) {
        return graph.clone();
    }
    let mut walk = Walk::new(graph, sweeps, show);
    for (_, node) in graph.iter() {
        walk.visit(node);
    }
    let outputs = graph.outputs.iter();
    let outputs = outputs
        .map(|o| Output {
            value: walk.first(o.value),
            ..*o
        })
        .collect();
    walk.finish(outputs)
}

/// Whether there is anything that asks for images channels last.
fn has_images(graph: &Graph) -> bool {
    graph.iter().any(|(_, node)| match &node.op {
        Op::Scan(scan) => has_images(&scan.body),
        Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) => true,
        Op::Pool2d(_) | Op::Pool2dGrad(_) | Op::Pool2dPick(_) => true,
        _ => false,
    })
}

/// A value of the old graph in the new one.
#[derive(Copy, Clone)]
struct Lying {
    /// The order in which it is computed.
    own: Images,
    /// As the user wrote it, where it was made.
    first: Option<Value>,
    /// Channels last, where it was made.
    last: Option<Value>,
}

impl Lying {
    fn first(value: Value) -> Self {
        Self {
            own: Images::ChannelsFirst,
            first: Some(value),
            last: None,
        }
    }

    fn last(value: Value) -> Self {
        Self {
            own: Images::ChannelsLast,
            first: None,
            last: Some(value),
        }
    }
}

/// The walk from the first node to the last.
struct Walk<'a> {
    old: &'a Graph,
    sweeps: Sweeps,
    show: Show,
    b: Builder,
    /// The results of the nodes that were visited.
    lying: Vec<Vec<Lying>>,
}

impl<'a> Walk<'a> {
    fn new(old: &'a Graph, sweeps: Sweeps, show: Show) -> Self {
        let origin = Origin::root(SourceSpan::call_site());
        let b = Builder::over(Graph::default(), origin, Phase::Forward);
        Self {
            old,
            sweeps,
            show,
            b,
            lying: Vec::with_capacity(old.len()),
        }
    }

    fn visit(&mut self, node: &Node) {
        self.b.origin = node.origin.clone();
        self.b.phase = node.phase;
        let mut results = match &node.op {
            Op::Scan(scan) => Some(self.scan(scan, node)),
            _ => self
                .image(node)
                .or_else(|| self.along_axes(node))
                .or_else(|| self.product(node)),
        }
        .unwrap_or_else(|| self.as_written(node));
        if self.show == Show::Everything {
            for lying in &mut results {
                if let (Images::ChannelsLast, Some(last)) = (lying.own, lying.last) {
                    let perm = first_of_last(self.b.ty(last).rank());
                    lying.first = Some(self.shown(last, &perm, node));
                }
            }
        }
        self.lying.push(results);
    }

    /// An operation of a kernel that reads images channels last.
    fn image(&mut self, node: &Node) -> Option<Vec<Lying>> {
        let is_image = node.inputs.iter().all(|v| self.old.ty(*v).rank() == 4) && node.types[0].rank() == 4;
        let images = Images::ChannelsLast;
        let last = |sizes: &[Dim]| images.of_first(sizes);
        let (op, operands): (Op, &[Images]) = match &node.op {
            Op::Conv2d(op) => {
                let mut op = op.clone();
                op.images = images;
                (op.into(), &[Images::ChannelsLast, Images::ChannelsFirst])
            }
            Op::Conv2dInputGrad(op) => {
                let mut op = op.clone();
                (op.conv.images, op.image) = (images, last(&op.image));
                (op.into(), &[Images::ChannelsFirst, Images::ChannelsLast])
            }
            Op::Conv2dWeightGrad(op) => {
                let mut op = op.clone();
                op.conv.images = images;
                (op.into(), &[Images::ChannelsLast; 2])
            }
            Op::Pool2d(op) if is_image => {
                let mut op = op.clone();
                op.images = images;
                (op.into(), &[Images::ChannelsLast])
            }
            Op::Pool2dGrad(op) if is_image => {
                let mut op = op.clone();
                (op.pool.images, op.image) = (images, last(&op.image));
                (op.into(), &[Images::ChannelsLast; 2])
            }
            Op::Pool2dPick(op) if is_image => {
                let mut op = op.clone();
                op.pool.images = images;
                (op.into(), &[Images::ChannelsLast; 2])
            }
            _ => return None,
        };
        let operands: Vec<Value> = node
            .inputs
            .iter()
            .zip(operands)
            .map(|(v, images)| self.get(*v, *images))
            .collect();
        let result = self.b.push(op, &operands);
        Some(vec![match node.op {
            Op::Conv2dWeightGrad(_) => Lying::first(result),
            _ => Lying::last(result),
        }])
    }

    /// The node as it is.
    fn as_written(&mut self, node: &Node) -> Vec<Lying> {
        let inputs = node.inputs.iter().map(|v| self.first(*v)).collect();
        let id = self.b.graph.append(Node {
            inputs,
            ..node.clone()
        });
        (0..node.types.len())
            .map(|output| Lying::first(Value { node: id, output }))
            .collect()
    }

    /// The order in which a value of the old graph is computed.
    fn own(&self, old: Value) -> Images {
        self.lying[old.node.index()][old.output].own
    }

    /// Whether some operand lies channels last.
    fn any_last(&self, node: &Node) -> bool {
        node.inputs.iter().any(|v| self.own(*v) == Images::ChannelsLast)
    }

    fn get(&mut self, old: Value, images: Images) -> Value {
        match images {
            Images::ChannelsFirst => self.first(old),
            Images::ChannelsLast => self.last(old),
        }
    }

    /// A value of the old graph as the user wrote it.
    fn first(&mut self, old: Value) -> Value {
        let lying = self.lying[old.node.index()][old.output];
        lying.first.unwrap_or_else(|| {
            let last = lying.last.expect("a value lies in some order");
            let rank = self.b.ty(last).rank();
            let first = self.moved(old, last, &first_of_last(rank));
            self.lying[old.node.index()][old.output].first = Some(first);
            first
        })
    }

    /// A value of the old graph channels last. What is repeated or constant is so in any order; only other elements are moved.
    fn last(&mut self, old: Value) -> Value {
        let lying = self.lying[old.node.index()][old.output];
        if let Some(last) = lying.last {
            return last;
        }
        let node = self.old.node(old.node);
        let sizes = Images::ChannelsLast.of_first(&self.old.ty(old).shape);
        let last = match &node.op {
            Op::Fill(fill) => {
                let ty = Type {
                    shape: sizes,
                    ..fill.ty.clone()
                };
                self.b.push(Fill { ty, ..fill.clone() }, &[])
            }
            Op::View(View(ViewMap::Expand(shape))) => {
                let source = self.under_axes(node.inputs[0], shape.len());
                self.b.expand(source, &sizes)
            }
            _ => {
                let first = lying.first.expect("a value lies in some order");
                self.moved(old, first, &last_of_first(sizes.len()))
            }
        };
        self.lying[old.node.index()][old.output].last = Some(last);
        last
    }

    /// A value of the old graph channels last, of a tensor of `rank` axes that it is broadcast to.
    fn under_axes(&mut self, old: Value, rank: usize) -> Value {
        let own = self.old.ty(old).rank();
        if own == rank {
            return self.last(old);
        }
        let mut shape = vec![Dim::one(); rank - own];
        shape.extend(self.old.ty(old).shape.iter().cloned());
        let x = self.first(old);
        let x = self.b.reshape(x, shape);
        self.moved(old, x, &last_of_first(rank))
    }

    /// The elements of `x` in another order of the axes, under the name of `old`: the same order, where only axes of size 1 move.
    fn moved(&mut self, old: Value, x: Value, perm: &[usize]) -> Value {
        let before = self.b.origin.clone();
        let node = self.old.node(old.node);
        self.b.origin = node.origin.clone();
        let shape = self.b.shape(x);
        let kept: Vec<usize> = perm
            .iter()
            .copied()
            .filter(|&axis| !shape[axis].is_one())
            .collect();
        let moved = if self.show == Show::Everything {
            self.shown(x, perm, node)
        } else if kept.is_sorted() {
            self.b
                .reshape(x, perm.iter().map(|&axis| shape[axis].clone()).collect())
        } else {
            self.b.permute(x, perm)
        };
        self.b.origin = before;
        moved
    }

    /// A permutation that a trace knows by the name that the value has there.
    fn shown(&mut self, x: Value, perm: &[usize], node: &Node) -> Value {
        let name = node.origin.name.clone();
        self.b.origin.name = Some(name.unwrap_or_else(|| node.op.rule().name().into()));
        self.b.permute(x, perm)
    }

    fn finish(self, outputs: Vec<Output>) -> Graph {
        assert!(
            self.b.errors.is_empty(),
            "an image was turned into an ill-typed node: {:?}",
            self.b.errors
        );
        let mut graph = self.b.graph;
        graph.outputs = outputs;
        graph
    }
}

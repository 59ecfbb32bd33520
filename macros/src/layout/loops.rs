//! Loops: a carry that the body leaves channels last is carried so.
//!
//! The body is turned first with its operands as the surroundings have them, then as it would have them: a carry in the order in which
//! a step leaves it, and what is the same in every step channels last where a step asks for that, so that it is not permuted in every
//! step. What is taken apart step by step, and what is collected, is as the user wrote it.

use super::{Lying, Walk};
use crate::ir::images::Images;
use crate::ir::{Graph, Node, Output, OutputKind, Value};
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::scan::{Role, Scan};

/// How often a body is turned at most. A carry that is channels last may be what makes a step ask for other operands so.
const MOST: usize = 3;

/// A body that was turned.
struct Body {
    graph: Graph,
    /// The order in which it would have each operand.
    wants: Vec<Images>,
}

impl Walk<'_> {
    pub(super) fn scan(&mut self, scan: &Scan, node: &Node) -> Vec<Lying> {
        let operands = node.inputs.iter().zip(&scan.roles);
        let mut operands: Vec<Images> = operands
            .map(|(v, role)| match role {
                Role::Carry | Role::Outer => self.own(*v),
                Role::Step => Images::ChannelsFirst,
            })
            .collect();
        let mut body = self.body(scan, &operands);
        for _ in 1..MOST {
            if operands == body.wants {
                break;
            }
            operands = body.wants;
            body = self.body(scan, &operands);
        }
        let inputs = node.inputs.iter().zip(&operands);
        let inputs: Vec<Value> = inputs.map(|(v, images)| self.get(*v, *images)).collect();
        let body = body.graph;
        let results = self.b.push_all(Scan { body, ..scan.clone() }, &inputs);
        let mut lying: Vec<Lying> = results.into_iter().map(Lying::first).collect();
        for (lying, k) in lying.iter_mut().zip(scan.carries()) {
            if let (Images::ChannelsLast, Some(value)) = (operands[k], lying.first) {
                *lying = Lying::last(value);
            }
        }
        lying
    }

    /// The body, whose arguments lie in these orders.
    fn body(&self, scan: &Scan, operands: &[Images]) -> Body {
        let mut inner = Walk::new(&scan.body, self.sweeps, self.show);
        for (_, node) in scan.body.iter() {
            match node.leaf() {
                Some(LeafKind::Arg(k)) if operands[k] == Images::ChannelsLast => inner.argument_last(k, node),
                _ => inner.visit(node),
            }
        }
        let carries = scan.carries();
        let mut wants: Vec<Images> = (0..operands.len()).map(|k| inner.wants(scan, k)).collect();
        for (c, &k) in carries.iter().enumerate() {
            wants[k] = inner.own(scan.next(c).expect("every carry has a next value"));
        }
        let outputs = scan.body.outputs.iter().map(|output| {
            let images = match output.kind {
                OutputKind::Next(c) => operands[carries[c]],
                _ => Images::ChannelsFirst,
            };
            let value = inner.get(output.value, images);
            Output { value, ..*output }
        });
        let outputs = outputs.collect();
        let graph = inner.finish(outputs);
        Body { graph, wants }
    }

    /// How a body reads an operand that is the same in every step.
    fn wants(&self, scan: &Scan, k: usize) -> Images {
        let is_last = |arg: Value| self.lying[arg.node.index()][arg.output].last.is_some();
        match scan.roles[k] {
            Role::Outer if scan.arg(k).is_some_and(is_last) => Images::ChannelsLast,
            _ => Images::ChannelsFirst,
        }
    }

    /// An argument that comes channels last.
    fn argument_last(&mut self, k: usize, node: &Node) {
        self.b.origin = node.origin.clone();
        self.b.phase = node.phase;
        let ty = &node.types[0];
        let ty = ty.with_shape(Images::ChannelsLast.of_first(&ty.shape));
        let leaf = Leaf {
            kind: LeafKind::Arg(k),
            ty,
        };
        let argument = self.b.push(leaf, &[]);
        self.lying.push(vec![Lying::last(argument)]);
    }
}

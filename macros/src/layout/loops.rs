//! Loops: a carry that the body leaves channels last is carried so.
//!
//! The body is turned twice at most: first with its carries as the surroundings have them, then with those channels last that came
//! out so. What is the same in every step goes in as it lies; what is taken apart step by step, and what is collected, is as the
//! user wrote it.

use super::{Lying, Walk};
use crate::ir::images::Images;
use crate::ir::{Graph, Node, Output, OutputKind, Value};
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::scan::{Role, Scan};

/// A body that was turned.
struct Body {
    graph: Graph,
    /// The order in which the body leaves each carry.
    left: Vec<Images>,
}

impl Walk<'_> {
    pub(super) fn scan(&mut self, scan: &Scan, node: &Node) -> Vec<Lying> {
        let carries = scan.carries();
        let mut operands: Vec<Images> = node.inputs.iter().map(|v| self.own(*v)).collect();
        for (images, role) in operands.iter_mut().zip(&scan.roles) {
            if *role == Role::Step {
                *images = Images::ChannelsFirst;
            }
        }
        let mut body = self.body(scan, &operands);
        let came = |operands: &[Images]| -> Vec<Images> { carries.iter().map(|&k| operands[k]).collect() };
        if came(&operands) != body.left {
            for (&k, images) in carries.iter().zip(&body.left) {
                operands[k] = *images;
            }
            body = self.body(scan, &operands);
        }
        let inputs: Vec<Value> = node
            .inputs
            .iter()
            .zip(&operands)
            .map(|(v, images)| self.get(*v, *images))
            .collect();
        let turned = Scan {
            body: body.graph,
            ..scan.clone()
        };
        let results = self.b.push_all(turned, &inputs).into_iter().enumerate();
        let lying = |(k, value): (usize, Value)| match carries.get(k).map(|&operand| operands[operand]) {
            Some(Images::ChannelsLast) => Lying::last(value),
            _ => Lying::first(value),
        };
        results.map(lying).collect()
    }

    /// The body, whose arguments lie in these orders.
    fn body(&self, scan: &Scan, operands: &[Images]) -> Body {
        let mut inner = Walk::new(&scan.body, self.show);
        for (_, node) in scan.body.iter() {
            match node.leaf() {
                Some(LeafKind::Arg(k)) if operands[k] == Images::ChannelsLast => inner.argument_last(k, node),
                _ => inner.visit(node),
            }
        }
        let carries = scan.carries();
        let next = |c: usize| scan.next(c).expect("every carry has a next value");
        let left = (0..carries.len()).map(|c| inner.own(next(c))).collect();
        let outputs = scan.body.outputs.iter().map(|output| {
            let images = match output.kind {
                OutputKind::Next(c) => operands[carries[c]],
                _ => Images::ChannelsFirst,
            };
            Output {
                value: inner.get(output.value, images),
                ..*output
            }
        });
        let outputs = outputs.collect();
        Body {
            graph: inner.finish(outputs),
            left,
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

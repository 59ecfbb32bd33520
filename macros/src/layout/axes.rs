//! What works in any order of the axes: element by element, along axes, on each channel.

use super::{Lying, Show, Walk};
use crate::ir::images::{Images, last_of_first};
use crate::ir::{DType, Node, Type, Value, ViewMap};
use crate::ops::Op;
use crate::ops::concat::Concat;
use crate::ops::dropout::{Dropout, Unit};
use crate::ops::fill::Fill;
use crate::ops::pad::Pad;
use crate::ops::reduce::Reduce;
use crate::ops::view::View;

/// The order that this file is about.
const LAST: Images = Images::ChannelsLast;

impl Walk<'_> {
    /// The node in the order of its operands, where one lies channels last and it can work so.
    pub(super) fn along_axes(&mut self, node: &Node) -> Option<Vec<Lying>> {
        if !self.any_last(node) {
            return None;
        }
        match &node.op {
            Op::Pointwise(_) => Some(self.same(node, node.op.clone())),
            Op::Concat(concat) => {
                let axis = turned_axis(concat.axis, node.types[0].rank());
                Some(self.same(node, Concat { axis }))
            }
            Op::Pad(pad) => {
                let (starts, steps) = (LAST.of_first(&pad.starts), LAST.of_first(&pad.steps));
                let (shape, value) = (LAST.of_first(&pad.shape), pad.value.clone());
                Some(self.same(
                    node,
                    Pad {
                        starts,
                        steps,
                        shape,
                        value,
                    },
                ))
            }
            Op::Reduce(reduce) => Some(vec![self.reduce(reduce, node.inputs[0])]),
            Op::View(View(map)) => self.view(map, node),
            // The parts of the mask are nothing that a trace should list.
            Op::Dropout(dropout) if dropout.unit == Unit::Channel && self.show == Show::Nothing => {
                Some(vec![self.drop_channels(dropout, node)])
            }
            Op::BatchNorm(norm) => {
                let mut norm = norm.clone();
                norm.images = LAST;
                Some(self.of_channels(node, norm.into(), &[0]))
            }
            Op::BatchNormGrad(norm) => {
                let mut norm = norm.clone();
                norm.of.images = LAST;
                Some(self.of_channels(node, norm.into(), &[0, node.inputs.len() - 1]))
            }
            _ => None,
        }
    }

    /// An operation whose operands all lie channels last, and its result.
    fn same(&mut self, node: &Node, op: impl Into<Op>) -> Vec<Lying> {
        let operands: Vec<Value> = node.inputs.iter().map(|v| self.last(*v)).collect();
        vec![Lying::last(self.b.push(op, &operands))]
    }

    /// A norm, of whose operands some are images, as its first result is; the rest is one number a channel.
    fn of_channels(&mut self, node: &Node, op: Op, images: &[usize]) -> Vec<Lying> {
        let operands = node.inputs.iter().enumerate();
        let operands: Vec<Value> = operands
            .map(|(k, v)| {
                if images.contains(&k) {
                    self.last(*v)
                } else {
                    self.first(*v)
                }
            })
            .collect();
        let results = self.b.push_all(op, &operands).into_iter().enumerate();
        results
            .map(|(k, v)| if k == 0 { Lying::last(v) } else { Lying::first(v) })
            .collect()
    }

    /// A view of one operand, which lies channels last. A permutation is one of what the user wrote.
    fn view(&mut self, map: &ViewMap, node: &Node) -> Option<Vec<Lying>> {
        let from = &self.old.ty(node.inputs[0]).shape;
        let map = match map {
            ViewMap::Permute(_) => return None,
            // Pixels are counted in the same order, whatever is known of where they are.
            ViewMap::Reshape(shape) if shape.len() > 2 && shape[..2] == from[..2] => {
                ViewMap::Reshape(LAST.of_first(shape))
            }
            ViewMap::Reshape(_) => return None,
            ViewMap::Expand(shape) if shape.len() == from.len() => ViewMap::Expand(LAST.of_first(shape)),
            ViewMap::Expand(_) => return None,
            ViewMap::Slice { starts, steps, sizes } => ViewMap::Slice {
                starts: LAST.of_first(starts),
                steps: LAST.of_first(steps),
                sizes: LAST.of_first(sizes),
            },
            ViewMap::Flip(axes) => ViewMap::Flip(turned_axes(axes, from.len())),
        };
        Some(self.same(node, View(map)))
    }

    /// A reduction, whose result has the axes that are left in the order in which they lay.
    fn reduce(&mut self, reduce: &Reduce, x: Value) -> Lying {
        let rank = self.old.ty(x).rank();
        let mut left = last_of_first(rank);
        left.retain(|axis| !reduce.axes.contains(axis));
        let mut written = left.clone();
        written.sort_unstable();
        let is_last = written.len() > 2 && left == LAST.of_first(&written);
        if self.show == Show::Everything && left != written && !is_last {
            // An order that a trace knows no name for.
            let x = self.first(x);
            return Lying::first(self.b.push(reduce.clone(), &[x]));
        }
        let axes = turned_axes(&reduce.axes, rank);
        let x = self.last(x);
        let y = self.b.push(
            Reduce {
                axes,
                ..reduce.clone()
            },
            &[x],
        );
        if left == written {
            return Lying::first(y);
        }
        if is_last {
            return Lying::last(y);
        }
        let place = |axis: &usize| {
            left.iter()
                .position(|other| other == axis)
                .expect("the axes are the same")
        };
        let perm: Vec<usize> = written.iter().map(place).collect();
        Lying::first(self.b.permute(y, &perm))
    }

    /// Channels are dropped as one: by a mask of a number a channel, `y = m x where m > 0, else 0`.
    fn drop_channels(&mut self, dropout: &Dropout, node: &Node) -> Lying {
        let x = self.last(node.inputs[0]);
        let shape = self.b.shape(x);
        let (batch, channels) = (shape[0].clone(), shape[shape.len() - 1].clone());
        let ty = Type::new(DType::Float, vec![batch, channels]);
        let ones = self.b.push(
            Fill {
                value: 1.0.into(),
                ty,
            },
            &[],
        );
        let unit = Unit::Element;
        let mask = self.b.push(
            Dropout {
                unit,
                ..dropout.clone()
            },
            &[ones],
        );
        let pixels: Vec<usize> = (1..shape.len() - 1).collect();
        let mask = self.b.expand_axes(mask, &pixels, &shape);
        let zeros = self.b.fill_like(x, 0.0);
        let is_kept = self.b.pointwise("gt", &[mask, zeros]);
        let scaled = self.b.mul(x, mask);
        Lying::last(self.b.select(is_kept, scaled, zeros))
    }
}

/// Where an axis stands channels last.
fn turned_axis(axis: usize, rank: usize) -> usize {
    let place = last_of_first(rank).iter().position(|other| *other == axis);
    place.expect("the axis is one of the tensor's")
}

/// Where axes stand channels last, in ascending order.
fn turned_axes(axes: &[usize], rank: usize) -> Vec<usize> {
    let mut axes: Vec<usize> = axes.iter().map(|&axis| turned_axis(axis, rank)).collect();
    axes.sort_unstable();
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Dim;

    #[test]
    fn axes_move_with_their_sizes() {
        let sizes = [2, 3, 5, 7].map(Dim::lit);
        let last = LAST.of_first(&sizes);
        for axis in 0..4 {
            assert_eq!(last[turned_axis(axis, 4)], sizes[axis]);
        }
        assert_eq!(turned_axes(&[1, 2], 4), [1, 3]);
    }
}

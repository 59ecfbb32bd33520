//! Constants, views, padding.

use super::super::tensor::{Tensor, build};
use super::Node;
use crate::ir::ViewMap;
use crate::ops::fill::Fill;
use crate::ops::pad::Pad;
use crate::ops::view::View;

pub(super) fn fill(fill: &Fill, node: &Node<'_>) -> Vec<Tensor> {
    let value = node.world.scalar(&fill.value);
    vec![Tensor::filled(fill.ty.dtype, &node.shapes[0], value)]
}

pub(super) fn view(view: &View, node: &Node<'_>) -> Vec<Tensor> {
    let (x, shape) = (node.inputs[0], &node.shapes[0]);
    let world = node.world;
    vec![match &view.0 {
        ViewMap::Reshape(_) => x.reshape(shape),
        ViewMap::Permute(perm) => x.gather(shape, |i| {
            let mut from = vec![0; i.len()];
            for (k, &axis) in perm.iter().enumerate() {
                from[axis] = i[k];
            }
            from
        }),
        ViewMap::Expand(_) => {
            let added = shape.len() - x.shape().len();
            let sizes = x.shape();
            x.gather(shape, |i| {
                let own = i[added..].iter().zip(sizes);
                own.map(|(&k, &n)| if n == 1 { 0 } else { k }).collect()
            })
        }
        ViewMap::Slice { starts, steps, .. } => {
            let starts = world.shape(starts);
            x.gather(shape, |i| {
                (0..i.len()).map(|k| starts[k] + steps[k] * i[k]).collect()
            })
        }
        ViewMap::Flip(axes) => x.gather(shape, |i| {
            let flipped = |k: usize| {
                if axes.contains(&k) {
                    shape[k] - 1 - i[k]
                } else {
                    i[k]
                }
            };
            (0..i.len()).map(flipped).collect()
        }),
    }]
}

pub(super) fn pad(pad: &Pad, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    let (starts, fill) = (node.world.shape(&pad.starts), node.world.scalar(&pad.value));
    // The index of `x` that lands on an index of the result, if one does.
    let source = |i: &[usize]| -> Option<Vec<usize>> {
        (0..i.len())
            .map(|k| {
                let distance = i[k].checked_sub(starts[k])?;
                let own = distance / pad.steps[k];
                (distance % pad.steps[k] == 0 && own < x.shape()[k]).then_some(own)
            })
            .collect()
    };
    vec![Tensor::Float(build(&node.shapes[0], |i| {
        source(i).map_or(fill, |own| x[&own[..]])
    }))]
}

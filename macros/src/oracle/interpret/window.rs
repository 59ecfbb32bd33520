//! Convolution and pooling, after the documentation of `torch.nn.functional.conv2d`, `max_pool2d` and `avg_pool2d`.
//!
//! Gradients of linear operations are their transposes: every term of the sum is visited as forward does, and flows the
//! other way.

use ndarray::{ArrayD, IxDyn};

use super::super::tensor::{Tensor, build, indices};
use super::Node;
use crate::ops::conv::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad};
use crate::ops::pool::{Pool2d, Pool2dGrad, Pool2dPick, PoolKind, Windows};
use crate::ops::window::Window;

/// The element of an axis of `n` that place `k` of the window sees from position `at`; `None` in the padding.
fn seen(window: &Window, axis: usize, at: usize, k: usize, n: usize) -> Option<usize> {
    let place = at as i64 * window.stride[axis] + k as i64 * window.dilation[axis] - window.padding[axis];
    usize::try_from(place).ok().filter(|&place| place < n)
}

/// Visits the terms `y[i] += x[j] w[k]` of a convolution: indices of result, image and weight.
fn terms(
    op: &Conv2d,
    x: &[usize],
    w: &[usize],
    y: &[usize],
    mut visit: impl FnMut(&[usize], &[usize], &[usize]),
) {
    let (ins, outs) = (w[1], w[0] / op.groups as usize);
    indices(y, |at| {
        let group = at[1] / outs;
        indices(&w[1..], |k| {
            let row = seen(&op.window, 0, at[2], k[1], x[2]);
            let column = seen(&op.window, 1, at[3], k[2], x[3]);
            if let (Some(row), Some(column)) = (row, column) {
                visit(
                    at,
                    &[at[0], group * ins + k[0], row, column],
                    &[at[1], k[0], k[1], k[2]],
                );
            }
        });
    });
}

pub(super) fn conv2d(op: &Conv2d, node: &Node<'_>) -> Vec<Tensor> {
    let (x, w) = (node.inputs[0].float(), node.inputs[1].float());
    let mut y = ArrayD::zeros(IxDyn(&node.shapes[0]));
    terms(op, x.shape(), w.shape(), &node.shapes[0], |at, image, weight| {
        y[at] += x[image] * w[weight]
    });
    vec![Tensor::Float(y)]
}

pub(super) fn conv2d_input_grad(op: &Conv2dInputGrad, node: &Node<'_>) -> Vec<Tensor> {
    let (w, g) = (node.inputs[0].float(), node.inputs[1].float());
    let mut bar = ArrayD::zeros(IxDyn(&node.shapes[0]));
    terms(
        &op.conv,
        &node.shapes[0],
        w.shape(),
        g.shape(),
        |at, image, weight| bar[image] += g[at] * w[weight],
    );
    vec![Tensor::Float(bar)]
}

pub(super) fn conv2d_weight_grad(op: &Conv2dWeightGrad, node: &Node<'_>) -> Vec<Tensor> {
    let (x, g) = (node.inputs[0].float(), node.inputs[1].float());
    let mut bar = ArrayD::zeros(IxDyn(&node.shapes[0]));
    terms(
        &op.conv,
        x.shape(),
        &node.shapes[0],
        g.shape(),
        |at, image, weight| bar[weight] += g[at] * x[image],
    );
    vec![Tensor::Float(bar)]
}

/// The elements of an image that the window at `at` of a result with sizes `out` sees, and the number that an average divides
/// by. Only the last two axes count.
fn patch(op: &Pool2d, image: [usize; 2], out: [usize; 2], at: [usize; 2]) -> (Vec<[usize; 2]>, f64) {
    let (rows, columns, area) = match &op.windows {
        Windows::Adaptive(_) => {
            let range = |axis: usize| {
                let start = at[axis] * image[axis] / out[axis];
                (start..((at[axis] + 1) * image[axis]).div_ceil(out[axis])).collect()
            };
            (range(0), range(1), None)
        }
        Windows::Sliding(kernel, window) => {
            let range = |axis: usize| -> Vec<usize> {
                (0..kernel[axis] as usize)
                    .filter_map(|k| seen(window, axis, at[axis], k, image[axis]))
                    .collect()
            };
            (range(0), range(1), Some(padded_area(kernel, window, image, at)))
        }
    };
    let places: Vec<[usize; 2]> = rows
        .iter()
        .flat_map(|&r| columns.iter().map(move |&c| [r, c]))
        .collect();
    let divisor = match (op.kind, area) {
        (PoolKind::Average, Some(area)) => area,
        _ => places.len() as f64,
    };
    (places, divisor)
}

/// Elements of a window that lie in the padded image: where the padding counts as zeros.
fn padded_area(kernel: &[i64; 2], window: &Window, image: [usize; 2], at: [usize; 2]) -> f64 {
    let inside = |axis: usize| {
        let end = image[axis] as i64 + 2 * window.padding[axis];
        (0..kernel[axis])
            .filter(|k| at[axis] as i64 * window.stride[axis] + k * window.dilation[axis] < end)
            .count() as f64
    };
    inside(0) * inside(1)
}

/// The last two sizes.
fn plane(shape: &[usize]) -> [usize; 2] {
    [shape[shape.len() - 2], shape[shape.len() - 1]]
}

/// The place of an element of the image, in the plane of index `at`.
fn within(at: &[usize], place: [usize; 2]) -> Vec<usize> {
    [&at[..at.len() - 2], &place].concat()
}

/// The first largest element of a window, or the first that is NaN.
fn largest(x: &ArrayD<f64>, at: &[usize], places: &[[usize; 2]]) -> [usize; 2] {
    let value = |place: &[usize; 2]| x[&within(at, *place)[..]];
    let mut best = places[0];
    for place in &places[1..] {
        let (new, old) = (value(place), value(&best));
        if new > old || (new.is_nan() && !old.is_nan()) {
            best = *place;
        }
    }
    best
}

pub(super) fn pool2d(op: &Pool2d, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    let (image, out) = (plane(x.shape()), plane(&node.shapes[0]));
    let mut y = ArrayD::zeros(IxDyn(&node.shapes[0]));
    indices(&node.shapes[0], |at| {
        let (places, divisor) = patch(op, image, out, plane(at));
        y[at] = match op.kind {
            PoolKind::Max => x[&within(at, largest(x, at, &places))[..]],
            _ => places.iter().map(|place| x[&within(at, *place)[..]]).sum::<f64>() / divisor,
        };
    });
    vec![Tensor::Float(y)]
}

pub(super) fn pool2d_grad(op: &Pool2dGrad, node: &Node<'_>) -> Vec<Tensor> {
    let g = node.inputs[0].float();
    let (image, out) = (plane(&node.shapes[0]), plane(g.shape()));
    let mut bar = ArrayD::zeros(IxDyn(&node.shapes[0]));
    indices(g.shape(), |at| {
        let (places, divisor) = patch(&op.pool, image, out, plane(at));
        if op.pool.kind == PoolKind::Max {
            let place = largest(node.inputs[1].float(), at, &places);
            bar[&within(at, place)[..]] += g[at];
        } else {
            places
                .iter()
                .for_each(|place| bar[&within(at, *place)[..]] += g[at] / divisor);
        }
    });
    vec![Tensor::Float(bar)]
}

pub(super) fn pool2d_pick(op: &Pool2dPick, node: &Node<'_>) -> Vec<Tensor> {
    let (source, x) = (node.inputs[0].float(), node.inputs[1].float());
    let (image, out) = (plane(x.shape()), plane(&node.shapes[0]));
    vec![Tensor::Float(build(&node.shapes[0], |at| {
        let (places, _) = patch(&op.pool, image, out, plane(at));
        places
            .first()
            .map_or(0.0, |_| source[&within(at, largest(x, at, &places))[..]])
    }))]
}

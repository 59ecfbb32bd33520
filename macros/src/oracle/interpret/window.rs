//! Convolution and pooling, after the documentation of `torch.nn.functional.conv2d`, `max_pool2d` and `avg_pool2d`.
//!
//! Gradients of linear operations are their transposes: every term of the sum is visited as forward does, and flows the
//! other way. Images that lie channels last are turned for the definition, and results turned back.

use ndarray::{ArrayD, CowArray, IxDyn};

use super::super::tensor::{Tensor, build, indices};
use super::Node;
use crate::ir::images::{Images, first_of_last, last_of_first};
use crate::ops::conv::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad};
use crate::ops::pool::{Pool2d, Pool2dGrad, Pool2dPick, PoolKind, Windows};
use crate::ops::window::Window;

/// A tensor that lies channels first or not, channels first.
fn image(images: Images, x: &Tensor) -> CowArray<'_, f64, IxDyn> {
    let x = x.float();
    match images {
        Images::ChannelsFirst => x.into(),
        Images::ChannelsLast => x.clone().permuted_axes(first_of_last(x.ndim())).into(),
    }
}

/// A result that was computed channels first, as it lies.
fn lying(images: Images, y: ArrayD<f64>) -> Vec<Tensor> {
    let rank = y.ndim();
    vec![Tensor::Float(match images {
        Images::ChannelsFirst => y,
        Images::ChannelsLast => y
            .permuted_axes(last_of_first(rank))
            .as_standard_layout()
            .into_owned(),
    })]
}

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
    let (x, w) = (image(op.images, node.inputs[0]), node.inputs[1].float());
    let shape = op.images.to_first(&node.shapes[0]);
    let mut y = ArrayD::zeros(IxDyn(&shape));
    terms(op, x.shape(), w.shape(), &shape, |at, image, weight| {
        y[at] += x[image] * w[weight]
    });
    lying(op.images, y)
}

pub(super) fn conv2d_input_grad(op: &Conv2dInputGrad, node: &Node<'_>) -> Vec<Tensor> {
    let (w, g) = (node.inputs[0].float(), image(op.conv.images, node.inputs[1]));
    let shape = op.conv.images.to_first(&node.shapes[0]);
    let mut bar = ArrayD::zeros(IxDyn(&shape));
    terms(&op.conv, &shape, w.shape(), g.shape(), |at, image, weight| {
        bar[image] += g[at] * w[weight]
    });
    lying(op.conv.images, bar)
}

pub(super) fn conv2d_weight_grad(op: &Conv2dWeightGrad, node: &Node<'_>) -> Vec<Tensor> {
    let images = op.conv.images;
    let (x, g) = (image(images, node.inputs[0]), image(images, node.inputs[1]));
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
    let x = image(op.images, node.inputs[0]).into_owned();
    let shape = op.images.to_first(&node.shapes[0]);
    let (size, out) = (plane(x.shape()), plane(&shape));
    let mut y = ArrayD::zeros(IxDyn(&shape));
    indices(&shape, |at| {
        let (places, divisor) = patch(op, size, out, plane(at));
        y[at] = match op.kind {
            PoolKind::Max => x[&within(at, largest(&x, at, &places))[..]],
            _ => places.iter().map(|place| x[&within(at, *place)[..]]).sum::<f64>() / divisor,
        };
    });
    lying(op.images, y)
}

pub(super) fn pool2d_grad(op: &Pool2dGrad, node: &Node<'_>) -> Vec<Tensor> {
    let images = op.pool.images;
    let g = image(images, node.inputs[0]);
    let x = node.inputs.get(1).map(|x| image(images, x).into_owned());
    let shape = images.to_first(&node.shapes[0]);
    let (size, out) = (plane(&shape), plane(g.shape()));
    let mut bar = ArrayD::zeros(IxDyn(&shape));
    indices(g.shape(), |at| {
        let (places, divisor) = patch(&op.pool, size, out, plane(at));
        if let (PoolKind::Max, Some(x)) = (op.pool.kind, &x) {
            let place = largest(x, at, &places);
            bar[&within(at, place)[..]] += g[at];
        } else {
            places
                .iter()
                .for_each(|place| bar[&within(at, *place)[..]] += g[at] / divisor);
        }
    });
    lying(images, bar)
}

pub(super) fn pool2d_pick(op: &Pool2dPick, node: &Node<'_>) -> Vec<Tensor> {
    let images = op.pool.images;
    let [source, x] = [0, 1].map(|k| image(images, node.inputs[k]).into_owned());
    let shape = images.to_first(&node.shapes[0]);
    let (size, out) = (plane(x.shape()), plane(&shape));
    let y = build(&shape, |at| {
        let (places, _) = patch(&op.pool, size, out, plane(at));
        places
            .first()
            .map_or(0.0, |_| source[&within(at, largest(&x, at, &places))[..]])
    });
    lying(images, y)
}

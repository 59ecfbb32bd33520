//! Moves on images `[B, C, H, W]`: convolution, pooling, batch norm.

use super::is_float;
use crate::ir::{DType, Scalar, Value};
use crate::ops::conv::Conv2d;
use crate::ops::pool::{Pool2d, PoolKind, Windows};
use crate::ops::window::Window;
use crate::oracle::generate::Draft;
use crate::shape::Dim;

/// A float tensor of four axes with a known number of channels, at least one: the value itself under unit axes where it fits,
/// else another value of the program, else a new argument.
fn image(draft: &mut Draft, x: Value) -> Value {
    let is_image = |shape: &[Dim]| shape.len() == 4 && shape[1].as_lit().is_some_and(|n| n > 0);
    let mut shape = draft.b.shape(x);
    while shape.len() < 4 {
        // A vector is a row of pixels, a matrix one channel of one image, three axes are the channels of one image.
        shape.insert(0, Dim::one());
    }
    if is_float(draft, x) && is_image(&shape) {
        return draft.b.reshape(x, shape);
    }
    if let Some(other) = draft.other(|ty| ty.dtype == DType::Float && is_image(&ty.shape)) {
        return other;
    }
    let (channels, height, width) = (
        1 + draft.dice.below(3),
        2 + draft.dice.below(4),
        2 + draft.dice.below(4),
    );
    let mut shape = vec![Dim::dynamic("B")];
    shape.extend([channels, height, width].map(|n| Dim::lit(n as i64)));
    draft.input(shape)
}

/// A kernel's size, and a window that has at least one place along either axis of the image whatever dynamic sizes are.
fn window(draft: &mut Draft, size: [&Dim; 2], padding_at_most: fn(i64) -> i64) -> ([i64; 2], Window) {
    let (mut kernel, mut padding, mut dilation) = ([1; 2], [0; 2], [1; 2]);
    for axis in 0..2 {
        let least = size[axis].as_lit().unwrap_or(0);
        let (k, p, d) = (
            1 + draft.dice.below(3) as i64,
            draft.dice.below(3) as i64,
            1 + draft.dice.below(2) as i64,
        );
        let p = p.min(padding_at_most(k));
        // What does not fit stays a kernel of one pixel, which does wherever there is one.
        if d * (k - 1) < least + 2 * p {
            (kernel[axis], padding[axis], dilation[axis]) = (k, p, d);
        }
    }
    let stride = [1 + draft.dice.below(3) as i64, 1 + draft.dice.below(3) as i64];
    let window = Window {
        stride,
        padding,
        dilation,
    };
    (kernel, window)
}

/// Whether there is a pixel: a size is then positive for every value of the dynamic ones.
fn has_pixels(draft: &mut Draft, x: Value) -> bool {
    let shape = draft.see(x).shape().to_vec();
    shape[2] > 0 && shape[3] > 0
}

/// A convolution with stride, padding, dilation and groups, perhaps with a bias and an activation.
pub fn conv2d(draft: &mut Draft, x: Value) -> Option<Value> {
    let x = image(draft, x);
    if !has_pixels(draft, x) {
        return None;
    }
    let shape = draft.b.shape(x);
    let channels = shape[1].as_lit()?;
    let divisors: Vec<i64> = (1..=channels).filter(|n| channels % n == 0).collect();
    let groups = divisors[draft.dice.below(divisors.len())];
    let out = groups * (1 + draft.dice.below(2) as i64);
    let (kernel, window) = window(draft, [&shape[2], &shape[3]], |_| 2);
    let weight = [out, channels / groups, kernel[0], kernel[1]].map(Dim::lit);
    let w = draft.param(weight.to_vec());
    let bias = (draft.dice.below(3) > 0).then(|| draft.param(vec![Dim::lit(out)]));
    let y = draft.b.conv2d(Conv2d::new(window, groups), x, w, bias);
    Some(match draft.dice.below(3) {
        0 => y,
        1 => draft.b.pointwise("relu", &[y]),
        _ => draft.b.pointwise("sigmoid", &[y]),
    })
}

/// Maxima or averages of sliding windows, or averages over a grid.
pub fn pool2d(draft: &mut Draft, x: Value) -> Option<Value> {
    let x = image(draft, x);
    if !has_pixels(draft, x) {
        return None;
    }
    let shape = draft.b.shape(x);
    let kind = [PoolKind::Max, PoolKind::Average, PoolKind::AverageInside][draft.dice.below(3)];
    if kind == PoolKind::AverageInside && draft.dice.below(2) == 0 {
        let grid = [1 + draft.dice.below(3) as i64, 1 + draft.dice.below(3) as i64];
        let windows = Windows::Adaptive(grid);
        return Some(draft.b.push(Pool2d::new(kind, windows), &[x]));
    }
    let (kernel, mut window) = window(draft, [&shape[2], &shape[3]], |kernel| kernel / 2);
    // A window that meets nothing but padding would have no maximum; only neighbours surely meet a pixel.
    if kind != PoolKind::Max || window.padding != [0; 2] {
        window.dilation = [1; 2];
    }
    let windows = Windows::Sliding(kernel, window);
    Some(draft.b.push(Pool2d::new(kind, windows), &[x]))
}

/// Batch norm by the statistics of the batch, with running statistics, as the layer builds it.
pub fn batch_norm(draft: &mut Draft, x: Value) -> Option<Value> {
    let x = match draft.b.shape(x).get(1) {
        Some(n) if is_float(draft, x) && n.as_lit().is_some() => x,
        _ => image(draft, x),
    };
    let shape = draft.see(x).shape().to_vec();
    // The variance of a single value is refused.
    if shape[1] == 0 || shape.iter().product::<usize>() < 2 * shape[1] {
        return None;
    }
    let channels = vec![draft.b.shape(x)[1].clone()];
    let affine = match draft.dice.below(3) {
        0 => None,
        _ => Some((draft.param(channels.clone()), draft.param(channels.clone()))),
    };
    let [y, mean, var] = draft.b.batch_norm_train(x, affine, Scalar::lit(0.1));
    for statistic in [mean, var] {
        let (id, running) = draft.state(channels.clone());
        let mixed = draft.b.running_average(running, statistic, Scalar::lit(0.1));
        draft.b.update_state(id, mixed);
    }
    Some(y)
}

//! Normalisations, after the documentation of `torch.nn.LayerNorm`, `RMSNorm` and `BatchNorm2d`.
//!
//! A gradient is the sum over all elements of the cotangent times the derivative of that element, written out.

use ndarray::ArrayD;

use super::super::tensor::{Tensor, build, indices};
use super::Node;
use crate::ops::batch_norm::{BatchNorm, BatchNormGrad, Learned};
use crate::ops::layer_norm::{Affine, Center, LayerNorm, LayerNormGrad};

/// Mean and mean square deviation, from the mean or from zero.
fn moments(x: &[f64], center: Center) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = match center {
        Center::Mean => x.iter().sum::<f64>() / n,
        Center::Zero => 0.0,
    };
    (mean, x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
}

/// `sum_j c_j d xhat_j / d x_k` for `xhat = (x - mean) rstd`: every `xhat_j` depends on `x_k` directly, through the mean and
/// through the deviation.
fn normalised_bar(xhat: &[f64], c: &[f64], rstd: f64, center: Center, k: usize) -> f64 {
    let n = xhat.len() as f64;
    let terms = (0..xhat.len()).map(|j| {
        let same = if j == k { 1.0 } else { 0.0 };
        let by_mean = if center == Center::Mean { 1.0 / n } else { 0.0 };
        c[j] * rstd * (same - by_mean - xhat[j] * xhat[k] / n)
    });
    terms.sum()
}

/// The rows of `x`: one for every index of the axes that are not normalised.
fn rows(x: &ArrayD<f64>, n_axes: usize) -> Vec<Vec<f64>> {
    let len: usize = x.shape()[x.ndim() - n_axes..].iter().product();
    let all: Vec<f64> = x.iter().copied().collect();
    if len == 0 {
        Vec::new()
    } else {
        all.chunks(len).map(<[f64]>::to_vec).collect()
    }
}

fn of_rows(rows: &[Vec<f64>], shape: &[usize]) -> Tensor {
    let mut all = rows.iter().flatten().copied();
    Tensor::Float(build(shape, |_| all.next().expect("an element for every index")))
}

pub(super) fn layer_norm(op: &LayerNorm, node: &Node<'_>) -> Vec<Tensor> {
    let x = rows(node.inputs[0].float(), op.n_axes);
    let eps = node.world.scalar(&op.eps);
    let weight = node.inputs.get(1).map(|w| w.numbers());
    let bias = node.inputs.get(2).map(|b| b.numbers());
    let (mut y, mut means, mut rstds) = (Vec::new(), Vec::new(), Vec::new());
    for row in &x {
        let (mean, var) = moments(row, op.center);
        let rstd = 1.0 / (var + eps).sqrt();
        let affine = |(k, x): (usize, &f64)| {
            let (w, b) = (
                weight.as_ref().map_or(1.0, |w| w[k]),
                bias.as_ref().map_or(0.0, |b| b[k]),
            );
            (x - mean) * rstd * w + b
        };
        y.push(row.iter().enumerate().map(affine).collect());
        means.push(vec![mean]);
        rstds.push(vec![rstd]);
    }
    let shapes = &node.shapes;
    match op.center {
        Center::Mean => vec![
            of_rows(&y, &shapes[0]),
            statistic(&means, &shapes[1]),
            statistic(&rstds, &shapes[2]),
        ],
        Center::Zero => vec![of_rows(&y, &shapes[0]), statistic(&rstds, &shapes[1])],
    }
}

/// Rows without elements have no statistics worth the name.
fn statistic(rows: &[Vec<f64>], shape: &[usize]) -> Tensor {
    if rows.is_empty() {
        return Tensor::Float(build(shape, |_| f64::NAN));
    }
    of_rows(rows, shape)
}

pub(super) fn layer_norm_grad(op: &LayerNormGrad, node: &Node<'_>) -> Vec<Tensor> {
    let (n, center) = (node.inputs.len(), op.of.center);
    let (x, g) = (
        rows(node.inputs[0].float(), op.of.n_axes),
        rows(node.inputs[n - 1].float(), op.of.n_axes),
    );
    let len = x.first().map_or(0, Vec::len);
    let rstd = node.inputs[n - 2].numbers();
    let mean = match center {
        Center::Mean => node.inputs[n - 3].numbers(),
        Center::Zero => vec![0.0; rstd.len()],
    };
    let weight = match op.affine {
        Affine::None => vec![1.0; len],
        Affine::Weight | Affine::WeightBias => node.inputs[1].numbers(),
    };
    let mut dx = Vec::new();
    let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
    for r in 0..x.len() {
        let xhat: Vec<f64> = x[r].iter().map(|x| (x - mean[r]) * rstd[r]).collect();
        let c: Vec<f64> = g[r].iter().zip(&weight).map(|(g, w)| g * w).collect();
        dx.push(
            (0..len)
                .map(|k| normalised_bar(&xhat, &c, rstd[r], center, k))
                .collect(),
        );
        for k in 0..len {
            dweight[k] += g[r][k] * xhat[k];
            dbias[k] += g[r][k];
        }
    }
    let mut results = vec![of_rows(&dx, &node.shapes[0])];
    let learned = [dweight, dbias].into_iter().zip(&node.shapes[1..]);
    results.extend(learned.map(|(bar, shape)| of_rows(&[bar], shape)));
    results
}

/// The values of a channel, samples first.
fn channel(x: &ArrayD<f64>, axis: usize, channel: usize) -> Vec<f64> {
    let mut values = Vec::new();
    indices(x.shape(), |i| {
        if i[axis] == channel {
            values.push(x[i]);
        }
    });
    values
}

/// A tensor of which every channel's values are given in the order of [`channel`].
fn of_channels(channels: &[Vec<f64>], axis: usize, shape: &[usize]) -> Tensor {
    let mut rest: Vec<_> = channels.iter().map(|values| values.iter()).collect();
    Tensor::Float(build(shape, |i| {
        *rest[i[axis]].next().expect("a value for every index")
    }))
}

pub(super) fn batch_norm(op: &BatchNorm, node: &Node<'_>) -> Vec<Tensor> {
    let x = node.inputs[0].float();
    let eps = node.world.scalar(&op.eps);
    let axis = op.images.channel_axis(x.ndim());
    let (mut y, mut statistics) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for c in 0..x.shape()[axis] {
        let values = channel(x, axis, c);
        let n = values.len() as f64;
        let (mean, var) = moments(&values, Center::Mean);
        let rstd = 1.0 / (var + eps).sqrt();
        let w = node.inputs.get(1).map_or(1.0, |w| w.float()[[c].as_slice()]);
        let b = node.inputs.get(2).map_or(0.0, |b| b.float()[[c].as_slice()]);
        y.push(values.iter().map(|x| (x - mean) * rstd * w + b).collect());
        for (list, value) in statistics.iter_mut().zip([mean, var * n / (n - 1.0), rstd]) {
            list.push(value);
        }
    }
    let mut results = vec![of_channels(&y, axis, &node.shapes[0])];
    results.extend(statistics.map(|list| of_rows(&[list], &node.shapes[1])));
    results
}

pub(super) fn batch_norm_grad(op: &BatchNormGrad, node: &Node<'_>) -> Vec<Tensor> {
    let n = node.inputs.len();
    let (x, g) = (node.inputs[0].float(), node.inputs[n - 1].float());
    let (mean, rstd) = (node.inputs[n - 3].numbers(), node.inputs[n - 2].numbers());
    let axis = op.of.images.channel_axis(x.ndim());
    let (mut dx, mut dweight, mut dbias) = (Vec::new(), Vec::new(), Vec::new());
    for c in 0..x.shape()[axis] {
        let weight = match op.learned {
            Learned::Affine => node.inputs[1].float()[[c].as_slice()],
            Learned::Nothing => 1.0,
        };
        let xhat: Vec<f64> = channel(x, axis, c)
            .iter()
            .map(|x| (x - mean[c]) * rstd[c])
            .collect();
        let g = channel(g, axis, c);
        let scaled: Vec<f64> = g.iter().map(|g| g * weight).collect();
        let bar = |k: usize| normalised_bar(&xhat, &scaled, rstd[c], Center::Mean, k);
        dx.push((0..g.len()).map(bar).collect());
        dweight.push(g.iter().zip(&xhat).map(|(g, x)| g * x).sum());
        dbias.push(g.iter().sum());
    }
    let mut results = vec![of_channels(&dx, axis, &node.shapes[0])];
    if op.learned == Learned::Affine {
        results.extend([dweight, dbias].map(|bar| of_rows(&[bar], &node.shapes[1])));
    }
    results
}

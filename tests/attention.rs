//! Attention layers at work: what their calls and options mean, and that training goes through loops and dropout.
//! Their numbers are compared with PyTorch's in `pytorch.rs`.

#![allow(missing_docs)]

use ndarray::{Array2, Array3, ArrayD, Axis, IxDyn, s};
use tapeless::prelude::*;

#[model]
pub struct Attend {
    attn: MultiHeadAttention<6, 2>,
    #[layer(causal = true, bias = false)]
    past: MultiHeadAttention<6, 3>,
    #[layer(dropout = 0.5)]
    noisy: MultiHeadAttention<6, 2>,
}

#[model]
impl Attend {
    pub fn own<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Tensor<B, T, 6> {
        self.attn(x)
    }

    pub fn others<B: Dim, T: Dim, S: Dim>(
        &self,
        x: Tensor<B, T, 6>,
        keys: Tensor<B, S, 6>,
        values: Tensor<B, S, 6>,
    ) -> Tensor<B, T, 6> {
        self.attn(x, keys, values)
    }

    pub fn masked<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>, keep: Tensor<bool, T, T>) -> Tensor<B, T, 6> {
        self.attn(x, mask = keep)
    }

    pub fn added<T: Dim>(&self, x: Tensor<T, 6>, bias: Tensor<2, T, T>) -> Tensor<T, 6> {
        self.attn(x, mask = bias)
    }

    pub fn before<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Tensor<B, T, 6> {
        self.past(x)
    }

    pub fn before_masked<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, T, 6>,
        keep: Tensor<bool, T, T>,
    ) -> Tensor<B, T, 6> {
        self.past(x, mask = keep)
    }

    pub fn quiet<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Tensor<B, T, 6> {
        self.noisy(x)
    }

    pub fn noise<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Scalar {
        self.noisy(x).square().sum()
    }
}

fn model() -> Attend {
    Attend::builder(&Device::cpu())
        .seed(3)
        .precision(Precision::F64)
        .build()
        .unwrap()
}

/// Numbers between -1 and 1.
fn numbers(shape: &[usize], seed: usize) -> ArrayD<f64> {
    let mut k = seed;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        k += 1;
        ((k * 2_654_435_761) % 1_000_003) as f64 / 500_001.5 - 1.0
    })
}

fn sequence(shape: [usize; 3], seed: usize) -> Array3<f64> {
    numbers(&shape, seed).into_dimensionality().unwrap()
}

fn distance<D: ndarray::Dimension>(a: &ndarray::Array<f64, D>, b: &ndarray::Array<f64, D>) -> f64 {
    (a - b).iter().fold(0.0, |most, d| d.abs().max(most))
}

#[test]
fn attending_to_oneself_is_attending_to_others_that_are_equal() {
    let (model, x) = (model(), sequence([2, 5, 6], 1));
    let own = model.own_as::<f64>(&x).unwrap();
    let others = model.others_as::<f64>(&x, &x, &x).unwrap();
    assert_eq!(own, others);
}

#[test]
fn the_order_of_keys_with_their_values_does_not_matter() {
    let (model, x, keys) = (model(), sequence([1, 3, 6], 1), sequence([1, 4, 6], 2));
    let mut turned = keys.clone();
    turned.invert_axis(Axis(1));
    let a = model.others_as::<f64>(&x, &keys, &keys).unwrap();
    let b = model.others_as::<f64>(&x, &turned, &turned).unwrap();
    assert!(distance(&a, &b) < 1e-14);
}

#[test]
fn a_causal_layer_is_one_with_a_triangular_mask() {
    let (mut model, x) = (model(), sequence([2, 4, 6], 1));
    let keep = Array2::from_shape_fn((4, 4), |(i, j)| j <= i);
    for tensor in ["in_proj_weight", "out_proj.weight"] {
        let values = model.param(&format!("past.{tensor}")).unwrap();
        model.set_param(&format!("attn.{tensor}"), &values).unwrap();
    }
    let past = model.before_as::<f64>(&x).unwrap();
    assert_eq!(past, model.before_masked_as::<f64>(&x, &keep).unwrap());
    // The first position sees itself only, so later ones do not change it.
    let mut other = x.clone();
    other.slice_mut(s![.., 1.., ..]).fill(0.3);
    let again = model.before_as::<f64>(&other).unwrap();
    assert_eq!(past.slice(s![.., 0, ..]), again.slice(s![.., 0, ..]));
    assert!(distance(&past, &again) > 1e-3);
}

#[test]
fn a_query_without_keys_gives_the_bias_of_the_projection() {
    let (mut model, x) = (model(), sequence([2, 3, 6], 1));
    let bias = numbers(&[6], 9);
    model.set_param("attn.out_proj.bias", &bias).unwrap();
    let keep = Array2::from_shape_fn((3, 3), |(i, _)| i != 1);
    let y = model.masked_as::<f64>(&x, &keep).unwrap();
    for row in y.slice(s![.., 1, ..]).outer_iter() {
        assert_eq!(row.into_dyn(), bias);
    }
    assert!(y.iter().all(|y| y.is_finite()));
}

#[test]
fn a_mask_of_floats_is_added_for_each_head() {
    let (model, x) = (model(), sequence([1, 3, 6], 1));
    let rows = x.index_axis(Axis(0), 0).to_owned();
    let (all, none) = (Array3::<f64>::zeros((2, 3, 3)), Array3::from_elem((2, 3, 3), 7.5));
    let plain = model.own_as::<f64>(&x).unwrap().index_axis(Axis(0), 0).to_owned();
    assert_eq!(model.added_as::<f64>(&rows, &all).unwrap(), plain);
    // Softmax does not see what is added to all scores.
    assert!(distance(&model.added_as::<f64>(&rows, &none).unwrap(), &plain) < 1e-14);
    let mut bias = all;
    bias[[1, 2, 0]] = f64::NEG_INFINITY;
    let moved = model.added_as::<f64>(&rows, &bias).unwrap();
    assert_eq!(moved.slice(s![..2, ..]), plain.slice(s![..2, ..]));
    assert!(distance(&moved, &plain) > 1e-4);
}

#[test]
fn dropout_is_for_training_and_repeats_with_its_step() {
    let x = sequence([2, 4, 6], 1);
    let mut model = model();
    let still = model.quiet_as::<f64>(&x).unwrap().mapv(|y| y * y).sum();
    assert!((model.noise(&x).unwrap() - still).abs() < 1e-12);
    let mut work = model.noise_workspace(AttendNoiseDims { b: 2, t: 4 }).unwrap();
    let first = model.noise_grad(&mut work, &x).unwrap();
    let second = model.noise_grad(&mut work, &x).unwrap();
    assert!(first != second && (first - still).abs() > 1e-6);
    let mut again = self::model();
    assert_eq!(again.noise_grad(&mut work, &x).unwrap(), first);
}

#[test]
fn first_values_are_those_of_pytorch() {
    let model = model();
    let weight = model.param("attn.in_proj_weight").unwrap();
    assert_eq!(weight.shape(), [18, 6]);
    let bound = (6.0f64 / (18.0 + 6.0)).sqrt();
    let largest = weight.iter().fold(0.0f64, |most, w| most.max(w.abs()));
    assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
    for bias in ["attn.in_proj_bias", "attn.out_proj.bias"] {
        assert!(model.param(bias).unwrap().iter().all(|b| *b == 0.0), "{bias}");
    }
    assert!(model.param("past.in_proj_bias").is_err());
}

#[model]
pub struct Tower {
    pos: PositionalEncoding<6>,
    layers: [TransformerEncoderLayer<6, 2, 8>; 3],
    head: Linear<6, 1>,
}

#[model]
impl Tower {
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Tensor<B, 1> {
        let mut x = self.pos(x);
        for layer in &self.layers {
            x = layer(x);
        }
        self.head(x.mean(axis = 1))
    }

    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>, target: Tensor<B, 1>) -> Scalar {
        mse(self.forward(x), target)
    }
}

/// Every layer of the loop drops by its own mask, and backward by the same: else the gradient is not that of the loss.
#[test]
fn a_tower_in_a_loop_has_the_gradient_of_its_loss() {
    let build = || {
        Tower::builder(&Device::cpu())
            .seed(5)
            .precision(Precision::F64)
            .build()
            .unwrap()
    };
    let (x, target) = (sequence([2, 3, 6], 4), Array2::<f64>::from_elem((2, 1), 0.7));
    let mut work = build().loss_workspace(TowerLossDims { b: 2, t: 3 }).unwrap();
    build().loss_grad(&mut work, &x, &target).unwrap();
    let paths = [
        "layers.0.self_attn.in_proj_weight",
        "layers.2.self_attn.in_proj_weight",
        "layers.1.self_attn.out_proj.weight",
        "layers.1.linear1.weight",
        "layers.0.norm2.bias",
    ];
    let gradients: Vec<ArrayD<f64>> = paths.iter().map(|path| work.grad(path).unwrap()).collect();
    for (path, gradient) in paths.iter().zip(&gradients) {
        let values = build().param(path).unwrap();
        for k in [0, gradient.len() / 2, gradient.len() - 1] {
            let mut at = |step: f64| {
                let mut model = build();
                let mut moved = values.clone();
                *moved.iter_mut().nth(k).unwrap() += step;
                model.set_param(path, &moved).unwrap();
                model.loss_grad(&mut work, &x, &target).unwrap()
            };
            let h = 1e-4;
            let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let found = *gradient.iter().nth(k).unwrap();
            assert!(
                (found - slope).abs() < 1e-8 + 1e-6 * slope.abs(),
                "{path} {k}: {found}, not {slope}"
            );
        }
    }
}

#[test]
fn a_tower_learns() {
    let mut model = Tower::new(&Device::cpu(), 1).unwrap();
    let x = sequence([8, 5, 6], 2).mapv(|x| x as f32);
    let target = x.mean_axis(Axis(1)).unwrap().slice(s![.., ..1]).to_owned();
    let mut work = model.loss_workspace(TowerLossDims { b: 8, t: 5 }).unwrap();
    let before = model.loss(&x, &target).unwrap();
    let mut adam = Adam::new(1e-2);
    for _ in 0..60 {
        model.train_step(&mut work, &mut adam, &x, &target).unwrap();
    }
    let after = model.loss(&x, &target).unwrap();
    assert!(after < 0.5 * before, "{after} after {before}");
}

//! Products of Hessians with vectors, of whole models: against differences of their gradients, and by their symmetry.

#![allow(missing_docs)]

use ndarray::{Array1, Array2, Array3, Array4};
use tapeless::prelude::*;

/// Norm, dropout, and a loss with smoothed labels of which some are ignored.
#[model]
pub struct Perceptron {
    norm: LayerNorm<6>,
    up: Linear<6, 9>,
    down: Linear<9, 4>,
}

#[model]
impl Perceptron {
    #[model(hvp)]
    pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, label: Tensor<i64, B>) -> Scalar {
        let hidden = self.up(self.norm(x)).gelu().dropout(0.3);
        cross_entropy(self.down(hidden), label, label_smoothing = 0.1, ignore_index = 3)
    }
}

/// Batch norm in train mode, and maxima.
#[model]
pub struct Images {
    #[layer(padding = 1)]
    conv: Conv2d<2, 4, 3>,
    norm: BatchNorm2d<4>,
    pool: MaxPool2d<2>,
    head: Linear<{ 4 * 3 * 3 }, 3>,
}

#[model]
impl Images {
    #[model(hvp)]
    pub fn loss<B: Dim>(&self, x: Tensor<B, 2, 6, 6>, label: Tensor<u8, B>) -> Scalar {
        let x = self.norm(self.conv(x)).tanh();
        cross_entropy(self.head(self.pool(x).flatten()), label)
    }
}

#[model]
pub struct Layer<const D: usize> {
    norm: RmsNorm<D>,
    attention: CausalSelfAttention<D, 2>,
    mix: Linear<D, D>,
}

#[model]
impl<const D: usize> Layer<D> {
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        let x = x + self.attention(self.norm(x));
        x + self.mix(x).silu()
    }
}

/// A tower of attention layers that are computed again, between an embedding and its transpose.
#[model]
pub struct Language {
    tokens: Embedding<7, 4>,
    #[recompute]
    layers: [Layer<4>; 3],
}

#[model]
impl Language {
    #[model(hvp)]
    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<u32, B, T>, next: Tensor<u32, B, T>) -> Scalar {
        let mut h = self.tokens(x);
        for layer in &self.layers {
            h = layer(h);
        }
        let scores = h.matmul(self.tokens.weight.transpose());
        cross_entropy(scores.permute(0, 2, 1), next)
    }
}

/// Time, in both directions, and a frozen layer.
#[model]
pub struct Sequences {
    #[freeze]
    inputs: Linear<3, 3>,
    #[layer(layers = 2, bidirectional = true)]
    lstm: Lstm<3, 4>,
    head: Linear<8, 2>,
}

#[model]
impl Sequences {
    #[model(hvp)]
    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, target: Tensor<B, T, 2>) -> Scalar {
        let (y, _, _) = self.lstm(self.inputs(x));
        mse(self.head(y), target)
    }

    /// The Hessian of what is linear is zero.
    #[model(hvp)]
    pub fn mean_bias<B: Dim>(&self, x: Tensor<B>) -> Scalar {
        self.head.bias.sum() * x.sum()
    }
}

fn numbers(k: usize) -> f64 {
    (k as f64 * 0.73).sin() * 1.3
}

/// What a model is checked with.
struct Case<M> {
    build: fn(Precision, usize) -> Result<M>,
    work: fn(&M) -> Result<Workspace>,
    grad: fn(&mut M, &mut Workspace) -> Result<f64>,
    hvp: fn(&M, &mut Workspace, &ParamVector, &mut ParamVector) -> Result<f64>,
}

fn build<M: Model>(precision: Precision, threads: usize) -> Result<M> {
    M::builder(&Device::cpu().threads(threads))
        .seed(5)
        .precision(precision)
        .build()
}

impl<M: Model> Case<M> {
    /// The gradient after a step of `h` along a direction.
    fn gradient(&self, direction: &ParamVector, h: f64) -> Result<ParamVector> {
        let mut model = (self.build)(Precision::F64, 1)?;
        // What is frozen does not move.
        let moves = |path: &&str| !path.starts_with("inputs.");
        let paths = model.params().into_iter().map(|(path, _)| path);
        let paths: Vec<String> = paths.filter(moves).map(str::to_owned).collect();
        for path in paths {
            let moved = model.param(&path)? + direction.get(&path)? * h;
            model.set_param(&path, &moved)?;
        }
        let mut work = (self.work)(&model)?;
        (self.grad)(&mut model, &mut work)?;
        let mut gradient = model.vector()?;
        gradient.copy_gradient(&work)?;
        Ok(gradient)
    }

    /// The product by differences of gradients of the fourth order.
    fn differences(&self, direction: &ParamVector) -> Result<ParamVector> {
        const H: f64 = 1e-4;
        let mut product = self.gradient(direction, H)?;
        product.add_scaled(-1.0, &self.gradient(direction, -H)?)?;
        product.scale(8.0);
        product.add_scaled(-1.0, &self.gradient(direction, 2.0 * H)?)?;
        product.add_scaled(1.0, &self.gradient(direction, -2.0 * H)?)?;
        product.scale(1.0 / (12.0 * H));
        Ok(product)
    }

    fn product(&self, model: &M, seed: u64) -> Result<(ParamVector, ParamVector)> {
        let (mut direction, mut product) = (model.vector()?, model.vector()?);
        direction.fill_normal(seed);
        product.fill(f64::NAN);
        (self.hvp)(model, &mut (self.work)(model)?, &direction, &mut product)?;
        Ok((direction, product))
    }

    fn check(&self) -> Result<()> {
        let model = (self.build)(Precision::F64, 1)?;
        let ((u, hu), (v, hv)) = (self.product(&model, 1)?, self.product(&model, 2)?);
        for (direction, product) in [(&u, &hu), (&v, &hv)] {
            let mut rest = self.differences(direction)?;
            rest.add_scaled(-1.0, product)?;
            let error = rest.norm() / product.norm();
            assert!(error < 1e-8, "the product is off by {error:e}");
        }
        let (uhv, vhu) = (u.dot(&hv)?, v.dot(&hu)?);
        assert!(
            (uhv - vhu).abs() < 1e-11 * hu.norm() * v.norm(),
            "no symmetry: {uhv} and {vhu}"
        );
        self.check_surroundings(&model, &hu)
    }

    /// Threads and precision change as little as elsewhere, and a product leaves everything else alone.
    fn check_surroundings(&self, model: &M, want: &ParamVector) -> Result<()> {
        let (_, mut again) = self.product(&(self.build)(Precision::F64, 2)?, 1)?;
        again.add_scaled(-1.0, want)?;
        assert_eq!(again.norm(), 0.0, "two threads give other bits than one");

        let single = (self.build)(Precision::F32, 1)?;
        let (_, product) = self.product(&single, 1)?;
        let mut squares = 0.0;
        for (path, _) in single.params() {
            let difference = product.get(path)? - want.get(path)?;
            squares += difference.iter().map(|x| x * x).sum::<f64>();
        }
        let error = squares.sqrt() / want.norm();
        assert!(error < 1e-4, "f32 is off by {error:e}");

        let mut trained = (self.build)(Precision::F64, 1)?;
        let mut work = (self.work)(&trained)?;
        let loss = (self.grad)(&mut trained, &mut work)?;
        let (before, step) = (work.grad_norm()?, trained.step());
        let (mut direction, mut product) = (model.vector()?, model.vector()?);
        direction.fill(1.0);
        (self.hvp)(&trained, &mut work, &direction, &mut product)?;
        assert_eq!(
            (work.grad_norm()?, trained.step(), work.loss()?),
            (before, step, loss)
        );
        Ok(())
    }
}

#[test]
fn products_of_a_perceptron() -> Result<()> {
    fn batch() -> (Array2<f64>, Array1<i64>) {
        let x = Array2::from_shape_fn((5, 6), |(b, k)| numbers(6 * b + k));
        (x, Array1::from_vec(vec![0, 2, 3, 1, 2]))
    }
    Case::<Perceptron> {
        build,
        work: |model| model.loss_workspace(5),
        grad: |model, work| model.loss_grad(work, &batch().0, &batch().1),
        hvp: |model, work, v, hv| model.loss_hvp(work, v, hv, &batch().0, &batch().1),
    }
    .check()
}

#[test]
fn products_of_a_convolutional_net() -> Result<()> {
    fn batch() -> (Array4<f64>, Array1<u8>) {
        let x = Array4::from_shape_fn((4, 2, 6, 6), |(b, c, y, x)| numbers(101 * b + 37 * c + 7 * y + x));
        (x, Array1::from_vec(vec![0, 2, 1, 2]))
    }
    Case::<Images> {
        build,
        work: |model| model.loss_workspace(4),
        grad: |model, work| model.loss_grad(work, &batch().0, &batch().1),
        hvp: |model, work, v, hv| model.loss_hvp(work, v, hv, &batch().0, &batch().1),
    }
    .check()
}

#[test]
fn products_of_a_language_model() -> Result<()> {
    fn batch() -> (Array2<u32>, Array2<u32>) {
        let token = |(b, t): (usize, usize)| ((b * 5 + t * 3) % 7) as u32;
        (
            Array2::from_shape_fn((2, 5), token),
            Array2::from_shape_fn((2, 5), |(b, t)| token((b, t + 1))),
        )
    }
    Case::<Language> {
        build,
        work: |model| model.loss_workspace(LanguageLossDims { b: 2, t: 5 }),
        grad: |model, work| model.loss_grad(work, &batch().0, &batch().1),
        hvp: |model, work, v, hv| model.loss_hvp(work, v, hv, &batch().0, &batch().1),
    }
    .check()
}

fn sequences() -> (Array3<f64>, Array3<f64>) {
    let x = Array3::from_shape_fn((2, 4, 3), |(b, t, k)| numbers(29 * b + 5 * t + k));
    (
        x,
        Array3::from_shape_fn((2, 4, 2), |(b, t, k)| numbers(31 * b + 3 * t + k)),
    )
}

#[test]
fn products_of_a_recurrent_net() -> Result<()> {
    Case::<Sequences> {
        build,
        work: |model| model.loss_workspace(SequencesLossDims { b: 2, t: 4 }),
        grad: |model, work| model.loss_grad(work, &sequences().0, &sequences().1),
        hvp: |model, work, v, hv| model.loss_hvp(work, v, hv, &sequences().0, &sequences().1),
    }
    .check()
}

#[test]
fn what_is_frozen_or_linear_has_a_product_of_zero() -> Result<()> {
    let model = Sequences::new(&Device::cpu(), 1)?;
    let (mut direction, mut product) = (model.vector()?, model.vector()?);
    direction.fill(1.0);
    let mut work = model.loss_workspace(SequencesLossDims { b: 2, t: 4 })?;
    let (x, target) = sequences();
    model.loss_hvp(&mut work, &direction, &mut product, &x, &target)?;
    assert!(product.norm() > 0.0);
    assert_eq!(product.get("inputs.weight")?.sum(), 0.0);
    let x = Array1::from_vec(vec![1.0_f32, 2.0]);
    let mut work = model.mean_bias_workspace(2)?;
    let value = model.mean_bias_hvp(&mut work, &direction, &mut product, &x)?;
    assert_eq!((value, product.norm()), (model.mean_bias(&x)?, 0.0));
    Ok(())
}

#[test]
fn mistakes_are_errors_that_say_what_is_wrong() -> Result<()> {
    let model = Sequences::new(&Device::cpu(), 1)?;
    let other = Perceptron::new(&Device::cpu(), 1)?;
    let mut work = model.loss_workspace(SequencesLossDims { b: 2, t: 4 })?;
    let (x, target) = sequences();
    let (v, mut hv) = (model.vector()?, other.vector()?);
    let error = model.loss_hvp(&mut work, &v, &mut hv, &x, &target).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("loss") && text.contains("a vector of another model"),
        "{text}"
    );
    let mut hv = model.vector()?;
    let error = model
        .loss_hvp(&mut work, &v, &mut hv, &(&x * f64::NAN), &target)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    let x = Array3::<f64>::zeros((3, 4, 3));
    let error = model.loss_hvp(&mut work, &v, &mut hv, &x, &target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    Ok(())
}

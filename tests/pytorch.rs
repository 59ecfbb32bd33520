//! Whole models against numbers made by PyTorch in float64: results, loss, every gradient, running statistics, and the
//! losses of ten steps of every optimizer.

#![allow(missing_docs)]

mod common;
#[path = "../examples/gpt/model.rs"]
mod gpt_model;

use common::fixture::Fixture;
use ndarray::{Ix1, Ix2, Ix3, Ix4, IxDyn};
use serde_json::Value;
use tapeless::prelude::*;

#[model]
pub struct Mlp {
    fc1: Linear<12, 9>,
    fc2: Linear<_, 4>,
}

#[model]
impl Mlp {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 12>) -> Tensor<B, 4> {
        self.fc2(self.fc1(x).relu())
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 12>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(x), label)
    }
}

#[model]
pub struct Cnn {
    #[layer(padding = 1)]
    conv1: Conv2d<2, 4, 3>,
    bn1: BatchNorm2d<4>,
    #[layer(stride = 2, groups = 2)]
    conv2: Conv2d<4, 6, 3>,
    bn2: BatchNorm2d<_>,
    fc: Linear<_, 4>,
}

#[model]
impl Cnn {
    pub fn logits<B: Dim>(&self, image: Tensor<B, 2, 9, 9>) -> Tensor<B, 4> {
        let x = self.bn1(self.conv1(image)).relu().max_pool2d(2);
        let x = self.bn2(self.conv2(x)).relu();
        self.fc(x.flatten())
    }

    pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 9, 9>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

#[model]
pub struct MnistCnn {
    conv1: Conv2d<1, 3, 3>,
    conv2: Conv2d<3, 4, 3>,
    fc1: Linear<_, 7>,
    fc2: Linear<_, 5>,
}

#[model]
impl MnistCnn {
    pub fn logits<B: Dim>(&self, image: Tensor<B, 1, 8, 10>) -> Tensor<B, 5> {
        let x = self.conv2(self.conv1(image).relu()).relu();
        self.fc2(self.fc1(x.max_pool2d(2).flatten()).relu())
    }

    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 8, 10>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

#[model]
pub struct Block<const D: usize, const H: usize> {
    ln: LayerNorm<D>,
    up: Linear<D, H>,
    down: Linear<H, D>,
}

#[model]
impl<const D: usize, const H: usize> Block<D, H> {
    pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        x + self.down(self.up(self.ln(x)).gelu())
    }
}

#[model]
pub struct Residual {
    blocks: [Block<6, 10>; 2],
    ln: LayerNorm<6>,
    head: Linear<6, 3>,
}

#[model]
impl Residual {
    pub fn prediction<B: Dim>(&self, x: Tensor<B, 6>) -> Tensor<B, 3> {
        let mut x = x;
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.ln(x))
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, target: Tensor<B, 3>) -> Scalar {
        mse(self.prediction(x), target)
    }
}

#[model]
pub struct EmbeddingClassifier {
    embed: Embedding<11, 6>,
    fc1: Linear<6, 8>,
    fc2: Linear<8, 3>,
}

#[model]
impl EmbeddingClassifier {
    pub fn logits<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 3> {
        self.fc2(self.fc1(self.embed(tokens).mean(axis = 1)).tanh())
    }

    pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(tokens), label)
    }
}

#[model]
pub struct Recurrent {
    #[layer(layers = 2, bidirectional = true)]
    lstm: Lstm<3, 4>,
    gru: Gru<8, 5>,
    #[layer(nonlinearity = "relu", bias = false)]
    rnn: Rnn<5, 3>,
    head: Linear<7, 2>,
}

#[model]
impl Recurrent {
    pub fn prediction<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, T, 3>,
        lengths: Tensor<i64, B>,
        h0: Tensor<1, B, 5>,
    ) -> Tensor<B, 2> {
        let (y, h, c) = self.lstm(x, lengths = lengths);
        let (y, _) = self.gru(y, h0);
        let (_, last) = self.rnn(y);
        let states = h.slice(1..2).squeeze(0) + c.slice(2..3).squeeze(0);
        self.head(concat((last.squeeze(0), states), axis = 1))
    }

    pub fn loss<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, T, 3>,
        lengths: Tensor<i64, B>,
        h0: Tensor<1, B, 5>,
        target: Tensor<B, 2>,
    ) -> Scalar {
        mse(self.prediction(x, lengths, h0), target)
    }
}

/// Distance of two tensors relative to the longer one.
fn distance(found: &ndarray::ArrayD<f64>, expected: &ndarray::ArrayD<f64>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let norm = |x: &ndarray::ArrayD<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = norm(found).max(norm(expected));
    if scale == 0.0 {
        0.0
    } else {
        norm(&(found - expected)) / scale
    }
}

/// A model with the initial values of the fixture.
fn initial<M: Model>(fixture: &Fixture, precision: Precision) -> M {
    let mut model = M::builder(&Device::cpu()).precision(precision).build().unwrap();
    let states: Vec<String> = model
        .states()
        .iter()
        .map(|(path, _)| (*path).to_owned())
        .collect();
    for path in fixture.under("param.") {
        if path.ends_with("num_batches_tracked") {
            continue;
        }
        let values = fixture.array::<IxDyn>(&format!("param.{path}"));
        if states.iter().any(|state| state == path) {
            model.set_state(path, &values).unwrap();
        } else {
            model.set_param(path, &values).unwrap();
        }
    }
    model
}

/// One optimizer step after another on the same batch; answers the losses.
type Steps<'a, M> = &'a dyn Fn(&mut M, &mut dyn FnMut(&mut M, &mut Workspace), usize) -> Vec<f64>;

/// Changes a model by what its workspace holds.
type Step<M> = Box<dyn FnMut(&mut M, &mut Workspace)>;

/// Makes the optimizer of a fixture's settings and applies it.
fn stepper<M: Model>(settings: &Value) -> Step<M> {
    let number = |name: &str| {
        settings[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no setting `{name}` in {settings}"))
    };
    let flag = |name: &str| settings[name].as_bool().unwrap_or(false);
    let betas = || {
        (
            settings["betas"][0].as_f64().unwrap(),
            settings["betas"][1].as_f64().unwrap(),
        )
    };
    match settings["kind"].as_str().expect("the settings name the kind") {
        "SGD" => {
            let mut sgd = Sgd::new(number("lr"))
                .momentum(number("momentum"))
                .weight_decay(number("weight_decay"));
            if flag("nesterov") {
                sgd = sgd.nesterov();
            }
            Box::new(move |model, work| sgd.step(model, work).unwrap())
        }
        "Adam" => {
            let (b1, b2) = betas();
            let mut adam = Adam::new(number("lr"))
                .betas(b1, b2)
                .eps(number("eps"))
                .weight_decay(number("weight_decay"));
            Box::new(move |model, work| adam.step(model, work).unwrap())
        }
        "AdamW" => {
            let (b1, b2) = betas();
            let mut adam = AdamW::new(number("lr"))
                .betas(b1, b2)
                .eps(number("eps"))
                .weight_decay(number("weight_decay"));
            Box::new(move |model, work| adam.step(model, work).unwrap())
        }
        "RMSprop" => {
            let mut rms = RmsProp::new(number("lr"))
                .alpha(number("alpha"))
                .eps(number("eps"));
            rms = rms
                .momentum(number("momentum"))
                .weight_decay(number("weight_decay"));
            if flag("centered") {
                rms = rms.centered();
            }
            Box::new(move |model, work| rms.step(model, work).unwrap())
        }
        other => panic!("an optimizer `{other}` that this test does not know"),
    }
}

/// The losses of ten steps of every optimizer, in f64 and in f32, and where the parameters end.
fn check_optimizers<M: Model>(fixture: &Fixture, steps: Steps<'_, M>) {
    for (name, settings) in fixture.optimizers() {
        let mut model = initial::<M>(fixture, Precision::F64);
        let mut step = stepper::<M>(settings);
        let losses = steps(&mut model, &mut *step, 10);
        let expected = fixture.array::<Ix1>(&format!("losses.{name}"));
        for (k, (found, expected)) in losses.iter().zip(&expected).enumerate() {
            let error = (found - expected).abs() / expected.abs();
            assert!(
                error < 1e-9,
                "{name}: step {k}: loss {found}, PyTorch has {expected}"
            );
        }
        for path in fixture.under(&format!("after.{name}.")) {
            if path.ends_with("num_batches_tracked") || fixture.zero_gradients().any(|p| p == path) {
                continue;
            }
            let expected = fixture.array::<IxDyn>(&format!("after.{name}.{path}"));
            let found = model.param(path).or_else(|_| model.state(path)).unwrap();
            assert!(
                distance(&found, &expected) < 1e-8,
                "{name}: `{path}` ends elsewhere"
            );
        }

        let mut model = initial::<M>(fixture, Precision::F32);
        let mut step = stepper::<M>(settings);
        let losses = steps(&mut model, &mut *step, 10);
        for (k, (found, expected)) in losses.iter().zip(&expected).enumerate() {
            let error = (found - expected).abs() / expected.abs();
            assert!(
                error < 1e-4,
                "{name} in f32: step {k}: loss {found}, PyTorch has {expected}"
            );
        }
    }
}

/// Checks one fixture: forward in both modes, gradients, running statistics, optimizers.
macro_rules! fixture_tests {
    ($($test:ident: $model:ident, $fixture:literal, $method:ident -> $output:literal, $dims:expr,
        |$f:ident| ($($x:ident = $input:expr),*; $y:expr);)*) => {$(
        #[test]
        fn $test() {
            let $f = Fixture::load($fixture);
            $(let $x = $input;)*
            let y = $y;
            let mut model = initial::<$model>(&$f, Precision::F64);
            let mut work = model.loss_workspace($dims).unwrap();

            let output = model.$method($(&$x),*).unwrap().mapv(f64::from).into_dyn();
            let expected = $f.array::<IxDyn>(concat!("eval.", $output));
            assert!(distance(&output, &expected) < 1e-6, "eval: {output} but PyTorch has {expected}");

            let loss = model.loss_grad(&mut work, $(&$x,)* &y).unwrap();
            let expected = $f.scalar("loss");
            assert!((loss - expected).abs() < 1e-12 * expected.abs().max(1.0), "loss {loss}, PyTorch has {expected}");
            for path in $f.under("grad.") {
                if path.starts_with("input.") {
                    continue;
                }
                let found = work.grad(&path).unwrap();
                let expected = $f.array::<IxDyn>(&format!("grad.{path}"));
                if $f.zero_gradients().any(|p| p == path) {
                    assert!(found.iter().all(|v| v.abs() < 1e-12), "`{path}` should have no gradient");
                } else {
                    let error = distance(&found, &expected);
                    assert!(error < 1e-9, "gradient of `{path}` is off by {error:e}");
                }
            }

            check_optimizers::<$model>(&$f, &|model, step, n| {
                let mut work = model.loss_workspace($dims).unwrap();
                (0..n)
                    .map(|_| {
                        let loss = model.loss_grad(&mut work, $(&$x,)* &y).unwrap();
                        step(model, &mut work);
                        loss
                    })
                    .collect()
            });
        }
    )*};
}

fixture_tests! {
    mlp: Mlp, "mlp", logits -> "logits", 7, |f| (x = f.array::<Ix2>("input.x"); f.ints::<Ix1>("input.label"));
    cnn: Cnn, "cnn", logits -> "logits", 7, |f| (image = f.array::<Ix4>("input.image"); f.ints::<Ix1>("input.label"));
    mnist_cnn: MnistCnn, "mnist_cnn", logits -> "logits", 5,
        |f| (image = f.array::<Ix4>("input.image"); f.ints::<Ix1>("input.label"));
    residual: Residual, "residual", prediction -> "prediction", 5,
        |f| (x = f.array::<Ix2>("input.x"); f.array::<Ix2>("input.target"));
    embedding: EmbeddingClassifier, "embedding", logits -> "logits", EmbeddingClassifierLossDims { b: 7, t: 5 },
        |f| (tokens = f.ints::<Ix2>("input.tokens"); f.ints::<Ix1>("input.label"));
    recurrent: Recurrent, "recurrent", prediction -> "prediction", RecurrentLossDims { b: 4, t: 6 },
        |f| (
            x = f.array::<Ix3>("input.x"),
            lengths = f.ints::<Ix1>("input.lengths"),
            h0 = f.array::<Ix3>("input.h0");
            f.array::<Ix2>("input.target")
        );
}

type SmallGpt = gpt_model::Gpt<11, 6, 3, 2, 8>;

/// The example `gpt`: loss, gradients and optimizers, and what its cache of keys and values gives token by token.
#[test]
fn gpt() {
    let fixture = Fixture::load("gpt");
    let (tokens, next) = (
        fixture.ints::<Ix2>("input.tokens"),
        fixture.ints::<Ix2>("input.next"),
    );
    let (tokens, next) = (tokens.mapv(|t| t as u16), next.mapv(|t| t as u16));
    let mut model = initial::<SmallGpt>(&fixture, Precision::F64);
    let mut work = model.loss_workspace(3).unwrap();
    let loss = model.loss_grad(&mut work, &tokens, &next, 0.0).unwrap();
    let expected = fixture.scalar("loss");
    assert!(
        (loss - expected).abs() < 1e-12 * expected,
        "loss {loss}, PyTorch has {expected}"
    );
    for path in fixture.under("grad.") {
        let expected = fixture.array::<IxDyn>(&format!("grad.{path}"));
        let error = distance(&work.grad(&path).unwrap(), &expected);
        assert!(error < 1e-9, "gradient of `{path}` is off by {error:e}");
    }
    let logits = fixture.array::<Ix3>("eval.logits");
    let mut keys = ndarray::Array4::<f32>::zeros((3, 3, 0, 8));
    let mut values = keys.clone();
    for t in 0..6 {
        let position = ndarray::Array1::from_elem(3, t as i64);
        let (scores, key, value) = model.next(&tokens.column(t), &position, &keys, &values).unwrap();
        let expected = logits.index_axis(ndarray::Axis(1), t).to_owned().into_dyn();
        assert!(
            distance(&scores.mapv(f64::from).into_dyn(), &expected) < 1e-5,
            "scores of token {t}"
        );
        keys = ndarray::concatenate(ndarray::Axis(2), &[keys.view(), key.view()]).unwrap();
        values = ndarray::concatenate(ndarray::Axis(2), &[values.view(), value.view()]).unwrap();
    }
    check_optimizers::<SmallGpt>(&fixture, &|model, step, n| {
        let mut work = model.loss_workspace(3).unwrap();
        let mut one = || {
            let loss = model.loss_grad(&mut work, &tokens, &next, 0.0).unwrap();
            step(model, &mut work);
            loss
        };
        (0..n).map(|_| one()).collect()
    });
}

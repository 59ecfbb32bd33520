//! The ResNet-20 of `tapeless_models`, made narrow, against numbers made by PyTorch in float64: scores, loss, every gradient, and
//! where ten steps with momentum and weight decay lead, running statistics included.

#![allow(missing_docs)]

mod common;

use common::fixture::Fixture;
use ndarray::{Array1, Array4, ArrayD, Ix1, Ix4, IxDyn};
use tapeless::prelude::*;
use tapeless_models::{ResNet20, ResNet20LossDims};

type Narrow = ResNet20<3, 2, 5>;

/// A fixture's batch.
struct Batch {
    image: Array4<f64>,
    label: Array1<i64>,
}

impl Batch {
    fn of(fixture: &Fixture) -> Self {
        Self {
            image: fixture.array::<Ix4>("input.image"),
            label: fixture.ints::<Ix1>("input.label"),
        }
    }

    fn workspace(&self, model: &Narrow) -> Workspace {
        let (b, _, h, w) = self.image.dim();
        model.loss_workspace(ResNet20LossDims { b, h, w }).unwrap()
    }
}

/// The model with the fixture's initial values.
fn initial(fixture: &Fixture, precision: Precision) -> Narrow {
    let mut model = Narrow::builder(&Device::cpu())
        .precision(precision)
        .build()
        .unwrap();
    let paths = |list: Vec<(&str, Vec<usize>)>| -> Vec<String> {
        list.into_iter().map(|(path, _)| path.to_owned()).collect()
    };
    for path in paths(model.params()) {
        let values = fixture.array::<IxDyn>(&format!("param.{path}"));
        model.set_param(&path, &values).unwrap();
    }
    for path in paths(model.states()) {
        let values = fixture.array::<IxDyn>(&format!("param.{path}"));
        model.set_state(&path, &values).unwrap();
    }
    let n_tensors = model.params().len() + model.states().len();
    assert_eq!(
        fixture.under("param.").count(),
        n_tensors,
        "the fixture has other tensors"
    );
    model
}

/// Distance of two tensors relative to the longer one.
fn distance(found: &ArrayD<f64>, expected: &ArrayD<f64>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let norm = |x: &ArrayD<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(found - expected)) / norm(found).max(norm(expected))
}

/// The losses of ten steps, each taken before its step.
fn train(model: &mut Narrow, settings: &serde_json::Value, batch: &Batch) -> Vec<f64> {
    let number = |name: &str| settings[name].as_f64().expect("the settings are complete");
    let mut sgd = Sgd::new(number("lr"))
        .momentum(number("momentum"))
        .weight_decay(number("weight_decay"));
    let mut work = batch.workspace(model);
    let steps = 0..10;
    steps
        .map(|_| {
            model
                .train_step(&mut work, &mut sgd, &batch.image, &batch.label)
                .unwrap()
        })
        .collect()
}

#[test]
fn scores_loss_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::load("resnet20");
    let (batch, mut model) = (Batch::of(&fixture), initial(&fixture, Precision::F64));
    let scores = model.logits_as::<f64>(&batch.image).unwrap().into_dyn();
    let error = distance(&scores, &fixture.array("eval.logits"));
    assert!(error < 1e-10, "scores in eval mode are off by {error:e}");

    let mut work = batch.workspace(&model);
    let loss = model.loss_grad(&mut work, &batch.image, &batch.label).unwrap();
    let expected = fixture.scalar("loss");
    assert!(
        (loss - expected).abs() < 1e-11,
        "loss {loss}, PyTorch has {expected}"
    );
    let mut n_gradients = 0;
    for path in fixture.under("grad.") {
        let error = distance(&work.grad(path).unwrap(), &fixture.array(&format!("grad.{path}")));
        assert!(error < 1e-9, "the gradient of `{path}` is off by {error:e}");
        n_gradients += 1;
    }
    assert_eq!(n_gradients, model.params().len());
}

#[test]
fn a_step_leaves_the_running_statistics_of_pytorch() {
    let fixture = Fixture::load("resnet20");
    let (batch, mut model) = (Batch::of(&fixture), initial(&fixture, Precision::F64));
    let mut work = batch.workspace(&model);
    let mut still = Sgd::new(0.0);
    model
        .train_step(&mut work, &mut still, &batch.image, &batch.label)
        .unwrap();
    for path in fixture.under("state.") {
        let error = distance(
            &model.state(path).unwrap(),
            &fixture.array(&format!("state.{path}")),
        );
        assert!(error < 1e-10, "`{path}` is off by {error:e}");
    }
}

#[test]
fn ten_steps_lead_where_they_lead_in_pytorch() {
    let fixture = Fixture::load("resnet20");
    let batch = Batch::of(&fixture);
    let (_, settings) = fixture.optimizers().next().expect("there is one");
    let expected = fixture.array::<Ix1>("losses.sgd");
    for (precision, tolerance) in [(Precision::F64, 1e-9), (Precision::F32, 1e-4)] {
        let mut model = initial(&fixture, precision);
        let losses = train(&mut model, settings, &batch);
        for (step, (found, expected)) in losses.iter().zip(&expected).enumerate() {
            let error = (found - expected).abs() / expected;
            assert!(
                error < tolerance,
                "{precision}: step {step}: loss {found}, PyTorch has {expected}"
            );
        }
        if precision == Precision::F64 {
            for path in fixture.under("after.sgd.") {
                let found = model.param(path).or_else(|_| model.state(path)).unwrap();
                let error = distance(&found, &fixture.array(&format!("after.sgd.{path}")));
                assert!(error < 1e-8, "`{path}` ends {error:e} away");
            }
        }
    }
}

//! The ResNet-20 of `tapeless_models`, made narrow, against numbers made by PyTorch in float64: scores, loss, every gradient, and
//! where ten steps with momentum and weight decay lead, running statistics included.

#![allow(missing_docs)]

mod common;

use common::fixture::Fixture;
use common::reference::{check_gradients, check_optimizers, distance, initial};
use ndarray::{Array1, Array4, Ix1, Ix4};
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

#[test]
fn scores_loss_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::load("resnet20");
    let (batch, mut model) = (Batch::of(&fixture), initial::<Narrow>(&fixture, Precision::F64));
    let scores = model.logits_as::<f64>(&batch.image).unwrap().into_dyn();
    let error = distance(&scores, &fixture.array("eval.logits"));
    assert!(error < 1e-10, "scores in eval mode are off by {error:e}");

    let mut work = batch.workspace(&model);
    let loss = model.loss_grad(&mut work, &batch.image, &batch.label).unwrap();
    check_gradients(&fixture, loss, &work);
    let n_gradients = fixture.under("grad.").count();
    assert_eq!(n_gradients, model.params().len());
}

#[test]
fn a_step_leaves_the_running_statistics_of_pytorch() {
    let fixture = Fixture::load("resnet20");
    let (batch, mut model) = (Batch::of(&fixture), initial::<Narrow>(&fixture, Precision::F64));
    let mut work = batch.workspace(&model);
    let mut still = Sgd::new(0.0);
    model
        .train_step(&mut work, &mut still, &batch.image, &batch.label)
        .unwrap();
    assert_eq!(fixture.under("state.").count(), model.states().len());
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
    check_optimizers::<Narrow>(&fixture, &|model| batch.workspace(model), &|model, work| {
        model.loss_grad(work, &batch.image, &batch.label).unwrap()
    });
}

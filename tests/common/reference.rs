//! What tests of whole models against PyTorch share: a model with a fixture's initial values, its gradients, and ten
//! steps of every optimizer.

#![allow(
    dead_code,
    reason = "every test binary compiles this file for itself and uses its own share of it"
)]

use ndarray::{ArrayD, Ix1, IxDyn};
use serde_json::Value;
use tapeless::prelude::*;

use super::fixture::Fixture;

/// Distance of two tensors relative to the longer one.
pub fn distance(found: &ArrayD<f64>, expected: &ArrayD<f64>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let norm = |x: &ArrayD<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    match norm(found).max(norm(expected)) {
        0.0 => 0.0,
        scale => norm(&(found - expected)) / scale,
    }
}

/// A model with the initial values of the fixture.
pub fn initial<M: Model>(fixture: &Fixture, precision: Precision) -> M {
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

/// Compares a loss and all gradients, made in f64 from the initial values, with the fixture's.
pub fn check_gradients(fixture: &Fixture, loss: f64, work: &Workspace) {
    let expected = fixture.scalar("loss");
    assert!(
        (loss - expected).abs() < 1e-12 * expected.abs().max(1.0),
        "loss {loss}, PyTorch has {expected}"
    );
    let mut n_compared = 0;
    for path in fixture.under("grad.").filter(|path| !path.starts_with("input.")) {
        let found = work.grad(path).unwrap();
        let expected = fixture.array::<IxDyn>(&format!("grad.{path}"));
        if fixture.zero_gradients().any(|p| p == path) {
            assert!(
                found.iter().all(|v| v.abs() < 1e-12),
                "`{path}` should have no gradient"
            );
        } else {
            let error = distance(&found, &expected);
            assert!(error < 1e-9, "gradient of `{path}` is off by {error:e}");
        }
        n_compared += 1;
    }
    assert!(n_compared > 0, "the fixture has no gradients");
}

/// Changes a model by what its workspace holds.
type Step<M> = Box<dyn FnMut(&mut M, &mut Workspace)>;

/// Takes the loss and its gradients in the mode of training.
pub type LossGrad<'a, M> = &'a dyn Fn(&mut M, &mut Workspace) -> f64;

/// The losses of ten steps of every optimizer, in f64 and in f32, and where the parameters end.
pub fn check_optimizers<M: Model>(
    fixture: &Fixture,
    workspace: &dyn Fn(&M) -> Workspace,
    loss_grad: LossGrad<'_, M>,
) {
    assert!(
        fixture.optimizers().next().is_some(),
        "the fixture has no optimizer"
    );
    for (name, settings) in fixture.optimizers() {
        let expected = fixture.array::<Ix1>(&format!("losses.{name}"));
        for (precision, tolerance) in [(Precision::F64, 1e-9), (Precision::F32, 1e-4)] {
            let mut model = initial::<M>(fixture, precision);
            let mut step = stepper::<M>(settings);
            let mut work = workspace(&model);
            for (k, expected) in expected.iter().enumerate() {
                let found = loss_grad(&mut model, &mut work);
                step(&mut model, &mut work);
                let error = (found - expected).abs() / expected.abs();
                assert!(
                    error < tolerance,
                    "{name} in {precision}: step {k}: loss {found}, PyTorch has {expected}"
                );
            }
            if precision == Precision::F64 {
                check_ends(fixture, name, &model);
            }
        }
    }
}

/// Where the parameters and carried tensors end after the steps of one optimizer.
fn check_ends<M: Model>(fixture: &Fixture, optimizer: &str, model: &M) {
    let ends = format!("after.{optimizer}.");
    assert!(
        fixture.under(&ends).next().is_some(),
        "{optimizer}: the fixture does not say where it ends"
    );
    for path in fixture.under(&ends) {
        if path.ends_with("num_batches_tracked") || fixture.zero_gradients().any(|p| p == path) {
            continue;
        }
        let expected = fixture.array::<IxDyn>(&format!("after.{optimizer}.{path}"));
        let found = model.param(path).or_else(|_| model.state(path)).unwrap();
        let error = distance(&found, &expected);
        assert!(error < 1e-8, "{optimizer}: `{path}` ends elsewhere, by {error:e}");
    }
}

/// Makes the optimizer of a fixture's settings and applies it.
fn stepper<M: Model>(settings: &Value) -> Step<M> {
    let number = |name: &str| {
        let value = settings[name].as_f64();
        value.unwrap_or_else(|| panic!("no setting `{name}` in {settings}"))
    };
    let flag = |name: &str| settings[name].as_bool().unwrap_or(false);
    let beta = |k: usize| settings["betas"][k].as_f64().expect("two decays");
    let (lr, decay) = (number("lr"), number("weight_decay"));
    match settings["kind"].as_str().expect("the settings name the kind") {
        "SGD" => {
            let mut sgd = Sgd::new(lr).momentum(number("momentum")).weight_decay(decay);
            if flag("nesterov") {
                sgd = sgd.nesterov();
            }
            Box::new(move |model, work| sgd.step(model, work).unwrap())
        }
        "Adam" => {
            let adam = Adam::new(lr).betas(beta(0), beta(1)).eps(number("eps"));
            let mut adam = adam.weight_decay(decay);
            Box::new(move |model, work| adam.step(model, work).unwrap())
        }
        "AdamW" => {
            let adam = AdamW::new(lr).betas(beta(0), beta(1)).eps(number("eps"));
            let mut adam = adam.weight_decay(decay);
            Box::new(move |model, work| adam.step(model, work).unwrap())
        }
        "RMSprop" => {
            let rms = RmsProp::new(lr).alpha(number("alpha")).eps(number("eps"));
            let mut rms = rms.momentum(number("momentum")).weight_decay(decay);
            if flag("centered") {
                rms = rms.centered();
            }
            Box::new(move |model, work| rms.step(model, work).unwrap())
        }
        other => panic!("an optimizer `{other}` that this test does not know"),
    }
}

//! Optimizers against their formulas, written out for one number at a time.

mod tiny;

use ndarray::{Array2, ArrayD};
use tapeless_runtime::cpu::isa::Isa;
use tapeless_runtime::model::Model;
use tapeless_runtime::optim::{Adam, AdamW, Optimizer, RmsProp, Sgd};
use tapeless_runtime::workspace::Workspace;
use tapeless_runtime::{Device, ErrorKind, Precision};
use tiny::Tiny;

const TRAINED: [&str; 2] = ["fc.weight", "fc.bias"];

fn batch(seed: usize) -> (Array2<f64>, Array2<f64>) {
    let x = Array2::from_shape_fn((4, 3), |(i, j)| {
        ((5 * i + 3 * j + 7 * seed) % 13) as f64 / 6.0 - 1.0
    });
    let target = Array2::from_shape_fn((4, 2), |(i, j)| x[[i, j]] - 0.5 * x[[i, 2]]);
    (x, target)
}

fn model(precision: Precision) -> (Tiny, Workspace) {
    let model = Tiny::builder(&Device::cpu().threads(2))
        .seed(3)
        .precision(precision)
        .build()
        .unwrap();
    let work = model.loss_workspace(4).unwrap();
    (model, work)
}

/// A formula for one number: from parameter, gradient, moments and step number to the new parameter.
type Formula = fn(f64, f64, &mut [f64; 3], u64) -> f64;

/// Takes ten steps and compares every parameter with what the formula makes of the same gradients.
fn check(optimizer: impl Optimizer + Clone, formula: Formula) {
    for (precision, tolerance) in [(Precision::F64, 1e-13), (Precision::F32, 2e-5)] {
        let (mut model, mut work) = model(precision);
        let mut optimizer = optimizer.clone();
        let mut moments = [vec![[0.0; 3]; 6], vec![[0.0; 3]; 2]];
        for step in 1..=10 {
            let (x, target) = batch(step as usize);
            model.loss_grad(&mut work, &x, &target).unwrap();
            let before = TRAINED.map(|path| (model.param(path).unwrap(), work.grad(path).unwrap()));
            optimizer.step(&mut model, &mut work).unwrap();
            for (k, path) in TRAINED.into_iter().enumerate() {
                let (param, grad) = &before[k];
                let moments = moments[k].iter_mut();
                let want = param
                    .iter()
                    .zip(grad)
                    .zip(moments)
                    .map(|((&p, &g), m)| formula(p, g, m, step));
                for (want, got) in want.zip(&model.param(path).unwrap()) {
                    assert!(
                        (want - got).abs() <= tolerance * want.abs().max(1.0),
                        "{path} at {step}: {want} {got}"
                    );
                }
            }
            assert_eq!(model.param("offset").unwrap(), ArrayD::from_elem(vec![2], 0.25));
        }
    }
}

#[test]
fn sgd() {
    check(Sgd::new(0.1), |p, g, _, _| p - 0.1 * g);
    check(Sgd::new(0.1).weight_decay(0.3), |p, g, _, _| {
        p - 0.1 * (g + 0.3 * p)
    });
    check(
        Sgd::new(0.1).momentum(0.9).dampening(0.4).weight_decay(0.01),
        |p, g, m, step| {
            let g = g + 0.01 * p;
            m[0] = if step == 1 { g } else { 0.9 * m[0] + 0.6 * g };
            p - 0.1 * m[0]
        },
    );
    check(Sgd::new(0.1).momentum(0.9).nesterov(), |p, g, m, _| {
        m[0] = 0.9 * m[0] + g;
        p - 0.1 * (g + 0.9 * m[0])
    });
}

fn adam(p: f64, g: f64, m: &mut [f64; 3], step: u64) -> f64 {
    m[0] = 0.9 * m[0] + 0.1 * g;
    m[1] = 0.99 * m[1] + 0.01 * g * g;
    let (first, second) = (
        m[0] / (1.0 - 0.9_f64.powf(step as f64)),
        m[1] / (1.0 - 0.99_f64.powf(step as f64)),
    );
    p - 0.01 * first / (second.sqrt() + 1e-6)
}

#[test]
fn adam_and_adamw() {
    check(Adam::new(0.01).betas(0.9, 0.99).eps(1e-6), adam);
    check(
        Adam::new(0.01).betas(0.9, 0.99).eps(1e-6).weight_decay(0.2),
        |p, g, m, step| adam(p, g + 0.2 * p, m, step),
    );
    check(
        AdamW::new(0.01).betas(0.9, 0.99).eps(1e-6).weight_decay(0.2),
        |p, g, m, step| adam(p * (1.0 - 0.01 * 0.2), g, m, step),
    );
}

#[test]
fn rmsprop() {
    fn square(g: f64, m: &mut [f64; 3]) -> f64 {
        m[0] = 0.9 * m[0] + 0.1 * g * g;
        m[0].sqrt() + 1e-4
    }
    fn centered(g: f64, m: &mut [f64; 3]) -> f64 {
        m[0] = 0.9 * m[0] + 0.1 * g * g;
        m[1] = 0.9 * m[1] + 0.1 * g;
        (m[0] - m[1] * m[1]).sqrt() + 1e-4
    }
    let rule = || RmsProp::new(0.01).alpha(0.9).eps(1e-4);
    check(rule(), |p, g, m, _| p - 0.01 * g / square(g, m));
    check(rule().weight_decay(0.1), |p, g, m, _| {
        p - 0.01 * (g + 0.1 * p) / square(g + 0.1 * p, m)
    });
    check(rule().momentum(0.8), |p, g, m, _| {
        m[2] = 0.8 * m[2] + g / square(g, m);
        p - 0.01 * m[2]
    });
    check(rule().centered(), |p, g, m, _| p - 0.01 * g / centered(g, m));
    check(rule().centered().momentum(0.8), |p, g, m, _| {
        m[2] = 0.8 * m[2] + g / centered(g, m);
        p - 0.01 * m[2]
    });
}

#[test]
fn clipping_limits_the_norm_or_every_element() {
    let (x, target) = batch(1);
    for max in [1e-3, 0.7, 1e6] {
        let (mut model, mut work) = model(Precision::F64);
        model.loss_grad(&mut work, &x, &target).unwrap();
        let (before, grad) = (model.param("fc.weight").unwrap(), work.grad("fc.weight").unwrap());
        let factor = (max / (work.grad_norm().unwrap() + 1e-6)).min(1.0);
        let mut by_value = model_at(&before);
        Sgd::new(1.0).clip_norm(max).step(&mut model, &mut work).unwrap();
        let moved = &before - &model.param("fc.weight").unwrap();
        assert!(
            moved
                .iter()
                .zip(&grad)
                .all(|(m, g)| (m - g * factor).abs() < 1e-12)
        );

        by_value.0.loss_grad(&mut by_value.1, &x, &target).unwrap();
        Sgd::new(1.0)
            .clip_value(max)
            .step(&mut by_value.0, &mut by_value.1)
            .unwrap();
        let moved = &before - &by_value.0.param("fc.weight").unwrap();
        assert!(
            moved
                .iter()
                .zip(&grad)
                .all(|(m, g)| (m - g.clamp(-max, max)).abs() < 1e-12)
        );
    }
}

fn model_at(weight: &ArrayD<f64>) -> (Tiny, Workspace) {
    let (mut model, work) = model(Precision::F64);
    model.set_param("fc.weight", weight).unwrap();
    (model, work)
}

#[test]
fn a_step_commits_what_the_function_updates_and_nothing_else() {
    let (mut model, mut work) = model(Precision::F64);
    let (x, target) = batch(1);
    model.loss_grad(&mut work, &x, &target).unwrap();
    assert_eq!(model.state("mean").unwrap().sum(), 0.0);
    Sgd::new(0.1).step(&mut model, &mut work).unwrap();
    let mean = x.mean_axis(ndarray::Axis(0)).unwrap() * 0.1;
    let got = model.state("mean").unwrap();
    assert!(
        got.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-15),
        "{got} {mean}"
    );
    assert_eq!(model.state("untouched").unwrap()[[0]], 7.0);

    // Two calls of one step: the second continues from the first.
    let (y, _) = batch(2);
    model.loss_grad(&mut work, &x, &target).unwrap();
    model.loss_grad_add(&mut work, &y, &target).unwrap();
    Sgd::new(0.1).step(&mut model, &mut work).unwrap();
    let once = mean.clone() * 0.9 + x.mean_axis(ndarray::Axis(0)).unwrap() * 0.1;
    let twice = once * 0.9 + y.mean_axis(ndarray::Axis(0)).unwrap() * 0.1;
    let got = model.state("mean").unwrap();
    assert!(got.iter().zip(&twice).all(|(a, b)| (a - b).abs() < 1e-15));

    // After the step the next addition starts anew.
    model.loss_grad_add(&mut work, &x, &target).unwrap();
    let fresh = work.grad("fc.weight").unwrap();
    let mut again = Tiny::builder(&Device::cpu())
        .seed(3)
        .precision(Precision::F64)
        .build()
        .unwrap();
    for path in ["fc.weight", "fc.bias"] {
        again.set_param(path, &model.param(path).unwrap()).unwrap();
    }
    let mut work = again.loss_workspace(4).unwrap();
    for _ in 0..4 {
        again.loss_grad(&mut work, &x, &target).unwrap();
    }
    assert_eq!(fresh, work.grad("fc.weight").unwrap());
}

#[test]
fn without_gradients_or_with_senseless_settings_nothing_changes() {
    let (mut model, mut work) = model(Precision::F32);
    let before = model.param("fc.weight").unwrap();
    let error = Adam::default().step(&mut model, &mut work).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("adam: this workspace holds no gradients"),
        "{error}"
    );
    let (x, target) = batch(1);
    model.loss_grad(&mut work, &x, &target).unwrap();
    for error in [
        Adam::new(f64::NAN).step(&mut model, &mut work),
        Adam::new(-1.0).step(&mut model, &mut work),
        Adam::default().betas(1.0, 0.9).step(&mut model, &mut work),
        AdamW::default().eps(-1e-3).step(&mut model, &mut work),
        Sgd::new(0.1).nesterov().step(&mut model, &mut work),
        Sgd::new(0.1).momentum(-0.1).step(&mut model, &mut work),
        RmsProp::default().alpha(1.5).step(&mut model, &mut work),
        Sgd::default().clip_norm(f64::NAN).step(&mut model, &mut work),
    ] {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(model.param("fc.weight").unwrap(), before);
    let mut adam = Adam::default();
    adam.step(&mut model, &mut work).unwrap();
    let (mut other, mut other_work) = self::model(Precision::F64);
    let error = adam.step(&mut other, &mut work).unwrap_err();
    assert!(
        error.to_string().contains("made for Tiny::loss in f32"),
        "{error}"
    );
    other.loss_grad(&mut other_work, &x, &target).unwrap();
    let error = adam.step(&mut other, &mut other_work).unwrap_err();
    assert!(error.to_string().contains("moments of another model"), "{error}");
}

#[test]
fn the_same_bits_for_any_threads_and_instruction_sets() {
    let run = |device: Device| {
        let mut model = Tiny::new(&device, 5).unwrap();
        let mut work = model.loss_workspace(4).unwrap();
        let mut adam = AdamW::new(0.05).clip_norm(0.3);
        for step in 0..6 {
            let (x, target) = batch(step);
            model.loss_grad(&mut work, &x, &target).unwrap();
            adam.step(&mut model, &mut work).unwrap();
        }
        (model.param("fc.weight").unwrap(), adam.state(model.core()))
    };
    let want = run(Device::cpu().threads(1));
    assert_eq!(want.1.moments.len(), 6);
    for n in [2, 8] {
        assert_eq!(run(Device::cpu().threads(n)), want);
    }
    for &isa in Isa::available() {
        assert_eq!(run(Device::cpu().path(isa)), want);
    }
}

#[test]
fn a_state_is_restored_where_rule_and_settings_are_the_same() {
    let (mut model, mut work) = model(Precision::F32);
    let mut optimizer = RmsProp::new(0.01).centered().momentum(0.5);
    let mut step = |model: &mut Tiny, optimizer: &mut RmsProp, k: usize| {
        let (x, target) = batch(k);
        model.loss_grad(&mut work, &x, &target).unwrap();
        optimizer.step(model, &mut work).unwrap();
        model.param("fc.weight").unwrap()
    };
    step(&mut model, &mut optimizer, 0);
    let mut restored = RmsProp::new(0.01).centered().momentum(0.5);
    restored
        .restore(model.core(), &optimizer.state(model.core()))
        .unwrap();
    assert_eq!(restored.state(model.core()), optimizer.state(model.core()));
    assert_eq!(restored.steps(), 1);
    for wrong in [RmsProp::new(0.01), RmsProp::new(0.01).momentum(0.5)] {
        let error = wrong
            .clone()
            .restore(model.core(), &optimizer.state(model.core()))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checkpoint);
    }
    assert!(
        Adam::default()
            .restore(model.core(), &optimizer.state(model.core()))
            .is_err()
    );
    let mut partial = optimizer.state(model.core());
    partial.moments.pop();
    assert!(restored.clone().restore(model.core(), &partial).is_err());
}

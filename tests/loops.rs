//! Loops over layers and over time, as models that train: arrays, recurrence, recomputation.

#![allow(missing_docs)]

use ndarray::{Array2, Array3, ArrayD};
use tapeless::prelude::*;

#[model]
pub struct Block<const D: usize> {
    norm: LayerNorm<D>,
    up: Linear<D, { 4 * D }>,
    down: Linear<{ 4 * D }, D>,
}

#[model]
impl<const D: usize> Block<D> {
    pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        x + self.down(self.up(self.norm(x)).gelu()).dropout(0.25)
    }
}

const DEPTH: usize = 5;

#[model]
pub struct Tower {
    blocks: [Block<6>; DEPTH],
    head: Linear<6, 4>,
}

#[model]
impl Tower {
    pub fn loss<B: Dim>(&self, input: Tensor<B, 6>, label: Tensor<u8, B>) -> Scalar {
        let mut x = input;
        for block in &self.blocks {
            x = block(x);
        }
        cross_entropy(self.head(x), label)
    }
}

#[model]
pub struct Recomputed {
    #[recompute]
    blocks: [Block<6>; DEPTH],
    head: Linear<6, 4>,
}

#[model]
impl Recomputed {
    pub fn loss<B: Dim>(&self, input: Tensor<B, 6>, label: Tensor<u8, B>) -> Scalar {
        let mut x = input;
        for block in &self.blocks {
            x = block(x);
        }
        cross_entropy(self.head(x), label)
    }
}

fn batch(n: usize) -> (Array2<f32>, ndarray::Array1<u8>) {
    let x = Array2::from_shape_fn((n, 6), |(b, k)| ((b * 6 + k) as f32).sin());
    (x, ndarray::Array1::from_shape_fn(n, |b| (b % 4) as u8))
}

/// A loss, the gradients by path, and the bytes of the workspace.
type Run = (f64, Vec<(String, ArrayD<f64>)>, usize);

/// Loss, gradients, and bytes of the workspace after a gradient call.
fn gradients<M: Model>(
    mut model: M,
    mut work: Workspace,
    grad: impl Fn(&mut M, &mut Workspace) -> Result<f64>,
) -> Result<Run> {
    let loss = grad(&mut model, &mut work)?;
    let grads = work
        .grads()?
        .into_iter()
        .map(|(path, grad)| (path.to_owned(), grad));
    Ok((loss, grads.collect(), work.arena_bytes()))
}

#[test]
fn a_tower_trains_and_names_its_layers_by_number() -> Result<()> {
    let mut model = Tower::new(&Device::cpu(), 1)?;
    let paths: Vec<&str> = model.params().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), 6 * DEPTH + 2);
    assert!(
        paths.contains(&"blocks.4.up.weight") && paths.contains(&"head.bias"),
        "{paths:?}"
    );
    assert_eq!(model.param("blocks.2.down.weight")?.shape(), [6, 24]);
    let mut work = model.loss_workspace(5)?;
    let ((x, label), mut adam) = (batch(5), Adam::new(1e-2));
    let first = model.train_step(&mut work, &mut adam, &x, &label)?;
    let mut last = first;
    for _ in 0..60 {
        last = model.train_step(&mut work, &mut adam, &x, &label)?;
    }
    assert!(last < 0.7 * first, "the loss went from {first} to {last}");
    Ok(())
}

#[test]
fn the_layers_of_an_array_begin_with_different_numbers() -> Result<()> {
    let model = Tower::new(&Device::cpu(), 1)?;
    assert_ne!(
        model.param("blocks.0.up.weight")?,
        model.param("blocks.1.up.weight")?
    );
    Ok(())
}

#[test]
fn recomputing_gives_the_same_bits_in_less_memory() -> Result<()> {
    let ((x, label), device) = (batch(64), Device::cpu());
    let (kept, again) = (Tower::new(&device, 1)?, Recomputed::new(&device, 1)?);
    let work = kept.loss_workspace(64)?;
    let (loss, grads, bytes) = gradients(kept, work, |model, work| model.loss_grad(work, &x, &label))?;
    let work = again.loss_workspace(64)?;
    let found = gradients(again, work, |model, work| model.loss_grad(work, &x, &label))?;
    assert_eq!((loss, &grads), (found.0, &found.1));
    assert!(2 * found.2 < bytes, "{} bytes instead of {bytes}", found.2);
    Ok(())
}

#[model]
pub struct Single {
    first: Block<6>,
    second: Block<6>,
    third: Block<6>,
    fourth: Block<6>,
    head: Linear<6, 4>,
}

#[model]
impl Single {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, label: Tensor<u8, B>) -> Scalar {
        let x = self.fourth(self.third(self.second(self.first(x))));
        cross_entropy(self.head(x), label)
    }
}

#[model]
pub struct RecomputedSingle {
    #[recompute]
    first: Block<6>,
    #[recompute]
    second: Block<6>,
    #[recompute]
    third: Block<6>,
    #[recompute]
    fourth: Block<6>,
    head: Linear<6, 4>,
}

#[model]
impl RecomputedSingle {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, label: Tensor<u8, B>) -> Scalar {
        let x = self.fourth(self.third(self.second(self.first(x))));
        cross_entropy(self.head(x), label)
    }
}

#[test]
fn single_layers_are_recomputed_too() -> Result<()> {
    let ((x, label), device) = (batch(64), Device::cpu());
    let (kept, again) = (Single::new(&device, 1)?, RecomputedSingle::new(&device, 1)?);
    assert_eq!(kept.loss(&x, &label)?, again.loss(&x, &label)?);
    let work = kept.loss_workspace(64)?;
    let (loss, grads, bytes) = gradients(kept, work, |model, work| model.loss_grad(work, &x, &label))?;
    let work = again.loss_workspace(64)?;
    let found = gradients(again, work, |model, work| model.loss_grad(work, &x, &label))?;
    assert_eq!(loss, found.0);
    for ((path, grad), (_, same)) in grads.iter().zip(&found.1) {
        let error = (grad - same).iter().map(|v| v.abs()).fold(0.0, f64::max);
        assert!(error < 1e-6, "`{path}` differs by {error}");
    }
    assert!(found.2 < bytes, "{} bytes instead of {bytes}", found.2);
    Ok(())
}

#[model]
pub struct Elman {
    input: Linear<3, 5>,
    hidden: Linear<5, 5>,
    out: Linear<5, 2>,
}

#[model]
impl Elman {
    pub fn outputs<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, h: Tensor<B, 5>) -> Tensor<B, T, 2> {
        let mut h = h;
        let mut ys = Steps::new();
        for x_t in x.steps(axis = 1) {
            h = (self.input(x_t) + self.hidden(h)).tanh();
            ys.push(h);
        }
        self.out(ys.stack(axis = 1))
    }

    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, h: Tensor<B, 5>) -> Scalar {
        self.outputs(x, h).square().mean()
    }
}

#[test]
fn a_cell_of_the_users_own_runs_over_any_number_of_steps() -> Result<()> {
    let mut model = Elman::builder(&Device::cpu())
        .seed(1)
        .precision(Precision::F64)
        .build()?;
    let mut work = model.loss_workspace(ElmanLossDims { b: 2, t: 9 })?;
    let h = Array2::<f64>::from_elem((2, 5), 0.1);
    for steps in [9, 4, 1, 0] {
        let x = Array3::from_shape_fn((2, steps, 3), |(b, t, k)| ((b * 12 + t * 3 + k) as f64).sin());
        assert_eq!(model.outputs(&x, &h)?.dim(), (2, steps, 2));
        if steps == 0 {
            continue;
        }
        model.loss_grad(&mut work, &x, &h)?;
        let (path, at, step) = ("hidden.weight", [1, 3], 1e-5);
        let mut weight = model.param(path)?;
        let mut loss = |change: f64| -> Result<f64> {
            weight[at] += change;
            model.set_param(path, &weight)?;
            model.loss(&x, &h)
        };
        let slope = (loss(step)? - loss(-2.0 * step)?) / (2.0 * step);
        loss(step)?;
        let grad = work.grad(path)?[at];
        assert!((slope - grad).abs() < 1e-8, "{steps} steps: {slope} {grad}");
    }
    Ok(())
}

#[test]
fn loops_are_explained_profiled_and_traced() -> Result<()> {
    let mut model = Tower::new(&Device::cpu(), 1)?;
    let text = Tower::explain();
    assert!(text.contains("5 steps over blocks"), "{text}");
    let (x, label) = batch(3);
    let mut work = model.loss_workspace(3)?;
    work.start_profile();
    model.loss_grad(&mut work, &x, &label)?;
    let profile = work.stop_profile()?;
    assert!(profile.rows().iter().any(|row| row.calls == DEPTH as u64));
    let trace = model.loss_trace(&x, &label)?;
    let up = trace.get("blocks.up.matmul").expect("a value of every step");
    assert_eq!(up.shape(), [DEPTH, 3, 24]);
    Ok(())
}

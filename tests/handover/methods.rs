//! What a model of one struct and one impl gets.

use ndarray::{Array1, Array2, array};
use tapeless::prelude::*;

const CLASSES: usize = 3;

#[model]
pub struct Mlp {
    fc1: Linear<4, 8>,
    fc2: Linear<_, CLASSES>,
}

#[model]
impl Mlp {
    /// Class scores.
    pub fn logits<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, CLASSES> {
        let hidden = self.fc1(x).relu();
        self.fc2(hidden)
    }

    /// Mean cross-entropy.
    pub fn loss<B: Dim>(&self, x: Tensor<B, 4>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(x), label)
    }

    /// Two sizes, several results, numbers of the host.
    pub fn both<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, 4>,
        y: Tensor<T, 4>,
        factor: f32,
    ) -> (Tensor<B, CLASSES>, Tensor<T, CLASSES>) {
        (self.logits(x) * factor, self.logits(y))
    }
}

fn batch(n: usize) -> (Array2<f32>, Array1<u8>) {
    let x = Array2::from_shape_fn((n, 4), |(i, j)| (i as f32 - j as f32) / 4.0);
    (x, Array1::from_shape_fn(n, |i| (i % CLASSES) as u8))
}

#[test]
fn functions_take_and_return_arrays() -> tapeless::Result<()> {
    let model = Mlp::new(&Device::cpu(), 42)?;
    let (x, label) = batch(5);
    let scores = model.logits(&x)?;
    assert_eq!(scores.dim(), (5, CLASSES));
    assert_eq!(model.logits_as::<f64>(x.view())?, scores.mapv(f64::from));
    assert_eq!(model.logits(&x.mapv(f64::from))?, scores);
    let loss = model.loss(&x, &label)?;
    let naive = scores.rows().into_iter().zip(&label).map(|(row, &k)| {
        let total: f64 = row.iter().map(|&s| f64::from(s).exp()).sum();
        total.ln() - f64::from(row[usize::from(k)])
    });
    assert!((loss - naive.sum::<f64>() / 5.0).abs() < 1e-6, "{loss}");
    Ok(())
}

#[test]
fn a_workspace_serves_smaller_batches() -> tapeless::Result<()> {
    let model = Mlp::new(&Device::cpu(), 42)?;
    let mut work = model.logits_workspace(8)?;
    for n in [8, 3, 1] {
        let (x, _) = batch(n);
        let outputs = model.logits_in(&mut work, &x)?;
        assert_eq!(outputs.array::<f32, ndarray::Ix2>(0)?, model.logits(&x)?);
    }
    assert!(model.logits_in(&mut work, &batch(9).0).is_err());
    Ok(())
}

#[test]
fn sizes_of_several_dimensions_have_names() -> tapeless::Result<()> {
    let model = Mlp::new(&Device::cpu(), 42)?;
    let (x, y) = (batch(2).0, batch(3).0);
    let (a, b) = model.both(&x, &y, 2.0)?;
    assert_eq!((a, b), (model.logits(&x)? * 2.0, model.logits(&y)?));
    let mut work = model.both_workspace(MlpBothDims { b: 2, t: 3 })?;
    assert_eq!(model.both_in(&mut work, &x, &y, 1.0)?.n_results(), 2);
    Ok(())
}

#[test]
fn gradients_are_those_of_differences() -> tapeless::Result<()> {
    let mut model = Mlp::builder(&Device::cpu())
        .seed(1)
        .precision(Precision::F64)
        .build()?;
    let (x, label) = batch(5);
    let mut work = model.loss_workspace(5)?;
    let loss = model.loss_grad(&mut work, &x, &label)?;
    assert!((loss - model.loss(&x, &label)?).abs() < 1e-12);
    let gradient = work.grad("fc2.bias")?;
    for k in 0..CLASSES {
        let mut at = |step: f64| -> tapeless::Result<f64> {
            let mut bias = model.param("fc2.bias")?;
            bias[k] += step;
            model.set_param("fc2.bias", &bias)?;
            let loss = model.loss(&x, &label);
            bias[k] -= step;
            model.set_param("fc2.bias", &bias)?;
            loss
        };
        let difference = (at(1e-5)? - at(-1e-5)?) / 2e-5;
        assert!(
            (difference - gradient[k]).abs() < 1e-8,
            "{k}: {difference} {}",
            gradient[k]
        );
    }
    model.loss_accumulate(&mut work, &x, &label)?;
    assert!(
        (work.grad("fc2.bias")? - &gradient * 2.0)
            .iter()
            .all(|d| d.abs() < 1e-12)
    );
    Ok(())
}

#[test]
fn steps_lower_the_loss() -> tapeless::Result<()> {
    let mut model = Mlp::new(&Device::cpu(), 3)?;
    let mut adam = Adam::default();
    let (x, label) = batch(6);
    let mut work = model.loss_workspace(6)?;
    let first = model.train_step(&mut work, &mut adam, &x, &label)?;
    for _ in 0..50 {
        model.train_step(&mut work, &mut adam, &x, &label)?;
    }
    assert!(model.loss(&x, &label)? < 0.98 * first);
    Ok(())
}

#[test]
fn traces_have_the_users_names() -> tapeless::Result<()> {
    let model = Mlp::new(&Device::cpu(), 42)?;
    let (x, label) = batch(2);
    let trace = model.loss_trace(&x, &label)?;
    assert_eq!(
        trace.get("hidden").map(|value| value.shape().to_vec()),
        Some(vec![2, 8])
    );
    Ok(())
}

#[test]
fn wrong_arrays_are_errors_that_name_the_argument() -> tapeless::Result<()> {
    let model = Mlp::new(&Device::cpu(), 42)?;
    let error = model
        .loss(&Array2::<f32>::zeros((2, 5)), &array![0_u8, 1])
        .unwrap_err()
        .to_string();
    assert!(error.contains("Mlp::loss") && error.contains("`x`"), "{error}");
    Ok(())
}

//! Training: the same bits on any number of threads, the memory plan, and what is said of a loss that is not finite.

#![allow(missing_docs)]

use ndarray::{Array1, Array2, Array4};
use tapeless::prelude::*;

#[model]
pub struct Mlp {
    fc1: Linear<784, 128>,
    fc2: Linear<_, 10>,
}

#[model]
impl Mlp {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.fc2(self.fc1(x).relu().dropout(0.2)), label)
    }

    pub fn accuracy<B: Dim>(&self, x: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
        (self.fc2(self.fc1(x).relu()).argmax(axis = 1) == label)
            .to_float()
            .mean()
    }
}

#[model]
pub struct Cnn {
    conv1: Conv2d<1, 8, 3>,
    norm: BatchNorm2d<8>,
    conv2: Conv2d<8, 16, 3>,
    fc: Linear<_, 10>,
}

#[model]
impl Cnn {
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 16, 16>, label: Tensor<u8, B>) -> Scalar {
        let x = self.norm(self.conv1(image)).relu();
        let x = self.conv2(x).relu().max_pool2d(2).dropout(0.25);
        cross_entropy(self.fc(x.flatten()), label)
    }
}

fn labels(n: usize) -> Array1<u8> {
    Array1::from_shape_fn(n, |b| (b * 7 % 10) as u8)
}

fn vectors(n: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, 784), |(b, k)| ((b * 31 + k * 17) as f32 * 0.1).sin())
}

fn images(n: usize) -> Array4<f32> {
    Array4::from_shape_fn((n, 1, 16, 16), |(b, _, y, x)| {
        ((b * 13 + y * 5 + x * 3) as f32 * 0.2).sin()
    })
}

/// The bits of every parameter and carried tensor.
fn bits<M: Model>(model: &M) -> Vec<u64> {
    let params = model
        .params()
        .into_iter()
        .map(|(path, _)| model.param(path).unwrap());
    let states = model
        .states()
        .into_iter()
        .map(|(path, _)| model.state(path).unwrap());
    params
        .chain(states)
        .flat_map(|x| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<()> {
    let (mut mlp, mut cnn) = (Vec::new(), Vec::new());
    for threads in [1, 2, 8] {
        let device = Device::cpu().threads(threads);
        let mut model = Mlp::new(&device, 5)?;
        let (mut work, mut adam) = (model.loss_workspace(64)?, Adam::new(1e-3));
        for n in [64, 64, 17, 1] {
            model.train_step(&mut work, &mut adam, &vectors(n), &labels(n))?;
        }
        mlp.push(bits(&model));

        let mut model = Cnn::new(&device, 5)?;
        let (mut work, mut sgd) = (model.loss_workspace(33)?, Sgd::new(0.1).momentum(0.9));
        for n in [33, 32, 7] {
            model.train_step(&mut work, &mut sgd, &images(n), &labels(n))?;
        }
        cnn.push(bits(&model));
    }
    assert!(
        mlp.iter().all(|other| *other == mlp[0]),
        "the MLP depends on the number of threads"
    );
    assert!(
        cnn.iter().all(|other| *other == cnn[0]),
        "the CNN depends on the number of threads"
    );
    Ok(())
}

#[test]
fn the_memory_plan_is_close_to_the_lower_bound() -> Result<()> {
    let device = Device::cpu();
    let (mlp, cnn) = (Mlp::new(&device, 0)?, Cnn::new(&device, 0)?);
    for (name, work) in [("mlp", mlp.loss_workspace(64)?), ("cnn", cnn.loss_workspace(64)?)] {
        let (planned, bound) = (work.arena_bytes(), work.lower_bound_bytes());
        assert!(
            planned as f64 <= 1.1 * bound as f64,
            "{name}: {planned} bytes planned, {bound} alive at once"
        );
    }
    Ok(())
}

#[model]
pub struct Ratio {
    #[layer(init = ones)]
    weight: Param<3>,
}

#[model]
impl Ratio {
    pub fn loss<B: Dim>(&self, a: Tensor<B, 3>, b: Tensor<B, 3>) -> Scalar {
        let weighted = a * self.weight;
        let ratio = weighted / b;
        let bounded = ratio.tanh();
        bounded.sum()
    }
}

#[test]
fn a_loss_that_is_not_finite_names_the_first_value_that_was() -> Result<()> {
    let mut model = Ratio::new(&Device::cpu(), 1)?;
    let mut work = model.loss_workspace(2)?;
    let mut adam = Adam::new(1e-3);
    let before = bits(&model);
    let zero = Array2::<f32>::zeros((2, 3));
    let error = model.train_step(&mut work, &mut adam, &zero, &zero).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    let text = error.to_string();
    assert!(text.contains("ratio") && !text.contains("bounded"), "{text}");
    assert_eq!(
        bits(&model),
        before,
        "a step whose loss is not finite commits nothing"
    );
    Ok(())
}

#[test]
fn a_trace_shows_every_named_value() -> Result<()> {
    let model = Ratio::new(&Device::cpu(), 1)?;
    let (a, b) = (Array2::<f32>::ones((2, 3)), Array2::<f32>::from_elem((2, 3), 2.0));
    let text = model.loss_trace(&a, &b)?.to_string();
    for name in ["weighted", "ratio", "bounded"] {
        assert!(text.contains(name), "`{name}` is missing:\n{text}");
    }
    Ok(())
}

#[model]
pub struct Edges {
    #[layer(padding = 1)]
    first: Conv2d<2, 3, 3>,
    blocks: [Conv2d<3, 3, 1>; 2],
}

#[model]
impl Edges {
    pub fn maps<B: Dim>(&self, image: Tensor<B, 2, 4, 5>) -> Tensor<B, 3, 4, 5> {
        let mut x = self.first(image).tanh();
        for block in &self.blocks {
            x = block(x).tanh();
        }
        x
    }
}

/// Images lie channels last in memory; nobody sees that.
#[test]
fn a_trace_shows_images_as_a_call_gives_them() -> Result<()> {
    let model = Edges::new(&Device::cpu(), 1)?;
    let image = Array4::from_shape_fn((2, 2, 4, 5), |(b, c, i, j)| {
        (b * 40 + c * 20 + i * 5 + j) as f32 * 0.02 - 0.5
    });
    let maps = model.maps(&image)?;
    let trace = model.maps_trace(&image)?;
    let last = trace
        .values()
        .iter()
        .rfind(|value| value.shape() == [2, 2, 3, 4, 5])
        .expect("a value of both steps")
        .array
        .index_axis(ndarray::Axis(0), 1)
        .to_owned();
    assert_eq!(last.mapv(|x| x as f32), maps.into_dyn());
    Ok(())
}

#[test]
fn wrong_arguments_are_errors_that_say_what_is_wrong() -> Result<()> {
    let mut model = Mlp::new(&Device::cpu(), 1)?;
    let mut work = model.loss_workspace(4)?;
    let wide = Array2::<f32>::zeros((4, 785));
    let text = model
        .loss_grad(&mut work, &wide, &labels(4))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("loss") && text.contains("x") && text.contains("784") && text.contains("785"),
        "{text}"
    );

    let text = model
        .loss_grad(&mut work, &vectors(4), &labels(3))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("label") && text.contains('3') && text.contains('4'),
        "{text}"
    );

    let text = model
        .loss_grad(&mut work, &vectors(5), &labels(5))
        .unwrap_err()
        .to_string();
    assert!(text.contains('5') && text.contains('4'), "{text}");

    let wrong = Array1::from_elem(4, 10u8);
    let error = model.loss_grad(&mut work, &vectors(4), &wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Label);
    assert!(error.to_string().contains("10"), "{error}");
    Ok(())
}

#[test]
fn an_empty_batch_runs() -> Result<()> {
    let model = Mlp::new(&Device::cpu(), 1)?;
    let loss = model.loss(&vectors(0), &labels(0))?;
    assert!(
        loss.is_nan(),
        "the mean of nothing is not a number, as in PyTorch"
    );
    Ok(())
}

#[test]
fn the_gradient_of_a_metric_is_a_clear_error() -> Result<()> {
    let mut model = Mlp::new(&Device::cpu(), 1)?;
    let mut work = model.accuracy_workspace(4)?;
    let error = model
        .accuracy_grad(&mut work, &vectors(4), &labels(4))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("accuracy") && text.contains("no gradient"),
        "{text}"
    );
    Ok(())
}

//! Gradients of whole networks, made narrow, against central differences in float64, in train mode.

use ndarray::{Array1, Array4, ArrayD};
use tapeless::prelude::*;
use tapeless::rng::{Key, Stream};
use tapeless_models::{
    AlexNet, AlexNetLossDims, ResNet18, ResNet18LossDims, ResNet20, ResNet20LossDims, Vgg11, Vgg11LossDims,
};

/// Largest distance of a slope from the gradient, relative to the larger of the gradient and [`SMALL`].
const TOLERANCE: f64 = 1e-5;

/// Below this, slopes are compared absolutely: the rounding of the loss alone makes them wrong by 1e-10.
const SMALL: f64 = 1e-3;

/// Half the distance over which a difference is taken.
const STEP: f64 = 1e-6;

/// Directions through all parameters at once.
const N_DIRECTIONS: u64 = 6;

const BATCH: usize = 3;

/// How the loss and the gradients of a network are computed.
struct Calls<M> {
    workspace: fn(&M, [usize; 3]) -> Result<Workspace>,
    grad: fn(&mut M, &mut Workspace, &Array4<f64>, &Array1<i64>) -> Result<f64>,
}

macro_rules! calls {
    ($model:ty, $dims:ident) => {
        Calls::<$model> {
            workspace: |model, [b, h, w]| model.loss_workspace($dims { b, h, w }),
            grad: |model, work, image, label| model.loss_grad(work, image, label),
        }
    };
}

type Parameters = Vec<(String, ArrayD<f64>)>;

/// A network on a batch.
struct Bench<M> {
    calls: Calls<M>,
    image: Array4<f64>,
    label: Array1<i64>,
}

impl<M: Model> Bench<M> {
    fn new(calls: Calls<M>, [channels, height, width]: [usize; 3], n_classes: usize) -> Self {
        let stream = stream("image", 0);
        let mut drawn = 0..;
        let image = Array4::from_shape_simple_fn((BATCH, channels, height, width), || {
            stream.normal_f64(drawn.next().expect("there is no end"))
        });
        let label = Array1::from_shape_fn(BATCH, |b| (3 * b % n_classes) as i64);
        Self { calls, image, label }
    }

    /// Always the first step of the same model, so that dropout takes the same elements away.
    fn model(&self) -> Result<M> {
        M::builder(&Device::cpu())
            .seed(5)
            .precision(Precision::F64)
            .build()
    }

    fn run(&self, parameters: &Parameters) -> Result<(f64, Workspace)> {
        let mut model = self.model()?;
        for (path, values) in parameters {
            model.set_param(path, values)?;
        }
        let (b, _, h, w) = self.image.dim();
        let mut work = (self.calls.workspace)(&model, [b, h, w])?;
        let loss = (self.calls.grad)(&mut model, &mut work, &self.image, &self.label)?;
        Ok((loss, work))
    }

    /// The slope of the loss along `direction`.
    fn slope(&self, at: &Parameters, direction: &Parameters) -> Result<f64> {
        let moved = |step: f64| -> Parameters {
            let pairs = at.iter().zip(direction);
            pairs
                .map(|((path, values), (_, by))| (path.clone(), values + &(by * step)))
                .collect()
        };
        Ok((self.run(&moved(STEP))?.0 - self.run(&moved(-STEP))?.0) / (2.0 * STEP))
    }

    /// Compares slopes with gradients: along random directions, and along an element of every parameter.
    fn check(&self) -> Result<()> {
        let model = self.model()?;
        let paths = model.params().into_iter().map(|(path, _)| path.to_owned());
        let at = paths
            .map(|path| model.param(&path).map(|values| (path, values)))
            .collect::<Result<Parameters>>()?;
        let (_, work) = self.run(&at)?;
        let grads = at
            .iter()
            .map(|(path, _)| Ok((path.clone(), work.grad(path)?.to_owned())))
            .collect::<Result<Parameters>>()?;
        let directions = (0..N_DIRECTIONS).map(|k| (format!("direction {k}"), random_direction(&at, k)));
        let elements = (0..at.len()).map(|tensor| one_element(&grads, tensor));
        for (name, direction) in directions.chain(elements) {
            let expected = dot(&grads, &direction);
            let slope = self.slope(&at, &direction)?;
            let error = (slope - expected).abs() / expected.abs().max(SMALL);
            assert!(
                error < TOLERANCE,
                "{name}: gradient {expected:e}, slope {slope:e}"
            );
        }
        Ok(())
    }
}

fn stream(what: &str, step: u64) -> Stream {
    Key::for_path(7, what).stream(step)
}

fn dot(a: &Parameters, b: &Parameters) -> f64 {
    a.iter().zip(b).map(|((_, a), (_, b))| (a * b).sum()).sum()
}

/// A direction of length 1 that changes every element.
fn random_direction(at: &Parameters, k: u64) -> Parameters {
    let stream = stream("direction", k);
    let mut drawn = 0..;
    let mut normal = || stream.normal_f64(drawn.next().expect("there is no end"));
    let tensors = at.iter();
    let direction: Parameters = tensors
        .map(|(path, values)| (path.clone(), values.mapv(|_| normal())))
        .collect();
    let length = dot(&direction, &direction).sqrt();
    direction
        .into_iter()
        .map(|(path, values)| (path, values / length))
        .collect()
}

/// The direction of one element of a tensor: of some, that with the largest gradient.
fn one_element(grads: &Parameters, tensor: usize) -> (String, Parameters) {
    let (path, grad) = &grads[tensor];
    let (stream, n) = (stream("element", tensor as u64), grad.len() as u64);
    let some = (0..16).map(|k| stream.below(n, k) as usize);
    let size = |element: &usize| grad.iter().nth(*element).map_or(0.0, |g| g.abs());
    let element = some
        .max_by(|a, b| size(a).total_cmp(&size(b)))
        .expect("there are sixteen");
    assert!(size(&element) > 0.0, "no gradient reaches `{path}`");
    let mut direction: Parameters = grads
        .iter()
        .map(|(path, grad)| (path.clone(), grad * 0.0))
        .collect();
    let values = direction[tensor].1.iter_mut();
    values.skip(element).take(1).for_each(|value| *value = 1.0);
    (format!("element {element} of `{path}`"), direction)
}

#[test]
fn resnet20() -> Result<()> {
    Bench::new(calls!(ResNet20<2, 4, 5>, ResNet20LossDims), [2, 12, 8], 5).check()
}

#[test]
fn resnet18() -> Result<()> {
    Bench::new(calls!(ResNet18<3, 4, 5>, ResNet18LossDims), [3, 64, 32], 5).check()
}

#[test]
fn vgg11() -> Result<()> {
    Bench::new(calls!(Vgg11<3, 2, 5>, Vgg11LossDims), [3, 32, 64], 5).check()
}

#[test]
fn alexnet() -> Result<()> {
    Bench::new(calls!(AlexNet<3, 2, 5>, AlexNetLossDims), [3, 96, 64], 5).check()
}

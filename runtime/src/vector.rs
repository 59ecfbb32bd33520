//! Vectors in the space of a model's parameters: directions, and what second derivatives make of them.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayBase, ArrayD, Data, Dimension};

use crate::arena::Storage;
use crate::dtype::{Element, stored};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::real::Real;
use crate::rng::{Key, Stream};
use crate::workspace::Workspace;

/// A number for each trained number of a model: a direction in which it may move, or a product of its Hessian.
///
/// Made by [`Model::vector`](crate::Model::vector), with zeros. It has the model's precision; its parts are reached by the paths of
/// the parameters.
///
/// The largest eigenvalue of the Hessian of a loss, by power iteration:
///
/// ```
/// use tapeless_runtime as tapeless;
/// # use tapeless::{Model, ParamVector, Result};
/// /// `hessian(v, product)` computes the product, as `|v, hv| model.loss_hvp(&mut work, v, hv, &x, &y).map(|_| ())` does.
/// fn sharpness(
///     model: &impl Model,
///     mut hessian: impl FnMut(&ParamVector, &mut ParamVector) -> Result<()>,
/// ) -> Result<f64> {
///     let (mut v, mut hv) = (model.vector()?, model.vector()?);
///     v.fill_signs(42);
///     v.scale(1.0 / v.norm());
///     let mut eigenvalue = 0.0;
///     for _ in 0..20 {
///         hessian(&v, &mut hv)?;
///         eigenvalue = v.dot(&hv)?;
///         v.copy_from(&hv)?;
///         v.scale(1.0 / v.norm());
///     }
///     Ok(eigenvalue)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ParamVector {
    layout: Arc<Layout>,
    storage: Storage,
}

/// Elements that are summed up one after the other; sums of such pieces are added up in f64.
const PIECE: usize = 4096;

impl ParamVector {
    pub(crate) fn new(layout: &Arc<Layout>) -> Result<Self> {
        let storage = Storage::try_zeroed(layout.bytes()).ok_or_else(|| {
            let message = format!(
                "the system does not have {} bytes of memory for a vector",
                layout.bytes()
            );
            Error::new(ErrorKind::Device, message)
        })?;
        Ok(Self {
            layout: Arc::clone(layout),
            storage,
        })
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn storage_mut(&mut self) -> &mut Storage {
        &mut self.storage
    }

    /// The part that belongs to the parameter at `path`, in its shape.
    ///
    /// # Errors
    ///
    /// A configuration error that names similar paths if there is none.
    pub fn get(&self, path: &str) -> Result<ArrayD<f64>> {
        Ok(self.layout.read(&self.storage, self.layout.index(path)?))
    }

    /// Replaces the part that belongs to the parameter at `path`.
    ///
    /// # Errors
    ///
    /// A configuration error if there is none, a shape error if it has another shape.
    pub fn set<T, S, D>(&mut self, path: &str, values: &ArrayBase<S, D>) -> Result<()>
    where
        T: Real,
        S: Data<Elem = T>,
        D: Dimension,
    {
        let index = self.layout.index(path)?;
        self.layout
            .write(&mut self.storage, index, values.view().into_dyn())
    }

    /// Makes every number `value`.
    pub fn fill(&mut self, value: f64) {
        self.fill_with(|_| move |_| value);
    }

    /// Makes every number 1 or -1, with equal probability (Rademacher's distribution): with such vectors, `v . H v` is on average the
    /// trace of `H` (Hutchinson, 1990).
    pub fn fill_signs(&mut self, seed: u64) {
        self.fill_with(|path| {
            let stream = stream(seed, "signs", path);
            move |k| if stream.u32(k) & 1 == 0 { 1.0 } else { -1.0 }
        });
    }

    /// Draws every number from the normal distribution with mean 0 and variance 1.
    pub fn fill_normal(&mut self, seed: u64) {
        self.fill_with(|path| {
            let stream = stream(seed, "normal", path);
            move |k| stream.normal_f64(k)
        });
    }

    /// Fills the part of each tensor with what the function of its path gives for each place.
    fn fill_with<F: Fn(u64) -> f64>(&mut self, of: impl Fn(&str) -> F) {
        let layout = Arc::clone(&self.layout);
        for (tensor, spec) in layout.specs().iter().enumerate() {
            let (range, value) = (layout.range(tensor), of(&spec.path));
            stored!(self.layout.precision(), T => {
                let part = &mut self.storage.as_mut_slice::<T>()[range];
                part.iter_mut().zip(0..).for_each(|(x, k)| *x = T::from_f64(value(k)));
            });
        }
    }

    /// Multiplies every number by `factor`.
    pub fn scale(&mut self, factor: f64) {
        stored!(self.layout.precision(), T => {
            let factor = T::from_f64(factor);
            self.storage.as_mut_slice::<T>().iter_mut().for_each(|x| *x *= factor);
        });
    }

    /// Adds `factor` times another vector of the model.
    ///
    /// # Errors
    ///
    /// A configuration error if the other belongs to another kind of model, or has another precision.
    pub fn add_scaled(&mut self, factor: f64, other: &Self) -> Result<()> {
        other.check(&self.layout)?;
        stored!(self.layout.precision(), T => {
            let factor = T::from_f64(factor);
            let terms = other.storage.as_slice::<T>();
            self.storage.as_mut_slice::<T>().iter_mut().zip(terms).for_each(|(x, y)| *x += factor * *y);
        });
        Ok(())
    }

    /// Becomes another vector of the model.
    ///
    /// # Errors
    ///
    /// As [`add_scaled`](Self::add_scaled).
    pub fn copy_from(&mut self, other: &Self) -> Result<()> {
        other.check(&self.layout)?;
        self.storage
            .as_mut_slice::<u8>()
            .copy_from_slice(other.storage.as_slice());
        Ok(())
    }

    /// Becomes the gradient that the last gradient call has left in a workspace.
    ///
    /// # Errors
    ///
    /// A configuration error if there is none, or if the workspace belongs to another kind of model.
    pub fn copy_gradient(&mut self, work: &Workspace) -> Result<()> {
        work.check_gradients()?;
        check(&work.params, &self.layout)?;
        let n = self.storage.bytes();
        self.storage
            .as_mut_slice::<u8>()
            .copy_from_slice(&work.grads.as_slice::<u8>()[..n]);
        Ok(())
    }

    /// The sum of the products of corresponding numbers, added up in f64 in an order that depends on sizes alone.
    ///
    /// # Errors
    ///
    /// As [`add_scaled`](Self::add_scaled).
    pub fn dot(&self, other: &Self) -> Result<f64> {
        other.check(&self.layout)?;
        Ok(stored!(self.layout.precision(), T => {
            let (x, y) = (self.storage.as_slice::<T>(), other.storage.as_slice::<T>());
            products(x, y)
        }))
    }

    /// The Euclidean norm.
    pub fn norm(&self) -> f64 {
        stored!(self.layout.precision(), T => {
            let x = self.storage.as_slice::<T>();
            products(x, x)
        })
        .sqrt()
    }

    /// Checks that it belongs to a model with these parameters.
    pub(crate) fn check(&self, layout: &Arc<Layout>) -> Result<()> {
        check(&self.layout, layout)
    }
}

/// Random numbers of a tensor of a vector: others than those that the parameter at the path begins with.
fn stream(seed: u64, kind: &str, path: &str) -> Stream {
    Key::for_path(seed, &format!("vector/{kind}/{path}")).stream(0)
}

/// Checks that two layouts are of one kind of model in one precision.
fn check(found: &Arc<Layout>, expected: &Arc<Layout>) -> Result<()> {
    let is_same = Arc::ptr_eq(found, expected) || {
        let mut pairs = found.specs().iter().zip(expected.specs());
        found.precision().float() == expected.precision().float()
            && found.specs().len() == expected.specs().len()
            && pairs.all(|(a, b)| a.path == b.path && a.shape == b.shape)
    };
    if is_same {
        return Ok(());
    }
    let describe = |layout: &Layout| format!("{} numbers in {}", layout.n_elements(), layout.precision());
    let message = format!(
        "a vector of another model: expected {}, found {}",
        describe(expected),
        describe(found)
    );
    Err(Error::config(message).hint("make it with `vector` of this model"))
}

/// The sum of products, by pieces.
fn products<T: Real + Element>(x: &[T], y: &[T]) -> f64 {
    let piece = |range: Range<usize>| -> f64 {
        let pairs = x[range.clone()].iter().zip(&y[range]);
        pairs.map(|(x, y)| x.to_f64() * y.to_f64()).sum()
    };
    let starts = (0..x.len()).step_by(PIECE);
    starts.map(|start| piece(start..x.len().min(start + PIECE))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Precision;
    use crate::init::Init;
    use crate::program::TensorSpec;
    use ndarray::{arr1, arr2};

    fn vector(precision: Precision, len: usize) -> ParamVector {
        let specs = vec![
            TensorSpec::new("w", &[2, 3], Init::Zeros),
            TensorSpec::new("b", &[len], Init::Zeros),
        ];
        ParamVector::new(&Arc::new(Layout::new(specs, precision).unwrap())).unwrap()
    }

    #[test]
    fn vectors_are_added_scaled_and_multiplied() {
        for precision in [Precision::F32, Precision::F64] {
            let (mut u, mut v) = (vector(precision, 2), vector(precision, 2));
            u.set("w", &arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).unwrap();
            v.fill(2.0);
            v.add_scaled(-0.5, &u).unwrap();
            assert_eq!(
                v.get("w").unwrap(),
                arr2(&[[1.5, 1.0, 0.5], [0.0, -0.5, -1.0]]).into_dyn()
            );
            assert_eq!(v.get("b").unwrap(), arr1(&[2.0, 2.0]).into_dyn());
            assert_eq!(u.dot(&v).unwrap(), 1.5 + 2.0 + 1.5 - 2.5 - 6.0);
            v.scale(2.0);
            assert_eq!(v.norm(), (9.0 + 4.0 + 1.0 + 1.0 + 4.0 + 16.0 + 16.0_f64).sqrt());
            u.copy_from(&v).unwrap();
            assert_eq!(u.norm(), v.norm());
        }
    }

    #[test]
    fn random_vectors_are_those_of_their_seed_and_fill_tensors_only() {
        let mut v = vector(Precision::F32, 1000);
        v.fill_signs(3);
        assert_eq!(v.norm(), 1006_f64.sqrt(), "what lies between tensors stays zero");
        let sum: f64 = v.get("b").unwrap().sum();
        assert!(sum.abs() < 130.0 && sum != 1000.0, "{sum}");
        let mut other = vector(Precision::F32, 1000);
        other.fill_signs(3);
        assert_eq!(v.dot(&other).unwrap(), 1006.0);
        other.fill_normal(4);
        assert!((other.norm() / 1006_f64.sqrt() - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_random_vector_is_not_what_the_parameters_begin_with() {
        let mut v = vector(Precision::F64, 1000);
        v.fill_normal(3);
        let drawn = v.get("b").unwrap();
        let start = Key::for_path(3, "b").stream(0);
        let same = drawn.iter().zip(0..).filter(|(x, k)| **x == start.normal_f64(*k));
        assert_eq!(same.count(), 0);
    }

    #[test]
    fn vectors_of_other_models_are_refused() {
        let mut v = vector(Precision::F32, 2);
        for other in [vector(Precision::F32, 3), vector(Precision::F64, 2)] {
            let error = v.add_scaled(1.0, &other).unwrap_err().to_string();
            assert!(error.contains("a vector of another model"), "{error}");
            assert!(v.dot(&other).is_err() && v.copy_from(&other).is_err());
        }
        assert!(v.set("w", &arr1(&[1.0])).is_err() && v.get("c").is_err());
    }
}

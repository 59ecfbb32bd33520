//! Data sets: a number of samples that can be asked for by index, and those that lie in memory.
//!
//! Every data set fills batches that its caller owns, so that a training loop allocates nothing.
//!
//! What this module does not do: it has no order and no randomness beyond [`Dataset::split`]; both are the
//! [`Loader`](super::Loader)'s.

use std::sync::Arc;

use super::adapters::{Map, MapInPlace, Part, Subset};
use super::batch::Batch;
use super::column::Columns;
use super::order::shuffle_split;
use crate::error::{Error, Result};

/// A finite collection of samples, addressed by index.
///
/// [`batch`](Self::batch) is called from a background thread while the previous batch is in use.
///
/// ```
/// use ndarray::array;
/// use tapeless_runtime::data::{Arrays, Batch, Dataset};
///
/// let data = Arrays::new((array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], array![0_u8, 1, 0]))?;
/// let mut batch = data.empty_batch(2)?;
/// data.batch(&[2, 0], &mut batch)?;
/// let (points, labels) = batch.views();
/// assert_eq!(points, array![[5.0, 6.0], [1.0, 2.0]]);
/// assert_eq!(labels, array![0, 0]);
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
pub trait Dataset: Sync {
    /// The container of samples that it fills.
    type Batch: Batch + Send;

    /// The number of samples.
    fn len(&self) -> usize;

    /// A batch that holds nothing yet, with room for `capacity` samples.
    ///
    /// # Errors
    ///
    /// Typically [`ErrorKind::Shape`](crate::ErrorKind::Shape), if there is no memory for it.
    fn empty_batch(&self, capacity: usize) -> Result<Self::Batch>;

    /// Puts the samples at `indices` into `into`, in that order, replacing what was there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`](crate::ErrorKind::Index) if an index is not less than [`len`](Self::len), and
    /// whatever reading a sample can run into.
    fn batch(&self, indices: &[usize], into: &mut Self::Batch) -> Result<()>;

    /// Whether there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples at `indices`, in that order; one may occur several times.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`](crate::ErrorKind::Index) if an index is not less than [`len`](Self::len).
    fn subset(self, indices: Vec<usize>) -> Result<Subset<Self>>
    where
        Self: Sized,
    {
        Subset::new(self, indices)
    }

    /// The first `n_samples` samples, or all if there are fewer.
    fn take(self, n_samples: usize) -> Subset<Self>
    where
        Self: Sized,
    {
        Subset::first(self, n_samples)
    }

    /// Divides at random into two parts, the first with a given share or number of the samples.
    ///
    /// Which sample goes where depends on (seed, number of samples) alone. Within a part the samples keep
    /// their order. The parts share the data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a fraction is outside 0 ..= 1, or a count exceeds
    /// the number of samples.
    ///
    /// ```
    /// use ndarray::Array1;
    /// use tapeless_runtime::data::{Arrays, Dataset};
    ///
    /// let data = Arrays::new((Array1::<f32>::zeros(60),))?;
    /// let (train, validation) = data.split(0.9, 42)?;
    /// assert_eq!((train.len(), validation.len()), (54, 6));
    /// let (train, validation) = train.split(50, 42)?;
    /// assert_eq!((train.len(), validation.len()), (50, 4));
    /// # Ok::<(), tapeless_runtime::Error>(())
    /// ```
    fn split(self, first: impl Into<Portion>, seed: u64) -> Result<(Part<Self>, Part<Self>)>
    where
        Self: Sized + Send,
    {
        let n_first = first.into().count(self.len())?;
        let mut order = Vec::new();
        shuffle_split(self.len(), seed, &mut order);
        let mut second = order.split_off(n_first);
        order.sort_unstable();
        second.sort_unstable();
        let data = Arc::new(self);
        Ok((Subset::new(Arc::clone(&data), order)?, Subset::new(data, second)?))
    }

    /// Computes every batch from one of this data set.
    ///
    /// `empty` makes a batch for a capacity, once; `fill` computes its contents from a batch of this data
    /// set, and must set its number of samples.
    ///
    /// ```
    /// use ndarray::{Ix1, array};
    /// use tapeless_runtime::data::{Arrays, Batch, BatchArray, Dataset};
    ///
    /// let data = Arrays::new((array![[3.0_f32, 4.0], [6.0, 8.0]],))?;
    /// let norms = data.map(
    ///     |capacity| Ok((BatchArray::<f32, Ix1>::with_capacity(capacity, &[])?,)),
    ///     |(points,), (norms,)| {
    ///         norms.resize(points.len())?;
    ///         for (norm, point) in norms.as_mut_slice().iter_mut().zip(points.view().rows()) {
    ///             *norm = point.dot(&point).sqrt();
    ///         }
    ///         Ok(())
    ///     },
    /// );
    /// let mut batch = norms.empty_batch(2)?;
    /// norms.batch(&[1, 0], &mut batch)?;
    /// assert_eq!(batch.views().0, array![10.0, 5.0]);
    /// # Ok::<(), tapeless_runtime::Error>(())
    /// ```
    fn map<B, E, F>(self, empty: E, fill: F) -> Map<Self, E, F>
    where
        Self: Sized,
        B: Batch + Send,
        E: Fn(usize) -> Result<B> + Sync,
        F: Fn(&Self::Batch, &mut B) -> Result<()> + Sync,
    {
        Map::new(self, empty, fill)
    }

    /// Changes every batch in place after it was filled.
    ///
    /// ```
    /// use ndarray::array;
    /// use tapeless_runtime::data::{Arrays, Batch, Dataset};
    ///
    /// let data = Arrays::new((array![1.0, 2.0],))?.map_in_place(|(x,)| {
    ///     x.as_mut_slice().iter_mut().for_each(|x| *x *= 10.0);
    ///     Ok(())
    /// });
    /// let mut batch = data.empty_batch(2)?;
    /// data.batch(&[1, 0], &mut batch)?;
    /// assert_eq!(batch.views().0, array![20.0, 10.0]);
    /// # Ok::<(), tapeless_runtime::Error>(())
    /// ```
    fn map_in_place<F>(self, change: F) -> MapInPlace<Self, F>
    where
        Self: Sized,
        F: Fn(&mut Self::Batch) -> Result<()> + Sync,
    {
        MapInPlace::new(self, change)
    }
}

macro_rules! impl_for_pointers {
    ($($pointer:ty $(: $bound:ident)?),*) => {$(
        impl<D: Dataset + ?Sized $(+ $bound)?> Dataset for $pointer {
            type Batch = D::Batch;

            fn len(&self) -> usize {
                (**self).len()
            }

            fn empty_batch(&self, capacity: usize) -> Result<D::Batch> {
                (**self).empty_batch(capacity)
            }

            fn batch(&self, indices: &[usize], into: &mut D::Batch) -> Result<()> {
                (**self).batch(indices, into)
            }
        }
    )*};
}
impl_for_pointers! { &D, Box<D>, Arc<D>: Send }

/// How large the first part of a [`split`](Dataset::split) is; made from an `f64` or a `usize`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Portion {
    /// A share of the samples in 0 ..= 1, rounded to the nearest whole number of samples.
    Fraction(f64),
    /// A number of samples.
    Count(usize),
}

impl Portion {
    fn count(self, n_samples: usize) -> Result<usize> {
        match self {
            Self::Fraction(share) if (0.0..=1.0).contains(&share) => {
                Ok(((share * n_samples as f64).round() as usize).min(n_samples))
            }
            Self::Fraction(share) => Err(Error::config(format!("cannot split off a share of {share}"))
                .hint("a share lies in 0.0 ..= 1.0; a number of samples is given as an integer")),
            Self::Count(count) if count <= n_samples => Ok(count),
            Self::Count(count) => Err(Error::config(format!(
                "cannot split {count} samples off a data set of {n_samples}"
            ))),
        }
    }
}

impl From<f64> for Portion {
    fn from(share: f64) -> Self {
        Self::Fraction(share)
    }
}

impl From<usize> for Portion {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

/// A data set in memory: a tuple of one to four columns, each with one entry for every sample.
///
/// Columns are `ndarray` arrays (owned, shared or views) whose first axis is the sample, or
/// [`Pixels`](super::Pixels). Batches are tuples of [`BatchArray`](super::BatchArray)s in the same order.
#[derive(Clone, Debug)]
pub struct Arrays<C> {
    columns: C,
    n_samples: usize,
}

impl<C: Columns> Arrays<C> {
    /// A data set of these columns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the columns differ in their number of samples.
    pub fn new(columns: C) -> Result<Self> {
        let n_samples = columns.n_samples()?;
        Ok(Self { columns, n_samples })
    }

    /// The columns.
    pub fn columns(&self) -> &C {
        &self.columns
    }

    /// The columns, given back.
    pub fn into_columns(self) -> C {
        self.columns
    }
}

impl<C: Columns> Dataset for Arrays<C> {
    type Batch = C::Batch;

    fn len(&self) -> usize {
        self.n_samples
    }

    fn empty_batch(&self, capacity: usize) -> Result<C::Batch> {
        self.columns.empty_batch(capacity)
    }

    fn batch(&self, indices: &[usize], into: &mut C::Batch) -> Result<()> {
        self.columns.gather(indices, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use ndarray::{Array1, Array2, array};
    use proptest::prelude::*;

    fn numbers(n: usize) -> Arrays<(Array1<f64>,)> {
        Arrays::new((Array1::from_iter((0..n).map(|i| i as f64)),)).unwrap()
    }

    #[test]
    fn borrowed_columns_and_pointers_are_data_sets() {
        let (x, y) = (Array2::<f32>::zeros((4, 2)), array![1_u8, 2, 3, 4]);
        let data = Arrays::new((x.view(), y.view())).unwrap();
        fn len(data: impl Dataset) -> usize {
            data.len()
        }
        assert_eq!(
            (len(&data), len(Box::new(&data)), len(Arc::new(data.clone()))),
            (4, 4, 4)
        );
        let dynamic: &dyn Dataset<Batch = _> = &data;
        let mut batch = dynamic.empty_batch(3).unwrap();
        dynamic.batch(&[3, 3, 0], &mut batch).unwrap();
        assert_eq!((batch.n_samples(), batch.views().1), (3, array![4, 4, 1].view()));
        assert_eq!(
            dynamic.batch(&[4], &mut batch).unwrap_err().kind(),
            ErrorKind::Index
        );
    }

    #[test]
    fn split_refuses_what_it_cannot_do() {
        for portion in [
            Portion::Fraction(1.5),
            Portion::Fraction(f64::NAN),
            Portion::Count(11),
        ] {
            assert_eq!(
                numbers(10).split(portion, 0).unwrap_err().kind(),
                ErrorKind::Config
            );
        }
        let (all, none) = numbers(10).split(1.0, 0).unwrap();
        assert_eq!((all.len(), none.len()), (10, 0));
        assert!(none.is_empty());
    }

    proptest! {
        #[test]
        fn split_parts_are_disjoint_and_complete(n in 0_usize..200, share in 0.0_f64..=1.0, seed: u64) {
            let (first, second) = numbers(n).split(share, seed).unwrap();
            prop_assert_eq!(first.len(), (share * n as f64).round() as usize);
            let again = numbers(n).split(first.len(), seed).unwrap();
            prop_assert_eq!((first.indices(), second.indices()), (again.0.indices(), again.1.indices()));
            prop_assert!(first.indices().is_sorted() && second.indices().is_sorted());
            let mut all = [first.indices(), second.indices()].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..n));
        }
    }
}

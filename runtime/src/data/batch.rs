//! Batches: what a data set fills and a model's function takes.
//!
//! A batch is made once and filled again for every step, so that a training loop allocates nothing. A short
//! batch (the last of an epoch) lies in the same memory and only its first axis is shorter.
//!
//! What this module does not do: it knows neither where samples come from nor in which order.

use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::error::{Error, ErrorKind, Result};

/// What a [`Dataset`](super::Dataset) yields: a reusable container of samples.
///
/// It is implemented for tuples of one to four [`BatchArray`]s, whose views are a tuple of `ndarray` views
/// in the same order: the inputs of a model's function, one for each argument.
///
/// ```
/// use ndarray::{Ix1, Ix2};
/// use tapeless_runtime::data::{Batch, BatchArray};
///
/// let images = BatchArray::<f32, Ix2>::with_capacity(64, &[784])?;
/// let labels = BatchArray::<u8, Ix1>::with_capacity(64, &[])?;
/// let batch = (images, labels);
/// assert_eq!(batch.n_samples(), 0);
/// let (images, labels) = batch.views();
/// assert_eq!((images.shape(), labels.shape()), (&[0, 784][..], &[0][..]));
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
pub trait Batch {
    /// What a reader sees of the batch.
    type Views<'a>
    where
        Self: 'a;

    /// The number of samples it holds now.
    fn n_samples(&self) -> usize;

    /// Views of the samples it holds now; the first axis of each is the sample.
    fn views(&self) -> Self::Views<'_>;
}

/// An array of up to a fixed number of samples, in one contiguous piece of memory.
///
/// Shape: `[n_samples, ..sample_shape]`, the last axis fastest; `n_samples` varies from batch to batch
/// without reallocation as long as it stays within the capacity.
#[derive(Clone, Debug)]
pub struct BatchArray<T, D> {
    /// Room for the full capacity; the samples held now come first.
    elements: Vec<T>,
    /// The shape of what is held now.
    shape: D,
    /// Elements in a sample.
    sample_len: usize,
    capacity: usize,
}

impl<T: Copy + Default, D: Dimension> BatchArray<T, D> {
    /// A batch without samples, with room for `capacity` samples of a shape.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`] if `sample_shape` does not have one axis fewer than `D`, or if there is no
    /// memory for that many samples.
    pub fn with_capacity(capacity: usize, sample_shape: &[usize]) -> Result<Self> {
        let n_axes = sample_shape.len() + 1;
        if D::NDIM.is_some_and(|expected| expected != n_axes) {
            let message = format!("a batch of samples of shape {sample_shape:?} has {n_axes} axes");
            return Err(Error::shape(format!(
                "{message}, expected {}",
                D::NDIM.unwrap_or_default()
            )));
        }
        let mut shape = D::zeros(n_axes);
        shape.slice_mut()[1..].copy_from_slice(sample_shape);
        let sample_len = sample_shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size))
            .ok_or_else(|| too_large(1, sample_shape))?;
        let mut batch = Self {
            elements: Vec::new(),
            shape,
            sample_len,
            capacity: 0,
        };
        batch.reserve(capacity)?;
        Ok(batch)
    }

    /// The number of samples it holds now.
    pub fn len(&self) -> usize {
        self.shape[0]
    }

    /// Whether it holds no sample now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of samples it can hold without reallocation.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The shape of one sample.
    pub fn sample_shape(&self) -> &[usize] {
        &self.shape.slice()[1..]
    }

    /// Makes it hold `n_samples` samples whose elements are left over from earlier use, to be overwritten.
    ///
    /// Allocates only beyond the capacity.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`] if there is no memory for that many samples.
    pub fn resize(&mut self, n_samples: usize) -> Result<()> {
        if n_samples > self.capacity {
            self.reserve(n_samples)?;
        }
        self.shape[0] = n_samples;
        Ok(())
    }

    /// The samples it holds now: `[n_samples, ..sample_shape]`.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        ArrayView::from_shape(self.shape.clone(), self.as_slice())
            .expect("a batch is as long as its shape says")
    }

    /// The samples it holds now, to be changed in place.
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        let shape = self.shape.clone();
        ArrayViewMut::from_shape(shape, self.as_mut_slice()).expect("a batch is as long as its shape says")
    }

    /// The elements of the samples it holds now, the last axis fastest.
    pub fn as_slice(&self) -> &[T] {
        &self.elements[..self.shape[0] * self.sample_len]
    }

    /// The elements of the samples it holds now, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.shape[0] * self.sample_len;
        &mut self.elements[..len]
    }

    /// The elements of each sample in turn. Samples without elements are not visited.
    pub fn samples_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [T]> {
        let sample_len = self.sample_len.max(1);
        self.as_mut_slice().chunks_exact_mut(sample_len)
    }

    fn reserve(&mut self, capacity: usize) -> Result<()> {
        let reserved = capacity.checked_mul(self.sample_len).filter(|len| {
            let n_more = len.saturating_sub(self.elements.len());
            self.elements.try_reserve_exact(n_more).is_ok()
        });
        let Some(len) = reserved else {
            return Err(too_large(capacity, self.sample_shape()));
        };
        self.elements.resize(len, T::default());
        self.capacity = capacity;
        Ok(())
    }
}

fn too_large(n_samples: usize, sample_shape: &[usize]) -> Error {
    let message = format!("no memory for a batch of {n_samples} samples of shape {sample_shape:?}");
    Error::new(ErrorKind::Shape, message).hint("choose a smaller batch size")
}

macro_rules! impl_batch {
    ($($name:ident: $T:ident $D:ident),+) => {
        impl<$($T: Copy + Default, $D: Dimension),+> Batch for ($(BatchArray<$T, $D>,)+) {
            type Views<'a> = ($(ArrayView<'a, $T, $D>,)+) where Self: 'a;

            fn n_samples(&self) -> usize {
                self.0.len()
            }

            fn views(&self) -> Self::Views<'_> {
                let ($($name,)+) = self;
                ($($name.view(),)+)
            }
        }
    };
}
impl_batch! { a: A DA }
impl_batch! { a: A DA, b: B DB }
impl_batch! { a: A DA, b: B DB, c: C DC }
impl_batch! { a: A DA, b: B DB, c: C DC, d: E DE }

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix0, Ix1, Ix3, IxDyn, array};

    #[test]
    fn a_short_batch_lies_in_the_same_memory() {
        let mut batch = BatchArray::<i32, Ix3>::with_capacity(4, &[1, 2]).unwrap();
        batch.resize(4).unwrap();
        let start = batch.as_slice().as_ptr();
        for (i, sample) in batch.samples_mut().enumerate() {
            sample.fill(i as i32);
        }
        batch.resize(3).unwrap();
        assert_eq!(batch.view(), array![[[0, 0]], [[1, 1]], [[2, 2]]]);
        batch.view_mut()[[2, 0, 1]] = 9;
        batch.resize(4).unwrap();
        assert_eq!(batch.as_slice(), [0, 0, 1, 1, 2, 9, 3, 3]);
        assert_eq!(
            (batch.as_slice().as_ptr(), batch.capacity(), batch.len()),
            (start, 4, 4)
        );
    }

    #[test]
    fn grows_beyond_its_capacity_and_keeps_the_samples() {
        let mut batch = BatchArray::<u8, Ix1>::with_capacity(1, &[]).unwrap();
        batch.resize(1).unwrap();
        batch.as_mut_slice()[0] = 7;
        batch.resize(3).unwrap();
        assert_eq!((batch.view(), batch.capacity()), (array![7, 0, 0].view(), 3));
    }

    #[test]
    fn refuses_wrong_ranks_and_impossible_sizes() {
        let error = BatchArray::<f32, Ix1>::with_capacity(2, &[3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a batch of samples of shape [3] has 2 axes, expected 1"
        );
        assert!(BatchArray::<f32, Ix0>::with_capacity(2, &[]).is_err());
        assert!(BatchArray::<f32, IxDyn>::with_capacity(2, &[usize::MAX, 2]).is_err());
        let error = BatchArray::<f32, IxDyn>::with_capacity(usize::MAX, &[2]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert!(error.to_string().contains("choose a smaller batch size"));
    }

    #[test]
    fn samples_may_have_no_elements() {
        let mut batch = BatchArray::<f32, Ix3>::with_capacity(2, &[0, 5]).unwrap();
        batch.resize(2).unwrap();
        assert_eq!(batch.view().shape(), [2, 0, 5]);
        assert_eq!(batch.samples_mut().len(), 0);
    }
}

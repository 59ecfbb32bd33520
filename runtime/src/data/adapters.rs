//! Data sets made from other data sets: some of the samples, or all of them changed.
//!
//! Adapters keep what scratch space they need in a [`Pool`], so that a warm training loop allocates nothing
//! whatever adapters it goes through. [`Subset`] yields the batch type of the data set it was cut from, so
//! that the two parts of a [`split`](Dataset::split) go wherever the whole would.

use std::sync::{Arc, Mutex, PoisonError};

use super::batch::Batch;
use super::column::check_indices;
use super::dataset::Dataset;
use crate::error::Result;

/// One of the two parts of a [`split`](Dataset::split); both share the data.
pub type Part<D> = Subset<Arc<D>>;

/// Some samples of a data set; see [`Dataset::subset`].
#[derive(Debug)]
pub struct Subset<D> {
    data: D,
    /// Each less than `data.len()`.
    indices: Vec<usize>,
    scratch: Pool<Vec<usize>>,
}

impl<D: Dataset> Subset<D> {
    pub(super) fn new(data: D, indices: Vec<usize>) -> Result<Self> {
        check_indices(&indices, data.len())?;
        Ok(Self {
            data,
            indices,
            scratch: Pool::default(),
        })
    }

    pub(super) fn first(data: D, n_samples: usize) -> Self {
        let indices = (0..data.len().min(n_samples)).collect();
        Self {
            data,
            indices,
            scratch: Pool::default(),
        }
    }

    /// Which samples of the whole these are.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The whole.
    pub fn whole(&self) -> &D {
        &self.data
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Batch = D::Batch;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn empty_batch(&self, capacity: usize) -> Result<D::Batch> {
        self.data.empty_batch(capacity)
    }

    fn batch(&self, indices: &[usize], into: &mut D::Batch) -> Result<()> {
        check_indices(indices, self.len())?;
        let mut in_whole = self.scratch.take().unwrap_or_default();
        in_whole.clear();
        in_whole.extend(indices.iter().map(|&index| self.indices[index]));
        let filled = self.data.batch(&in_whole, into);
        self.scratch.give_back(in_whole);
        filled
    }
}

/// A data set whose batches are computed from those of another; see [`Dataset::map`].
#[derive(Debug)]
pub struct Map<D: Dataset, E, F> {
    data: D,
    empty: E,
    fill: F,
    scratch: Pool<D::Batch>,
}

impl<D: Dataset, E, F> Map<D, E, F> {
    pub(super) fn new(data: D, empty: E, fill: F) -> Self {
        Self {
            data,
            empty,
            fill,
            scratch: Pool::default(),
        }
    }
}

impl<D, B, E, F> Dataset for Map<D, E, F>
where
    D: Dataset,
    B: Batch + Send,
    E: Fn(usize) -> Result<B> + Sync,
    F: Fn(&D::Batch, &mut B) -> Result<()> + Sync,
{
    type Batch = B;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn empty_batch(&self, capacity: usize) -> Result<B> {
        // The input of the first batches is made here, so that filling them allocates nothing.
        self.scratch.give_back(self.data.empty_batch(capacity)?);
        (self.empty)(capacity)
    }

    fn batch(&self, indices: &[usize], into: &mut B) -> Result<()> {
        let mut input = match self.scratch.take() {
            Some(input) => input,
            None => self.data.empty_batch(indices.len())?,
        };
        let filled = self
            .data
            .batch(indices, &mut input)
            .and_then(|()| (self.fill)(&input, into));
        self.scratch.give_back(input);
        filled
    }
}

/// A data set whose batches are changed in place; see [`Dataset::map_in_place`].
#[derive(Clone, Debug)]
pub struct MapInPlace<D, F> {
    data: D,
    change: F,
}

impl<D, F> MapInPlace<D, F> {
    pub(super) fn new(data: D, change: F) -> Self {
        Self { data, change }
    }
}

impl<D, F> Dataset for MapInPlace<D, F>
where
    D: Dataset,
    F: Fn(&mut D::Batch) -> Result<()> + Sync,
{
    type Batch = D::Batch;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn empty_batch(&self, capacity: usize) -> Result<D::Batch> {
        self.data.empty_batch(capacity)
    }

    fn batch(&self, indices: &[usize], into: &mut D::Batch) -> Result<()> {
        self.data.batch(indices, into)?;
        (self.change)(into)
    }
}

/// Scratch space of an adapter, kept between calls. Callers on several threads at once get a piece each.
#[derive(Debug)]
struct Pool<T> {
    spare: Mutex<Vec<T>>,
}

/// No more pieces than this are kept; more are needed only by as many simultaneous callers.
const MAX_SPARE: usize = 4;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            spare: Mutex::new(Vec::with_capacity(MAX_SPARE)),
        }
    }
}

impl<T> Pool<T> {
    fn take(&self) -> Option<T> {
        // A panic elsewhere cannot leave a `Vec` of whole pieces in a bad state.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, piece: T) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MAX_SPARE {
            spare.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::BatchArray;
    use super::super::dataset::Arrays;
    use super::*;
    use crate::error::{Error, ErrorKind};
    use ndarray::{Array1, Ix1};

    fn numbers(n: usize) -> Arrays<(Array1<f64>,)> {
        Arrays::new((Array1::from_iter((0..n).map(|i| i as f64)),)).unwrap()
    }

    fn read<D: Dataset<Batch = (BatchArray<f64, Ix1>,)>>(data: &D, indices: &[usize]) -> Vec<f64> {
        let mut batch = data.empty_batch(indices.len()).unwrap();
        data.batch(indices, &mut batch).unwrap();
        batch.0.as_slice().to_vec()
    }

    #[test]
    fn subsets_nest_and_check_their_own_length() {
        let data = numbers(10).subset(vec![9, 5, 5, 1]).unwrap();
        assert_eq!(read(&data, &[3, 0, 2]), [1.0, 9.0, 5.0]);
        let inner = data.subset(vec![1, 0]).unwrap();
        assert_eq!(read(&inner, &[0, 1]), [5.0, 9.0]);
        let mut batch = inner.empty_batch(1).unwrap();
        assert_eq!(
            inner.batch(&[2], &mut batch).unwrap_err().kind(),
            ErrorKind::Index
        );
        assert_eq!(numbers(3).subset(vec![3]).unwrap_err().kind(), ErrorKind::Index);
        assert_eq!((numbers(3).take(2).len(), numbers(3).take(7).len()), (2, 3));
    }

    #[test]
    fn map_reuses_its_input_and_passes_errors_on() {
        let data = numbers(10).map(
            |capacity| Ok((BatchArray::<f64, Ix1>::with_capacity(capacity, &[])?,)),
            |(x,): &(BatchArray<f64, Ix1>,), (y,)| {
                if x.as_slice().contains(&7.0) {
                    return Err(Error::new(ErrorKind::Callback, "seven"));
                }
                y.resize(x.len())?;
                y.as_mut_slice()
                    .iter_mut()
                    .zip(x.as_slice())
                    .for_each(|(y, &x)| *y = -x);
                Ok(())
            },
        );
        assert_eq!(read(&data, &[3, 4]), [-3.0, -4.0]);
        let mut batch = data.empty_batch(1).unwrap();
        assert_eq!(data.batch(&[7], &mut batch).unwrap_err().to_string(), "seven");
        let n_spare = data.scratch.spare.lock().unwrap().len();
        data.batch(&[1], &mut batch).unwrap();
        assert_eq!(data.scratch.spare.lock().unwrap().len(), n_spare);
        let doubled = data.map_in_place(|(x,)| {
            x.view_mut().mapv_inplace(|x| 2.0 * x);
            Ok(())
        });
        assert_eq!(read(&doubled, &[1]), [-2.0]);
    }
}

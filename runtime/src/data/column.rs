//! Columns: one input of a model for every sample, and how it is gathered into a batch.
//!
//! A column is an `ndarray` array whose first axis is the sample, or a cheap function of one, computed while
//! it is copied: [`Pixels`] keeps images as bytes and yields normalised `f32`, so that neither a float copy
//! of the data set nor a second pass over the batch exists.
//!
//! What this module does not do: it does not choose samples; indices come from outside and are checked.

use ndarray::{ArrayBase, Axis, Data, Dimension, RawDataClone, RemoveAxis};

use super::batch::{Batch, BatchArray};
use crate::error::{Error, ErrorKind, Result};

/// One array of samples.
///
/// It is implemented for every `ndarray` array with at least one axis (owned, shared or a view, in any
/// memory layout) and for [`Pixels`].
pub trait Column: Sync {
    /// The type of an element in a batch.
    type Elem: Copy + Default + Send;

    /// The dimension type of a batch, the axis of the samples included.
    type Dim: Dimension;

    /// The shape of the whole column; its first axis is the sample.
    fn shape(&self) -> &[usize];

    /// Copies the samples at `indices` into `into`, in that order, replacing what was there.
    ///
    /// Allocates nothing while the batch has the capacity.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`] if an index is not less than the number of samples; [`ErrorKind::Shape`] if
    /// `into` was made for samples of another shape.
    fn gather(&self, indices: &[usize], into: &mut BatchArray<Self::Elem, Self::Dim>) -> Result<()>;
}

impl<S, T, D> Column for ArrayBase<S, D>
where
    S: Data<Elem = T> + Sync,
    T: Copy + Default + Send,
    D: RemoveAxis,
{
    type Elem = T;
    type Dim = D;

    fn shape(&self) -> &[usize] {
        ArrayBase::shape(self)
    }

    fn gather(&self, indices: &[usize], into: &mut BatchArray<T, D>) -> Result<()> {
        prepare(self, indices, into)?;
        let Some(elements) = self.as_slice() else {
            for (to, &index) in into.samples_mut().zip(indices) {
                let sample = self.index_axis(Axis(0), index);
                to.iter_mut().zip(&sample).for_each(|(to, &from)| *to = from);
            }
            return Ok(());
        };
        for (to, &index) in into.samples_mut().zip(indices) {
            to.copy_from_slice(&elements[index * to.len()..][..to.len()]);
        }
        Ok(())
    }
}

/// Checks the indices and the batch, and makes room: what every [`Column::gather`] starts with.
fn prepare<C: Column + ?Sized>(
    column: &C,
    indices: &[usize],
    into: &mut BatchArray<C::Elem, C::Dim>,
) -> Result<()> {
    let (n_samples, sample_shape) = column
        .shape()
        .split_first()
        .map_or((0, &[][..]), |(&n, rest)| (n, rest));
    check_indices(indices, n_samples)?;
    if into.sample_shape() != sample_shape {
        let (expected, found) = (sample_shape, into.sample_shape());
        let message = format!("the samples have the shape {expected:?}, the batch was made for {found:?}");
        return Err(Error::shape(message).hint("make the batch with `empty_batch` of the same data set"));
    }
    into.resize(indices.len())
}

/// Checks that all indices are less than the number of samples.
pub(super) fn check_indices(indices: &[usize], n_samples: usize) -> Result<()> {
    match indices.iter().find(|&&index| index >= n_samples) {
        None => Ok(()),
        Some(index) => {
            let message = format!("sample {index} was asked for, but there are {n_samples}");
            Err(Error::new(ErrorKind::Index, message))
        }
    }
}

/// Images of bytes, read as normalised `f32`.
///
/// y = (x / 255 - mean) / std, in that order and in `f32`, as torchvision's `ToTensor` and `Normalize`
/// compute it, so the bits agree. A table of the 256 values is kept for each channel.
///
/// Shapes: `[n, ..]` or, with values for each channel, `[n, channels, ..]`; the batch has the same axes.
///
/// ```
/// use ndarray::Array3;
/// use tapeless_runtime::data::{Arrays, Batch, Dataset, Pixels};
///
/// let images = Array3::<u8>::from_elem((10, 28, 28), 255);
/// let data = Arrays::new((Pixels::new(images).normalize(0.1307, 0.3081)?.with_channel(),))?;
/// let mut batch = data.empty_batch(2)?;
/// data.batch(&[7, 3], &mut batch)?;
/// let (images,) = batch.views();
/// assert_eq!(images.shape(), [2, 1, 28, 28]);
/// assert_eq!(images[[0, 0, 0, 0]], (1.0 - 0.1307) / 0.3081);
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Pixels<S: Data<Elem = u8>, D: Dimension> {
    images: ArrayBase<S, D>,
    /// The value of each byte, for each channel; one table serves all where channels are not told apart.
    tables: Vec<[f32; 256]>,
}

impl<S: Data<Elem = u8>, D: RemoveAxis> Pixels<S, D> {
    /// Images scaled to 0 ..= 1.
    pub fn new(images: ArrayBase<S, D>) -> Self {
        Self {
            images,
            tables: vec![table(0.0, 1.0)],
        }
    }

    /// Shifts by one mean and divides by one standard deviation, both in units of 0 ..= 1.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] unless `mean` is finite, and `std` finite and positive.
    pub fn normalize(mut self, mean: f32, std: f32) -> Result<Self> {
        check_normalisation(mean, std)?;
        self.tables = vec![table(mean, std)];
        Ok(self)
    }

    /// Shifts and divides by a mean and a standard deviation for each channel; channels are axis 1.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] as [`normalize`](Self::normalize); [`ErrorKind::Shape`] unless there are as
    /// many means and deviations as channels.
    pub fn normalize_channels(mut self, mean: &[f32], std: &[f32]) -> Result<Self> {
        let n_channels = self.images.shape().get(1).copied().unwrap_or(0);
        if n_channels == 0 || mean.len() != n_channels || std.len() != n_channels {
            let shape = self.images.shape();
            let message = format!("images of shape {shape:?} have {n_channels} channels");
            let found = format!("found {} means and {} deviations", mean.len(), std.len());
            return Err(Error::shape(format!("{message}, {found}"))
                .hint("channels are axis 1; `with_channel` inserts it in grey images"));
        }
        std::iter::zip(mean, std).try_for_each(|(&mean, &std)| check_normalisation(mean, std))?;
        self.tables = std::iter::zip(mean, std)
            .map(|(&mean, &std)| table(mean, std))
            .collect();
        Ok(self)
    }

    /// Inserts a channel axis of size 1 after the samples: `[n, h, w]` to `[n, 1, h, w]`.
    pub fn with_channel(self) -> Pixels<S, D::Larger>
    where
        D::Larger: RemoveAxis,
    {
        Pixels {
            images: self.images.insert_axis(Axis(1)),
            tables: self.tables,
        }
    }

    /// The images as bytes.
    pub fn images(&self) -> &ArrayBase<S, D> {
        &self.images
    }
}

impl<S: Data<Elem = u8> + RawDataClone, D: Dimension> Clone for Pixels<S, D> {
    fn clone(&self) -> Self {
        Self {
            images: self.images.clone(),
            tables: self.tables.clone(),
        }
    }
}

impl<S, D> Column for Pixels<S, D>
where
    S: Data<Elem = u8> + Sync,
    D: RemoveAxis,
{
    type Elem = f32;
    type Dim = D;

    fn shape(&self) -> &[usize] {
        self.images.shape()
    }

    fn gather(&self, indices: &[usize], into: &mut BatchArray<f32, D>) -> Result<()> {
        prepare(self, indices, into)?;
        let elements = self.images.as_slice();
        for (to, &index) in into.samples_mut().zip(indices) {
            let sample_len = to.len();
            let channel_len = sample_len / self.tables.len();
            for (channel, (to, table)) in to.chunks_exact_mut(channel_len).zip(&self.tables).enumerate() {
                let start = channel * channel_len;
                match elements {
                    Some(elements) => {
                        look_up(table, &elements[index * sample_len + start..][..channel_len], to)
                    }
                    None => look_up(
                        table,
                        self.images
                            .index_axis(Axis(0), index)
                            .iter()
                            .skip(start)
                            .take(channel_len),
                        to,
                    ),
                }
            }
        }
        Ok(())
    }
}

fn look_up<'a>(table: &[f32; 256], from: impl IntoIterator<Item = &'a u8>, to: &mut [f32]) {
    to.iter_mut()
        .zip(from)
        .for_each(|(to, &from)| *to = table[usize::from(from)]);
}

fn table(mean: f32, std: f32) -> [f32; 256] {
    std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
}

fn check_normalisation(mean: f32, std: f32) -> Result<()> {
    if mean.is_finite() && std.is_finite() && std > 0.0 {
        return Ok(());
    }
    let message = format!("cannot normalise with mean {mean} and deviation {std}");
    Err(Error::config(message).hint("the mean must be finite, the deviation finite and greater than 0"))
}

/// A tuple of one to four columns with one entry each for every sample.
pub trait Columns: Sync {
    /// A batch with one array for each column.
    type Batch: Batch + Send;

    /// The number of samples, if all columns agree on it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`] if two columns differ in their number of samples, or one has no axis at all.
    fn n_samples(&self) -> Result<usize>;

    /// A batch for these columns with room for `capacity` samples.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`] if there is no memory for it.
    fn empty_batch(&self, capacity: usize) -> Result<Self::Batch>;

    /// Copies samples from every column; see [`Column::gather`].
    ///
    /// # Errors
    ///
    /// As [`Column::gather`].
    fn gather(&self, indices: &[usize], into: &mut Self::Batch) -> Result<()>;
}

macro_rules! impl_columns {
    ($($C:ident $n:tt),+) => {
        impl<$($C: Column),+> Columns for ($($C,)+) {
            type Batch = ($(BatchArray<$C::Elem, $C::Dim>,)+);

            fn n_samples(&self) -> Result<usize> {
                agree(&[$(self.$n.shape()),+])
            }

            fn empty_batch(&self, capacity: usize) -> Result<Self::Batch> {
                Ok(($(BatchArray::with_capacity(capacity, self.$n.shape().get(1..).unwrap_or(&[]))?,)+))
            }

            fn gather(&self, indices: &[usize], into: &mut Self::Batch) -> Result<()> {
                $(
                    let gathered = self.$n.gather(indices, &mut into.$n);
                    gathered.map_err(|error| error.context(concat!("column ", $n)))?;
                )+
                Ok(())
            }
        }
    };
}
impl_columns! { A 0 }
impl_columns! { A 0, B 1 }
impl_columns! { A 0, B 1, C 2 }
impl_columns! { A 0, B 1, C 2, D 3 }

/// The common size of the first axis.
fn agree(shapes: &[&[usize]]) -> Result<usize> {
    let Some(n_samples) = shapes.first().and_then(|shape| shape.first()) else {
        return Err(Error::shape(
            "column 0 is a single number, not an array of samples",
        ));
    };
    match shapes.iter().position(|shape| shape.first() != Some(n_samples)) {
        None => Ok(*n_samples),
        Some(column) => Err(Error::shape(format!(
            "the numbers of samples differ: column 0 has the shape {:?}, column {column} {:?}",
            shapes[0], shapes[column]
        ))
        .hint("the first axis of every column is the sample")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, Array2, Array3, Array4, ArrayD, Ix1, IxDyn, ShapeBuilder, array};

    /// The same array with Fortran's memory layout.
    fn first_axis_fastest<T: Copy + Default, D: Dimension>(array: &Array<T, D>) -> Array<T, D> {
        let mut copy = Array::default(array.raw_dim().f());
        copy.assign(array);
        copy
    }

    #[test]
    fn gathers_in_any_memory_layout() {
        let standard = Array::from_shape_fn((5, 2, 3), |(n, i, j)| (100 * n + 10 * i + j) as u16);
        let fortran = first_axis_fastest(&standard);
        assert!(fortran.as_slice().is_none());
        let indices = [4, 0, 4];
        for column in [&standard, &fortran] {
            let mut batch = BatchArray::with_capacity(3, &[2, 3]).unwrap();
            column.gather(&indices, &mut batch).unwrap();
            assert_eq!(batch.view(), standard.select(Axis(0), &indices));
        }
        let mut batch = BatchArray::with_capacity(3, &[2, 2]).unwrap();
        standard
            .slice(ndarray::s![.., .., ..;2])
            .gather(&[1], &mut batch)
            .unwrap();
        assert_eq!(batch.view(), array![[[100, 102], [110, 112]]]);
    }

    #[test]
    fn refuses_bad_indices_and_foreign_batches() {
        let column = Array2::<f32>::zeros((3, 2));
        let mut batch = BatchArray::with_capacity(1, &[2]).unwrap();
        let error = column.gather(&[0, 3], &mut batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Index);
        assert_eq!(error.to_string(), "sample 3 was asked for, but there are 3");
        let mut batch = BatchArray::with_capacity(1, &[4]).unwrap();
        let error = column.gather(&[0], &mut batch).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the samples have the shape [2], the batch was made for [4]")
        );
    }

    #[test]
    fn pixels_follow_the_formula_in_every_layout() {
        let bytes = Array3::from_shape_fn((2, 16, 8), |(n, i, j)| (n * 128 + i * 8 + j) as u8);
        let naive = bytes
            .mapv(|x| (x as f32 / 255.0 - 0.1307) / 0.3081)
            .insert_axis(Axis(1));
        let fortran = first_axis_fastest(&bytes);
        assert!(fortran.as_slice().is_none());
        for images in [bytes, fortran] {
            let pixels = Pixels::new(images)
                .normalize(0.1307, 0.3081)
                .unwrap()
                .with_channel();
            let mut batch = BatchArray::with_capacity(2, &[1, 16, 8]).unwrap();
            pixels.gather(&[1, 0], &mut batch).unwrap();
            assert_eq!(batch.view(), naive.select(Axis(0), &[1, 0]));
        }
    }

    #[test]
    fn channels_have_their_own_statistics() {
        let bytes =
            Array4::<u8>::from_shape_fn((2, 3, 2, 2), |(n, c, i, j)| (n * 12 + c * 4 + i * 2 + j) as u8);
        let (mean, std) = ([0.1, 0.2, 0.3], [1.0, 2.0, 4.0]);
        let naive = Array4::from_shape_fn((2, 3, 2, 2), |index| {
            (f32::from(bytes[index]) / 255.0 - mean[index.1]) / std[index.1]
        });
        for images in [bytes.clone(), first_axis_fastest(&bytes)] {
            let pixels = Pixels::new(images).normalize_channels(&mean, &std).unwrap();
            let mut batch = BatchArray::with_capacity(2, &[3, 2, 2]).unwrap();
            pixels.gather(&[0, 1], &mut batch).unwrap();
            assert_eq!(batch.view(), naive);
        }
        let error = Pixels::new(bytes)
            .normalize_channels(&mean[..2], &std)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("have 3 channels, found 2 means and 3 deviations"),
            "{error}"
        );
        assert!(Pixels::new(array![1_u8]).normalize_channels(&[], &[]).is_err());
    }

    #[test]
    fn refuses_meaningless_statistics() {
        for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
            let error = Pixels::new(Array2::<u8>::zeros((1, 1)))
                .normalize(mean, std)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn empty_images_are_gathered() {
        let pixels = Pixels::new(Array3::<u8>::zeros((2, 0, 5)));
        let mut batch = BatchArray::with_capacity(2, &[0, 5]).unwrap();
        pixels.gather(&[1, 1], &mut batch).unwrap();
        assert_eq!(batch.view().shape(), [2, 0, 5]);
    }

    #[test]
    fn columns_agree_on_the_number_of_samples() {
        let columns = (Array2::<f32>::zeros((3, 2)), array![1_u8, 2]);
        let message = columns.n_samples().unwrap_err().to_string();
        assert!(
            message.contains("column 0 has the shape [3, 2], column 1 [2]"),
            "{message}"
        );
        assert!((ArrayD::<f32>::zeros(IxDyn(&[])),).n_samples().is_err());
        assert!(
            (array![1_u8], ArrayD::<f32>::zeros(IxDyn(&[])))
                .n_samples()
                .is_err()
        );
        assert_eq!(
            (array![1_u8], array![2.0_f64], array![1_i32], array![0_u8])
                .n_samples()
                .unwrap(),
            1
        );
        let mut batch = (array![1_u8], array![2.0_f64]).empty_batch(1).unwrap();
        let error = (array![1_u8], array![2.0_f64])
            .gather(&[1], &mut batch)
            .unwrap_err();
        assert!(error.to_string().starts_with("column 0: sample 1"));
        let _: BatchArray<f64, Ix1> = batch.1;
    }
}

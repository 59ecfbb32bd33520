//! Results of a call, and their way into host arrays.

use std::any::TypeId;

use ndarray::{Array, ArrayD, ArrayView, Dimension, IxDyn};

use crate::dtype::{Dtype, Element, Float, Precision};
use crate::error::{Error, ErrorKind, Result};
use crate::workspace::{Found, Workspace};

/// The results of a call: of its own workspace, or of one that the caller keeps.
#[derive(Debug)]
pub struct Outputs<'w> {
    work: Hold<'w>,
}

#[derive(Debug)]
enum Hold<'w> {
    Own(Box<Workspace>),
    Lent(&'w Workspace),
}

/// Element types that results are read as.
pub trait OutputElement: sealed::Sealed + Copy + 'static {
    #[doc(hidden)]
    const DTYPE: Dtype;
    #[doc(hidden)]
    fn from_f64(x: f64) -> Self;
    #[doc(hidden)]
    fn from_i64(x: i64) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! output_elements {
    ($($element:ident: $dtype:ident, |$x:ident| $float:expr, |$y:ident| $int:expr;)*) => {$(
        impl sealed::Sealed for $element {}

        impl OutputElement for $element {
            const DTYPE: Dtype = Dtype::$dtype;

            fn from_f64($x: f64) -> Self {
                $float
            }

            fn from_i64($y: i64) -> Self {
                $int
            }
        }
    )*};
}
output_elements! {
    f32: Float, |x| x as f32, |y| y as f32;
    f64: Float, |x| x, |y| y as f64;
    i64: Int, |x| x as i64, |y| y;
    bool: Bool, |x| x != 0.0, |y| y != 0;
}

impl<'w> Outputs<'w> {
    pub(crate) fn own(work: Workspace) -> Outputs<'static> {
        Outputs {
            work: Hold::Own(Box::new(work)),
        }
    }

    pub(crate) fn lent(work: &'w Workspace) -> Self {
        Self {
            work: Hold::Lent(work),
        }
    }

    #[inline]
    fn work(&self) -> &Workspace {
        match &self.work {
            Hold::Own(work) => work,
            Hold::Lent(work) => work,
        }
    }

    /// The number of results.
    pub fn n_results(&self) -> usize {
        self.work().function().results.len()
    }

    #[inline]
    fn result(&self, k: usize) -> Result<&Found> {
        self.work().result(k).ok_or_else(|| self.no_result(k))
    }

    #[cold]
    fn no_result(&self, k: usize) -> Error {
        Error::internal(format!("{} has no result {k}", self.work().function().name))
    }

    /// The shape of a result.
    ///
    /// # Errors
    ///
    /// An internal error if there is no such result.
    pub fn shape(&self, k: usize) -> Result<Vec<usize>> {
        Ok(self.result(k)?.shape().to_vec())
    }

    /// A result as an array of its own. Floats are converted to `T`; integers and truth values are not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Dtype`] if the result's elements are of another kind, [`ErrorKind::Shape`] for another rank.
    pub fn array<T: OutputElement, D: Dimension>(&self, k: usize) -> Result<Array<T, D>> {
        let found = self.result(k)?;
        check_dtype::<T>(found.dtype, k)?;
        let elements = self.work().read_slot::<T>(found.slot, found.dtype, found.len);
        let array = ArrayD::from_shape_vec(IxDyn(found.shape()), elements)?;
        array.into_dimensionality::<D>().map_err(Error::from)
    }

    /// A result without a copy.
    ///
    /// # Errors
    ///
    /// As [`array`](Self::array); and [`ErrorKind::Dtype`] if `T` is not the width that the model computes in
    /// (`f32` or `f64` as its precision, `i64` for integers, `u8` for truth values).
    pub fn view<T: Element, D: Dimension>(&self, k: usize) -> Result<ArrayView<'_, T, D>> {
        let (shape, elements) = (self.result(k)?.shape(), self.slice::<T>(k)?);
        if D::NDIM.is_some_and(|rank| rank != shape.len()) {
            // For the error of a wrong rank.
            let view = ArrayView::from_shape(IxDyn(shape), elements)?;
            return view.into_dimensionality::<D>().map_err(Error::from);
        }
        let mut sizes = D::zeros(shape.len());
        for (axis, &size) in shape.iter().enumerate() {
            sizes[axis] = size;
        }
        Ok(ArrayView::from_shape(sizes, elements)?)
    }

    /// The elements of a result, the last axis fastest, without a copy: the quickest way to the prediction of a small network.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view), the rank excepted.
    #[inline]
    pub fn slice<T: Element>(&self, k: usize) -> Result<&[T]> {
        self.work().elements::<T>(self.result(k)?)
    }

    /// A result without axes, as `f64`: a loss in nats, a share, a count.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`] if the result has more than one element.
    pub fn scalar(&self, k: usize) -> Result<f64> {
        let found = self.result(k)?;
        if found.len != 1 {
            let message = format!("result {k} has {} elements, expected one", found.len);
            return Err(Error::shape(message));
        }
        Ok(self.work().read_number(found.slot, found.dtype, 0))
    }
}

fn check_dtype<T: OutputElement>(dtype: Dtype, k: usize) -> Result<()> {
    if dtype == T::DTYPE {
        return Ok(());
    }
    let message = format!(
        "result {k} is of kind {dtype:?}, asked for as {}",
        std::any::type_name::<T>()
    );
    Err(Error::new(ErrorKind::Dtype, message))
}

/// Whether elements of a kind are `T`s in memory.
#[inline]
pub(crate) fn check_width<T: Element>(dtype: Dtype, precision: Precision) -> Result<()> {
    let (found, name) = match (dtype, precision.float()) {
        (Dtype::Float, Float::F32) => (TypeId::of::<f32>(), "f32"),
        #[cfg(feature = "f64")]
        (Dtype::Float, Float::F64) => (TypeId::of::<f64>(), "f64"),
        (Dtype::Int, _) => (TypeId::of::<i64>(), "i64"),
        (Dtype::Bool, _) => (TypeId::of::<u8>(), "u8"),
    };
    if found == TypeId::of::<T>() {
        return Ok(());
    }
    Err(other_width(name, std::any::type_name::<T>()))
}

#[cold]
#[inline(never)]
fn other_width(name: &str, asked: &str) -> Error {
    Error::new(
        ErrorKind::Dtype,
        format!("the elements are {name}, asked for as {asked}"),
    )
}

//! Arguments of compiled functions: host arrays of every accepted element type and layout.
//!
//! The rank of an argument is checked by rustc through [`Arg`]'s dimension parameter; its sizes are checked when the
//! function is called. An array in standard layout and in the model's precision is borrowed; any other is copied
//! into a buffer that the workspace keeps, in the precision and integer width that kernels compute with.

use std::fmt;

use ndarray::{ArrayBase, ArrayView, ArrayViewD, Data, Dimension};

use crate::arena::{self, Region, Storage};
use crate::dtype::{Dtype, Element, Float, Precision, stored};
use crate::program::{InputKind, MAX_RANK};
use crate::real::Real;

/// Element kinds that an argument is declared with: types without values, to be named in bounds.
pub mod kind {
    use crate::program::InputKind;

    /// A kind of elements.
    pub trait Kind {
        /// The same kind as a value.
        const KIND: InputKind;
    }

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Kind for $name {
                const KIND: InputKind = InputKind::$name;
            }
        )*};
    }
    kinds! {
        /// Real numbers: `f32` and `f64`.
        Float
        /// `u8`.
        U8
        /// `u16`.
        U16
        /// `u32`.
        U32
        /// `i32`.
        I32
        /// `i64`.
        I64
        /// `bool`.
        Bool
    }
}

pub use kind::Kind;

/// A Rust type that arrays of kind `K` may have as elements.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element type of this argument",
    label = "expected elements of kind `{K}`"
)]
pub trait HostElement<K: Kind>: HostNumber {}

macro_rules! host_elements {
    ($($element:ident: $kind:ident, $variant:ident;)*) => {
        $(
            impl HostElement<kind::$kind> for $element {}

            impl sealed::Sealed for $element {}

            impl HostNumber for $element {
                #[inline]
                fn host(array: Host<'_, Self>) -> HostData<'_> {
                    HostData::$variant(array)
                }
            }
        )*

        /// An argument's elements.
        #[derive(Copy, Clone, Debug)]
        pub enum HostData<'a> {
            $(
                #[doc = concat!("Elements of type `", stringify!($element), "`.")]
                $variant(Host<'a, $element>),
            )*
            /// No elements: a [`Probe`] was passed.
            Probe,
        }

        /// Which elements an argument has, in the order of [`HostData`].
        #[derive(Copy, Clone, PartialEq, Eq)]
        pub(super) enum Form {
            $($variant,)*
            Probe,
        }

        impl HostData<'_> {
            #[inline]
            fn kind(&self) -> Option<InputKind> {
                match self {
                    $(Self::$variant(_) => Some(InputKind::$kind),)*
                    Self::Probe => None,
                }
            }

            #[inline(always)]
            fn form(&self) -> Form {
                match self {
                    $(Self::$variant(_) => Form::$variant,)*
                    Self::Probe => Form::Probe,
                }
            }

            fn element(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($element),)*
                    Self::Probe => "no elements",
                }
            }
        }
    };
}
host_elements! {
    f32: Float, F32;
    f64: Float, F64;
    u8: U8, U8;
    u16: U16, U16;
    u32: U32, U32;
    i32: I32, I32;
    i64: I64, I64;
    bool: Bool, Bool;
}

mod sealed {
    pub trait Sealed {}
}

/// An element type of host arrays.
pub trait HostNumber: sealed::Sealed + Copy + 'static {
    #[doc(hidden)]
    fn host(array: Host<'_, Self>) -> HostData<'_>;
}

/// A borrowed array of one element type.
#[derive(Copy, Clone, Debug)]
pub enum Host<'a, T> {
    /// In standard layout: contiguous, the last axis fastest.
    Contiguous(&'a [T]),
    /// In any other layout.
    Strided(&'a dyn Strided<T>),
}

/// An array of any rank and layout. (By reference, so that an argument owns nothing: what has to be dropped is passed through memory.)
pub trait Strided<T> {
    /// A view of it. (One of more than four axes costs a small allocation.)
    fn view_dyn(&self) -> ArrayViewD<'_, T>;
}

impl<T, S: Data<Elem = T>, D: Dimension> Strided<T> for ArrayBase<S, D> {
    fn view_dyn(&self) -> ArrayViewD<'_, T> {
        self.view().into_dyn()
    }
}

impl<T> fmt::Debug for dyn Strided<T> + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, not in standard layout", self.view_dyn().shape())
    }
}

impl<T: Copy> Host<'_, T> {
    fn copy_to<U>(&self, into: &mut [U], convert: impl Fn(T) -> U) {
        match self {
            Self::Contiguous(slice) => into
                .iter_mut()
                .zip(*slice)
                .for_each(|(to, &from)| *to = convert(from)),
            // By rows: the iterator over all elements of any rank works out every index anew.
            Self::Strided(array) => {
                let view = array.view_dyn();
                let len = view.shape().last().map_or(1, |&len| len.max(1));
                for (to, from) in into.chunks_mut(len).zip(view.rows()) {
                    to.iter_mut()
                        .zip(from)
                        .for_each(|(to, &from)| *to = convert(from));
                }
            }
        }
    }

    fn region(&self) -> Option<Region<'_>>
    where
        T: Element,
    {
        match self {
            Self::Contiguous(slice) => Some(Region::of_slice(slice)),
            Self::Strided(_) => None,
        }
    }
}

/// An argument of one call: its shape and its borrowed elements.
#[derive(Copy, Clone, Debug)]
pub struct HostArg<'a> {
    shape: &'a [usize],
    data: HostData<'a>,
}

impl<'a> HostArg<'a> {
    /// The argument for an array, or a view, of any rank.
    #[inline]
    pub fn of<T: HostNumber, S: Data<Elem = T>, D: Dimension>(array: &'a ArrayBase<S, D>) -> Self {
        let elements = match arena::elements(array) {
            Some(slice) => Host::Contiguous(slice),
            None => Host::Strided(array),
        };
        Self {
            shape: array.shape(),
            data: T::host(elements),
        }
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The sizes of the first [`MAX_RANK`] axes.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.shape.len().min(MAX_RANK)]
    }

    /// Which elements it has.
    #[inline(always)]
    pub(super) fn form(&self) -> Form {
        self.data.form()
    }

    /// The kind of the elements; `None` for a [`Probe`].
    #[inline]
    pub fn kind(&self) -> Option<InputKind> {
        self.data.kind()
    }

    /// The name of the elements' type.
    pub fn element(&self) -> &'static str {
        self.data.element()
    }

    /// The elements without a copy, if kernels can read them as they are.
    #[inline]
    pub(crate) fn region(&self, precision: Precision) -> Option<Region<'_>> {
        match (&self.data, precision.float()) {
            (HostData::F32(array), Float::F32) => array.region(),
            #[cfg(feature = "f64")]
            (HostData::F64(array), Float::F64) => array.region(),
            (HostData::I64(array), _) => array.region(),
            _ => None,
        }
    }

    /// Copies the elements into a buffer of the width that kernels read.
    pub(crate) fn copy_to(&self, buffer: &mut Storage, precision: Precision) {
        let bytes = match &self.data {
            HostData::F32(array) => return copy_floats(array, buffer, precision),
            HostData::F64(array) => return copy_floats(array, buffer, precision),
            HostData::Bool(array) => return array.copy_to(buffer.as_mut_slice::<u8>(), u8::from),
            _ => buffer.as_mut_slice::<i64>(),
        };
        match &self.data {
            HostData::U8(array) => array.copy_to(bytes, i64::from),
            HostData::U16(array) => array.copy_to(bytes, i64::from),
            HostData::U32(array) => array.copy_to(bytes, i64::from),
            HostData::I32(array) => array.copy_to(bytes, i64::from),
            HostData::I64(array) => array.copy_to(bytes, |x| x),
            HostData::F32(_) | HostData::F64(_) | HostData::Bool(_) | HostData::Probe => {}
        }
    }

    /// How many elements of a float argument are not finite; 0 for other kinds.
    pub(crate) fn n_non_finite(&self) -> usize {
        fn count<T: Real>(array: &Host<'_, T>) -> usize {
            match array {
                Host::Contiguous(slice) => slice.iter().filter(|x| !x.is_finite()).count(),
                Host::Strided(array) => array.view_dyn().iter().filter(|x| !x.is_finite()).count(),
            }
        }
        match &self.data {
            HostData::F32(array) => count(array),
            HostData::F64(array) => count(array),
            _ => 0,
        }
    }
}

fn copy_floats<T: Real>(array: &Host<'_, T>, buffer: &mut Storage, precision: Precision) {
    stored!(precision, E => array.copy_to(buffer.as_mut_slice::<E>(), |x| E::from_f64(x.to_f64())));
}

/// The kind of buffer that an argument of a kind becomes.
pub(crate) fn dtype(kind: InputKind) -> Dtype {
    match kind {
        InputKind::Float => Dtype::Float,
        InputKind::Bool => Dtype::Bool,
        InputKind::U8 | InputKind::U16 | InputKind::U32 | InputKind::I32 | InputKind::I64 => Dtype::Int,
    }
}

/// What may be passed for an argument whose elements are of kind `K` and whose shape has dimension `D`.
///
/// Implemented for references to `ndarray` arrays and views, for views by value, and for [`Probe`].
///
/// ```
/// use ndarray::{Ix2, array};
/// use tapeless_runtime::call::{Arg, kind};
///
/// fn shape(x: impl Arg<kind::Float, Ix2>) -> Vec<usize> {
///     x.arg().shape().to_vec()
/// }
/// let x = array![[1.0_f32, 2.0, 3.0]];
/// assert_eq!(shape(&x), [1, 3]);
/// assert_eq!(shape(x.t()), [3, 1]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed here",
    label = "expected a reference to an `ndarray` array, or a view, of dimension `{D}` with elements of kind `{K}`"
)]
pub trait Arg<K, D> {
    /// The argument as the runtime takes it.
    fn arg(&self) -> HostArg<'_>;
}

impl<K: Kind, S, D> Arg<K, D> for &ArrayBase<S, D>
where
    S: Data<Elem: HostElement<K>>,
    D: Dimension,
{
    #[inline]
    fn arg(&self) -> HostArg<'_> {
        HostArg::of(self)
    }
}

impl<K: Kind, T: HostElement<K>, D: Dimension> Arg<K, D> for ArrayView<'_, T, D> {
    #[inline]
    fn arg(&self) -> HostArg<'_> {
        HostArg::of(self)
    }
}

/// In place of every argument of a method: asks which function the method calls instead of calling it.
///
/// The answer is an error that [`function_of`](super::function_of) understands. It is how `Mnist::accuracy` can be
/// handed to a trainer, although it is generic over its arguments.
#[derive(Copy, Clone, Debug)]
pub struct Probe;

impl<K: Kind, D: Dimension> Arg<K, D> for Probe {
    fn arg(&self) -> HostArg<'_> {
        HostArg {
            shape: &[],
            data: HostData::Probe,
        }
    }
}

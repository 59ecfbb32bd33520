//! NPY files: one NumPy array each.
//!
//! A file is the magic `\x93NUMPY`, a version (1.0, 2.0 or 3.0), the length of a header, the header - a
//! Python dictionary with the keys `descr`, `fortran_order` and `shape` - and the elements. The format is
//! described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//!
//! Both memory orders and both byte orders are read. Files may be packed with gzip. What the header claims is
//! checked against what the file holds, and nothing is allocated on its word alone. Structured, object,
//! complex, half-precision and text arrays are refused by name.

use std::io::{Read, Write};
use std::path::Path;

use ndarray::{Array, ArrayD, ArrayRef, Dimension, IxDyn, ShapeBuilder};

use super::bytes::{self, Endian, Input, Stored};
use crate::error::{Error, ErrorKind, Result};

mod header;

use header::{Header, Order};

/// An element type that is read from and written to NPY files: `bool`, and the integers and floats
/// of 8 to 64 bits.
pub trait NpyElement: Stored {
    /// NumPy's code for the type, without the byte order: `f4` for `f32`.
    const CODE: &'static str;

    /// The name of the type in Rust.
    const NAME: &'static str;

    /// An array of this type as one of all types.
    fn wrap(array: ArrayD<Self>) -> NpyArray;
}

/// An array of whatever element type a file holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are the element types")]
pub enum NpyArray {
    Bool(ArrayD<bool>),
    U8(ArrayD<u8>),
    I8(ArrayD<i8>),
    U16(ArrayD<u16>),
    I16(ArrayD<i16>),
    U32(ArrayD<u32>),
    I32(ArrayD<i32>),
    U64(ArrayD<u64>),
    I64(ArrayD<i64>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

macro_rules! element_types {
    ($($element:ident $variant:ident $code:literal)*) => {
        $(impl NpyElement for $element {
            const CODE: &'static str = $code;
            const NAME: &'static str = stringify!($element);

            fn wrap(array: ArrayD<Self>) -> NpyArray {
                NpyArray::$variant(array)
            }
        })*

        /// The name of the element type with a code.
        fn type_name(code: &str) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($element)),)*
                _ => None,
            }
        }

        /// Reads the elements that follow a header, whatever their type is.
        fn read_any_elements(header: &Header, input: &mut Input<impl Read>) -> Result<NpyArray> {
            match header.code.as_str() {
                $($code => read_elements::<$element, IxDyn>(header, input).map(NpyElement::wrap),)*
                code => Err(unknown_type(code)),
            }
        }
    };
}
element_types! {
    bool Bool "b1"
    u8 U8 "u1"
    i8 I8 "i1"
    u16 U16 "u2"
    i16 I16 "i2"
    u32 U32 "u4"
    i32 I32 "i4"
    u64 U64 "u8"
    i64 I64 "i8"
    f32 F32 "f4"
    f64 F64 "f8"
}

/// Reads a file of known element type and number of axes.
///
/// An array in Fortran's order keeps that memory layout; its indices mean the same.
///
/// # Errors
///
/// [`ErrorKind::Io`] if the file cannot be read; [`ErrorKind::Format`] if it is no NPY file, is damaged,
/// shorter or longer than its header says; [`ErrorKind::Dtype`] or [`ErrorKind::Shape`] if it holds other
/// elements or another number of axes.
///
/// ```
/// use ndarray::{Array2, array};
/// use tapeless_runtime::data::npy;
///
/// let path = std::env::temp_dir().join(format!("tapeless-doc-{}.npy", std::process::id()));
/// npy::write(&path, &array![[1.5_f32, -2.0], [3.0, 4.0]])?;
/// let back: Array2<f32> = npy::read(&path)?;
/// assert_eq!(back, array![[1.5, -2.0], [3.0, 4.0]]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
pub fn read<T: NpyElement, D: Dimension>(path: impl AsRef<Path>) -> Result<Array<T, D>> {
    let path = path.as_ref();
    bytes::open(path).and_then(|mut input| {
        decode_input(&mut input).map_err(|error| error.context(path.display().to_string()))
    })
}

/// Reads a file of any of the element types and any number of axes.
///
/// # Errors
///
/// As [`read`], without those on element type and number of axes.
pub fn read_any(path: impl AsRef<Path>) -> Result<NpyArray> {
    let path = path.as_ref();
    let read = |mut input| {
        let header = Header::read(&mut input)?;
        read_any_elements(&header, &mut input)
    };
    bytes::open(path).and_then(|input| read(input).map_err(|error| error.context(path.display().to_string())))
}

/// Reads an array from the bytes of a plain (not packed) NPY file.
///
/// # Errors
///
/// As [`read`], without [`ErrorKind::Io`].
pub fn decode<T: NpyElement, D: Dimension>(bytes: &[u8]) -> Result<Array<T, D>> {
    decode_input(&mut Input::plain(bytes))
}

/// Writes a file in the little-endian form that NumPy writes, replacing what was there.
///
/// An array whose memory is in Fortran's order is written in that order, any other in C's.
///
/// # Errors
///
/// [`ErrorKind::Io`] if the file cannot be written.
pub fn write<T: NpyElement, D: Dimension>(path: impl AsRef<Path>, array: &ArrayRef<T, D>) -> Result<()> {
    bytes::create(path.as_ref(), |file| encode(file, array))
}

fn encode<T: NpyElement, D: Dimension>(
    writer: &mut impl Write,
    array: &ArrayRef<T, D>,
) -> std::io::Result<()> {
    let order = match array.is_standard_layout() || !array.t().is_standard_layout() {
        true => Order::C,
        false => Order::Fortran,
    };
    let byte_order = if T::BYTES == 1 { '|' } else { '<' };
    writer.write_all(&header::encode(
        &format!("{byte_order}{}", T::CODE),
        order,
        array.shape(),
    ))?;
    match order {
        Order::C => bytes::write_elements(writer, array.iter(), Endian::Little),
        Order::Fortran => bytes::write_elements(writer, array.t().iter(), Endian::Little),
    }
}

fn decode_input<T: NpyElement, D: Dimension>(input: &mut Input<impl Read>) -> Result<Array<T, D>> {
    let header = Header::read(input)?;
    read_elements(&header, input)
}

/// Reads the elements and the end of the file.
fn read_elements<T: NpyElement, D: Dimension>(
    header: &Header,
    input: &mut Input<impl Read>,
) -> Result<Array<T, D>> {
    if header.code != T::CODE {
        let found = type_name(&header.code).ok_or_else(|| unknown_type(&header.code))?;
        let message = format!("expected elements of type {}, found {found}", T::NAME);
        return Err(Error::new(ErrorKind::Dtype, message));
    }
    if D::NDIM.is_some_and(|n_axes| n_axes != header.shape.len()) {
        let (expected, found) = (D::NDIM.unwrap_or_default(), header.shape.len());
        let message = format!(
            "expected {expected} axes, found {found}: shape {:?}",
            header.shape
        );
        return Err(Error::shape(message));
    }
    let len = input.checked_len(&header.shape, T::BYTES)?;
    let elements = input.elements(len, header.endian)?;
    input.end()?;
    let shape = IxDyn(&header.shape);
    let array = match header.order {
        Order::C => ArrayD::from_shape_vec(shape, elements),
        Order::Fortran => ArrayD::from_shape_vec(shape.f(), elements),
    };
    Ok(array?.into_dimensionality()?)
}

fn unknown_type(code: &str) -> Error {
    let message = format!("elements of NumPy's type `{code}` cannot be read");
    Error::new(ErrorKind::Dtype, message).hint(
        "convert the array, e.g. with `x.astype('float32')`; bool, integers, float32 and float64 are read",
    )
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::{TempFile, gzip};
    use super::*;
    use ndarray::{Array0, Array1, Array2, Ix0, Ix1, Ix2, array};
    use proptest::prelude::*;

    /// What `numpy.save` of NumPy 2 writes for `numpy.array([[1, 2, 3], [4, 5, 6]], '<i2')`.
    fn by_numpy() -> Vec<u8> {
        let dictionary = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend_from_slice(format!("{dictionary:<117}\n").as_bytes());
        bytes.extend_from_slice(&[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
        bytes
    }

    fn encoded<T: NpyElement, D: Dimension>(array: &ArrayRef<T, D>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, array).unwrap();
        bytes
    }

    #[test]
    fn reads_and_writes_the_bytes_of_numpy() {
        let array = array![[1_i16, 2, 3], [4, 5, 6]];
        assert_eq!(decode::<i16, Ix2>(&by_numpy()).unwrap(), array);
        assert_eq!(encoded(&array), by_numpy());
    }

    #[test]
    fn fortran_order_keeps_meaning_and_layout() {
        let array = array![[1_i32, 2, 3], [4, 5, 6]];
        let transposed = array.t();
        let fortran = transposed.as_standard_layout().reversed_axes();
        let bytes = encoded(&fortran);
        assert!(String::from_utf8_lossy(&bytes).contains("'fortran_order': True, 'shape': (2, 3)"));
        let back = decode::<i32, Ix2>(&bytes).unwrap();
        assert_eq!((&back, back.strides()), (&array, &[1, 2][..]));
        let gaps = array.slice(ndarray::s![.., ..;2]);
        assert_eq!(decode::<i32, Ix2>(&encoded(&gaps)).unwrap(), gaps);
    }

    #[test]
    fn big_endian_and_newer_versions_are_read() {
        for version in [2_u8, 3] {
            let dictionary = b"{\"shape\": (2,), 'descr': '>f4', 'fortran_order': False}\n";
            let mut bytes = b"\x93NUMPY".to_vec();
            bytes.extend_from_slice(&[version, 0]);
            bytes.extend_from_slice(&(dictionary.len() as u32).to_le_bytes());
            bytes.extend_from_slice(dictionary);
            bytes.extend_from_slice(&[1.5_f32.to_be_bytes(), (-2.0_f32).to_be_bytes()].concat());
            assert_eq!(decode::<f32, Ix1>(&bytes).unwrap(), array![1.5, -2.0]);
        }
    }

    #[test]
    fn every_element_type_survives_a_file() {
        fn check<T: NpyElement + PartialEq + std::fmt::Debug>(elements: Vec<T>) {
            let array = Array1::from_vec(elements);
            let path = TempFile::new(&format!("{}.npy", T::NAME), b"");
            write(&path.0, &array).unwrap();
            assert_eq!(read::<T, Ix1>(&path.0).unwrap(), array);
            assert_eq!(read_any(&path.0).unwrap(), T::wrap(array.into_dyn()));
        }
        check(vec![true, false]);
        check(vec![0_u8, 255]);
        check(vec![i8::MIN, 1]);
        check(vec![u16::MAX, 258]);
        check(vec![i16::MIN, 258]);
        check(vec![u32::MAX, 0x0102_0304]);
        check(vec![i32::MIN, 0x0102_0304]);
        check(vec![u64::MAX, 1]);
        check(vec![i64::MIN, 1]);
        check(vec![f32::MIN_POSITIVE, -1.5]);
        check(vec![f64::EPSILON, f64::NEG_INFINITY]);
    }

    #[test]
    fn zero_axes_and_zero_sizes() {
        let number = Array0::from_elem((), 2.5_f64);
        assert_eq!(decode::<f64, Ix0>(&encoded(&number)).unwrap(), number);
        let empty = Array2::<f64>::zeros((0, 3));
        assert_eq!(decode::<f64, Ix2>(&encoded(&empty)).unwrap(), empty);
    }

    #[test]
    fn packed_files_are_read() {
        let path = TempFile::new("packed.npy", &gzip(&by_numpy()));
        assert_eq!(read::<i16, Ix2>(&path.0).unwrap()[[1, 2]], 6);
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_noticed() {
        let whole = by_numpy();
        for end in 0..whole.len() {
            let error = decode::<i16, Ix2>(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "cut at {end}: {error}");
        }
        let error = decode::<i16, Ix2>(&[whole, vec![0]].concat()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("end at byte 140, but the file goes on"),
            "{error}"
        );
    }

    #[test]
    fn refuses_what_it_was_not_asked_for() {
        let error = decode::<f32, Ix2>(&by_numpy()).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Dtype, "expected elements of type f32, found i16")
        );
        let error = decode::<i16, Ix1>(&by_numpy()).unwrap_err();
        assert_eq!(error.to_string(), "expected 1 axes, found 2: shape [2, 3]");
        let complex = String::from_utf8(by_numpy()).unwrap_err().into_bytes();
        let complex: Vec<u8> = String::from_utf8_lossy(&complex[10..])
            .replace("<i2", "<c8")
            .into_bytes();
        let error = decode::<f32, Ix2>(&[&by_numpy()[..10], &complex].concat()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("elements of NumPy's type `c8` cannot be read"),
            "{error}"
        );
        let mut bytes = encoded(&array![true]);
        *bytes.last_mut().unwrap() = 2;
        assert!(
            decode::<bool, Ix1>(&bytes)
                .unwrap_err()
                .to_string()
                .starts_with("element 0 is [2]")
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            start in prop_oneof![Just(&b""[..]), Just(&b"\x93NUMPY\x01\x00\x40\x00{"[..])],
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = decode::<f32, IxDyn>(&[start, &bytes].concat());
        }

        #[test]
        fn damaged_files_never_panic(at in 0_usize..140, byte: u8) {
            let mut bytes = by_numpy();
            bytes[at] = byte;
            let _ = decode::<i16, IxDyn>(&bytes);
        }

        #[test]
        fn a_round_trip_is_exact(
            (shape, elements) in (0_usize..5, 0_usize..5).prop_flat_map(|shape| {
                (Just(shape), proptest::collection::vec(any::<u64>(), shape.0 * shape.1))
            })
        ) {
            let array = Array2::from_shape_vec(shape, elements).unwrap();
            prop_assert_eq!(&decode::<u64, Ix2>(&encoded(&array)).unwrap(), &array);
            prop_assert_eq!(decode::<u64, Ix2>(&encoded(&array.t())).unwrap(), array.t());
        }
    }
}

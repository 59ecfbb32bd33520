//! IDX files: the format of MNIST and its relatives.
//!
//! An IDX file is a big-endian header - two zero bytes, a code for the element type, the number of axes,
//! then the size of every axis as a `u32` - followed by the elements with the last axis running fastest.
//! The format is described at the end of <http://yann.lecun.com/exdb/mnist/>. Files are read plain or
//! packed with gzip, told apart by their content and not by their name.
//!
//! Reading never trusts the header: memory follows the bytes that are really there, a file that is shorter
//! or longer than its header says is an error, and a gzip file may announce at most 4 GiB.

use std::io::{Read, Write};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use ndarray::{Array, ArrayD, ArrayRef, Dimension, IxDyn};

use super::bytes::{self, Endian, Input, Stored};
use crate::error::{Error, ErrorKind, Result};

/// An element type that an IDX file can hold: `u8`, `i8`, `i16`, `i32`, `f32` or `f64`.
pub trait IdxElement: Stored {
    /// The code of the type in the header.
    const CODE: u8;

    /// The name of the type in Rust.
    const NAME: &'static str;

    /// An array of this type as one of all types.
    fn wrap(array: ArrayD<Self>) -> IdxArray;
}

/// An array of whatever element type a file holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are the element types")]
pub enum IdxArray {
    U8(ArrayD<u8>),
    I8(ArrayD<i8>),
    I16(ArrayD<i16>),
    I32(ArrayD<i32>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

macro_rules! element_types {
    ($($element:ident $variant:ident $code:literal)*) => {
        $(impl IdxElement for $element {
            const CODE: u8 = $code;
            const NAME: &'static str = stringify!($element);

            fn wrap(array: ArrayD<Self>) -> IdxArray {
                IdxArray::$variant(array)
            }
        })*

        /// The name of the element type with a code.
        fn type_name(code: u8) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($element)),)*
                _ => None,
            }
        }

        /// Reads the elements that follow a header, whatever their type is.
        fn read_elements(header: &Header, input: &mut Input<impl Read>) -> Result<IdxArray> {
            match header.code {
                $($code => header.read_elements::<$element, IxDyn>(input).map(IdxElement::wrap),)*
                code => Err(unknown_type(code)),
            }
        }
    };
}
element_types! {
    u8 U8 0x08
    i8 I8 0x09
    i16 I16 0x0B
    i32 I32 0x0C
    f32 F32 0x0D
    f64 F64 0x0E
}

/// Reads a file of known element type and number of axes.
///
/// # Errors
///
/// [`ErrorKind::Io`] if the file cannot be read; [`ErrorKind::Format`] if it is no IDX file, is damaged,
/// shorter or longer than its header says; [`ErrorKind::Dtype`] or [`ErrorKind::Shape`] if it holds other
/// elements or another number of axes.
///
/// ```
/// use ndarray::{Array2, array};
/// use tapeless_runtime::data::idx;
///
/// let path = std::env::temp_dir().join(format!("tapeless-doc-{}.idx", std::process::id()));
/// idx::write(&path, &array![[1_i16, -2], [3, 4]])?;
/// let back: Array2<i16> = idx::read(&path)?;
/// assert_eq!(back, array![[1, -2], [3, 4]]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
pub fn read<T: IdxElement, D: Dimension>(path: impl AsRef<Path>) -> Result<Array<T, D>> {
    let path = path.as_ref();
    bytes::open(path).and_then(|mut input| {
        decode_input(&mut input).map_err(|error| error.context(path.display().to_string()))
    })
}

/// Reads a file of any element type and any number of axes.
///
/// # Errors
///
/// As [`read`], without those on element type and number of axes.
pub fn read_any(path: impl AsRef<Path>) -> Result<IdxArray> {
    let path = path.as_ref();
    let read = |mut input| {
        let header = Header::read(&mut input)?;
        read_elements(&header, &mut input)
    };
    bytes::open(path).and_then(|input| read(input).map_err(|error| error.context(path.display().to_string())))
}

/// Reads an array from the bytes of a plain (not packed) IDX file.
///
/// # Errors
///
/// As [`read`], without [`ErrorKind::Io`].
pub fn decode<T: IdxElement, D: Dimension>(bytes: &[u8]) -> Result<Array<T, D>> {
    decode_input(&mut Input::plain(bytes))
}

/// Writes a plain file, replacing what was there.
///
/// # Errors
///
/// [`ErrorKind::Io`] if the file cannot be written; [`ErrorKind::Shape`] if an axis or the number of axes
/// exceeds what the header can say (`u32::MAX`, 255).
pub fn write<T: IdxElement, D: Dimension>(path: impl AsRef<Path>, array: &ArrayRef<T, D>) -> Result<()> {
    let header = Header::of(array)?;
    bytes::create(path.as_ref(), |file| {
        file.write_all(&header)?;
        bytes::write_elements(file, array.iter(), Endian::Big)
    })
}

/// Writes a file packed with gzip, replacing what was there.
///
/// # Errors
///
/// As [`write`](fn@write).
pub fn write_gzip<T: IdxElement, D: Dimension>(path: impl AsRef<Path>, array: &ArrayRef<T, D>) -> Result<()> {
    let header = Header::of(array)?;
    bytes::create(path.as_ref(), |file| {
        let mut packer = GzEncoder::new(file, Compression::default());
        packer.write_all(&header)?;
        bytes::write_elements(&mut packer, array.iter(), Endian::Big)?;
        packer.finish().map(drop)
    })
}

/// What stands before the elements.
struct Header {
    code: u8,
    shape: Vec<usize>,
}

impl Header {
    fn read(input: &mut Input<impl Read>) -> Result<Self> {
        let mut magic = [0; 4];
        input.fill(&mut magic, "magic number")?;
        let [0, 0, code, n_axes] = magic else {
            let message = format!("not an IDX file: it starts with {magic:02x?}, not with two zero bytes");
            return Err(Error::format(message));
        };
        if type_name(code).is_none() {
            return Err(unknown_type(code));
        }
        let mut shape = Vec::with_capacity(n_axes.into());
        for axis in 0..n_axes {
            let mut size = [0; 4];
            input.fill(&mut size, &format!("size of axis {axis} (of {n_axes})"))?;
            let size = u32::from_be_bytes(size);
            shape.push(usize::try_from(size).map_err(|_| Error::shape(format!("axis of {size} elements")))?);
        }
        Ok(Self { code, shape })
    }

    /// The header's bytes for an array.
    fn of<T: IdxElement, D: Dimension>(array: &ArrayRef<T, D>) -> Result<Vec<u8>> {
        let n_axes = u8::try_from(array.ndim())
            .map_err(|_| Error::shape(format!("IDX holds at most 255 axes, found {}", array.ndim())))?;
        let mut bytes = vec![0, 0, T::CODE, n_axes];
        for &size in array.shape() {
            let size = u32::try_from(size).map_err(|_| {
                Error::shape(format!(
                    "IDX holds axes up to {} elements, found {size}",
                    u32::MAX
                ))
            })?;
            bytes.extend_from_slice(&size.to_be_bytes());
        }
        Ok(bytes)
    }

    /// Reads the elements and the end of the file.
    fn read_elements<T: IdxElement, D: Dimension>(
        &self,
        input: &mut Input<impl Read>,
    ) -> Result<Array<T, D>> {
        if self.code != T::CODE {
            let found = type_name(self.code).unwrap_or("unknown");
            let message = format!("expected elements of type {}, found {found}", T::NAME);
            return Err(Error::new(ErrorKind::Dtype, message));
        }
        if D::NDIM.is_some_and(|n_axes| n_axes != self.shape.len()) {
            let (expected, found) = (D::NDIM.unwrap_or_default(), self.shape.len());
            let message = format!("expected {expected} axes, found {found}: shape {:?}", self.shape);
            return Err(Error::shape(message));
        }
        let len = input.checked_len(&self.shape, T::BYTES)?;
        let elements = input.elements(len, Endian::Big)?;
        input.end()?;
        Ok(ArrayD::from_shape_vec(IxDyn(&self.shape), elements)?.into_dimensionality()?)
    }
}

fn decode_input<T: IdxElement, D: Dimension>(input: &mut Input<impl Read>) -> Result<Array<T, D>> {
    Header::read(input)?.read_elements(input)
}

fn unknown_type(code: u8) -> Error {
    let message = format!("the element type has the code {code:#04x}, which does not exist");
    Error::format(message).hint("IDX knows 0x08 u8, 0x09 i8, 0x0B i16, 0x0C i32, 0x0D f32 and 0x0E f64")
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::{TempFile, gzip};
    use super::*;
    use ndarray::{Array1, Array2, Array3, Ix1, Ix2, Ix3, array};
    use proptest::prelude::*;

    /// A file of u8 elements with this shape in its header and these elements.
    fn file(shape: &[u32], elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0x08, shape.len() as u8];
        shape
            .iter()
            .for_each(|size| bytes.extend_from_slice(&size.to_be_bytes()));
        bytes.extend_from_slice(elements);
        bytes
    }

    fn message(bytes: &[u8]) -> String {
        decode::<u8, IxDyn>(bytes).unwrap_err().to_string()
    }

    #[test]
    fn reads_rows_in_order() {
        let read: Array2<u8> = decode(&file(&[2, 3], &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(read, array![[1, 2, 3], [4, 5, 6]]);
        assert_eq!(
            decode::<u8, IxDyn>(&file(&[], &[9]))
                .unwrap()
                .into_raw_vec_and_offset()
                .0,
            [9]
        );
        assert_eq!(
            decode::<u8, _>(&file(&[0, 7], &[])).unwrap(),
            Array2::<u8>::zeros((0, 7))
        );
    }

    #[test]
    fn says_where_a_file_is_cut_off() {
        let whole = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        assert!(message(&whole[..3]).contains("inside its magic number: 4 bytes expected there, 3 found"));
        assert!(message(&whole[..9]).contains("inside its size of axis 1 (of 2)"));
        assert!(message(&whole[..14]).contains("announces 6 elements, but the file holds 2;"));
        for end in 0..whole.len() {
            let error = decode::<u8, Ix2>(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "cut at {end}: {error}");
        }
    }

    #[test]
    fn refuses_lying_headers() {
        assert!(message(&file(&[2], &[1, 2, 3])).contains("end at byte 10, but the file goes on"));
        assert!(message(&file(&[u32::MAX; 2], &[1])).contains("more than"));
        assert!(message(&file(&[u32::MAX; 255], &[])).contains("more than"));
        assert!(message(&file(&[0, u32::MAX, u32::MAX, u32::MAX], &[])).contains("more than"));
        assert!(message(&file(&[1 << 31], &[1])).contains("the file holds 1;"));
        assert!(message(&[0, 0, 0x0A, 1, 0, 0, 0, 0]).contains("0x0a"));
        assert!(message(&[0, 1, 0x08, 0]).contains("not an IDX file"));
    }

    #[test]
    fn checks_the_expected_type_and_rank() {
        let bytes = file(&[2, 2], &[0; 4]);
        let error = decode::<f32, Ix2>(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dtype);
        assert_eq!(error.to_string(), "expected elements of type f32, found u8");
        let error = decode::<u8, Ix3>(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert_eq!(error.to_string(), "expected 3 axes, found 2: shape [2, 2]");
    }

    #[test]
    fn a_gzip_bomb_is_refused_by_its_header() {
        let file = TempFile::new("bomb.gz", &gzip(&file(&[1 << 31, 4], &[0; 100_000])));
        let error = read::<u8, Ix2>(&file.0).unwrap_err();
        assert!(
            error.to_string().contains("more than 4294967296 bytes"),
            "{error}"
        );
    }

    #[test]
    fn every_element_type_survives_a_file() {
        fn check<T: IdxElement + PartialEq + std::fmt::Debug>(elements: Vec<T>) {
            let array = Array1::from_vec(elements);
            let path = TempFile::new(&format!("{}.idx", T::NAME), b"");
            write(&path.0, &array).unwrap();
            assert_eq!(read::<T, Ix1>(&path.0).unwrap(), array);
            write_gzip(&path.0, &array).unwrap();
            assert_eq!(read_any(&path.0).unwrap(), T::wrap(array.into_dyn()));
        }
        check(vec![0_u8, 255]);
        check(vec![i8::MIN, 1]);
        check(vec![i16::MIN, 258]);
        check(vec![i32::MIN, 0x0102_0304]);
        check(vec![f32::MIN_POSITIVE, -1.5]);
        check(vec![f64::EPSILON, f64::NEG_INFINITY]);
    }

    #[test]
    fn writing_follows_the_logical_order() {
        let array = array![[1_u8, 2, 3], [4, 5, 6]];
        let path = TempFile::new("transposed.idx", b"");
        write(&path.0, &array.t()).unwrap();
        assert_eq!(
            std::fs::read(&path.0).unwrap(),
            file(&[3, 2], &[1, 4, 2, 5, 3, 6])
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_any("no/such.idx").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().starts_with("no/such.idx: "));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<u8, IxDyn>(&bytes);
        }

        #[test]
        fn random_sizes_and_payloads_are_read_exactly_or_refused(
            code in prop::sample::select(vec![0x08_u8, 0x09, 0x0B, 0x0C, 0x0D, 0x0E]),
            shape in proptest::collection::vec(prop_oneof![0_u32..4, any::<u32>()], 0..6),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = file(&shape, &payload);
            bytes[2] = code;
            let announced: u128 = shape.iter().fold(1, |n: u128, &size| n.saturating_mul(size.into()));
            let width = match code { 0x08 | 0x09 => 1, 0x0B => 2, 0x0E => 8, _ => 4 };
            let mut input = Input::plain(&bytes[..]);
            let read = Header::read(&mut input).and_then(|header| read_elements(&header, &mut input));
            let fits = announced.saturating_mul(width) == payload.len() as u128;
            // Sizes beside a zero may be refused as absurd; otherwise exactly the honest files are read.
            prop_assert!(read.is_ok() == fits || shape.contains(&0), "{:?}", read);
        }

        #[test]
        fn a_round_trip_is_exact(array in arrays()) {
            let path = TempFile::new("round-trip.idx", b"");
            write(&path.0, &array).unwrap();
            prop_assert_eq!(read::<i16, Ix3>(&path.0).unwrap(), array);
        }
    }

    fn arrays() -> impl Strategy<Value = Array3<i16>> {
        (0_usize..5, 0_usize..5, 0_usize..5).prop_flat_map(|shape| {
            proptest::collection::vec(any::<i16>(), shape.0 * shape.1 * shape.2)
                .prop_map(move |elements| Array3::from_shape_vec(shape, elements).expect("sizes agree"))
        })
    }
}

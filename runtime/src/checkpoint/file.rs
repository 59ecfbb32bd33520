//! safetensors files: reading with full checks, and writing.
//!
//! The format (Hugging Face): 8 bytes of header length, a JSON header with names, element types, shapes and byte ranges,
//! then the bytes. Nothing is allocated by a header's word: the file is in memory before it is looked at.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, Metadata, View};

use super::half::{bf16_to_f32, f16_to_f32};
use crate::dtype::Precision;
use crate::error::{Error, Result};

/// A longer header is no header of weights.
const MAX_HEADER: usize = 100_000_000;

/// A file in memory, its header checked against its length.
#[derive(Debug)]
pub(crate) struct File {
    bytes: Vec<u8>,
    data_start: usize,
    header: Metadata,
}

/// An entry of a file.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    dtype: Dtype,
    pub shape: &'a [usize],
    bytes: &'a [u8],
}

impl File {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self> {
        let place = |error| Error::io(path, error);
        if !std::fs::metadata(path).map_err(place)?.is_file() {
            return Err(Error::format("not a file").context(path.display().to_string()));
        }
        let bytes = std::fs::read(path).map_err(place)?;
        Self::parse(bytes).map_err(|error| error.context(path.display().to_string()))
    }

    /// Checks the bytes of a file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let malformed = |message: String| Err(Error::format(message).context("safetensors header"));
        let Some(prefix) = bytes.first_chunk::<8>() else {
            return malformed(format!("expected at least 8 bytes, found {}", bytes.len()));
        };
        let n_rest = bytes.len() - 8;
        let n_header = match usize::try_from(u64::from_le_bytes(*prefix)) {
            Ok(n) if n <= n_rest.min(MAX_HEADER) => n,
            _ => {
                let n = u64::from_le_bytes(*prefix);
                return malformed(format!(
                    "it claims {n} bytes, but {n_rest} follow: not safetensors, or cut off"
                ));
            }
        };
        let header = match serde_json::from_slice::<Metadata>(&bytes[8..8 + n_header]) {
            Ok(header) => header,
            Err(error) => return malformed(error.to_string()),
        };
        let (claimed, found) = (header.data_len(), n_rest - n_header);
        if claimed != found {
            return malformed(format!(
                "it describes {claimed} bytes of tensors, but {found} follow"
            ));
        }
        Ok(Self {
            data_start: 8 + n_header,
            bytes,
            header,
        })
    }

    /// Names of all entries, in the order of their bytes.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.header.offset_keys().into_iter()
    }

    /// An entry.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        let bytes = self.bytes[self.data_start..].get(start..end)?;
        Some(Tensor {
            dtype: info.dtype,
            shape: &info.shape,
            bytes,
        })
    }

    /// A note in the header.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }
}

impl Tensor<'_> {
    /// Whether the elements are floats of a width that can be read.
    pub fn is_float(&self) -> bool {
        matches!(self.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// The element type as the format calls it.
    pub fn dtype_name(&self) -> String {
        format!("{:?}", self.dtype)
    }

    /// The elements, exactly.
    ///
    /// # Errors
    ///
    /// A format error if they are not floats.
    pub fn to_array(&self) -> Result<ArrayD<f64>> {
        fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes
                .as_chunks::<N>()
                .0
                .iter()
                .map(|bytes| read(*bytes))
                .collect()
        }
        let elements = match self.dtype {
            Dtype::F64 => each(self.bytes, f64::from_le_bytes),
            Dtype::F32 => each(self.bytes, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Dtype::F16 => each(self.bytes, |bytes| {
                f64::from(f16_to_f32(u16::from_le_bytes(bytes)))
            }),
            Dtype::BF16 => each(self.bytes, |bytes| {
                f64::from(bf16_to_f32(u16::from_le_bytes(bytes)))
            }),
            _ => return Err(Error::format(format!("expected floats, found {:?}", self.dtype))),
        };
        Ok(ArrayD::from_shape_vec(IxDyn(self.shape), elements)?)
    }
}

/// A file that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    tensors: Vec<(String, Entry)>,
    notes: HashMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor in a precision.
    pub fn tensor(&mut self, name: String, values: &ArrayD<f64>, precision: Precision) {
        let (dtype, bytes) = match precision {
            Precision::F32 => (
                Dtype::F32,
                values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            ),
            Precision::F64 => (Dtype::F64, values.iter().flat_map(|&x| x.to_le_bytes()).collect()),
        };
        self.tensors.push((
            name,
            Entry {
                dtype,
                shape: values.shape().to_vec(),
                bytes,
            },
        ));
    }

    /// Adds a note.
    pub fn note(&mut self, key: &str, value: String) {
        self.notes.insert(key.to_owned(), value);
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = self.tensors.iter().map(|(name, entry)| (name, entry));
        safetensors::serialize(tensors, Some(self.notes.clone()))
            .map_err(|error| Error::internal(error.to_string()).with_source(error))
    }

    /// Writes the file, atomically.
    pub fn write(&self, path: &Path) -> Result<()> {
        super::atomic::write(path, &self.to_bytes()?)
    }
}

impl View for &Entry {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.tensor(
            "w".into(),
            &array![[1.0, -2.5], [0.1, f64::NAN]].into_dyn(),
            Precision::F64,
        );
        writer.tensor("b".into(), &array![3.0].into_dyn(), Precision::F32);
        writer.note("seed", u64::MAX.to_string());
        writer.to_bytes().unwrap()
    }

    fn with_header(header: &str, n_data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.resize(bytes.len() + n_data, 0);
        bytes
    }

    /// Reads everything that a file offers.
    fn read_all(bytes: Vec<u8>) -> Result<usize> {
        let file = File::parse(bytes)?;
        let mut n_read = 0;
        for name in file.names() {
            let tensor = file.tensor(&name).expect("a listed entry exists");
            if tensor.is_float() {
                n_read += tensor.to_array()?.len();
            }
        }
        Ok(n_read)
    }

    #[test]
    fn reads_what_was_written() {
        let file = File::parse(sample()).unwrap();
        let w = file.tensor("w").unwrap().to_array().unwrap();
        assert_eq!((w[[0, 1]], w[[1, 0]].to_bits()), (-2.5, 0.1_f64.to_bits()));
        assert!(w[[1, 1]].is_nan());
        assert_eq!(
            file.tensor("b").unwrap().to_array().unwrap(),
            array![3.0].into_dyn()
        );
        assert_eq!(
            (file.note("seed"), file.note("step")),
            (Some("18446744073709551615"), None)
        );
        assert!(file.tensor("c").is_none());
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error() {
        let whole = sample();
        for len in 0..whole.len() {
            assert!(read_all(whole[..len].to_vec()).is_err(), "{len}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(read_all(longer).is_err());
    }

    #[test]
    fn lying_headers_are_errors() {
        let entry = |shape: &str, from: u64, to: u64| {
            format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
        };
        assert_eq!(read_all(with_header(&entry("[2]", 0, 8), 8)).unwrap(), 2);
        for (shape, from, to) in [
            ("[3]", 0, 8),
            ("[2]", 8, 0),
            ("[2]", 4, 12),
            ("[18446744073709551615]", 0, 8),
            ("[4611686018427387904, 4]", 0, 0),
            ("[2]", 0, u64::MAX),
            ("[-1]", 0, 8),
        ] {
            assert!(
                read_all(with_header(&entry(shape, from, to), 8)).is_err(),
                "{shape} {from} {to}"
            );
        }
        let half = u64::MAX / 8 / 4 * 4;
        let huge = (0..9).map(|k| {
            let (from, to) = (k * half, (k + 1).min(8) * half);
            format!(r#""w{k}":{{"dtype":"U8","shape":[{half}],"data_offsets":[{from},{to}]}}"#)
        });
        let huge = format!("{{{}}}", huge.collect::<Vec<_>>().join(","));
        assert!(read_all(with_header(&huge, 8)).is_err());
        assert!(read_all(with_header(&"[".repeat(100_000), 8)).is_err());
        assert!(read_all(u64::MAX.to_le_bytes().to_vec()).is_err());
        // An empty tensor with absurd other axes: an error or empty, but no panic.
        let _ = read_all(with_header(&entry("[0, 4611686018427387904, 4]", 0, 0), 0));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(bytes);
        }

        #[test]
        fn random_headers_never_panic(header in r#"\{("[a-z_]{0,12}":(\{"dtype":"(F32|I64|F4|BOOL)","shape":\[[0-9]{0,19}\],"data_offsets":\[[0-9]{1,19},[0-9]{1,19}\]\}|[0-9]|\{\}),?){0,3}\}"#, n in 0_usize..64) {
            let _ = read_all(with_header(&header, n));
        }

        #[test]
        fn changed_bytes_never_panic(at in 0_usize..200, to in any::<u8>()) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = read_all(bytes);
        }
    }
}

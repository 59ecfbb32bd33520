//! The safetensors format: named tensors and a few texts in one file.
//!
//! ```text
//! u64, little endian   length of the header
//! header               JSON: {"__metadata__": {key: text, …}, name: {"dtype", "shape", "data_offsets"}, …}
//! data                 elements, little endian, one tensor after the other without holes
//! ```
//!
//! Source: <https://github.com/huggingface/safetensors#format>. Both directions are written here rather than left to
//! that project's crate: it writes the texts in random order, while equal models shall give equal files; and it adds
//! up sizes from the header unchecked, while no file shall be able to cause a panic. Tests read our files with the crate
//! and its files with ours.

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use super::fields::Fields;
use super::json::{Json, quoted};
use super::{atomic, half};
use crate::error::{Error, ErrorKind, Result};
use crate::real::Real;
use crate::sort::sorted;

/// The longest header that the format allows.
const MAX_HEADER: usize = 100_000_000;

/// Under this name the header holds texts instead of a tensor.
const METADATA: &str = "__metadata__";

/// The elements of a tensor that is to be written.
#[derive(Clone, Debug)]
pub(crate) enum Elements<'a> {
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
}

impl Elements<'_> {
    fn dtype(&self) -> (&'static str, usize) {
        match self {
            Self::F32(elements) => ("F32", 4 * elements.len()),
            Self::F64(elements) => ("F64", 8 * elements.len()),
        }
    }

    fn write(&self, to: &mut dyn Write) -> std::io::Result<()> {
        // A buffer on the stack: whole runs of elements are handed on, whatever the byte order of this machine.
        const RUN: usize = 512;
        let mut bytes = [0; 8 * RUN];
        match self {
            Self::F32(elements) => elements.chunks(RUN).try_for_each(|run| {
                let bytes = &mut bytes[..4 * run.len()];
                for (to, x) in bytes.chunks_exact_mut(4).zip(run) {
                    to.copy_from_slice(&x.to_le_bytes());
                }
                to.write_all(bytes)
            }),
            Self::F64(elements) => elements.chunks(RUN).try_for_each(|run| {
                let bytes = &mut bytes[..8 * run.len()];
                for (to, x) in bytes.chunks_exact_mut(8).zip(run) {
                    to.copy_from_slice(&x.to_le_bytes());
                }
                to.write_all(bytes)
            }),
        }
    }
}

/// A tensor that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub name: Cow<'a, str>,
    pub shape: Cow<'a, [usize]>,
    pub elements: Elements<'a>,
}

/// Writes a file, all or nothing. Equal contents give equal bytes.
pub(crate) fn write(path: &Path, metadata: &[(&str, String)], entries: &[Entry<'_>]) -> Result<()> {
    let header = header(metadata, entries);
    if header.len() > MAX_HEADER {
        let message = format!("{} tensors are too many for one file", entries.len());
        return Err(Error::config(message));
    }
    atomic::replace(path, |to| {
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(header.as_bytes())?;
        entries.iter().try_for_each(|entry| entry.elements.write(to))
    })
}

fn header(metadata: &[(&str, String)], entries: &[Entry<'_>]) -> String {
    let mut parts = Vec::with_capacity(entries.len() + 1);
    let text = |k: usize| format!("{}:{}", quoted(metadata[k].0), quoted(&metadata[k].1));
    let order = sorted(metadata.len(), &|a, b| metadata[a].0.cmp(metadata[b].0));
    let texts: Vec<_> = order.into_iter().map(text).collect();
    parts.push(format!("\"{METADATA}\":{{{}}}", texts.join(",")));
    let mut start = 0;
    for entry in entries {
        let (dtype, len) = entry.elements.dtype();
        let shape: Vec<_> = entry.shape.iter().map(usize::to_string).collect();
        parts.push(format!(
            "{}:{{\"dtype\":\"{dtype}\",\"shape\":[{}],\"data_offsets\":[{start},{}]}}",
            quoted(&entry.name),
            shape.join(","),
            start + len,
        ));
        start += len;
    }
    let mut header = format!("{{{}}}", parts.join(","));
    // Elements start at a multiple of eight bytes, for readers that map the file.
    let padded = header.len().next_multiple_of(8);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    header
}

/// A file that has been read and found to follow the format.
#[derive(Debug)]
pub(crate) struct Contents {
    bytes: Vec<u8>,
    /// An object of texts, if there is one.
    metadata: Option<Json>,
    tensors: Fields<Place>,
}

/// Where a tensor lies in the file.
#[derive(Clone, Debug)]
struct Place {
    dtype: String,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// A tensor of a file.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Tensor<'a> {
    pub dtype: &'a str,
    pub shape: &'a [usize],
    bytes: &'a [u8],
}

impl Contents {
    /// Reads a file. What is allocated is bounded by the file's true length.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        Self::parse(bytes).map_err(|error| error.context(path.display().to_string()))
    }

    /// Takes the contents of a file apart.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let header = header_range(&bytes)?;
        let data_start = header.end;
        let json = Json::parse(&bytes[header]).map_err(|error| error.context("the header"))?;
        let Json::Object(fields) = json else {
            return Err(Error::format("the header is not a JSON object"));
        };
        let (mut metadata, mut tensors) = (None, Vec::new());
        for (name, value) in fields.into_list() {
            if name == METADATA {
                check_texts(&value)?;
                metadata = Some(value);
            } else {
                let place = Place::parse(&value, data_start, bytes.len())
                    .map_err(|error| error.context(format!("tensor `{}`", shortened(&name))))?;
                tensors.push((name, place));
            }
        }
        let tensors = Fields::new(tensors)
            .map_err(|name| Error::format(format!("tensor `{}` stands twice", shortened(&name))))?;
        check_cover(&tensors, data_start, bytes.len())?;
        Ok(Self {
            bytes,
            metadata,
            tensors,
        })
    }

    /// A text of the header.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key)?.as_text()
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.tensors.get(name).map(|place| Tensor {
            dtype: &place.dtype,
            shape: &place.shape,
            bytes: &self.bytes[place.bytes.clone()],
        })
    }

    /// The names of the tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name)
    }
}

fn header_range(bytes: &[u8]) -> Result<Range<usize>> {
    let Some((len, rest)) = bytes.split_first_chunk() else {
        let message = format!("a safetensors file has at least 8 bytes, found {}", bytes.len());
        return Err(Error::format(message));
    };
    let len = u64::from_le_bytes(*len);
    if len > rest.len().min(MAX_HEADER) as u64 {
        let message = format!("a header of {len} bytes is announced, {} follow", rest.len());
        return Err(Error::format(message).hint("the file is truncated, or no safetensors file"));
    }
    Ok(8..8 + len as usize)
}

fn check_texts(value: &Json) -> Result<()> {
    let Json::Object(fields) = value else {
        return Err(Error::format(format!("`{METADATA}` is not a JSON object")));
    };
    match fields.iter().find(|(_, value)| value.as_text().is_none()) {
        None => Ok(()),
        Some((key, _)) => {
            let key = shortened(key);
            Err(Error::format(format!("`{METADATA}`: `{key}` is not a text")))
        }
    }
}

impl Place {
    fn parse(value: &Json, data_start: usize, file_len: usize) -> Result<Self> {
        let Some(dtype) = value.get("dtype").and_then(Json::as_text) else {
            return Err(Error::format("`dtype` is not a text"));
        };
        let sizes = |key| value.get(key).and_then(Json::as_sizes);
        let shape = sizes("shape").ok_or_else(|| Error::format("`shape` is not a list of sizes"))?;
        let Some([start, end]) = sizes("data_offsets").and_then(|pair| <[usize; 2]>::try_from(pair).ok())
        else {
            return Err(Error::format("`data_offsets` is not a pair of offsets"));
        };
        let data_len = file_len - data_start;
        if start > end || end > data_len {
            let message = format!("its data is said to lie at bytes {start} .. {end} of {data_len}");
            return Err(Error::format(message).hint("the file is truncated or damaged"));
        }
        let n_elements = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        if let Some(width) = width(dtype) {
            let len = n_elements.and_then(|n| n.checked_mul(width));
            if len != Some(end - start) {
                let message = format!(
                    "elements {dtype} of shape {shape:?} do not take {} bytes",
                    end - start
                );
                return Err(Error::format(message));
            }
        }
        Ok(Self {
            dtype: shortened(dtype).into_owned(),
            shape,
            bytes: data_start + start..data_start + end,
        })
    }
}

/// Bytes of an element; `None` for types that this library never reads.
fn width(dtype: &str) -> Option<usize> {
    match dtype {
        "BOOL" | "U8" | "I8" => Some(1),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "F32" | "I32" | "U32" => Some(4),
        "F64" | "I64" | "U64" => Some(8),
        _ => None,
    }
}

/// Tensors must cover the data without holes and without overlap.
fn check_cover(tensors: &Fields<Place>, data_start: usize, file_len: usize) -> Result<()> {
    let places: Vec<_> = tensors.iter().map(|(name, place)| (&place.bytes, name)).collect();
    let bounds = |k: usize| (places[k].0.start, places[k].0.end);
    let order = sorted(places.len(), &|a, b| bounds(a).cmp(&bounds(b)));
    let mut covered = data_start;
    for (bytes, name) in order.into_iter().map(|k| places[k]) {
        if bytes.start != covered {
            let (found, expected) = (bytes.start - data_start, covered - data_start);
            let message = format!("its data starts at byte {found}, expected {expected}");
            return Err(Error::format(message).context(format!("tensor `{}`", shortened(name))));
        }
        covered = bytes.end;
    }
    if covered != file_len {
        let message = format!("{} bytes at the end belong to no tensor", file_len - covered);
        return Err(Error::format(message));
    }
    Ok(())
}

/// A name from a file, cut to a length that a message can bear.
fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

impl Tensor<'_> {
    /// The elements as numbers, widened or rounded to `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Dtype`] if they are not floats.
    pub fn floats<T: Real>(&self) -> Result<Vec<T>> {
        let bytes = self.bytes;
        Ok(match self.dtype {
            "F32" => elements(bytes, |x| T::from_f64(f64::from(f32::from_le_bytes(x)))),
            "F64" => elements(bytes, |x| T::from_f64(f64::from_le_bytes(x))),
            "F16" => elements(bytes, |x| T::from_f64(half::from_f16(u16::from_le_bytes(x)))),
            "BF16" => elements(bytes, |x| T::from_f64(half::from_bf16(u16::from_le_bytes(x)))),
            other => {
                let message = format!("expected floats, found elements of type {other}");
                return Err(Error::new(ErrorKind::Dtype, message));
            }
        })
    }

    /// Whether [`floats`](Self::floats) can read them.
    pub fn is_float(&self) -> bool {
        matches!(self.dtype, "F16" | "BF16" | "F32" | "F64")
    }
}

fn elements<T, const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|bytes| element(*bytes)).collect()
}

#[cfg(test)]
mod tests;

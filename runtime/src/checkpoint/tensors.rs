//! Between a flat buffer and the tensors of a file.

use std::borrow::Cow;

use super::format::{Contents, Elements, Entry, Tensor};
use crate::arena::Storage;
use crate::dtype::Float;
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;

/// The tensors of a flat buffer as entries of a file, each named `prefix` and its path.
pub(super) fn entries<'a>(
    layout: &'a Layout,
    storage: &'a Storage,
    prefix: &'static str,
) -> impl Iterator<Item = Entry<'a>> {
    layout.specs().iter().enumerate().map(move |(k, spec)| {
        let range = layout.range(k);
        let elements = match layout.precision().float() {
            Float::F32 => Elements::F32(Cow::Borrowed(&storage.as_slice()[range])),
            #[cfg(feature = "f64")]
            Float::F64 => Elements::F64(Cow::Borrowed(&storage.as_slice()[range])),
        };
        Entry {
            name: match prefix {
                "" => Cow::Borrowed(&*spec.path),
                _ => Cow::Owned(format!("{prefix}{}", spec.path)),
            },
            shape: Cow::Borrowed(&spec.shape),
            elements,
        }
    })
}

/// What keeps a tensor of a file from becoming a tensor of a model: a text that says what was expected.
pub(super) fn misfit(shape: &[usize], tensor: &Tensor<'_>) -> Option<String> {
    if tensor.shape != shape {
        return Some(format!("expected shape {shape:?}, found {:?}", tensor.shape));
    }
    (!tensor.is_float()).then(|| format!("expected floats, found elements of type {}", tensor.dtype))
}

/// Copies a tensor that fits into its place in a flat buffer.
pub(super) fn copy(layout: &Layout, storage: &mut Storage, index: usize, tensor: &Tensor<'_>) -> Result<()> {
    let range = layout.range(index);
    match layout.precision().float() {
        Float::F32 => storage.as_mut_slice()[range].copy_from_slice(&tensor.floats::<f32>()?),
        #[cfg(feature = "f64")]
        Float::F64 => storage.as_mut_slice()[range].copy_from_slice(&tensor.floats::<f64>()?),
    }
    Ok(())
}

/// Reads every tensor of a layout, named `prefix` and its path, into a new flat buffer.
pub(super) fn read_all(layout: &Layout, contents: &Contents, prefix: &str) -> Result<Storage> {
    let refuse = |path: &str, message: String| {
        let error = Error::new(ErrorKind::Checkpoint, message);
        Err(error.context(format!("tensor `{prefix}{path}`")))
    };
    let mut storage = Storage::try_zeroed(layout.bytes()).ok_or_else(|| {
        Error::new(
            ErrorKind::Device,
            "there is no memory for another set of parameters",
        )
    })?;
    for (k, spec) in layout.specs().iter().enumerate() {
        let Some(tensor) = contents.tensor(&format!("{prefix}{}", spec.path)) else {
            return refuse(&spec.path, "missing".into());
        };
        if let Some(message) = misfit(&spec.shape, &tensor) {
            return refuse(&spec.path, message);
        }
        copy(layout, &mut storage, k, &tensor)?;
    }
    Ok(storage)
}

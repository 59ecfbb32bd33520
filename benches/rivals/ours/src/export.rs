//! Initial weights and batches in files that every framework reads.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, View};
use tapeless::Device;

use crate::Result;
use crate::models::batch::Values;
use crate::models::{N_BATCHES, Setup, Workload};

/// The file of the initial weights; paths are those of PyTorch's modules.
pub fn weights(workload: &Workload, folder: &Path) -> PathBuf {
    folder.join(format!("{}.weights.safetensors", workload.name))
}

/// The file of the batches: `x.0`, `y.0`, `x.1`, …
fn batches(workload: &Workload, folder: &Path) -> PathBuf {
    folder.join(format!("{}.batches.safetensors", workload.name))
}

/// Writes both.
pub fn write(workload: &Workload, folder: &Path) -> Result<()> {
    let training = (workload.start)(&Setup::new(Device::cpu()))?;
    training.save(&weights(workload, folder))?;
    let tensors = (0..N_BATCHES).flat_map(|k| {
        let named = training.batch(k);
        named.map(|(name, values)| (format!("{name}.{k}"), Tensor(values)))
    });
    safetensors::serialize_to_file(tensors, None, &batches(workload, folder))?;
    Ok(())
}

/// A tensor as `safetensors` wants it.
struct Tensor(Values);

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        match self.0 {
            Values::Floats(_) => Dtype::F32,
            Values::Ints(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        match &self.0 {
            Values::Floats(values) => values.shape(),
            Values::Ints(values) => values.shape(),
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match &self.0 {
            Values::Floats(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::Ints(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        match &self.0 {
            Values::Floats(values) => 4 * values.len(),
            Values::Ints(values) => 8 * values.len(),
        }
    }
}

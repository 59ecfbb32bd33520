//! Checkpoints: parameters and training runs as safetensors files.
//!
//! A file holds every parameter and carried tensor under its path, in its shape and the model's precision, so that any
//! reader of safetensors finds them; and notes on where it came from. A training checkpoint is the same file with more
//! entries, whose names begin with `@`; a model loads from either. Files of other frameworks load by path as well, in
//! f64, f32, f16 or bf16.
//!
//! Writing is atomic: the file is written aside, forced to the disk and renamed, so that a crash at any instant leaves
//! the old file or the new one. Reading checks everything: a file that is cut off or lies is an error.

pub(crate) mod atomic;
pub(crate) mod file;
mod half;

use std::path::Path;

use ndarray::ArrayD;

use crate::arena::Storage;
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::model::Core;
use file::{File, Writer};

/// The version of the notes in a file.
const FORMAT: &str = "1";

/// Entries that belong to a training run and not to the model begin with it.
pub(crate) const PRIVATE: char = '@';

/// What a partial load found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// Paths of the model that the file does not have; they kept their values.
    pub missing: Vec<String>,
    /// Entries of the file that the model does not have.
    pub unexpected: Vec<String>,
    /// Paths whose shape or element type differs; they kept their values.
    pub mismatched: Vec<Mismatch>,
}

/// An entry that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The path.
    pub path: String,
    /// The shape in the model.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
    /// The element type in the file.
    pub dtype: String,
}

impl Report {
    /// Whether every tensor of the model was found, and nothing else.
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

/// One line for each kind of difference.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mismatched: Vec<_> = self
            .mismatched
            .iter()
            .map(|m| {
                format!(
                    "{} (expected {:?}, found {} {:?})",
                    m.path, m.expected, m.dtype, m.found
                )
            })
            .collect();
        let kinds = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("mismatched", &mismatched),
        ];
        let parts: Vec<_> = kinds
            .iter()
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(kind, paths)| format!("{kind}: {}", abridged(paths)))
            .collect();
        f.write_str(if parts.is_empty() { "complete" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

fn abridged(paths: &[String]) -> String {
    let shown = paths.len().min(6);
    let more = paths.len() - shown;
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{rest}", paths[..shown].join(", "))
}

/// Writes a model's parameters and carried tensors.
pub(crate) fn save(core: &Core, path: &Path) -> Result<()> {
    let mut writer = Writer::new();
    write_core(core, &mut writer);
    writer.write(path)
}

/// Adds the parameters, the carried tensors and the notes of a model.
pub(crate) fn write_core(core: &Core, writer: &mut Writer) {
    write_tensors(core.params_layout(), core.params(), "", writer);
    write_tensors(core.states_layout(), core.states(), "", writer);
    let program = core.program();
    for (key, value) in [
        ("format", FORMAT.to_owned()),
        ("model", program.name.to_owned()),
        ("key", format!("{:016x}", program.key)),
        ("precision", core.precision().to_string()),
        ("path", core.device().isa().to_string()),
        ("seed", core.seed().to_string()),
        ("step", core.step().to_string()),
    ] {
        writer.note(key, value);
    }
}

/// Adds the tensors of a flat buffer; their names begin with `prefix`.
pub(crate) fn write_tensors(layout: &Layout, storage: &Storage, prefix: &str, writer: &mut Writer) {
    for (index, spec) in layout.specs().iter().enumerate() {
        let values = layout.read::<f64>(storage, index);
        writer.tensor(format!("{prefix}{}", spec.path), &values, layout.precision());
    }
}

/// Replaces a model's parameters and carried tensors by those of a file that has them all.
pub(crate) fn load(core: &mut Core, path: &Path) -> Result<()> {
    let place = |error: Error| error.context(path.display().to_string());
    let file = File::read(path)?;
    load_core(core, &file).map_err(place)
}

/// [`load`] from a file that was read. Nothing is changed if an entry is missing, left over or of another shape.
pub(crate) fn load_core(core: &mut Core, file: &File) -> Result<()> {
    let (found, report) = compare(core, file)?;
    if !report.is_complete() {
        let message = format!("the file does not fit {}: {report}", core.program().name);
        return Err(Error::new(ErrorKind::Checkpoint, message)
            .hint("`load_partial` loads what fits and reports the rest"));
    }
    store(core, found)
}

/// Loads what fits.
pub(crate) fn load_partial(core: &mut Core, path: &Path) -> Result<Report> {
    let place = |error: Error| error.context(path.display().to_string());
    let file = File::read(path)?;
    let (found, report) = compare(core, &file).map_err(place)?;
    store(core, found).map_err(place)?;
    Ok(report)
}

/// Tensors that fit: of the parameters or of the carried tensors, with their number.
struct Found {
    params: Vec<(usize, ArrayD<f64>)>,
    states: Vec<(usize, ArrayD<f64>)>,
}

fn compare(core: &Core, file: &File) -> Result<(Found, Report)> {
    let mut report = Report::default();
    let params = find(core.params_layout(), file, "", &mut report)?;
    let states = find(core.states_layout(), file, "", &mut report)?;
    for name in file.names() {
        let known = core
            .params_layout()
            .find(&name)
            .or_else(|| core.states_layout().find(&name))
            .is_some();
        // PyTorch's batch norm counts batches, for a kind of running mean that nobody uses.
        let counter = name == "num_batches_tracked" || name.ends_with(".num_batches_tracked");
        if !known && !counter && !name.starts_with(PRIVATE) {
            report.unexpected.push(name);
        }
    }
    report.unexpected.sort();
    Ok((Found { params, states }, report))
}

/// The tensors of a layout that the file has under their paths with a prefix.
pub(crate) fn find(
    layout: &Layout,
    file: &File,
    prefix: &str,
    report: &mut Report,
) -> Result<Vec<(usize, ArrayD<f64>)>> {
    let mut found = Vec::new();
    for (index, spec) in layout.specs().iter().enumerate() {
        let name = format!("{prefix}{}", spec.path);
        let Some(tensor) = file.tensor(&name) else {
            report.missing.push(name);
            continue;
        };
        if tensor.shape != spec.shape || !tensor.is_float() {
            report.mismatched.push(Mismatch {
                path: name,
                expected: spec.shape.clone(),
                found: tensor.shape.to_vec(),
                dtype: tensor.dtype_name(),
            });
            continue;
        }
        found.push((index, tensor.to_array()?));
    }
    Ok(found)
}

fn store(core: &mut Core, found: Found) -> Result<()> {
    let (params, states) = (core.params_layout().clone(), core.states_layout().clone());
    for (index, values) in found.params {
        params.write(core.params_mut(), index, values.view())?;
    }
    for (index, values) in found.states {
        states.write(core.states_mut(), index, values.view())?;
    }
    Ok(())
}

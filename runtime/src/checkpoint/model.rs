//! A model as a file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::format::{self, Contents};
use super::{VERSION, key, tensors};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::model::Core;

/// What [`Model::load_partial`](crate::Model::load_partial) found.
///
/// `Display` gives one line for each tensor that was not taken over, and a line with the count of the others.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use]
pub struct Report {
    /// Tensors of the model that were replaced.
    pub loaded: Vec<String>,
    /// Tensors of the model that the file lacks; they keep their values.
    pub missing: Vec<String>,
    /// Tensors of the file that the model lacks.
    pub unexpected: Vec<String>,
    /// Tensors of both that do not fit; they keep their values.
    pub mismatched: Vec<Mismatch>,
}

/// A tensor of a file that has another shape or kind of elements than the model's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its path.
    pub path: String,
    /// What was expected and what was found.
    pub reason: String,
}

impl Report {
    /// Whether file and model have the same tensors.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }

    /// What keeps it from being complete, as the error of a strict load.
    fn refuse(&self) -> Result<()> {
        let first = |what: &str, paths: &[String]| {
            let shown: Vec<_> = paths.iter().take(5).map(|path| format!("`{path}`")).collect();
            let more = match paths.len() - shown.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("{what} {}{more}", shown.join(", "))
        };
        let mut faults = Vec::new();
        if let Some(Mismatch { path, reason }) = self.mismatched.first() {
            let more = match self.mismatched.len() {
                1 => String::new(),
                n => format!(" (and {} more such tensors)", n - 1),
            };
            faults.push(format!("`{path}`: {reason}{more}"));
        }
        if !self.missing.is_empty() {
            faults.push(first("the file lacks", &self.missing));
        }
        if !self.unexpected.is_empty() {
            faults.push(first("the model has no", &self.unexpected));
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Checkpoint, faults.join("; "))
            .hint("`load_partial` takes over what fits and reports the rest"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in &self.missing {
            writeln!(f, "missing     {path}")?;
        }
        for path in &self.unexpected {
            writeln!(f, "unexpected  {path}")?;
        }
        for Mismatch { path, reason } in &self.mismatched {
            writeln!(f, "mismatched  {path}: {reason}")?;
        }
        write!(f, "loaded      {} tensors", self.loaded.len())
    }
}

/// The texts that every file has: what the model is, and where in its stream of random numbers it stands.
pub(super) fn metadata(core: &Core) -> Vec<(&'static str, String)> {
    vec![
        (key::VERSION, VERSION.to_owned()),
        (key::MODEL, core.program().name.to_owned()),
        (key::PROGRAM, format!("{:016x}", core.program().key)),
        (key::PRECISION, core.precision().to_string()),
        (
            key::PATH,
            core.device().isa().serving(core.precision()).to_string(),
        ),
        (key::SEED, core.seed().to_string()),
        (key::STEP, core.step().to_string()),
    ]
}

/// Refuses a file of a later version; files without a version are another tool's.
pub(super) fn check_version(contents: &Contents) -> Result<()> {
    match contents.text(key::VERSION) {
        None | Some(VERSION) => Ok(()),
        Some(other) => {
            let message = format!("checkpoints of version {VERSION} expected, found version {other:?}");
            Err(Error::new(ErrorKind::Checkpoint, message)
                .hint("read it with the version of Tapeless that wrote it"))
        }
    }
}

/// A whole number among the texts, if it is there.
pub(super) fn number(contents: &Contents, key: &str) -> Result<Option<u64>> {
    let Some(text) = contents.text(key) else {
        return Ok(None);
    };
    let number = text
        .parse()
        .map_err(|_| Error::format(format!("`{key}` is {text:?}, expected a whole number")));
    number.map(Some)
}

impl Core {
    /// Writes parameters and carried tensors into a file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let mut entries: Vec<_> = tensors::entries(self.params_layout(), self.params(), "").collect();
        entries.extend(tensors::entries(self.states_layout(), self.states(), ""));
        format::write(path, &metadata(self), &entries)
    }

    /// Replaces everything by what a file holds; nothing is changed if anything does not fit.
    pub(crate) fn load(&mut self, path: &Path) -> Result<()> {
        let place = |error: Error| error.context(path.display().to_string());
        let contents = Contents::read(path)?;
        self.load_contents(&contents).map_err(place)
    }

    /// Whether a file holds the very tensors of this model.
    pub(super) fn check_contents(&self, contents: &Contents) -> Result<()> {
        self.compare(contents).refuse()
    }

    pub(super) fn load_contents(&mut self, contents: &Contents) -> Result<()> {
        check_version(contents)?;
        let position = (number(contents, key::SEED)?, number(contents, key::STEP)?);
        self.check_contents(contents)?;
        self.take_over(contents)?;
        if let (Some(seed), Some(step)) = position {
            self.set_position(seed, step);
        }
        Ok(())
    }

    /// Replaces what a file holds and fits.
    pub(crate) fn load_partial(&mut self, path: &Path) -> Result<Report> {
        let place = |error: Error| error.context(path.display().to_string());
        let contents = Contents::read(path)?;
        check_version(&contents).map_err(place)?;
        let report = self.compare(&contents);
        self.take_over(&contents).map_err(place)?;
        Ok(report)
    }

    /// What is in both, in one of them, or different.
    fn compare(&self, contents: &Contents) -> Report {
        let mut report = Report::default();
        let layouts = [self.params_layout(), self.states_layout()];
        for spec in layouts.iter().flat_map(|layout| layout.specs()) {
            let path = spec.path.to_string();
            match contents.tensor(&spec.path) {
                None => report.missing.push(path),
                Some(tensor) => match tensors::misfit(&spec.shape, &tensor) {
                    None => report.loaded.push(path),
                    Some(reason) => report.mismatched.push(Mismatch { path, reason }),
                },
            }
        }
        let known = |name: &str| layouts.iter().any(|layout| layout.find(name).is_some());
        let unexpected = contents.names().filter(|name| !known(name) && !is_extra(name));
        report.unexpected = unexpected.map(str::to_owned).collect();
        report
    }

    fn take_over(&mut self, contents: &Contents) -> Result<()> {
        let (params, states) = (Arc::clone(self.params_layout()), Arc::clone(self.states_layout()));
        let fitting = |layout: &Layout| {
            let specs = layout.specs().iter().enumerate();
            let found = specs.filter_map(|(k, spec)| {
                let tensor = contents.tensor(&spec.path)?;
                tensors::misfit(&spec.shape, &tensor)
                    .is_none()
                    .then_some((k, tensor))
            });
            found.collect::<Vec<_>>()
        };
        for (k, tensor) in fitting(&params) {
            tensors::copy(&params, self.params_mut(), k, &tensor)?;
        }
        for (k, tensor) in fitting(&states) {
            tensors::copy(&states, self.states_mut(), k, &tensor)?;
        }
        Ok(())
    }
}

/// Tensors that are no model's: those of a training, and the counters of PyTorch's batch normalisation, which
/// nothing depends on as long as its momentum is a number.
fn is_extra(name: &str) -> bool {
    name.contains('/') || name == "num_batches_tracked" || name.ends_with(".num_batches_tracked")
}

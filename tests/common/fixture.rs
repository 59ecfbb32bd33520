//! Reads the reference numbers under `tests/fixtures`, which PyTorch made in float64.
//!
//! A fixture is a safetensors file: named tensors and one JSON object of metadata. What the names mean,
//! and how the files are made, is written at the top of `tests/fixtures/generate.py`. Element order is the
//! standard (row-major) one, so an array read here has PyTorch's shape and layout.
//!
//! This is a reader for tests: what is not as asked (no such file, name, rank or element type) panics with
//! a message that says what there is instead. It checks no values and knows no model.

#![allow(
    dead_code,
    reason = "every test binary compiles this file for itself and uses its own share of it"
)]

use std::path::{Path, PathBuf};

use ndarray::{Array, ArrayD, Dimension, Ix0, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

/// The files under `tests/fixtures`, by the names that [`Fixture::load`] takes.
pub const NAMES: [&str; 16] = [
    "mlp",
    "cnn",
    "mnist_cnn",
    "residual",
    "embedding",
    "recurrent",
    "gpt",
    "encoder",
    "decoder",
    "positions",
    "dna",
    "speech",
    "sentiment",
    "translate",
    "resnet20",
    "ops",
];

/// One file of reference numbers, read whole.
///
/// ```ignore
/// let mlp = Fixture::load("mlp");
/// let weight = mlp.array::<Ix2>("param.fc1.weight");      // (9, 12), as in PyTorch
/// let label = mlp.ints::<Ix1>("input.label");
/// assert!((my_loss - mlp.scalar("loss")).abs() < 1e-9);
/// ```
pub struct Fixture {
    name: String,
    tensors: Vec<(String, Tensor)>,
    metadata: Value,
}

/// The two kinds of element that the files hold. Float32 is widened, which loses nothing.
enum Tensor {
    Floats(ArrayD<f64>),
    Ints(ArrayD<i64>),
}

impl Fixture {
    /// Reads `tests/fixtures/<name>.safetensors`.
    ///
    /// # Panics
    ///
    /// If there is no such file, or it is damaged or not a fixture.
    #[track_caller]
    pub fn load(name: &str) -> Self {
        let path = folder().join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "fixture `{name}`: cannot read {}: {error}; there are: {NAMES:?}",
                path.display()
            )
        });
        Self::parse(name, &bytes).unwrap_or_else(|message| panic!("fixture `{name}`: {message}"))
    }

    /// Reads a fixture from the bytes of its file; the error says what is wrong with them.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let text = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get("fixture"));
        let text = text.ok_or("the file has no metadata entry `fixture`")?;
        let metadata = serde_json::from_str(text).map_err(|error| format!("metadata: {error}"))?;
        let mut tensors = file
            .iter()
            .map(|(path, view)| {
                Ok((
                    path.to_owned(),
                    decode(&view).map_err(|e| format!("`{path}`: {e}"))?,
                ))
            })
            .collect::<Result<Vec<_>, String>>()?;
        tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Self {
            name: name.to_owned(),
            tensors,
            metadata,
        })
    }

    /// A float tensor, float32 widened to float64; `IxDyn` for `D` gives any rank.
    ///
    /// # Panics
    ///
    /// If there is no tensor of that name, it holds integers, or its rank is not that of `D`.
    #[track_caller]
    pub fn array<D: Dimension>(&self, path: &str) -> Array<f64, D> {
        match self.tensor(path) {
            Tensor::Floats(array) => self.with_rank(path, array),
            Tensor::Ints(_) => panic!(
                "fixture `{}`: `{path}` holds integers: read it with `ints`",
                self.name
            ),
        }
    }

    /// An int64 tensor: class labels, tokens, counters.
    ///
    /// # Panics
    ///
    /// If there is no tensor of that name, it holds floats, or its rank is not that of `D`.
    #[track_caller]
    pub fn ints<D: Dimension>(&self, path: &str) -> Array<i64, D> {
        match self.tensor(path) {
            Tensor::Ints(array) => self.with_rank(path, array),
            Tensor::Floats(_) => panic!(
                "fixture `{}`: `{path}` holds floats: read it with `array`",
                self.name
            ),
        }
    }

    /// The only element of a float tensor of rank 0, such as `loss`.
    ///
    /// # Panics
    ///
    /// As [`Fixture::array`].
    #[track_caller]
    pub fn scalar(&self, path: &str) -> f64 {
        self.array::<Ix0>(path).into_scalar()
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, path: &str) -> bool {
        self.position(path).is_ok()
    }

    /// The names of all tensors, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(path, _)| path.as_str())
    }

    /// What follows `prefix` in the names that start with it, sorted: `under("grad.")` gives
    /// `fc1.bias`, `fc1.weight`, ….
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.paths().filter_map(move |path| path.strip_prefix(prefix))
    }

    /// Whether the tensor of that name holds floats (read with [`Fixture::array`]) rather than integers.
    ///
    /// # Panics
    ///
    /// If there is no tensor of that name.
    #[track_caller]
    pub fn is_float(&self, path: &str) -> bool {
        matches!(self.tensor(path), Tensor::Floats(_))
    }

    /// Everything that is known of the file beside its numbers.
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// The names and settings of a model's optimizers: `kind` as in `torch.optim`, `lr`, `betas`, ….
    /// Empty for the file `ops`.
    pub fn optimizers(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries("optimizers")
    }

    /// The cases of the file `ops`: `op`, `inputs` (names in order), `attrs`, `kink`. Empty for a model.
    pub fn cases(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries("cases")
    }

    /// The parameters whose gradient is zero but for rounding, which no relative error can judge.
    pub fn zero_gradients(&self) -> impl Iterator<Item = &str> {
        self.metadata["zero_gradients"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    fn entries(&self, key: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata[key]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
    }

    fn position(&self, path: &str) -> Result<usize, usize> {
        self.tensors
            .binary_search_by(|(candidate, _)| candidate.as_str().cmp(path))
    }

    #[track_caller]
    fn tensor(&self, path: &str) -> &Tensor {
        match self.position(path) {
            Ok(index) => &self.tensors[index].1,
            Err(_) => panic!(
                "fixture `{}` has no tensor `{path}`; it has: {}",
                self.name,
                self.paths().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    #[track_caller]
    fn with_rank<T: Clone, D: Dimension>(&self, path: &str, array: &ArrayD<T>) -> Array<T, D> {
        array.clone().into_dimensionality().unwrap_or_else(|_| {
            panic!(
                "fixture `{}`: `{path}` has shape {:?}, which is not of rank {}",
                self.name,
                array.shape(),
                D::NDIM.map_or("any".to_owned(), |rank| rank.to_string())
            )
        })
    }
}

/// The folder of the fixtures: in the package's own folder, or that of the workspace above it.
fn folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let candidates = package.ancestors().map(|folder| folder.join("tests/fixtures"));
    candidates
        .clone()
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| panic!("no folder `tests/fixtures` at {} or above", package.display()))
}

fn decode(view: &TensorView) -> Result<Tensor, String> {
    let data = view.data();
    match view.dtype() {
        Dtype::F64 => Ok(Tensor::Floats(shaped(view, numbers(data, f64::from_le_bytes))?)),
        Dtype::F32 => Ok(Tensor::Floats(shaped(
            view,
            numbers(data, |b| f32::from_le_bytes(b).into()),
        )?)),
        Dtype::I64 => Ok(Tensor::Ints(shaped(view, numbers(data, i64::from_le_bytes))?)),
        other => Err(format!(
            "element type {other:?}; a fixture holds F64, F32 and I64 only"
        )),
    }
}

fn numbers<T, const BYTES: usize>(data: &[u8], read: impl Fn([u8; BYTES]) -> T) -> Vec<T> {
    let (chunks, _) = data.as_chunks::<BYTES>();
    chunks.iter().map(|chunk| read(*chunk)).collect()
}

fn shaped<T>(view: &TensorView, numbers: Vec<T>) -> Result<ArrayD<T>, String> {
    ArrayD::from_shape_vec(IxDyn(view.shape()), numbers).map_err(|error| error.to_string())
}

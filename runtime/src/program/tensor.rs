//! Trained and carried tensors.

use std::borrow::Cow;

use super::{Formula, Sizes};
use crate::error::{Error, Result};
use crate::init::Init;

/// A trained or carried tensor.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// Its identity in every file: `encoder.attn.qkv.weight`. Where it is one for each layer of an array, a `{}` stands for the
    /// number of the layer: `blocks.{}.attn.qkv.weight`. With `{1}` the layers are counted from 1.
    pub path: Cow<'static, str>,
    /// The lengths of the arrays whose layers have one each, outermost first; empty where there is just one.
    pub repeats: Vec<usize>,
    /// Sizes of its axes; of one layer's.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
}

impl TensorSpec {
    /// A tensor from its parts.
    pub fn new(path: &'static str, shape: &[usize], init: Init) -> Self {
        Self {
            path: Cow::Borrowed(path),
            repeats: Vec::new(),
            shape: shape.to_vec(),
            init,
        }
    }

    /// One for each layer of an array, or of arrays in arrays.
    pub fn repeated(path: &'static str, repeats: &[usize], shape: &[usize], init: Init) -> Self {
        Self {
            repeats: repeats.to_vec(),
            ..Self::new(path, shape, init)
        }
    }

    /// The tensors that it stands for, the last index fastest; `None` where there are too many to count.
    pub fn expand(&self) -> Option<Vec<Self>> {
        let n = self
            .repeats
            .iter()
            .try_fold(1_usize, |n, &count| n.checked_mul(count))
            .filter(|&n| n <= u32::MAX as usize)?;
        let layer = |mut k: usize| {
            let mut path = self.path.to_string();
            for &count in self.repeats.iter().rev() {
                if let (Some(open), Some(close)) = (path.rfind('{'), path.rfind('}')) {
                    let first: usize = path[open + 1..close].parse().unwrap_or(0);
                    path.replace_range(open..=close, &(first + k % count).to_string());
                }
                k /= count;
            }
            Self {
                path: Cow::Owned(path),
                repeats: Vec::new(),
                ..self.clone()
            }
        };
        if self.repeats.is_empty() {
            return Some(vec![self.clone()]);
        }
        Some((0..n).map(layer).collect())
    }
}

/// A [`TensorSpec`] of any sizes.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    path: &'static str,
    repeats: Formula,
    shape: Formula,
    init: Init,
    fan_in: Option<Formula>,
}

impl TensorEntry {
    /// A tensor from its parts: path, lengths of the arrays around it, sizes of its axes, how it starts.
    pub const fn new(path: &'static str, repeats: Formula, shape: Formula, init: Init) -> Self {
        Self {
            path,
            repeats,
            shape,
            init,
            fan_in: None,
        }
    }

    /// A bias ([`Init::LinearBias`]) beside a weight of that fan in.
    pub const fn bias(path: &'static str, repeats: Formula, shape: Formula, fan_in: Formula) -> Self {
        Self {
            fan_in: Some(fan_in),
            ..Self::new(path, repeats, shape, Init::Zeros)
        }
    }

    /// The tensor for given sizes.
    ///
    /// # Errors
    ///
    /// Where it has a negative size.
    pub(super) fn spec(&self, sizes: &Sizes<'_>) -> Result<TensorSpec> {
        let place = |error: Error| error.context(format!("`{}`", self.path));
        Ok(TensorSpec {
            path: Cow::Borrowed(self.path),
            repeats: sizes.sizes(self.repeats).map_err(place)?,
            shape: sizes.sizes(self.shape).map_err(place)?,
            init: self.fan_in.map_or(self.init, |fan_in| Init::LinearBias {
                fan_in: sizes.value(fan_in),
            }),
        })
    }
}

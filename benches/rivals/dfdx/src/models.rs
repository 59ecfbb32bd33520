//! The perceptrons in dfdx; `benches/training/models` is the original. Weights come from the comparison's files where there are any.

use dfdx::nn::modules::Linear;
use dfdx::prelude::*;
use rival_orders::{Dropout as Rates, Result, Tensor as Stored, Values};

/// A tensor of 32-bit floats.
pub type Numbers<S, T = NoneTape> = Tensor<S, f32, Cpu, T>;

/// A linear layer; its weight is [out, in], as in files.
type Dense<const I: usize, const O: usize> = Linear<I, O, f32, Cpu>;

/// What turns rows of numbers into scores.
pub trait Network: TensorCollection<f32, Cpu> + 'static {
    /// With the weights that there are.
    fn new(filler: &Filler<'_>) -> Result<Self>;

    /// Scores of the classes, a row each.
    fn scores<T: Tape<f32, Cpu>>(
        &self,
        x: Numbers<(usize, Const<784>), T>,
        dropout: Rates,
    ) -> Numbers<(usize, Const<10>), T>;
}

/// 784-128-10.
pub type MlpSmall = (Dense<784, 128>, Dense<128, 10>);

impl Network for MlpSmall {
    fn new(filler: &Filler<'_>) -> Result<Self> {
        Ok((filler.linear("fc1")?, filler.linear("fc2")?))
    }

    fn scores<T: Tape<f32, Cpu>>(
        &self,
        x: Numbers<(usize, Const<784>), T>,
        dropout: Rates,
    ) -> Numbers<(usize, Const<10>), T> {
        self.1.forward(drop(self.0.forward(x).relu(), dropout.rate(0.2)))
    }
}

/// 784-1024-1024-10.
pub type MlpLarge = (Dense<784, 1024>, Dense<1024, 1024>, Dense<1024, 10>);

impl Network for MlpLarge {
    fn new(filler: &Filler<'_>) -> Result<Self> {
        Ok((
            filler.linear("fc1")?,
            filler.linear("fc2")?,
            filler.linear("fc3")?,
        ))
    }

    fn scores<T: Tape<f32, Cpu>>(
        &self,
        x: Numbers<(usize, Const<784>), T>,
        _: Rates,
    ) -> Numbers<(usize, Const<10>), T> {
        let hidden = self.1.forward(self.0.forward(x).relu()).relu();
        self.2.forward(hidden)
    }
}

/// Dropout where anything is dropped.
fn drop<S: Shape, T: Tape<f32, Cpu>>(x: Numbers<S, T>, rate: f64) -> Numbers<S, T> {
    if rate > 0.0 { x.dropout(rate) } else { x }
}

/// What fills parameters: the tensors of a file, or small random numbers where there is none.
pub struct Filler<'a> {
    weights: &'a [Stored],
    device: &'a Cpu,
}

impl<'a> Filler<'a> {
    /// Of the tensors of a file, if any.
    pub fn new(weights: &'a [Stored], device: &'a Cpu) -> Self {
        Self { weights, device }
    }

    fn tensor<S: Shape>(&self, path: String, shape: S, n_inputs: usize) -> Result<Numbers<S>> {
        if self.weights.is_empty() {
            let bound = 1.0 / (n_inputs as f32).sqrt();
            return Ok((self.device.sample_uniform_like(&shape) - 0.5) * (2.0 * bound));
        }
        let found = self.weights.iter().find(|stored| stored.name == path);
        match &found.ok_or_else(|| format!("there is no tensor {path}"))?.values {
            Values::Floats(values) => Ok(self.device.tensor_from_vec(values.clone(), shape)),
            Values::Ints(_) => Err(format!("{path}: not floats").into()),
        }
    }

    fn linear<const I: usize, const O: usize>(&self, name: &str) -> Result<Dense<I, O>> {
        Ok(Linear {
            weight: self.tensor(format!("{name}.weight"), (Const, Const), I)?,
            bias: self.tensor(format!("{name}.bias"), (Const,), I)?,
        })
    }
}

//! Initial values of parameters: [`Init`], with the rules and the defaults of `torch.nn.init`.
//!
//! Values are drawn in `f64` and rounded once to the model's precision, so that a model starts from the same
//! numbers in either. A parameter's values depend on the seed and on its path alone (see [`Key`]): adding a
//! layer to a model leaves the others as they were.
//!
//! Not here: which layer uses which initialiser (the layers say), and reproducing the very numbers that
//! PyTorch draws, whose generator is another.

mod orthogonal;
mod truncated;

use crate::cpu::isa::{Isa, Kernel};
use crate::error::{Error, ErrorKind};
use crate::real::Real;
use crate::rng::{Key, Stream, unit_f64};

/// Which of a weight's two fans scales its values.
///
/// For a weight of shape `[out, in, kernel...]`: fan in is `in` times the kernel's size, fan out is `out`
/// times the kernel's size (for a grouped convolution `in` is the channels of one group).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fan {
    /// Keeps the variance of activations through the forward pass.
    In,
    /// Keeps the variance of gradients through the backward pass.
    Out,
}

/// How a parameter gets its initial values.
///
/// ```
/// use tapeless_runtime::init::Init;
/// use tapeless_runtime::rng::Key;
///
/// let mut weight = [0.0f32; 128 * 784];
/// Init::LINEAR_WEIGHT.fill(&[128, 784], Key::for_path(42, "fc1.weight"), &mut weight)?;
/// assert!(weight.iter().all(|w| w.abs() <= 1.0 / 28.0)); // 1 / sqrt(784)
/// # Ok::<(), tapeless_runtime::init::InitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// 0 everywhere.
    Zeros,
    /// 1 everywhere.
    Ones,
    /// One number everywhere.
    Constant(f64),
    /// Evenly distributed over `[low, high)`.
    Uniform {
        /// The lower end.
        low: f64,
        /// The upper end (which rounding to `f32` can reach).
        high: f64,
    },
    /// Normally distributed.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Normally distributed, on the condition of lying in `[low, high]` (`torch.nn.init.trunc_normal_`).
    TruncatedNormal {
        /// The mean before truncation.
        mean: f64,
        /// The standard deviation before truncation.
        std: f64,
        /// The lower end, in the units of the values (not of deviations).
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// U(-b, b) with b = gain sqrt(6 / (fan in + fan out)). Glorot and Bengio, "Understanding the difficulty
    /// of training deep feedforward neural networks" (2010).
    XavierUniform {
        /// A factor for the nonlinearity that follows, see [`gain`].
        gain: f64,
    },
    /// N(0, s^2) with s = gain sqrt(2 / (fan in + fan out)).
    XavierNormal {
        /// A factor for the nonlinearity that follows, see [`gain`].
        gain: f64,
    },
    /// U(-b, b) with b = sqrt(6 / ((1 + a^2) fan)). He et al., "Delving deep into rectifiers" (2015).
    KaimingUniform {
        /// The negative slope of the leaky ReLU that follows; 0 for ReLU.
        a: f64,
        /// The fan that scales.
        fan: Fan,
    },
    /// N(0, s^2) with s = sqrt(2 / ((1 + a^2) fan)).
    KaimingNormal {
        /// The negative slope of the leaky ReLU that follows; 0 for ReLU.
        a: f64,
        /// The fan that scales.
        fan: Fan,
    },
    /// `gain` times a random matrix with orthonormal rows or columns, whichever are fewer; the matrix is the
    /// first axis by all others. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
    /// learning in deep linear neural networks" (2013). Takes time in proportion to the product of the larger
    /// side and the square of the smaller: seconds for a side of 1,000.
    Orthogonal {
        /// A factor for the nonlinearity that follows, see [`gain`].
        gain: f64,
    },
    /// U(-b, b) with b = 1 / sqrt(fan in) of the weight that this is the bias of: PyTorch's default for
    /// biases of linear and convolution layers.
    LinearBias {
        /// The fan in of the weight: its inputs times its kernel's size.
        fan_in: usize,
    },
}

/// Why a parameter could not be initialised.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum InitError {
    /// The buffer does not have the size of the shape.
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// The elements of the buffer.
        len: usize,
    },
    /// A rule that needs fans, on a parameter that has none.
    NoFans {
        /// The initialiser.
        init: Init,
        /// The shape.
        shape: Vec<usize>,
    },
    /// Numbers that describe no distribution.
    Distribution {
        /// The initialiser.
        init: Init,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl std::fmt::Display for InitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { shape, len } => {
                write!(
                    f,
                    "a parameter of shape {shape:?} does not fit a buffer of {len} elements"
                )
            }
            Self::NoFans { init, shape } => write!(
                f,
                "{init:?} needs a parameter of at least two axes [out, in, ...] and got shape {shape:?}; \
                 initialise it with Uniform, Normal or a constant"
            ),
            Self::Distribution { init, problem } => write!(f, "{init:?}: {problem}"),
        }
    }
}

impl std::error::Error for InitError {}

impl From<InitError> for Error {
    fn from(error: InitError) -> Self {
        let kind = match error {
            InitError::Length { .. } | InitError::NoFans { .. } => ErrorKind::Shape,
            InitError::Distribution { .. } => ErrorKind::Config,
        };
        Error::new(kind, error.to_string()).with_source(error)
    }
}

impl Init {
    /// PyTorch's default for weights of linear and convolution layers: U(-b, b) with b = 1 / sqrt(fan in),
    /// written there as Kaiming's rule with a = sqrt(5).
    pub const LINEAR_WEIGHT: Init = Init::KaimingUniform {
        a: SQRT_5,
        fan: Fan::In,
    };

    /// PyTorch's default for embeddings: N(0, 1).
    pub const EMBEDDING: Init = Init::Normal { mean: 0.0, std: 1.0 };

    /// Fills `out`, a parameter of shape `shape` in row-major order, with its initial values.
    ///
    /// `key` is the parameter's own: `Key::for_path(seed, path)`, with [`Key::at`] for each enclosing array.
    ///
    /// # Errors
    ///
    /// If `out` does not have the size of `shape`, if the rule needs fans and the shape has fewer than two
    /// axes, or if the numbers describe no distribution.
    pub fn fill<T: Real>(&self, shape: &[usize], key: Key, out: &mut [T]) -> Result<(), InitError> {
        let size = shape.iter().try_fold(1usize, |size, &dim| size.checked_mul(dim));
        if size != Some(out.len()) {
            return Err(InitError::Length {
                shape: shape.to_vec(),
                len: out.len(),
            });
        }
        self.check()?;
        let stream = key.stream(0);
        match *self {
            Init::Zeros => out.fill(T::ZERO),
            Init::Ones => out.fill(T::ONE),
            Init::Constant(value) => out.fill(T::from_f64(value)),
            Init::Uniform { low, high } => uniform(&stream, low, high, out),
            Init::Normal { mean, std } => normal(&stream, mean, std, out),
            Init::TruncatedNormal { mean, std, low, high } => {
                truncated::fill(&stream, [mean, std], [low, high], out);
            }
            Init::XavierUniform { gain } => {
                let bound = gain * (6.0 / self.fan_sum(shape)?).sqrt();
                uniform(&stream, -bound, bound, out);
            }
            Init::XavierNormal { gain } => {
                normal(&stream, 0.0, gain * (2.0 / self.fan_sum(shape)?).sqrt(), out);
            }
            Init::KaimingUniform { a, fan } => {
                let bound = (6.0 / ((1.0 + a * a) * self.fan(shape, fan)?)).sqrt();
                uniform(&stream, -bound, bound, out);
            }
            Init::KaimingNormal { a, fan } => {
                normal(
                    &stream,
                    0.0,
                    (2.0 / ((1.0 + a * a) * self.fan(shape, fan)?)).sqrt(),
                    out,
                );
            }
            Init::Orthogonal { gain } => {
                self.fan(shape, Fan::In)?;
                orthogonal::fill(&stream, gain, shape[0], out);
            }
            Init::LinearBias { fan_in } => {
                let bound = if fan_in == 0 {
                    0.0
                } else {
                    (fan_in as f64).sqrt().recip()
                };
                uniform(&stream, -bound, bound, out);
            }
        }
        Ok(())
    }

    /// Whether the numbers describe a distribution.
    fn check(&self) -> Result<(), InitError> {
        let deviation = |std: f64| std.is_finite() && std >= 0.0;
        let finite = |numbers: &[f64]| numbers.iter().all(|x| x.is_finite());
        let problem = match *self {
            Init::Zeros | Init::Ones | Init::Constant(_) | Init::LinearBias { .. } => None,
            Init::Uniform { low, high } => (!finite(&[low, high]) || low > high)
                .then_some("the ends must be finite, `low` not above `high`"),
            Init::Normal { mean, std } => (!finite(&[mean]) || !deviation(std))
                .then_some("`mean` must be finite, `std` finite and not negative"),
            Init::TruncatedNormal { mean, std, low, high } => {
                (!finite(&[mean]) || !deviation(std) || low.is_nan() || high.is_nan() || low > high)
                    .then_some("`mean` must be finite, `std` finite and not negative, `low` not above `high`")
            }
            Init::XavierUniform { gain } | Init::XavierNormal { gain } | Init::Orthogonal { gain } => {
                (!deviation(gain)).then_some("`gain` must be finite and not negative")
            }
            Init::KaimingUniform { a, .. } | Init::KaimingNormal { a, .. } => {
                (!finite(&[a])).then_some("`a` must be finite")
            }
        };
        problem.map_or(Ok(()), |problem| {
            Err(InitError::Distribution { init: *self, problem })
        })
    }

    /// A fan of a parameter of shape `[out, in, kernel...]`.
    fn fan(&self, shape: &[usize], fan: Fan) -> Result<f64, InitError> {
        match *shape {
            [n_out, n_in, ref kernel @ ..] => {
                let channels = match fan {
                    Fan::In => n_in,
                    Fan::Out => n_out,
                };
                // In `f64`, where a size beyond any memory is only a large number.
                Ok(kernel
                    .iter()
                    .fold(channels as f64, |product, &dim| product * dim as f64))
            }
            _ => Err(InitError::NoFans {
                init: *self,
                shape: shape.to_vec(),
            }),
        }
    }

    /// Fan in plus fan out.
    fn fan_sum(&self, shape: &[usize]) -> Result<f64, InitError> {
        Ok(self.fan(shape, Fan::In)? + self.fan(shape, Fan::Out)?)
    }
}

/// sqrt(5).
const SQRT_5: f64 = 2.236_067_977_499_79;

/// Gains that keep the variance through a nonlinearity: the table of `torch.nn.init.calculate_gain`.
pub mod gain {
    /// For no nonlinearity, sigmoid included.
    pub const LINEAR: f64 = 1.0;
    /// For the hyperbolic tangent.
    pub const TANH: f64 = 5.0 / 3.0;
    /// For ReLU: sqrt(2).
    pub const RELU: f64 = std::f64::consts::SQRT_2;
    /// For SELU.
    pub const SELU: f64 = 0.75;

    /// For a leaky ReLU: sqrt(2 / (1 + slope^2)).
    pub fn leaky_relu(negative_slope: f64) -> f64 {
        (2.0 / (1.0 + negative_slope * negative_slope)).sqrt()
    }
}

fn uniform<T: Real>(stream: &Stream, low: f64, high: f64, out: &mut [T]) {
    Isa::best().run(Uniform {
        stream,
        low,
        range: high - low,
        out,
    });
}

/// Fills `out` with `low + range * stream.uniform_f64(i)`: the same numbers on every instruction set.
struct Uniform<'s, 'o, T> {
    stream: &'s Stream,
    low: f64,
    range: f64,
    out: &'o mut [T],
}

impl<T: Real> Kernel for Uniform<'_, '_, T> {
    type Output = ();

    /// By several blocks of random words, which are independent and fill vectors, and of which each gives two numbers.
    #[inline(always)]
    fn run(self) {
        const BLOCKS: usize = 16;
        let mut blocks = [[0; 4]; BLOCKS];
        for (first, out) in (0..).step_by(BLOCKS).zip(self.out.chunks_mut(2 * BLOCKS)) {
            for (index, block) in (first..).zip(&mut blocks) {
                *block = self.stream.block(index);
            }
            let (words, _) = blocks.as_flattened().as_chunks::<2>();
            for (&[low, high], x) in words.iter().zip(out) {
                let bits = u64::from(low) | u64::from(high) << 32;
                *x = T::from_f64(self.low + self.range * unit_f64(bits));
            }
        }
    }
}

fn normal<T: Real>(stream: &Stream, mean: f64, std: f64, out: &mut [T]) {
    for (k, pair) in (0..).zip(out.chunks_mut(2)) {
        for (x, z) in pair.iter_mut().zip(stream.normal_pair(k)) {
            *x = T::from_f64(mean + std * z);
        }
    }
}

#[cfg(test)]
mod tests;

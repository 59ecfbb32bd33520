//! Operations without a kernel of their own: they are written in terms of the pointwise table, fused like everything
//! else, and differentiated by their parts.
//!
//! A branch that is not taken must not spoil the gradient of the one that is: `select(x > 0, x, exp(x) - 1)` has the
//! gradient `0 * exp(x)` on the right, which is NaN once `exp(x)` overflows. So operands of a branch that may overflow are
//! selected first.

mod regression;
#[cfg(test)]
mod tests;

pub use regression::SURFACES as REGRESSION;

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use crate::ir::{Args, Builder, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface, Value};

macro_rules! activations {
    ($($name:literal $usage:literal $build:expr;)*) => {
        /// Activations that users can write.
        pub static ACTIVATIONS: &[Surface] = &[$(Surface {
            name: $name,
            form: Form::Method,
            usage: concat!("x.", $name, $usage),
            lower: |b, args| lower(b, args, $build),
        },)*];
    };
}

activations! {
    "square" "()" |b, x, _| Ok(b.mul(x, x));
    "clamp" "(min = 0.0, max = 1.0)" clamp;
    "relu6" "()" |b, x, _| Ok(b.clamp(x, Some(Scalar::lit(0.0)), Some(Scalar::lit(6.0))));
    "hardtanh" "()" |b, x, _| Ok(b.clamp(x, Some(Scalar::lit(-1.0)), Some(Scalar::lit(1.0))));
    "leaky_relu" "(slope = 0.01)" |b, x, args| {
        let slope = args.scalar_or(1, "slope", 0.01)?;
        let below = b.scale(x, slope);
        Ok(where_positive(b, x, x, below))
    };
    "elu" "(alpha = 1.0)" |b, x, args| {
        let alpha = args.scalar_or(1, "alpha", 1.0)?;
        Ok(b.elu(x, alpha))
    };
    "selu" "()" |b, x, _| {
        let y = b.elu(x, Scalar::lit(SELU_ALPHA));
        Ok(b.scale(y, SELU_SCALE))
    };
    "gelu" "(approximate = \"none\")" gelu;
    "silu" "()" |b, x, _| {
        let gate = b.pointwise("sigmoid", &[x]);
        Ok(b.mul(x, gate))
    };
    "mish" "()" |b, x, _| {
        let softplus = b.pointwise("softplus", &[x]);
        let gate = b.pointwise("tanh", &[softplus]);
        Ok(b.mul(x, gate))
    };
    "hardsigmoid" "()" |b, x, _| Ok(hard_sigmoid(b, x));
    "hardswish" "()" |b, x, _| {
        let gate = hard_sigmoid(b, x);
        Ok(b.mul(x, gate))
    };
    "softsign" "()" |b, x, _| {
        let size = b.pointwise("abs", &[x]);
        let above = b.offset(size, 1.0);
        Ok(b.div(x, above))
    };
    "logsigmoid" "()" |b, x, _| {
        let minus = b.neg(x);
        let softplus = b.pointwise("softplus", &[minus]);
        Ok(b.neg(softplus))
    };
    "tanhshrink" "()" |b, x, _| {
        let tanh = b.pointwise("tanh", &[x]);
        Ok(b.sub(x, tanh))
    };
}

/// Constants of Klambauer et al., "Self-Normalizing Neural Networks" (2017), to double precision.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// The cubic coefficient of Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).
const GELU_CUBIC: f64 = 0.044_715;

type Build = fn(&mut Builder, Value, &mut Args) -> Result<Value, ShapeError>;

fn lower(b: &mut Builder, args: &mut Args, build: Build) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let y = build(b, x, args)?;
    args.finish()?;
    Ok(Operand::Tensor(y))
}

/// `if x > 0 { above } else { below }`; NaN takes the lower branch.
fn where_positive(b: &mut Builder, x: Value, above: Value, below: Value) -> Value {
    let zero = b.fill_like(x, 0.0);
    let is_positive = b.pointwise("gt", &[x, zero]);
    b.select(is_positive, above, below)
}

fn clamp(b: &mut Builder, x: Value, args: &mut Args) -> Result<Value, ShapeError> {
    let (min, max) = (args.scalar(1, "min")?, args.scalar(2, "max")?);
    if min.is_none() && max.is_none() {
        let message = "`clamp` takes a lower bound, an upper bound, or both";
        return Err(ShapeError::new(message).help(format!("it is written `{}`", args.usage)));
    }
    Ok(b.clamp(x, min, max))
}

/// `clamp(x + 3, 0, 6) / 6`.
fn hard_sigmoid(b: &mut Builder, x: Value) -> Value {
    let moved = b.offset(x, 3.0);
    let bounded = b.clamp(moved, Some(Scalar::lit(0.0)), Some(Scalar::lit(6.0)));
    b.scale(bounded, 1.0 / 6.0)
}

fn gelu(b: &mut Builder, x: Value, args: &mut Args) -> Result<Value, ShapeError> {
    match args.any(1, "approximate") {
        None => Ok(b.gelu(x)),
        Some(Operand::Text(text)) if text == "none" => Ok(b.gelu(x)),
        Some(Operand::Text(text)) if text == "tanh" => Ok(b.gelu_tanh(x)),
        Some(_) => Err(ShapeError::new("`approximate` is \"none\" or \"tanh\"").help(args.usage)),
    }
}

/// Constructors of activations.
impl Builder {
    /// `x` where it lies between the bounds, else the nearer bound. The gradient is 1 at the bounds themselves and 0
    /// outside; NaN stays NaN.
    pub fn clamp(&mut self, x: Value, min: Option<Scalar>, max: Option<Scalar>) -> Value {
        let mut y = x;
        for (bound, comparison) in [(min, "lt"), (max, "gt")] {
            if let Some(bound) = bound {
                let bound = self.fill_like(y, bound);
                let is_outside = self.pointwise(comparison, &[y, bound]);
                y = self.select(is_outside, bound, y);
            }
        }
        y
    }

    /// `x` above 0, `alpha (e^x - 1)` elsewhere.
    pub fn elu(&mut self, x: Value, alpha: Scalar) -> Value {
        let zero = self.fill_like(x, 0.0);
        let at_most_zero = where_positive(self, x, zero, x);
        let curve = self.pointwise("expm1", &[at_most_zero]);
        let below = self.scale(curve, alpha);
        where_positive(self, x, x, below)
    }

    /// `x Phi(x)`, `Phi` being the distribution function of the normal distribution: `x (1 + erf(x / sqrt 2)) / 2`.
    pub fn gelu(&mut self, x: Value) -> Value {
        let scaled = self.scale(x, FRAC_1_SQRT_2);
        let erf = self.pointwise("erf", &[scaled]);
        self.half_gate(x, erf)
    }

    /// The approximation `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, as GPT-2 has it. As (1 + tanh u) / 2 is the
    /// logistic function of 2 u, it is computed by that, which takes less time and loses no digits where the result is small.
    pub fn gelu_tanh(&mut self, x: Value) -> Value {
        let square = self.mul(x, x);
        let bend = self.scale(square, GELU_CUBIC);
        let bend = self.offset(bend, 1.0);
        let bent = self.mul(x, bend);
        // 2 sqrt(2 / pi) = (2 / sqrt pi) sqrt 2
        let scaled = self.scale(bent, FRAC_2_SQRT_PI * SQRT_2);
        let gate = self.pointwise("sigmoid", &[scaled]);
        self.mul(x, gate)
    }

    /// `x (1 + gate) / 2`.
    fn half_gate(&mut self, x: Value, gate: Value) -> Value {
        let above = self.offset(gate, 1.0);
        let half = self.scale(x, 0.5);
        self.mul(half, above)
    }
}

/// The samples of all compositions.
pub fn samples() -> Vec<Sample> {
    let sample = |name, body, domain| Sample {
        name,
        dims: "B: Dim, N: Dim",
        args: "x: Tensor<B, N>",
        ret: "Tensor<B, N>",
        body,
        sizes: &[&[1, 1], &[3, 5], &[2, 67], &[0, 4]],
        domain,
        gradient: SampleGradient::Checked,
    };
    let (wide, above, below) = ((-2.0, 2.0), (0.1, 2.0), (-2.0, -0.1));
    let mut samples = vec![
        sample("square", "x.square()", wide),
        sample("clamp_inside", "x.clamp(min = -2.5, max = 2.5)", wide),
        sample("clamp_outside", "x.clamp(max = 0.05)", above),
        sample("relu6", "x.relu6()", above),
        sample("hardtanh", "x.hardtanh()", (-0.9, 0.9)),
        sample("leaky_relu", "x.leaky_relu()", below),
        sample("leaky_relu_slope", "x.leaky_relu(slope = 0.2)", below),
        sample("elu", "x.elu()", below),
        sample("elu_alpha", "x.elu(alpha = 0.5)", below),
        sample("elu_above", "x.elu()", above),
        sample("selu", "x.selu()", below),
        sample("gelu", "x.gelu()", wide),
        sample("gelu_tanh", "x.gelu(approximate = \"tanh\")", wide),
        sample("silu", "x.silu()", wide),
        sample("mish", "x.mish()", wide),
        sample("hardsigmoid", "x.hardsigmoid()", wide),
        sample("hardswish", "x.hardswish()", wide),
        sample("softsign", "x.softsign()", above),
        sample("logsigmoid", "x.logsigmoid()", wide),
        sample("tanhshrink", "x.tanhshrink()", wide),
    ];
    samples.extend(regression::samples());
    samples
}

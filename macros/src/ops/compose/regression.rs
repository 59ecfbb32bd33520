//! Losses of regression. They never broadcast: a target of another shape is nearly always a mistake.

use crate::ir::scalar::ScalarFn;
use crate::ir::{Args, Builder, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface, Value};
use crate::ops::loss::LossReduction;

macro_rules! losses {
    ($($name:literal $alias:literal $options:literal $build:expr;)*) => {
        pub static SURFACES: &[Surface] = &[$(
            Surface {
                name: $name,
                form: Form::Function,
                usage: concat!($name, "(x, target, ", $options, "reduction = \"mean\")"),
                lower: |b, args| lower(b, args, $name, $build),
            },
            Surface {
                name: $alias,
                form: Form::Function,
                usage: concat!($alias, "(x, target, ", $options, "reduction = \"mean\")"),
                lower: |b, args| lower(b, args, $alias, $build),
            },
        )*];
    };
}

losses! {
    "mse" "mse_loss" "" |b, d, _| Ok(b.mul(d, d));
    "l1" "l1_loss" "" |b, d, _| Ok(b.pointwise("abs", &[d]));
    "smooth_l1" "smooth_l1_loss" "beta = 1.0, " |b, d, args| {
        let beta = args.scalar_or(usize::MAX, "beta", 1.0)?;
        let inside = Scalar::binary(ScalarFn::Div, Scalar::lit(0.5), beta.clone());
        let offset = Scalar::binary(ScalarFn::Mul, Scalar::lit(-0.5), beta.clone());
        Ok(b.round_corner(d, beta, inside, (Scalar::lit(1.0), offset)))
    };
    "huber" "huber_loss" "delta = 1.0, " |b, d, args| {
        let delta = args.scalar_or(usize::MAX, "delta", 1.0)?;
        let square = Scalar::binary(ScalarFn::Mul, delta.clone(), delta.clone());
        let offset = Scalar::binary(ScalarFn::Mul, Scalar::lit(-0.5), square);
        Ok(b.round_corner(d, delta.clone(), Scalar::lit(0.5), (delta, offset)))
    };
}

/// The loss of every element from the difference.
type Build = fn(&mut Builder, Value, &mut Args) -> Result<Value, ShapeError>;

fn lower(b: &mut Builder, args: &mut Args, name: &str, build: Build) -> Result<Operand, ShapeError> {
    let (x, target) = (args.tensor(0, "x")?, args.tensor(1, "target")?);
    let reduction = LossReduction::take(args)?;
    if let Some(error) = b.loss_mismatch(name, x, target) {
        return Ok(Operand::Tensor(error));
    }
    let difference = b.sub(x, target);
    let losses = build(b, difference, args)?;
    args.finish()?;
    Ok(Operand::Tensor(b.reduce_loss(losses, reduction)))
}

impl Builder {
    /// `inside d^2` where `|d| < corner`, `slope |d| + offset` elsewhere.
    fn round_corner(
        &mut self,
        d: Value,
        corner: Scalar,
        inside: Scalar,
        (slope, offset): (Scalar, Scalar),
    ) -> Value {
        let size = self.pointwise("abs", &[d]);
        let corner = self.fill_like(d, corner);
        let is_inside = self.pointwise("lt", &[size, corner]);
        let square = self.mul(d, d);
        let square = self.scale(square, inside);
        let line = self.scale(size, slope);
        let line = self.offset(line, offset);
        self.select(is_inside, square, line)
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |name, ret, body, domain| Sample {
        name,
        dims: "B: Dim, N: Dim",
        args: "x: Tensor<B, N>, t: Tensor<B, N>",
        ret,
        body,
        sizes: &[&[1, 1], &[3, 5], &[2, 67]],
        domain,
        gradient: SampleGradient::Checked,
    };
    let near = (-0.4, 0.4);
    vec![
        sample("mse_mean", "Scalar", "mse(x, t)", near),
        sample(
            "mse_none",
            "Tensor<B, N>",
            "mse_loss(x, t, reduction = \"none\")",
            near,
        ),
        sample("l1_sum", "Scalar", "l1(x + 1.0, t, reduction = \"sum\")", near),
        sample("smooth_l1_inside", "Scalar", "smooth_l1(x, t, beta = 0.9)", near),
        sample(
            "smooth_l1_outside",
            "Scalar",
            "smooth_l1(x + 3.0, t, beta = 0.5)",
            near,
        ),
        sample("huber_inside", "Scalar", "huber(x, t, delta = 0.9)", near),
        sample("huber_outside", "Scalar", "huber(x + 3.0, t, delta = 0.5)", near),
    ]
}

//! Convolution and pooling of sequences `[B, C, L]`.
//!
//! A sequence is an image of one row: these surfaces put an axis of size 1 in front of the last one, which is another
//! reading of the same memory, and use the operations of images. So there is one family of kernels, and gradients,
//! epilogues and second derivatives of convolution serve sequences as well. Every shape is checked here first, because an
//! error must speak of the sequence that the user has and not of the image that he has not.

#[cfg(test)]
mod tests;

use crate::ir::{
    Args, Builder, DType, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface, Type, Value,
};
use crate::ops::conv::Conv2d;
use crate::ops::pool::{Pool2d, PoolKind, Windows, average, check_padding};
use crate::ops::window::Slide;
use crate::shape::Dim;

/// What users can write.
pub static SURFACES: &[Surface] = &[
    Surface {
        name: "conv1d",
        form: Form::Method,
        usage: "x.conv1d(weight, bias, stride = 1, padding = 0, dilation = 1, groups = 1)",
        lower: lower_conv,
    },
    Surface {
        name: "max_pool1d",
        form: Form::Method,
        usage: "x.max_pool1d(kernel, stride = kernel, padding = 0, dilation = 1)",
        lower: lower_max,
    },
    Surface {
        name: "avg_pool1d",
        form: Form::Method,
        usage: "x.avg_pool1d(kernel, stride = kernel, padding = 0, count_include_pad = true)",
        lower: lower_average,
    },
    Surface {
        name: "adaptive_avg_pool1d",
        form: Form::Method,
        usage: "x.adaptive_avg_pool1d(size)",
        lower: lower_adaptive,
    },
    Surface {
        name: "global_avg_pool1d",
        form: Form::Method,
        usage: "x.global_avg_pool1d()",
        lower: lower_global,
    },
];

/// What lies along the last axis, and what it belongs to, in messages.
const WORDS: [&str; 2] = ["steps", "sequence"];

/// The same elements with an axis of size 1 before the last.
fn with_row(b: &mut Builder, x: Value) -> Value {
    let mut shape = b.shape(x);
    shape.insert(shape.len() - 1, Dim::lit(1));
    b.reshape(x, shape)
}

/// The same elements without the axis before the last, which has size 1.
fn without_row(b: &mut Builder, x: Value) -> Value {
    if b.is_poison(x) {
        return x;
    }
    let mut shape = b.shape(x);
    shape.remove(shape.len() - 2);
    b.reshape(x, shape)
}

/// `y[b, o, u] = sum over c, i of x[b, c, u s + i d - p] w[o, c, i]`, and the bias: `torch.nn.functional.conv1d`.
fn lower_conv(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, w) = (args.tensor(0, "x")?, args.tensor(1, "weight")?);
    let bias = match args.any(2, "bias") {
        None => None,
        Some(Operand::Tensor(bias)) => Some(bias),
        Some(_) => return Err(ShapeError::new("`bias` of `conv1d` should be a tensor").help(args.usage)),
    };
    let slide = Slide::take(args, 1)?;
    let groups = args.literal(usize::MAX, "groups")?.unwrap_or(1);
    args.finish()?;
    if groups < 1 {
        let message = format!("`groups` must be at least 1, found {groups}");
        return Err(ShapeError::new(message));
    }
    if let Some(poison) = [Some(x), Some(w), bias]
        .into_iter()
        .flatten()
        .find(|&v| b.is_poison(v))
    {
        return Ok(Operand::Tensor(poison));
    }
    check_conv(b, x, w, bias, groups, slide)?;
    let (image, kernel) = (with_row(b, x), with_row(b, w));
    let window = slide.along_a_row();
    let y = b.conv2d(Conv2d::new(window, groups), image, kernel, bias);
    Ok(Operand::Tensor(without_row(b, y)))
}

fn check_conv(
    b: &mut Builder,
    x: Value,
    w: Value,
    bias: Option<Value>,
    groups: i64,
    slide: Slide,
) -> Result<(), ShapeError> {
    let (x, w) = (b.ty(x).clone(), b.ty(w).clone());
    if x.dtype != DType::Float || x.rank() != 3 || w.dtype != DType::Float || w.rank() != 3 {
        return Err(ShapeError::new(format!(
            "`conv1d` takes sequences [B, C, L] and a weight [O, C / groups, K], found {x} and {w}"
        )));
    }
    if w.shape[0].divide_exact(&Dim::lit(groups)).is_none() {
        return Err(ShapeError::new(format!(
            "{} output channels of `conv1d` cannot be divided into {groups} groups",
            w.shape[0]
        )));
    }
    let expected = &w.shape[1] * groups;
    if !b.constraints.equal(&x.shape[1], &expected) {
        let message = format!(
            "`conv1d` expected `{expected}` input channels, found `{}` (axis 1 of {x})",
            x.shape[1]
        );
        return Err(ShapeError::new(message).help(format!("the weight is {w}, in {groups} group(s)")));
    }
    slide.places("conv1d", WORDS, &x.shape[2], &w.shape[2], &mut b.constraints)?;
    let Some(bias) = bias.map(|bias| b.ty(bias).clone()) else {
        return Ok(());
    };
    if bias.rank() != 1 || !b.constraints.equal(&bias.shape[0], &w.shape[0]) {
        return Err(ShapeError::new(format!(
            "`conv1d` expected a bias for each of the {} output channels, found {bias}",
            w.shape[0]
        )));
    }
    Ok(())
}

/// The operand of a pooling operation, unless it is poison.
fn sequence(b: &Builder, x: Value, op: &str) -> Result<Option<Type>, ShapeError> {
    if b.is_poison(x) {
        return Ok(None);
    }
    let ty = b.ty(x).clone();
    if ty.dtype != DType::Float || ty.rank() < 2 {
        return Err(ShapeError::new(format!(
            "`{op}` takes float sequences [.., C, L], found {ty}"
        )));
    }
    Ok(Some(ty))
}

/// A literal of at least 1.
fn positive(args: &mut Args, name: &str) -> Result<i64, ShapeError> {
    let wrong = format!("`{name}` should be a literal above 0");
    let number = match args.any(1, name) {
        Some(Operand::Size(dim)) => dim.as_lit().filter(|n| *n > 0),
        _ => None,
    };
    number.ok_or_else(|| ShapeError::new(wrong).help(format!("it is written `{}`", args.usage)))
}

/// Windows of a kernel that slides; the stride is the kernel where none is given.
fn slide_windows(
    b: &mut Builder,
    args: &mut Args,
    op: &'static str,
    kind: fn(&mut Args, &str) -> Result<PoolKind, ShapeError>,
) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let kind = kind(args, op)?;
    let kernel = positive(args, "kernel")?;
    let slide = Slide::take(args, kernel)?;
    check_padding(op, kernel, slide.padding)?;
    args.finish()?;
    let Some(ty) = sequence(b, x, op)? else {
        return Ok(Operand::Tensor(x));
    };
    slide.places(
        op,
        WORDS,
        &ty.shape[ty.rank() - 1],
        &Dim::lit(kernel),
        &mut b.constraints,
    )?;
    let windows = Windows::Sliding([1, kernel], slide.along_a_row());
    Ok(Operand::Tensor(pooled(b, x, Pool2d::new(kind, windows))))
}

fn pooled(b: &mut Builder, x: Value, pool: Pool2d) -> Value {
    let image = with_row(b, x);
    let y = b.push(pool, &[image]);
    without_row(b, y)
}

fn lower_max(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    slide_windows(b, args, "max_pool1d", |_, _| Ok(PoolKind::Max))
}

fn lower_average(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    slide_windows(b, args, "avg_pool1d", average)
}

/// As many windows as the result has steps: they share out the sequence.
fn lower_adaptive(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let size = positive(args, "size")?;
    args.finish()?;
    if sequence(b, x, "adaptive_avg_pool1d")?.is_none() {
        return Ok(Operand::Tensor(x));
    }
    let pool = Pool2d::new(PoolKind::AverageInside, Windows::Adaptive([1, size]));
    Ok(Operand::Tensor(pooled(b, x, pool)))
}

/// The mean of every channel: `[B, C, L]` to `[B, C]`.
fn lower_global(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    args.finish()?;
    let Some(ty) = sequence(b, x, "global_avg_pool1d")? else {
        return Ok(Operand::Tensor(x));
    };
    let last = ty.rank() - 1;
    let sum = b.sum(x, &[last]);
    Ok(Operand::Tensor(
        b.scale(sum, Scalar::dim(&ty.shape[last]).recip()),
    ))
}

/// Name, arguments, result and body of the samples of fixed lengths.
const SAMPLES: &[[&str; 4]] = &[
    [
        "conv1d_plain",
        "x: Tensor<B, 2, 9>, w: Tensor<3, 2, 4>",
        "Tensor<B, 3, 6>",
        "x.conv1d(w)",
    ],
    [
        "conv1d_bias_padding",
        "x: Tensor<B, 1, 5>, w: Tensor<2, 1, 3>, c: Tensor<2>",
        "Tensor<B, 2, 7>",
        "x.conv1d(w, c, padding = 2)",
    ],
    [
        "conv1d_stride_over_kernel",
        "x: Tensor<B, 2, 8>, w: Tensor<2, 2, 2>",
        "Tensor<B, 2, 3>",
        "x.conv1d(w, stride = 3)",
    ],
    [
        "conv1d_dilated_groups",
        "x: Tensor<B, 4, 7>, w: Tensor<6, 2, 3>",
        "Tensor<B, 6, 3>",
        "x.conv1d(w, dilation = 2, groups = 2)",
    ],
    [
        "max_pool1d",
        "x: Tensor<B, 2, 7>",
        "Tensor<B, 2, 3>",
        "x.max_pool1d(2)",
    ],
    [
        "max_pool1d_overlap",
        "x: Tensor<B, 1, 8>",
        "Tensor<B, 1, 4>",
        "x.max_pool1d(3, stride = 2, padding = 1)",
    ],
    [
        "max_pool1d_dilated",
        "x: Tensor<B, 1, 6>",
        "Tensor<B, 1, 4>",
        "x.max_pool1d(2, stride = 1, dilation = 2)",
    ],
    [
        "avg_pool1d",
        "x: Tensor<B, 2, 5>",
        "Tensor<B, 2, 2>",
        "x.avg_pool1d(2)",
    ],
    [
        "avg_pool1d_inside",
        "x: Tensor<B, 1, 5>",
        "Tensor<B, 1, 3>",
        "x.avg_pool1d(3, stride = 2, padding = 1, count_include_pad = false)",
    ],
    [
        "adaptive_avg_pool1d",
        "x: Tensor<B, 2, 7>",
        "Tensor<B, 2, 3>",
        "x.adaptive_avg_pool1d(3)",
    ],
    [
        "global_avg_pool1d",
        "x: Tensor<B, 3, 5>",
        "Tensor<B, 3>",
        "x.global_avg_pool1d()",
    ],
];

/// Programs for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |dims, [name, args, ret, body]: [&'static str; 4], sizes| Sample {
        name,
        dims,
        args,
        ret,
        body,
        sizes,
        domain: (-2.0, 2.0),
        gradient: SampleGradient::Checked,
    };
    let any_length = [
        "conv1d_any_length",
        "x: Tensor<B, 3, L>, w: Tensor<2, 3, 3>",
        "Tensor<B, 2, L>",
        "x.conv1d(w, padding = 1)",
    ];
    let lengths: &[&[usize]] = &[&[2, 1], &[1, 17], &[0, 3]];
    let fixed = SAMPLES
        .iter()
        .map(|row| sample("B: Dim", *row, &[&[1], &[0], &[3]]));
    fixed
        .chain([sample("B: Dim, L: Dim", any_length, lengths)])
        .collect()
}

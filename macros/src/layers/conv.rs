//! Convolutions.

use crate::ir::{Args, Builder, Flag, Form, Operand, ShapeError, Value};
use crate::layers::{self, Axis, Builtin, Declared, Forward, Layer, Sizes};
use crate::model::InitSpec;
use crate::shape::Dim;

/// The options that are the operation's as well.
const GEOMETRY: &[&str] = &["stride", "padding", "dilation", "groups"];

/// The layers.
pub static LAYERS: &[Builtin] = &[CONV1D, CONV2D];

const CONV1D: Builtin = Builtin {
    name: "Conv1d",
    doc: "A convolution of sequences: y[b, o] = Σᵢ w[o, i] ⋆ x[b, i] + bias[o], with ⋆ the cross-correlation.\n\n\
          Shapes: `x: [B, IN, L]`, `weight: [OUT, IN / groups, K]`, `bias: [OUT]` -> `y: [B, OUT, L']` with \
          L' = ⌊(L + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1.\n\n\
          Options: `stride = 1`, `padding = 0`, `dilation = 1`, `groups = 1`, `bias = true`; `init`, the first values of the \
          weight (`kaiming_normal`, `normal(0.0, 0.02)`). First values: U(-1/√n, 1/√n) for both, with n = IN / groups K.\n\n\
          PyTorch: `torch.nn.Conv1d(IN, OUT, K)`.",
    usage: "Conv1d<IN, OUT, K>",
    sizes: Sizes::Named(&["IN", "OUT", "K"]),
    options: &["stride", "padding", "dilation", "groups", "bias", "init"],
    declare: declare_conv1d,
    forward: Forward::One(|b, layer, args| convolve(b, layer, args, "conv1d", (3, "[B, C, L]"))),
};

const CONV2D: Builtin = Builtin {
    name: "Conv2d",
    doc: "A convolution of images: y[b, o] = Σᵢ w[o, i] ⋆ x[b, i] + bias[o], with ⋆ the cross-correlation.\n\n\
          Shapes: `x: [B, IN, H, W]`, `weight: [OUT, IN / groups, K, KW]`, `bias: [OUT]` -> `y: [B, OUT, H', W']` with \
          H' = ⌊(H + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1, W' likewise. `Conv2d<IN, OUT, K>` has K x K \
          kernels, `Conv2d<IN, OUT, K, KW>` K x KW.\n\n\
          Options: `stride = 1`, `padding = 0`, `dilation = 1` (a number or a pair), `groups = 1`, `bias = true`; `init`, the \
          first values of the weight (`kaiming_normal`, `normal(0.0, 0.02)`). First values: U(-1/√n, 1/√n) for both, \
          with n = IN / groups K KW.\n\n\
          PyTorch: `torch.nn.Conv2d(IN, OUT, K)`.",
    usage: "Conv2d<IN, OUT, K>",
    sizes: Sizes::Between(3, &["IN", "OUT", "K", "KW"]),
    options: &["stride", "padding", "dilation", "groups", "bias", "init"],
    declare: declare_conv2d,
    forward: Forward::One(|b, layer, args| convolve(b, layer, args, "conv2d", (4, "[B, C, H, W]"))),
};

fn declare_conv1d(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let length = layers::size(config, 2, "K")?;
    declare(config, &[length])
}

fn declare_conv2d(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let height = layers::size(config, 2, "K")?;
    let width = config.size(3, "KW")?.unwrap_or_else(|| height.clone());
    declare(config, &[height, width])
}

/// Weight and bias of a convolution with a kernel of these sizes.
fn declare(config: &mut Args, kernel: &[Dim]) -> Result<Vec<Declared>, ShapeError> {
    let (n_in, n_out) = (layers::size(config, 0, "IN")?, layers::size(config, 1, "OUT")?);
    let groups = config.literal(usize::MAX, "groups")?.unwrap_or(1);
    let splits = |channels: &Dim| match channels.as_lit() {
        Some(n) => groups > 0 && n % groups == 0,
        None => groups > 0,
    };
    if let Some(channels) = [&n_in, &n_out].into_iter().find(|channels| !splits(channels)) {
        return Err(ShapeError::new(format!(
            "{channels} channels do not split into {groups} equal groups"
        )));
    }
    let n_group = n_in.floor_div(&Dim::lit(groups));
    let fan_in = kernel.iter().fold(n_group.clone(), |n, size| &n * size);
    let mut shape = vec![n_out.clone(), n_group];
    shape.extend_from_slice(kernel);
    let mut tensors = vec![Declared::param("weight", shape, InitSpec::LINEAR_WEIGHT)];
    if config.flag_or("bias", Flag::Yes)? == Flag::Yes {
        tensors.push(Declared::param(
            "bias",
            vec![n_out],
            InitSpec::LinearBias { fan_in },
        ));
    }
    Ok(tensors)
}

/// The operation of that name with the layer's tensors; `axes` are the number of the input's axes and their names.
fn convolve(
    b: &mut Builder,
    layer: &Layer,
    args: &mut Args,
    operation: &'static str,
    axes: (usize, &str),
) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    layer.expect_rank(b, x, &[axes.0], axes.1)?;
    let n_in = layers::size(&mut layer.config(), 0, "IN")?;
    layer.expect_axis(b, x, Axis::Channel, &n_in, "channels")?;
    let weight = layer.weight("weight")?;
    let positional = [Some(x), Some(weight), layer.param("bias")];
    let positional = positional.into_iter().flatten().map(Operand::Tensor).collect();
    layers::apply(b, operation, Form::Method, positional, layer.options(GEOMETRY))
}

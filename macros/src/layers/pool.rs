//! Pooling, and the way from images and sequences to features.

use crate::ir::{Args, Builder, Form, Operand, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Forward, Layer, Sizes};

/// The axes of an input: their number and their names.
type Axes = (usize, &'static str);

const SEQUENCES: Axes = (3, "[B, C, L]");
const IMAGES: Axes = (4, "[B, C, H, W]");

/// The layers.
pub static LAYERS: &[Builtin] = &[
    Builtin {
        name: "MaxPool1d",
        doc: "The largest value of every window of a sequence.\n\n\
              Shapes: `x: [B, C, L]` -> `y: [B, C, L']` with L' = ⌊(L + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1.\
              \n\nOptions: `stride` (the window's size), `padding = 0`, `dilation = 1`.\n\n\
              PyTorch: `torch.nn.MaxPool1d(K)`.",
        usage: "MaxPool1d<K>",
        sizes: Sizes::Named(&["K"]),
        options: &["stride", "padding", "dilation"],
        declare: nothing,
        forward: Forward::One(|b, layer, args| windows(b, layer, args, "max_pool1d", SEQUENCES)),
    },
    Builtin {
        name: "AvgPool1d",
        doc: "The mean of every window of a sequence.\n\n\
              Shapes: `x: [B, C, L]` -> `y: [B, C, L']` with L' = ⌊(L + 2 padding - K) / stride⌋ + 1.\n\n\
              Options: `stride` (the window's size), `padding = 0`, `count_include_pad = true`.\n\n\
              PyTorch: `torch.nn.AvgPool1d(K)`.",
        usage: "AvgPool1d<K>",
        sizes: Sizes::Named(&["K"]),
        options: &["stride", "padding", "count_include_pad"],
        declare: nothing,
        forward: Forward::One(|b, layer, args| windows(b, layer, args, "avg_pool1d", SEQUENCES)),
    },
    Builtin {
        name: "AdaptiveAvgPool1d",
        doc: "The means of windows that divide a sequence into a given number of steps.\n\n\
              Shapes: `x: [B, C, L]` -> `y: [B, C, OUT]`; step i is the mean of ⌊i L / OUT⌋ .. ⌈(i + 1) L / OUT⌉.\n\n\
              PyTorch: `torch.nn.AdaptiveAvgPool1d(OUT)`.",
        usage: "AdaptiveAvgPool1d<OUT>",
        sizes: Sizes::Named(&["OUT"]),
        options: &[],
        declare: nothing,
        forward: Forward::One(|b, layer, args| windows(b, layer, args, "adaptive_avg_pool1d", SEQUENCES)),
    },
    Builtin {
        name: "GlobalAvgPool1d",
        doc: "The mean of every channel of a sequence.\n\nShapes: `x: [B, C, L]` -> `y: [B, C]`.\n\n\
              PyTorch: `x.mean(dim=2)`.",
        usage: "GlobalAvgPool1d",
        sizes: Sizes::Named(&[]),
        options: &[],
        declare: nothing,
        forward: Forward::One(|b, layer, args| global(b, layer, args, "global_avg_pool1d", SEQUENCES)),
    },
    Builtin {
        name: "MaxPool2d",
        doc: "The largest value of every window.\n\n\
              Shapes: `x: [B, C, H, W]` -> `y: [B, C, H', W']` with \
              H' = ⌊(H + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1, W' likewise. `MaxPool2d<K>` has K x K windows, \
              `MaxPool2d<K, KW>` K x KW.\n\n\
              Options: `stride` (the window's size), `padding = 0`, `dilation = 1`.\n\n\
              PyTorch: `torch.nn.MaxPool2d(K)`.",
        usage: "MaxPool2d<K>",
        sizes: Sizes::Between(1, &["K", "KW"]),
        options: &["stride", "padding", "dilation"],
        declare: nothing,
        forward: Forward::One(|b, layer, args| windows(b, layer, args, "max_pool2d", IMAGES)),
    },
    Builtin {
        name: "AvgPool2d",
        doc: "The mean of every window.\n\n\
              Shapes: `x: [B, C, H, W]` -> `y: [B, C, H', W']` with H' = ⌊(H + 2 padding - K) / stride⌋ + 1, W' likewise. \
              `AvgPool2d<K>` has K x K windows, `AvgPool2d<K, KW>` K x KW.\n\n\
              Options: `stride` (the window's size), `padding = 0`, `count_include_pad = true`.\n\n\
              PyTorch: `torch.nn.AvgPool2d(K)`.",
        usage: "AvgPool2d<K>",
        sizes: Sizes::Between(1, &["K", "KW"]),
        options: &["stride", "padding", "count_include_pad"],
        declare: nothing,
        forward: Forward::One(|b, layer, args| windows(b, layer, args, "avg_pool2d", IMAGES)),
    },
    Builtin {
        name: "AdaptiveAvgPool2d",
        doc: "The means of windows that divide an image into a grid of a given size.\n\n\
              Shapes: `x: [B, C, H, W]` -> `y: [B, C, OH, OW]`; `AdaptiveAvgPool2d<OH>` stands for OH x OH.\n\n\
              PyTorch: `torch.nn.AdaptiveAvgPool2d((OH, OW))`.",
        usage: "AdaptiveAvgPool2d<OH, OW>",
        sizes: Sizes::Between(1, &["OH", "OW"]),
        options: &[],
        declare: nothing,
        forward: Forward::One(|b, layer, args| windows(b, layer, args, "adaptive_avg_pool2d", IMAGES)),
    },
    Builtin {
        name: "GlobalAvgPool2d",
        doc: "The mean of every channel of an image.\n\nShapes: `x: [B, C, H, W]` -> `y: [B, C]`.\n\n\
              PyTorch: `x.mean(dim=(2, 3))`.",
        usage: "GlobalAvgPool2d",
        sizes: Sizes::Named(&[]),
        options: &[],
        declare: nothing,
        forward: Forward::One(|b, layer, args| global(b, layer, args, "global_avg_pool2d", IMAGES)),
    },
    Builtin {
        name: "Flatten",
        doc: "Makes one axis of several, in row-major order.\n\n\
              Shapes: `x: [B, ..]` -> `y: [B, N]` with N the product of the other sizes.\n\n\
              Options: `start = 1`, `end = -1`: the first and the last axis that become one.\n\n\
              PyTorch: `torch.nn.Flatten()`.",
        usage: "Flatten",
        sizes: Sizes::Named(&[]),
        options: &["start", "end"],
        declare: nothing,
        forward: Forward::One(|b, layer, args| {
            let x = args.tensor(0, "x")?;
            layers::apply(
                b,
                "flatten",
                Form::Method,
                vec![Operand::Tensor(x)],
                layer.options(&["start", "end"]),
            )
        }),
    },
];

fn nothing(_: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    Ok(Vec::new())
}

/// The operation of that name over windows of the layer's sizes.
fn windows(
    b: &mut Builder,
    layer: &Layer,
    args: &mut Args,
    operation: &'static str,
    axes: Axes,
) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    layer.expect_rank(b, x, &[axes.0], axes.1)?;
    let mut sizes: Vec<Operand> = layer.config().positional.into_iter().flatten().collect();
    let window = match sizes.len() {
        1 => sizes.remove(0),
        _ => Operand::Tuple(sizes),
    };
    let options = layer
        .config()
        .named
        .into_iter()
        .map(|(name, value, _)| (name, value))
        .collect();
    layers::apply(
        b,
        operation,
        Form::Method,
        vec![Operand::Tensor(x), window],
        options,
    )
}

/// The operation of that name over everything but batch and channels.
fn global(
    b: &mut Builder,
    layer: &Layer,
    args: &mut Args,
    operation: &'static str,
    axes: Axes,
) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    layer.expect_rank(b, x, &[axes.0], axes.1)?;
    layers::apply(b, operation, Form::Method, vec![Operand::Tensor(x)], Vec::new())
}

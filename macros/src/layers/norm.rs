//! Normalisation.

use crate::ir::{Args, Builder, Flag, Mode, Scalar, ShapeError, Value};
use crate::layers::{self, Axis, Builtin, Declared, Forward, Layer, Sizes};
use crate::model::InitSpec;
use crate::shape::Dim;

const BATCH_OPTIONS: &[&str] = &["eps", "momentum", "affine"];

/// The layers.
pub static LAYERS: &[Builtin] = &[
    Builtin {
        name: "BatchNorm1d",
        doc: "Normalises every channel by its mean and variance over the batch: y = (x - mean) / sqrt(var + eps) w + b.\n\n\
              Training uses the batch's own (biased) variance and mixes mean and unbiased variance into `running_mean` \
              and `running_var`, new = (1 - momentum) old + momentum batch; plain calls use those.\n\n\
              Shapes: `x: [B, C]` or `[B, C, L]` -> `y` of the same; `weight`, `bias`, `running_mean`, \
              `running_var: [C]`.\n\n\
              Options: `eps = 1e-5`, `momentum = 0.1`, `affine = true`. First values: weight and `running_var` 1, the \
              others 0.\n\n\
              PyTorch: `torch.nn.BatchNorm1d(C)`. Source: Ioffe and Szegedy, \"Batch normalization\" (2015).",
        usage: "BatchNorm1d<C>",
        sizes: Sizes::Named(&["C"]),
        options: BATCH_OPTIONS,
        declare: declare_batch_norm,
        forward: Forward::One(|b, layer, args| batch_norm(b, layer, args, &[2, 3], "[B, C] or [B, C, L]")),
    },
    Builtin {
        name: "BatchNorm2d",
        doc: "Normalises every channel of images by its mean and variance over batch and pixels: \
              y = (x - mean) / sqrt(var + eps) w + b.\n\n\
              Training uses the batch's own (biased) variance and mixes mean and unbiased variance into `running_mean` \
              and `running_var`, new = (1 - momentum) old + momentum batch; plain calls use those.\n\n\
              Shapes: `x: [B, C, H, W]` -> `y` of the same; `weight`, `bias`, `running_mean`, `running_var: [C]`.\n\n\
              Options: `eps = 1e-5`, `momentum = 0.1`, `affine = true`. First values: weight and `running_var` 1, the \
              others 0.\n\n\
              PyTorch: `torch.nn.BatchNorm2d(C)`. Source: Ioffe and Szegedy, \"Batch normalization\" (2015).",
        usage: "BatchNorm2d<C>",
        sizes: Sizes::Named(&["C"]),
        options: BATCH_OPTIONS,
        declare: declare_batch_norm,
        forward: Forward::One(|b, layer, args| batch_norm(b, layer, args, &[4], "[B, C, H, W]")),
    },
    Builtin {
        name: "LayerNorm",
        doc: "Normalises the last axes of every sample: y = (x - mean) / sqrt(var + eps) w + b, with the biased variance.\
              \n\nShapes: `x: [.., D]` (or `[.., H, W]` for `LayerNorm<H, W>`) -> `y` of the same; `weight`, `bias: [D]`.\
              \n\nOptions: `eps = 1e-5`, `affine = true`, `bias = true`. First values: weight 1, bias 0.\n\n\
              PyTorch: `torch.nn.LayerNorm(D)`. Source: Ba, Kiros and Hinton, \"Layer normalization\" (2016).",
        usage: "LayerNorm<D, ..>",
        sizes: Sizes::Trailing("D"),
        options: &["eps", "affine", "bias"],
        declare: declare_layer_norm,
        forward: Forward::One(layer_norm),
    },
    Builtin {
        name: "RmsNorm",
        doc: "Divides the last axes of every sample by their root mean square: y = x / sqrt(mean(x²) + eps) w.\n\n\
              Shapes: `x: [.., D]` -> `y` of the same; `weight: [D]`.\n\n\
              Options: `eps = 1.1920929e-7`, `affine = true`. First values: weight 1.\n\n\
              PyTorch: `torch.nn.RMSNorm(D)`. Source: Zhang and Sennrich, \"Root mean square layer normalization\" (2019).",
        usage: "RmsNorm<D, ..>",
        sizes: Sizes::Trailing("D"),
        options: &["eps", "affine"],
        declare: declare_rms_norm,
        forward: Forward::One(rms_norm),
    },
    Builtin {
        name: "GroupNorm",
        doc: "Normalises every group of neighbouring channels of every sample: y = (x - mean) / sqrt(var + eps) w + b.\n\n\
              Shapes: `x: [B, C, ..]` -> `y` of the same; `weight`, `bias: [C]`.\n\n\
              Options: `eps = 1e-5`, `affine = true`. First values: weight 1, bias 0.\n\n\
              PyTorch: `torch.nn.GroupNorm(GROUPS, C)`. Source: Wu and He, \"Group normalization\" (2018).",
        usage: "GroupNorm<GROUPS, C>",
        sizes: Sizes::Named(&["GROUPS", "C"]),
        options: &["eps", "affine"],
        declare: declare_group_norm,
        forward: Forward::One(group_norm),
    },
];

/// Weight and bias, unless `affine = false`.
fn affine(config: &mut Args, shape: Vec<Dim>) -> Result<Vec<Declared>, ShapeError> {
    epsilon(config, 1e-5)?;
    if config.flag_or("affine", Flag::Yes)? == Flag::No {
        return Ok(Vec::new());
    }
    Ok(vec![
        Declared::param("weight", shape.clone(), InitSpec::Ones),
        Declared::param("bias", shape, InitSpec::Zeros),
    ])
}

fn epsilon(config: &mut Args, default: f64) -> Result<Scalar, ShapeError> {
    config.scalar_or(usize::MAX, "eps", default)
}

fn momentum(config: &mut Args) -> Result<Scalar, ShapeError> {
    config.scalar_or(usize::MAX, "momentum", 0.1)
}

fn declare_batch_norm(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let channels = vec![layers::size(config, 0, "C")?];
    momentum(config)?;
    let mut tensors = affine(config, channels.clone())?;
    tensors.push(Declared::state("running_mean", channels.clone(), InitSpec::Zeros));
    tensors.push(Declared::state("running_var", channels, InitSpec::Ones));
    Ok(tensors)
}

fn batch_norm(
    b: &mut Builder,
    layer: &Layer,
    args: &mut Args,
    ranks: &[usize],
    axes: &str,
) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let mut config = layer.config();
    let channels = layers::size(&mut config, 0, "C")?;
    layer.expect_rank(b, x, ranks, axes)?;
    layer.expect_axis(b, x, Axis::Channel, &channels, "channels")?;
    let missing = || ShapeError::new("the running statistics are missing");
    let (mean_id, running_mean) = layer.state("running_mean").ok_or_else(missing)?;
    let (var_id, running_var) = layer.state("running_var").ok_or_else(missing)?;
    let eps = epsilon(&mut config, 1e-5)?;
    if b.mode == Mode::Eval {
        return Ok(b.batch_norm_eval(x, running_mean, running_var, layer.affine(), eps));
    }
    let momentum = momentum(&mut config)?;
    let [y, mean, var] = b.batch_norm_train(x, layer.affine(), eps);
    for (id, old, new) in [(mean_id, running_mean, mean), (var_id, running_var, var)] {
        let mixed = b.running_average(old, new, momentum.clone());
        b.update_state(id, mixed);
    }
    Ok(y)
}

/// The sizes of the layer: the last axes of its input.
fn trailing(config: &mut Args) -> Result<Vec<Dim>, ShapeError> {
    (0..config.positional.len())
        .map(|k| layers::size(config, k, "D"))
        .collect()
}

fn declare_layer_norm(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let shape = trailing(config)?;
    let mut tensors = affine(config, shape)?;
    if config.flag_or("bias", Flag::Yes)? == Flag::No {
        tensors.truncate(1);
    }
    Ok(tensors)
}

fn declare_rms_norm(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let shape = trailing(config)?;
    let mut tensors = affine(config, shape)?;
    tensors.truncate(1);
    Ok(tensors)
}

/// Demands that the input ends in the layer's sizes.
fn expect_trailing(b: &mut Builder, layer: &Layer, x: Value) -> Result<usize, ShapeError> {
    let sizes = trailing(&mut layer.config())?;
    let shape = b.shape(x);
    let names: Vec<String> = sizes.iter().map(Dim::to_string).collect();
    let expected = format!("shape [.., {}]", names.join(", "));
    let Some(start) = shape.len().checked_sub(sizes.len()) else {
        return Err(layer.expects(&expected, &format!("{} axes", shape.len()), &shape));
    };
    for (found, size) in shape[start..].iter().zip(&sizes) {
        if !b.constraints.equal(found, size) {
            return Err(layer.expects(&expected, &found.to_string(), &shape));
        }
    }
    Ok(sizes.len())
}

fn layer_norm(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let n_axes = expect_trailing(b, layer, x)?;
    let eps = epsilon(&mut layer.config(), 1e-5)?;
    Ok(b.layer_norm(x, n_axes, layer.param("weight"), layer.param("bias"), eps))
}

fn rms_norm(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let n_axes = expect_trailing(b, layer, x)?;
    // The distance from 1 to the next f32, PyTorch's default.
    let eps = epsilon(&mut layer.config(), f64::from(f32::EPSILON))?;
    Ok(b.rms_norm(x, n_axes, layer.param("weight"), eps))
}

fn declare_group_norm(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let groups = layers::size(config, 0, "GROUPS")?;
    let channels = layers::size(config, 1, "C")?;
    if let (Some(groups), Some(n)) = (groups.as_lit(), channels.as_lit())
        && (groups == 0 || n % groups != 0)
    {
        return Err(ShapeError::new(format!(
            "{n} channels do not split into {groups} equal groups"
        )));
    }
    affine(config, vec![channels])
}

fn group_norm(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let mut config = layer.config();
    let (groups, channels) = (
        layers::size(&mut config, 0, "GROUPS")?,
        layers::size(&mut config, 1, "C")?,
    );
    layer.expect_axis(b, x, Axis::Channel, &channels, "channels")?;
    let eps = epsilon(&mut config, 1e-5)?;
    Ok(b.group_norm(x, &groups, layer.param("weight"), layer.param("bias"), eps))
}

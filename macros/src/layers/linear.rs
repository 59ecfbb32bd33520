//! Affine maps.

use crate::ir::{Args, Builder, Flag, ShapeError, Value};
use crate::layers::{self, Axis, Builtin, Declared, Forward, Layer, Sizes};
use crate::model::InitSpec;

/// The layers.
pub static LAYERS: &[Builtin] = &[Builtin {
    name: "Linear",
    doc: "An affine map of the last axis: y = x Wᵀ + b.\n\n\
          Shapes: `x: [.., IN]`, `weight: [OUT, IN]`, `bias: [OUT]` -> `y: [.., OUT]`.\n\n\
          Options: `bias = true`; `init`, the first values of the weight (`kaiming_normal`, `normal(0.0, 0.02)`). First \
          values: U(-1/√IN, 1/√IN) for both.\n\n\
          PyTorch: `torch.nn.Linear(IN, OUT)`.",
    usage: "Linear<IN, OUT>",
    sizes: Sizes::Named(&["IN", "OUT"]),
    options: &["bias", "init"],
    declare: declare_linear,
    forward: Forward::One(linear),
}];

fn declare_linear(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let (n_in, n_out) = (layers::size(config, 0, "IN")?, layers::size(config, 1, "OUT")?);
    let mut tensors = vec![Declared::param(
        "weight",
        vec![n_out.clone(), n_in.clone()],
        InitSpec::LINEAR_WEIGHT,
    )];
    if config.flag_or("bias", Flag::Yes)? == Flag::Yes {
        tensors.push(Declared::param(
            "bias",
            vec![n_out],
            InitSpec::LinearBias { fan_in: n_in },
        ));
    }
    Ok(tensors)
}

fn linear(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let n_in = layers::size(&mut layer.config(), 0, "IN")?;
    layer.expect_axis(b, x, Axis::Last, &n_in, "features")?;
    let weight = layer.weight("weight")?;
    Ok(b.linear(x, weight, layer.param("bias")))
}

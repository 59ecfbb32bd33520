//! Affine maps.

use crate::ir::{Args, Builder, Flag, Form, Operand, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Layer, Sizes};
use crate::model::InitSpec;

/// The layers.
pub static LAYERS: &[Builtin] = &[Builtin {
    name: "Linear",
    doc: "An affine map of the last axis: y = x Wᵀ + b.\n\n\
          Shapes: `x: [.., IN]`, `weight: [OUT, IN]`, `bias: [OUT]` -> `y: [.., OUT]`.\n\n\
          Options: `bias = true`. First values: U(-1/√IN, 1/√IN) for both.\n\n\
          PyTorch: `torch.nn.Linear(IN, OUT)`.",
    usage: "Linear<IN, OUT>",
    sizes: Sizes::Named(&["IN", "OUT"]),
    options: &["bias"],
    declare: declare_linear,
    forward: linear,
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
    let shape = b.shape(x);
    let expected = format!("{n_in} features");
    match shape.last() {
        None => return Err(layer.expects(&expected, "a number without axes", &shape)),
        Some(found) if !b.constraints.equal(found, &n_in) => {
            return Err(layer.expects(&expected, &found.to_string(), &shape));
        }
        Some(_) => {}
    }
    let weight = layer
        .param("weight")
        .ok_or_else(|| ShapeError::new("`Linear` has no weight"))?;
    let weight = b.transpose(weight);
    let y = layers::apply(
        b,
        "matmul",
        Form::Method,
        vec![Operand::Tensor(x), Operand::Tensor(weight)],
        vec![],
    )?;
    let Some(bias) = layer.param("bias") else {
        return Ok(y);
    };
    let shape = b.shape(y);
    let bias = b.expand(bias, &shape);
    Ok(b.add(y, bias))
}

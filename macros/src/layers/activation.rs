//! Activations as layers: functions without parameters.

use crate::ir::{Args, Builder, Form, Operand, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Forward, Layer, Sizes};

macro_rules! torch_name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $torch:literal) => {
        $torch
    };
}

macro_rules! activations {
    ($($name:ident $operation:literal $($option:literal)* $(=> $torch:literal)?: $doc:literal;)*) => {
        /// The layers.
        pub static LAYERS: &[Builtin] = &[$(Builtin {
            name: stringify!($name),
            doc: concat!($doc, "\n\nShapes: `x` of any shape -> `y` of the same.\n\nPyTorch: `torch.nn.",
                torch_name!($name $($torch)?), "`."),
            usage: stringify!($name),
            sizes: Sizes::Named(&[]),
            options: &[$($option),*],
            declare: nothing,
            forward: Forward::One(|b, layer, args| activation(b, layer, args, $operation)),
        }),*];
    };
}

activations! {
    Relu "relu" => "ReLU": "y = max(x, 0).";
    Relu6 "relu6" => "ReLU6": "y = min(max(x, 0), 6).";
    LeakyRelu "leaky_relu" "slope" => "LeakyReLU": "y = x where x > 0, slope x elsewhere.\n\nOptions: `slope = 0.01`.";
    Elu "elu" "alpha" => "ELU": "y = x where x > 0, alpha (exp(x) - 1) elsewhere.\n\nOptions: `alpha = 1.0`.";
    Selu "selu" => "SELU": "y = 1.0507 x where x > 0, 1.0507 · 1.6733 (exp(x) - 1) elsewhere.";
    Gelu "gelu" "approximate" => "GELU": "y = x Φ(x), with Φ the normal distribution function.\n\nOptions: `approximate = \"none\"`, or \"tanh\".";
    Silu "silu" => "SiLU": "y = x / (1 + exp(-x)).";
    Mish "mish": "y = x tanh(ln(1 + exp(x))).";
    Tanh "tanh": "y = tanh(x).";
    Sigmoid "sigmoid": "y = 1 / (1 + exp(-x)).";
    Softplus "softplus": "y = ln(1 + exp(x)).";
    Softsign "softsign": "y = x / (1 + |x|).";
    LogSigmoid "logsigmoid": "y = -ln(1 + exp(-x)).";
    Hardtanh "hardtanh": "y = min(max(x, -1), 1).";
    Hardsigmoid "hardsigmoid": "y = min(max(x + 3, 0), 6) / 6.";
    Hardswish "hardswish": "y = x min(max(x + 3, 0), 6) / 6.";
    Tanhshrink "tanhshrink": "y = x - tanh(x).";
}

fn nothing(_: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    Ok(Vec::new())
}

/// The method of that name, with the layer's options handed on.
fn activation(
    b: &mut Builder,
    layer: &Layer,
    args: &mut Args,
    operation: &'static str,
) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let options = layer
        .config()
        .named
        .into_iter()
        .map(|(name, value, _)| (name, value))
        .collect();
    layers::apply(b, operation, Form::Method, vec![Operand::Tensor(x)], options)
}

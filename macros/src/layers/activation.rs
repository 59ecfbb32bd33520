//! Activations as layers: functions without parameters.

use crate::ir::{Args, Builder, Form, Operand, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Layer, Sizes};

macro_rules! activations {
    ($($name:ident $operation:literal $($option:literal)*: $doc:literal;)*) => {
        /// The layers.
        pub static LAYERS: &[Builtin] = &[$(Builtin {
            name: stringify!($name),
            doc: concat!($doc, "\n\nShapes: `x` of any shape -> `y` of the same.\n\nPyTorch: `torch.nn.", stringify!($name), "`."),
            usage: stringify!($name),
            sizes: Sizes::Named(&[]),
            options: &[$($option),*],
            declare: nothing,
            forward: |b, layer, args| activation(b, layer, args, $operation),
        }),*];
    };
}

activations! {
    Relu "relu": "y = max(x, 0).";
    Tanh "tanh": "y = tanh(x).";
    Sigmoid "sigmoid": "y = 1 / (1 + exp(-x)).";
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
    let named = layer
        .config()
        .named
        .into_iter()
        .map(|(name, value, _)| (name, value))
        .collect();
    layers::apply(b, operation, Form::Method, vec![Operand::Tensor(x)], named)
}

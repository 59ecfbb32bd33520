//! Dropout as a layer.

use crate::ir::{Args, Builder, Form, Operand, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Forward, Layer, Sizes};

/// The layers.
pub static LAYERS: &[Builtin] = &[
    Builtin {
        name: "Dropout",
        doc: "Sets elements to zero with probability `p` and scales the others by 1 / (1 - p); only while training.\n\n\
              Shapes: `x` of any shape -> `y` of the same.\n\n\
              Options: `p = 0.5`. For a rate that is an argument of a function write `x.dropout(rate)`.\n\n\
              PyTorch: `torch.nn.Dropout(p)`.",
        usage: "Dropout",
        sizes: Sizes::Named(&[]),
        options: &["p"],
        declare,
        forward: Forward::One(|b, layer, args| dropout(b, layer, args, "dropout")),
    },
    Builtin {
        name: "Dropout2d",
        doc: "Sets whole channels to zero with probability `p` and scales the others by 1 / (1 - p); only while training.\
              \n\nShapes: `x: [B, C, ..]` -> `y` of the same.\n\nOptions: `p = 0.5`.\n\nPyTorch: `torch.nn.Dropout2d(p)`.",
        usage: "Dropout2d",
        sizes: Sizes::Named(&[]),
        options: &["p"],
        declare,
        forward: Forward::One(|b, layer, args| dropout(b, layer, args, "dropout2d")),
    },
];

fn declare(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let rate = config.scalar_or(usize::MAX, "p", 0.5)?;
    match rate.as_lit() {
        Some(rate) if !(0.0..=1.0).contains(&rate) => {
            Err(ShapeError::new(format!("the probability `p` is {rate}")).help("it lies between 0 and 1"))
        }
        _ => Ok(Vec::new()),
    }
}

fn dropout(
    b: &mut Builder,
    layer: &Layer,
    args: &mut Args,
    operation: &'static str,
) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let rate = layer.config().scalar_or(usize::MAX, "p", 0.5)?;
    layers::apply(
        b,
        operation,
        Form::Method,
        vec![Operand::Tensor(x), Operand::Scalar(rate)],
        Vec::new(),
    )
}

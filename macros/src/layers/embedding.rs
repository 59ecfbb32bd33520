//! Tables of vectors.

use crate::ir::{Args, Builder, DType, Form, Operand, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Forward, Layer, Sizes};
use crate::model::InitSpec;

/// The layers.
pub static LAYERS: &[Builtin] = &[Builtin {
    name: "Embedding",
    doc: "The rows of a table: y[..] = weight[x[..]].\n\n\
          Shapes: `x: [..]` of integers below N, `weight: [N, D]` -> `y: [.., D]`. A number out of range is an error of \
          the call.\n\n\
          Options: `padding_idx`: the number of a row that gets no gradient. First values: N(0, 1); unlike in PyTorch, the \
          row `padding_idx` as well.\n\n\
          PyTorch: `torch.nn.Embedding(N, D)`.",
    usage: "Embedding<N, D>",
    sizes: Sizes::Named(&["N", "D"]),
    options: &["padding_idx"],
    declare: declare_embedding,
    forward: Forward::One(embedding),
}];

fn declare_embedding(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let (n_rows, width) = (layers::size(config, 0, "N")?, layers::size(config, 1, "D")?);
    let padding = config.literal(usize::MAX, "padding_idx")?;
    if let (Some(padding), Some(n)) = (padding, n_rows.as_lit())
        && !(0..n).contains(&padding)
    {
        return Err(ShapeError::new(format!(
            "`padding_idx` is {padding}, the table has {n} rows"
        )));
    }
    Ok(vec![Declared::param(
        "weight",
        vec![n_rows, width],
        InitSpec::EMBEDDING,
    )])
}

fn embedding(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let tokens = args.tensor(0, "x")?;
    if b.ty(tokens).dtype != DType::Int {
        let message = format!("`{}` expects integers, found {}", layer.written, b.ty(tokens));
        return Err(ShapeError::new(message).help("declare the argument with a dtype: `Tensor<u32, B>`"));
    }
    let table = layer.weight("weight")?;
    let operands = vec![Operand::Tensor(tokens), Operand::Tensor(table)];
    layers::apply(
        b,
        "embedding",
        Form::Function,
        operands,
        layer.options(&["padding_idx"]),
    )
}

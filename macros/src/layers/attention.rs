//! Attention as layers, and the positions that it needs.

mod transformer;

use crate::ir::{Args, Builder, Flag, Scalar, ShapeError, Value, ViewMap};
use crate::layers::{self, Axis, Builtin, Declared, Forward, Layer, Sizes};
use crate::model::InitSpec;
use crate::ops::attention::{Options, check_rate, take_reach};
use crate::ops::dropout::Unit;
use crate::ops::position::take_base;
use crate::ops::view::View;
use crate::shape::Dim;

/// The layers.
pub static LAYERS: &[Builtin] = &[
    Builtin {
        name: "MultiHeadAttention",
        doc: "Attention of H heads: each attends with its own D / H features of the projected queries, keys and values, and \
              a last projection joins them.\n\n\
              Call: `self.attn(x)` attends to itself, `self.attn(query, key, value)` to others, with a mask \
              `self.attn(x, mask = m)`. A mask broadcasts to `[.., H, T, S]` and holds truth values (true: may attend, as \
              PyTorch's `scaled_dot_product_attention`; `torch.nn.MultiheadAttention` has it the other way round) or floats \
              that are added to the scores. A query without any key gets the output projection of 0.\n\n\
              Shapes: `query: [.., T, D]`, `key`, `value: [.., S, D]` -> `y: [.., T, D]`; `in_proj_weight: [3 D, D]`, \
              `in_proj_bias: [3 D]`, `out_proj.weight: [D, D]`, `out_proj.bias: [D]`.\n\n\
              Options: `bias = true`, `dropout = 0.0` (of the probabilities, in training), `causal = false`. First values: \
              `in_proj_weight` Xavier's uniform rule, `out_proj.weight` U(-1/√D, 1/√D), both biases 0.\n\n\
              PyTorch: `torch.nn.MultiheadAttention(D, H, batch_first=True)`. Source: Vaswani et al., \"Attention is all you \
              need\" (2017).",
        usage: "MultiHeadAttention<D, H>",
        sizes: Sizes::Named(&["D", "H"]),
        options: &["bias", "dropout", "causal"],
        declare: declare_multi_head,
        forward: Forward::One(multi_head),
    },
    Builtin {
        name: "CausalSelfAttention",
        doc: "Self attention of H heads in which a position attends to itself and to those before it, as in GPT-2.\n\n\
              Call: `self.attn(x)`, with a further mask `self.attn(x, mask = m)`, which broadcasts to `[.., H, T, T]` (true: \
              may attend; floats are added to the scores).\n\n\
              Shapes: `x: [.., T, D]` -> `y: [.., T, D]`; `c_attn.weight: [3 D, D]`, `c_attn.bias: [3 D]`, \
              `c_proj.weight: [D, D]`, `c_proj.bias: [D]`. The names are GPT-2's, the layout that of `torch.nn.Linear`; \
              OpenAI's files hold the weights transposed.\n\n\
              Options: `bias = true`, `dropout = 0.0` (of the probabilities and of the result, in training). First values: \
              U(-1/√D, 1/√D), as `torch.nn.Linear` has them (of deviation 0.021 for the D = 768 of GPT-2, which takes 0.02).\n\n\
              Source: Radford et al., \"Language models are unsupervised multitask learners\" (2019).",
        usage: "CausalSelfAttention<D, H>",
        sizes: Sizes::Named(&["D", "H"]),
        options: &["bias", "dropout"],
        declare: declare_causal,
        forward: Forward::One(causal),
    },
    transformer::ENCODER,
    transformer::DECODER,
    Builtin {
        name: "PositionalEncoding",
        doc: "Adds the sines and cosines of its position to every vector of a sequence: \
              y[t, 2i] = x[t, 2i] + sin(t base^(-2i/D)), y[t, 2i+1] = x[t, 2i+1] + cos(t base^(-2i/D)).\n\n\
              Shapes: `x: [.., T, D]` -> `y` of the same, for any T. There are no parameters.\n\n\
              Options: `base = 10000.0`, `dropout = 0.0` (of the result, in training).\n\n\
              Source: Vaswani et al., \"Attention is all you need\" (2017), section 3.5.",
        usage: "PositionalEncoding<D>",
        sizes: Sizes::Named(&["D"]),
        options: &["base", "dropout"],
        declare: declare_positions,
        forward: Forward::One(positions),
    },
    Builtin {
        name: "RotaryEmbedding",
        doc: "Turns pairs of features by angles that grow with the position, so that products of queries and keys depend on \
              their distance: y[t, i] = x[t, i] cos a - x[t, i + D/2] sin a, y[t, i + D/2] = x[t, i + D/2] cos a + \
              x[t, i] sin a, with a = t base^(-2i/D).\n\n\
              The pairs are the halves of the features, as in GPT-NeoX and Llama; the paper pairs neighbours.\n\n\
              Shapes: `x: [.., T, D]` -> `y` of the same, for any T; D is the even number of features of one head. There are \
              no parameters. It is applied to queries and keys, not to values.\n\n\
              Options: `base = 10000.0`.\n\n\
              Source: Su et al., \"RoFormer: enhanced transformer with rotary position embedding\" (2021).",
        usage: "RotaryEmbedding<D>",
        sizes: Sizes::Named(&["D"]),
        options: &["base"],
        declare: declare_rotary,
        forward: Forward::One(rotary),
    },
];

/// The sizes `D` and `H`: features, and heads that divide them.
fn heads(config: &mut Args) -> Result<(Dim, Dim), ShapeError> {
    let (width, heads) = (layers::size(config, 0, "D")?, layers::size(config, 1, "H")?);
    if let (Some(n), Some(heads)) = (width.as_lit(), heads.as_lit())
        && (heads == 0 || n % heads != 0)
    {
        return Err(
            ShapeError::new(format!("{n} features do not split into {heads} heads"))
                .help("the number of features is a multiple of that of heads"),
        );
    }
    Ok((width, heads))
}

/// A rate in 0..=1.
fn rate(config: &mut Args, default: f64) -> Result<Scalar, ShapeError> {
    let rate = config.scalar_or(usize::MAX, "dropout", default)?;
    check_rate(&rate, "dropout")?;
    Ok(rate)
}

/// Weight and, unless `bias = false`, bias of a linear map, called `name.weight` and `name.bias`.
fn declare_linear(name: &str, [n_out, n_in]: [&Dim; 2], bias: Flag) -> Vec<Declared> {
    let shape = vec![n_out.clone(), n_in.clone()];
    let mut tensors = vec![Declared::param(
        format!("{name}.weight"),
        shape,
        InitSpec::LINEAR_WEIGHT,
    )];
    if bias == Flag::Yes {
        let init = InitSpec::LinearBias { fan_in: n_in.clone() };
        tensors.push(Declared::param(format!("{name}.bias"), vec![n_out.clone()], init));
    }
    tensors
}

/// The tensors of a multi-head attention, their names beginning with `prefix`.
fn declare_projections(prefix: &str, width: &Dim, bias: Flag) -> Vec<Declared> {
    let rows = width * 3;
    let weight = InitSpec::XavierUniform { gain: 1.0 };
    let mut tensors = vec![Declared::param(
        format!("{prefix}in_proj_weight"),
        vec![rows.clone(), width.clone()],
        weight,
    )];
    let bias_of =
        |name: &str, size: Dim| Declared::param(format!("{prefix}{name}"), vec![size], InitSpec::Zeros);
    if bias == Flag::Yes {
        tensors.push(bias_of("in_proj_bias", rows));
    }
    let out = format!("{prefix}out_proj");
    tensors.extend(declare_linear(&out, [width, width], Flag::No));
    if bias == Flag::Yes {
        tensors.push(bias_of("out_proj.bias", width.clone()));
    }
    tensors
}

fn declare_multi_head(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let (width, _) = heads(config)?;
    rate(config, 0.0)?;
    take_reach(config)?;
    Ok(declare_projections(
        "",
        &width,
        config.flag_or("bias", Flag::Yes)?,
    ))
}

fn declare_causal(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    let (width, _) = heads(config)?;
    rate(config, 0.0)?;
    let bias = config.flag_or("bias", Flag::Yes)?;
    let mut tensors = declare_linear("c_attn", [&(&width * 3), &width], bias);
    tensors.extend(declare_linear("c_proj", [&width, &width], bias));
    Ok(tensors)
}

/// The projections of an attention.
struct Projections {
    /// Of queries, keys and values, one below the other: `[3 D, D]` and `[3 D]`.
    inward: (Value, Option<Value>),
    /// Of the joined heads: `[D, D]` and `[D]`.
    outward: (Value, Option<Value>),
}

impl Projections {
    /// Those of a multi-head attention whose names begin with `prefix`.
    fn of(layer: &Layer, prefix: &str) -> Result<Self, ShapeError> {
        let name = |name: &str| format!("{prefix}{name}");
        Ok(Self {
            inward: (
                layer.weight(&name("in_proj_weight"))?,
                layer.param(&name("in_proj_bias")),
            ),
            outward: (
                layer.weight(&name("out_proj.weight"))?,
                layer.param(&name("out_proj.bias")),
            ),
        })
    }

    /// Projects, attends and projects back. `heads` splits the `width` features of all three operands.
    fn attend(
        &self,
        b: &mut Builder,
        operands: [Value; 3],
        (width, heads): (&Dim, &Dim),
        options: Options,
    ) -> Result<Value, ShapeError> {
        let (weight, bias) = self.inward;
        let mut split = Vec::new();
        for (k, x) in operands.into_iter().enumerate() {
            let weight = third(b, weight, k, width);
            let bias = bias.map(|bias| third(b, bias, k, width));
            let projected = b.linear(x, weight, bias);
            split.push(split_heads(b, projected, heads));
        }
        let y = b.attention([split[0], split[1], split[2]], options)?;
        let joined = join_heads(b, y, width);
        Ok(b.linear(joined, self.outward.0, self.outward.1))
    }
}

/// Part `k` of three along the first axis: one product for each, so that the gradient of an activation is not put together
/// from thirds.
fn third(b: &mut Builder, x: Value, k: usize, width: &Dim) -> Value {
    if b.is_poison(x) {
        return x;
    }
    let mut sizes = b.shape(x);
    let mut starts = vec![Dim::zero(); sizes.len()];
    starts[0] = width * k as i64;
    sizes[0] = width.clone();
    let steps = vec![1; sizes.len()];
    b.push(View(ViewMap::Slice { starts, steps, sizes }), &[x])
}

/// `[.., T, D]` as `[.., H, T, D / H]`.
fn split_heads(b: &mut Builder, x: Value, heads: &Dim) -> Value {
    if b.is_poison(x) {
        return x;
    }
    let mut shape = b.shape(x);
    let rank = shape.len();
    let width = shape[rank - 1].floor_div(heads);
    shape.splice(rank - 1.., [heads.clone(), width]);
    let split = b.reshape(x, shape);
    swap_heads(b, split)
}

/// `[.., H, T, D / H]` as `[.., T, D]`.
fn join_heads(b: &mut Builder, x: Value, width: &Dim) -> Value {
    if b.is_poison(x) {
        return x;
    }
    let swapped = swap_heads(b, x);
    let mut shape = b.shape(swapped);
    shape.truncate(shape.len() - 2);
    shape.push(width.clone());
    b.reshape(swapped, shape)
}

/// Swaps the axes of heads and positions, the two before the last.
fn swap_heads(b: &mut Builder, x: Value) -> Value {
    let rank = b.ty(x).rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 3);
    b.permute(x, &perm)
}

/// Demands `[.., T, D]` of an input, and gives D and H with every `_` solved.
fn expect_sequence(b: &mut Builder, layer: &Layer, x: Value) -> Result<(Dim, Dim), ShapeError> {
    let (width, heads) = heads(&mut layer.config())?;
    layer.expect_axis(b, x, Axis::Last, &width, "features")?;
    let shape = b.shape(x);
    if shape.len() < 2 {
        return Err(layer.expects("shape [.., T, D]", "1 axis", &shape));
    }
    Ok((b.constraints.resolve(&width), b.constraints.resolve(&heads)))
}

fn multi_head(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let query = args.tensor(0, "query")?;
    let (key, value) = match args.positional.len() {
        0 | 1
            if args
                .named
                .iter()
                .all(|(name, ..)| name != "key" && name != "value") =>
        {
            (query, query)
        }
        _ => (args.tensor(1, "key")?, args.tensor(2, "value")?),
    };
    let mut sizes = expect_sequence(b, layer, query)?;
    for x in [key, value] {
        sizes = expect_sequence(b, layer, x)?;
    }
    let mut config = layer.config();
    let options = Options {
        mask: args.tensor_named("mask")?,
        reach: take_reach(&mut config)?,
        scale: None,
        dropout: rate(&mut config, 0.0)?,
    };
    let projections = Projections::of(layer, "")?;
    projections.attend(b, [query, key, value], (&sizes.0, &sizes.1), options)
}

fn causal(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let (width, heads) = expect_sequence(b, layer, x)?;
    let dropout = rate(&mut layer.config(), 0.0)?;
    let options = Options {
        mask: args.tensor_named("mask")?,
        reach: crate::ops::attention::Reach::Causal,
        scale: None,
        dropout: dropout.clone(),
    };
    let projections = Projections {
        inward: (layer.weight("c_attn.weight")?, layer.param("c_attn.bias")),
        outward: (layer.weight("c_proj.weight")?, layer.param("c_proj.bias")),
    };
    let y = projections.attend(b, [x; 3], (&width, &heads), options)?;
    Ok(b.dropout(y, dropout, Unit::Element))
}

fn declare_positions(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    take_base(config)?;
    rate(config, 0.0)?;
    Ok(Vec::new())
}

fn positions(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let mut config = layer.config();
    let width = layers::size(&mut config, 0, "D")?;
    layer.expect_axis(b, x, Axis::Last, &width, "features")?;
    let (base, rate) = (take_base(&mut config)?, rate(&mut config, 0.0)?);
    let y = b.add_positions(x, base)?;
    Ok(b.dropout(y, rate, Unit::Element))
}

fn declare_rotary(config: &mut Args) -> Result<Vec<Declared>, ShapeError> {
    take_base(config)?;
    match layers::size(config, 0, "D")?.as_lit() {
        Some(n) if n % 2 != 0 => Err(ShapeError::new(format!("{n} features do not form pairs"))
            .help("a rotary embedding turns an even number of features")),
        _ => Ok(Vec::new()),
    }
}

fn rotary(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let mut config = layer.config();
    let width = layers::size(&mut config, 0, "D")?;
    layer.expect_axis(b, x, Axis::Last, &width, "features")?;
    let base = take_base(&mut config)?;
    Ok(b.rotary(x, base))
}

//! The layers of a transformer: attention and a feed-forward network, each with a residual connection and a layer norm.

use super::{Projections, check_rate, declare_linear, declare_projections, expect_sequence, heads};
use crate::ir::{Args, Builder, Flag, Form, Operand, Scalar, ShapeError, Value};
use crate::layers::{self, Builtin, Declared, Forward, Layer, Sizes};
use crate::model::InitSpec;
use crate::ops::attention::{Options, Reach, take_reach};
use crate::ops::dropout::Unit;
use crate::shape::Dim;

const OPTIONS: &[&str] = &["norm_first", "activation", "dropout", "eps", "bias", "causal"];

/// Self attention, then a feed-forward network.
pub(super) const ENCODER: Builtin = Builtin {
    name: "TransformerEncoderLayer",
    doc: "Self attention of H heads and a feed-forward network of F hidden features, each with a residual connection and a \
          layer norm: x = norm1(x + attn(x)), y = norm2(x + linear2(act(linear1(x)))); with `norm_first` \
          x = x + attn(norm1(x)), y = x + linear2(act(linear1(norm2(x)))).\n\n\
          Call: `self.layer(x)`, with a mask `self.layer(x, mask = m)`, which broadcasts to `[.., H, T, T]` (true: may \
          attend; floats are added to the scores).\n\n\
          Shapes: `x: [.., T, D]` -> `y` of the same; `self_attn.*` as `MultiHeadAttention<D, H>`, `linear1.weight: [F, D]`, \
          `linear2.weight: [D, F]`, `norm1.weight`, `norm2.weight: [D]`, and their biases.\n\n\
          Options: `norm_first = false`, `activation = \"relu\"` or `\"gelu\"`, `dropout = 0.1` (of the probabilities, of \
          the hidden features, and of both residuals, in training), `eps = 1e-5`, `bias = true`, `causal = false`. First \
          values: as the parts have them.\n\n\
          PyTorch: `torch.nn.TransformerEncoderLayer(D, H, F, batch_first=True)`. Source: Vaswani et al., \"Attention is all \
          you need\" (2017).",
    usage: "TransformerEncoderLayer<D, H, F>",
    sizes: Sizes::Named(&["D", "H", "F"]),
    options: OPTIONS,
    declare: |config| declare(config, &["self_attn."]),
    forward: Forward::One(encoder),
};

/// Self attention, attention to a memory, then a feed-forward network.
pub(super) const DECODER: Builtin = Builtin {
    name: "TransformerDecoderLayer",
    doc: "Self attention and attention to a memory, of H heads each, and a feed-forward network of F hidden features, each \
          with a residual connection and a layer norm: x = norm1(x + attn(x)), x = norm2(x + attn(x, memory)), \
          y = norm3(x + linear2(act(linear1(x)))); with `norm_first` the norms stand before the parts.\n\n\
          Call: `self.layer(x, memory)`, with masks `self.layer(x, memory, mask = m, memory_mask = n)`, which broadcast to \
          `[.., H, T, T]` and `[.., H, T, S]` (true: may attend; floats are added to the scores).\n\n\
          Shapes: `x: [.., T, D]`, `memory: [.., S, D]` -> `y: [.., T, D]`; `self_attn.*` and `multihead_attn.*` as \
          `MultiHeadAttention<D, H>`, `linear1.weight: [F, D]`, `linear2.weight: [D, F]`, `norm1.weight`, `norm2.weight`, \
          `norm3.weight: [D]`, and their biases.\n\n\
          Options: `causal = false` (of the self attention; a decoder that generates wants `true`), `norm_first = false`, \
          `activation = \"relu\"` or `\"gelu\"`, `dropout = 0.1` (of the probabilities, of the hidden features, and of all \
          residuals, in training), `eps = 1e-5`, `bias = true`. First values: as the parts have them.\n\n\
          PyTorch: `torch.nn.TransformerDecoderLayer(D, H, F, batch_first=True)`. Source: Vaswani et al., \"Attention is all \
          you need\" (2017).",
    usage: "TransformerDecoderLayer<D, H, F>",
    sizes: Sizes::Named(&["D", "H", "F"]),
    options: OPTIONS,
    declare: |config| declare(config, &["self_attn.", "multihead_attn."]),
    forward: Forward::One(decoder),
};

/// The options of both layers.
struct Settings {
    norm: Norm,
    activation: &'static str,
    dropout: Scalar,
    eps: Scalar,
    reach: Reach,
}

/// Where a norm stands.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Norm {
    /// Before the part: `x + f(norm(x))`.
    First,
    /// After the residual connection: `norm(x + f(x))`.
    Last,
}

impl Settings {
    fn read(config: &mut Args) -> Result<Self, ShapeError> {
        let norm = match config.flag_or("norm_first", Flag::No)? {
            Flag::Yes => Norm::First,
            Flag::No => Norm::Last,
        };
        let activation = match config.any(usize::MAX, "activation") {
            None => "relu",
            Some(Operand::Text(text)) if text == "relu" => "relu",
            Some(Operand::Text(text)) if text == "gelu" => "gelu",
            Some(_) => return Err(ShapeError::new("`activation` is \"relu\" or \"gelu\"")),
        };
        let dropout = config.scalar_or(usize::MAX, "dropout", 0.1)?;
        check_rate(&dropout, "dropout")?;
        Ok(Self {
            norm,
            activation,
            dropout,
            eps: config.scalar_or(usize::MAX, "eps", 1e-5)?,
            reach: take_reach(config)?,
        })
    }
}

/// The tensors of attentions with these prefixes, of the feed-forward network, and of one norm more than attentions, in
/// PyTorch's order.
fn declare(config: &mut Args, attentions: &[&str]) -> Result<Vec<Declared>, ShapeError> {
    Settings::read(config)?;
    let (width, _) = heads(config)?;
    let hidden = layers::size(config, 2, "F")?;
    let bias = config.flag_or("bias", Flag::Yes)?;
    let mut tensors = Vec::new();
    for prefix in attentions {
        tensors.extend(declare_projections(prefix, &width, bias));
    }
    tensors.extend(declare_linear("linear1", [&hidden, &width], bias));
    tensors.extend(declare_linear("linear2", [&width, &hidden], bias));
    for k in 1..=attentions.len() + 1 {
        let one = |name: &str, init| Declared::param(format!("norm{k}.{name}"), vec![width.clone()], init);
        tensors.push(one("weight", InitSpec::Ones));
        if bias == Flag::Yes {
            tensors.push(one("bias", InitSpec::Zeros));
        }
    }
    Ok(tensors)
}

/// A layer at work.
struct Transformer<'a> {
    layer: &'a Layer,
    settings: Settings,
    sizes: (Dim, Dim),
}

impl<'a> Transformer<'a> {
    fn new(b: &mut Builder, layer: &'a Layer, x: Value) -> Result<Self, ShapeError> {
        Ok(Self {
            layer,
            sizes: expect_sequence(b, layer, x)?,
            settings: Settings::read(&mut layer.config())?,
        })
    }

    /// A part with its residual connection and its norm.
    fn residual(
        &self,
        b: &mut Builder,
        x: Value,
        norm: &str,
        part: impl FnOnce(&mut Builder, Value) -> Result<Value, ShapeError>,
    ) -> Result<Value, ShapeError> {
        match self.settings.norm {
            Norm::First => {
                let normal = self.norm(b, x, norm)?;
                let y = part(b, normal)?;
                let y = self.dropout(b, y);
                Ok(b.add(x, y))
            }
            Norm::Last => {
                let y = part(b, x)?;
                let y = self.dropout(b, y);
                let sum = b.add(x, y);
                self.norm(b, sum, norm)
            }
        }
    }

    fn norm(&self, b: &mut Builder, x: Value, name: &str) -> Result<Value, ShapeError> {
        let weight = self.layer.weight(&format!("{name}.weight"))?;
        let bias = self.layer.param(&format!("{name}.bias"));
        Ok(b.layer_norm(x, 1, Some(weight), bias, self.settings.eps.clone()))
    }

    fn linear(&self, b: &mut Builder, x: Value, name: &str) -> Result<Value, ShapeError> {
        let weight = self.layer.weight(&format!("{name}.weight"))?;
        Ok(b.linear(x, weight, self.layer.param(&format!("{name}.bias"))))
    }

    fn dropout(&self, b: &mut Builder, x: Value) -> Value {
        b.dropout(x, self.settings.dropout.clone(), Unit::Element)
    }

    /// Attention with the projections of that prefix; to itself where there is no memory.
    fn attend(
        &self,
        b: &mut Builder,
        prefix: &str,
        (x, memory): (Value, Option<Value>),
        mask: Option<Value>,
    ) -> Result<Value, ShapeError> {
        let options = Options {
            mask,
            reach: if memory.is_some() {
                Reach::All
            } else {
                self.settings.reach
            },
            scale: None,
            dropout: self.settings.dropout.clone(),
        };
        let other = memory.unwrap_or(x);
        let projections = Projections::of(self.layer, prefix)?;
        projections.attend(b, [x, other, other], (&self.sizes.0, &self.sizes.1), options)
    }

    /// `linear2(dropout(act(linear1(x))))`.
    fn feed_forward(&self, b: &mut Builder, x: Value) -> Result<Value, ShapeError> {
        let hidden = self.linear(b, x, "linear1")?;
        let hidden = layers::apply(
            b,
            self.settings.activation,
            Form::Method,
            vec![Operand::Tensor(hidden)],
            Vec::new(),
        )?;
        let hidden = self.dropout(b, hidden);
        self.linear(b, hidden, "linear2")
    }
}

fn encoder(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let x = args.tensor(0, "x")?;
    let mask = args.tensor_named("mask")?;
    let of = Transformer::new(b, layer, x)?;
    let x = of.residual(b, x, "norm1", |b, x| of.attend(b, "self_attn.", (x, None), mask))?;
    of.residual(b, x, "norm2", |b, x| of.feed_forward(b, x))
}

fn decoder(b: &mut Builder, layer: &Layer, args: &mut Args) -> Result<Value, ShapeError> {
    let (x, memory) = (args.tensor(0, "x")?, args.tensor(1, "memory")?);
    let (mask, memory_mask) = (args.tensor_named("mask")?, args.tensor_named("memory_mask")?);
    expect_sequence(b, layer, memory)?;
    let of = Transformer::new(b, layer, x)?;
    let x = of.residual(b, x, "norm1", |b, x| of.attend(b, "self_attn.", (x, None), mask))?;
    let across = |b: &mut Builder, x| of.attend(b, "multihead_attn.", (x, Some(memory)), memory_mask);
    let x = of.residual(b, x, "norm2", across)?;
    of.residual(b, x, "norm3", |b, x| of.feed_forward(b, x))
}

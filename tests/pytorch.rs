//! Whole models against numbers made by PyTorch in float64: results, loss, every gradient, running statistics, and the
//! losses of ten steps of every optimizer.

#![allow(missing_docs)]

mod common;
#[path = "../examples/gpt/model.rs"]
mod gpt_model;

use common::fixture::Fixture;
use common::reference::{check_gradients, check_optimizers, distance, initial};
use ndarray::{Ix1, Ix2, Ix3, Ix4, IxDyn};
use tapeless::prelude::*;

#[model]
pub struct Mlp {
    fc1: Linear<12, 9>,
    fc2: Linear<_, 4>,
}

#[model]
impl Mlp {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 12>) -> Tensor<B, 4> {
        self.fc2(self.fc1(x).relu())
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 12>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(x), label)
    }
}

#[model]
pub struct Cnn {
    #[layer(padding = 1)]
    conv1: Conv2d<2, 4, 3>,
    bn1: BatchNorm2d<4>,
    #[layer(stride = 2, groups = 2)]
    conv2: Conv2d<4, 6, 3>,
    bn2: BatchNorm2d<_>,
    fc: Linear<_, 4>,
}

#[model]
impl Cnn {
    pub fn logits<B: Dim>(&self, image: Tensor<B, 2, 9, 9>) -> Tensor<B, 4> {
        let x = self.bn1(self.conv1(image)).relu().max_pool2d(2);
        let x = self.bn2(self.conv2(x)).relu();
        self.fc(x.flatten())
    }

    pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 9, 9>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

#[model]
pub struct MnistCnn {
    conv1: Conv2d<1, 3, 3>,
    conv2: Conv2d<3, 4, 3>,
    fc1: Linear<_, 7>,
    fc2: Linear<_, 5>,
}

#[model]
impl MnistCnn {
    pub fn logits<B: Dim>(&self, image: Tensor<B, 1, 8, 10>) -> Tensor<B, 5> {
        let x = self.conv2(self.conv1(image).relu()).relu();
        self.fc2(self.fc1(x.max_pool2d(2).flatten()).relu())
    }

    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 8, 10>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(image), label)
    }
}

#[model]
pub struct Block<const D: usize, const H: usize> {
    ln: LayerNorm<D>,
    up: Linear<D, H>,
    down: Linear<H, D>,
}

#[model]
impl<const D: usize, const H: usize> Block<D, H> {
    pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        x + self.down(self.up(self.ln(x)).gelu())
    }
}

#[model]
pub struct Residual {
    blocks: [Block<6, 10>; 2],
    ln: LayerNorm<6>,
    head: Linear<6, 3>,
}

#[model]
impl Residual {
    pub fn prediction<B: Dim>(&self, x: Tensor<B, 6>) -> Tensor<B, 3> {
        let mut x = x;
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.ln(x))
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, target: Tensor<B, 3>) -> Scalar {
        mse(self.prediction(x), target)
    }
}

#[model]
pub struct EmbeddingClassifier {
    embed: Embedding<11, 6>,
    fc1: Linear<6, 8>,
    fc2: Linear<8, 3>,
}

#[model]
impl EmbeddingClassifier {
    pub fn logits<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 3> {
        self.fc2(self.fc1(self.embed(tokens).mean(axis = 1)).tanh())
    }

    pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
        cross_entropy(self.logits(tokens), label)
    }
}

#[model]
pub struct Recurrent {
    #[layer(layers = 2, bidirectional = true)]
    lstm: Lstm<3, 4>,
    gru: Gru<8, 5>,
    #[layer(nonlinearity = "relu", bias = false)]
    rnn: Rnn<5, 3>,
    head: Linear<7, 2>,
}

#[model]
impl Recurrent {
    pub fn prediction<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, T, 3>,
        lengths: Tensor<i64, B>,
        h0: Tensor<1, B, 5>,
    ) -> Tensor<B, 2> {
        let (y, h, c) = self.lstm(x, lengths = lengths);
        let (y, _) = self.gru(y, h0);
        let (_, last) = self.rnn(y);
        let states = h.slice(1..2).squeeze(0) + c.slice(2..3).squeeze(0);
        self.head(concat((last.squeeze(0), states), axis = 1))
    }

    pub fn loss<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, T, 3>,
        lengths: Tensor<i64, B>,
        h0: Tensor<1, B, 5>,
        target: Tensor<B, 2>,
    ) -> Scalar {
        mse(self.prediction(x, lengths, h0), target)
    }
}

#[model]
pub struct Encoder {
    #[layer(dropout = 0.0)]
    first: TransformerEncoderLayer<6, 2, 7>,
    #[layer(dropout = 0.0, activation = "gelu", norm_first = true)]
    second: TransformerEncoderLayer<_, 2, 7>,
    head: Linear<6, 2>,
}

#[model]
impl Encoder {
    pub fn prediction<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>, keep: Tensor<i64, B, T>) -> Tensor<B, 2> {
        let mask = keep.unsqueeze(1).unsqueeze(1) > 0;
        let x = self.first(x, mask = mask);
        self.head(self.second(x, mask = mask).mean(axis = 1))
    }

    pub fn loss<B: Dim, T: Dim>(
        &self,
        x: Tensor<B, T, 6>,
        keep: Tensor<i64, B, T>,
        target: Tensor<B, 2>,
    ) -> Scalar {
        mse(self.prediction(x, keep), target)
    }
}

#[model]
pub struct Decoder {
    #[layer(dropout = 0.0, causal = true)]
    first: TransformerDecoderLayer<6, 3, 5>,
    #[layer(dropout = 0.0, causal = true, activation = "gelu", norm_first = true)]
    second: TransformerDecoderLayer<6, 3, 5>,
}

#[model]
impl Decoder {
    pub fn prediction<B: Dim, T: Dim, S: Dim>(
        &self,
        x: Tensor<B, T, 6>,
        memory: Tensor<B, S, 6>,
    ) -> Tensor<B, T, 6> {
        self.second(self.first(x, memory), memory)
    }

    pub fn loss<B: Dim, T: Dim, S: Dim>(
        &self,
        x: Tensor<B, T, 6>,
        memory: Tensor<B, S, 6>,
        target: Tensor<B, T, 6>,
    ) -> Scalar {
        mse(self.prediction(x, memory), target)
    }
}

/// Causal self attention with rotary positions, of parts.
#[model]
pub struct RotaryAttention<const D: usize, const H: usize> {
    c_attn: Linear<D, { 3 * D }>,
    rope: RotaryEmbedding<{ D / H }>,
    c_proj: Linear<D, D>,
}

#[model]
impl<const D: usize, const H: usize> RotaryAttention<D, H> {
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        let (q, k, v) = self.c_attn(x).chunk(3, axis = -1);
        let q = self.rope(q.reshape(B, T, H, D / H).permute(0, 2, 1, 3));
        let k = self.rope(k.reshape(B, T, H, D / H).permute(0, 2, 1, 3));
        let v = v.reshape(B, T, H, D / H).permute(0, 2, 1, 3);
        let y = attention(q, k, v, causal = true);
        self.c_proj(y.permute(0, 2, 1, 3).reshape(B, T, D))
    }
}

#[model]
pub struct Positions {
    embed: Embedding<7, 8>,
    pos: PositionalEncoding<8>,
    ln1: LayerNorm<8>,
    attn1: CausalSelfAttention<8, 2>,
    ln2: LayerNorm<8>,
    attn2: RotaryAttention<8, 2>,
    #[layer(bias = false)]
    head: Linear<8, 7>,
}

#[model]
impl Positions {
    pub fn logits<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, T, 7> {
        let x = self.pos(self.embed(tokens));
        let x = x + self.attn1(self.ln1(x));
        let x = x + self.attn2(self.ln2(x));
        self.head(x)
    }

    pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B, T>) -> Scalar {
        cross_entropy(self.logits(tokens).permute(0, 2, 1), label)
    }
}

/// Checks one fixture: forward in both modes, gradients, running statistics, optimizers.
macro_rules! fixture_tests {
    ($($test:ident: $model:ident, $fixture:literal, $method:ident -> $output:literal, $dims:expr,
        |$f:ident| ($($x:ident = $input:expr),*; $y:expr);)*) => {$(
        #[test]
        fn $test() {
            let $f = Fixture::load($fixture);
            $(let $x = $input;)*
            let y = $y;
            let mut model = initial::<$model>(&$f, Precision::F64);
            let mut work = model.loss_workspace($dims).unwrap();

            let output = model.$method($(&$x),*).unwrap().mapv(f64::from).into_dyn();
            let expected = $f.array::<IxDyn>(concat!("eval.", $output));
            assert!(distance(&output, &expected) < 1e-6, "eval: {output} but PyTorch has {expected}");

            let loss = model.loss_grad(&mut work, $(&$x,)* &y).unwrap();
            check_gradients(&$f, loss, &work);
            check_optimizers::<$model>(
                &$f,
                &|model| model.loss_workspace($dims).unwrap(),
                &|model, work| model.loss_grad(work, $(&$x,)* &y).unwrap(),
            );
        }
    )*};
}

fixture_tests! {
    mlp: Mlp, "mlp", logits -> "logits", 7, |f| (x = f.array::<Ix2>("input.x"); f.ints::<Ix1>("input.label"));
    cnn: Cnn, "cnn", logits -> "logits", 7, |f| (image = f.array::<Ix4>("input.image"); f.ints::<Ix1>("input.label"));
    mnist_cnn: MnistCnn, "mnist_cnn", logits -> "logits", 5,
        |f| (image = f.array::<Ix4>("input.image"); f.ints::<Ix1>("input.label"));
    residual: Residual, "residual", prediction -> "prediction", 5,
        |f| (x = f.array::<Ix2>("input.x"); f.array::<Ix2>("input.target"));
    embedding: EmbeddingClassifier, "embedding", logits -> "logits", EmbeddingClassifierLossDims { b: 7, t: 5 },
        |f| (tokens = f.ints::<Ix2>("input.tokens"); f.ints::<Ix1>("input.label"));
    recurrent: Recurrent, "recurrent", prediction -> "prediction", RecurrentLossDims { b: 4, t: 6 },
        |f| (
            x = f.array::<Ix3>("input.x"),
            lengths = f.ints::<Ix1>("input.lengths"),
            h0 = f.array::<Ix3>("input.h0");
            f.array::<Ix2>("input.target")
        );
    encoder: Encoder, "encoder", prediction -> "prediction", EncoderLossDims { b: 4, t: 5 },
        |f| (x = f.array::<Ix3>("input.x"), keep = f.ints::<Ix2>("input.keep"); f.array::<Ix2>("input.target"));
    decoder: Decoder, "decoder", prediction -> "prediction", DecoderLossDims { b: 2, t: 5, s: 3 },
        |f| (
            x = f.array::<Ix3>("input.x"),
            memory = f.array::<Ix3>("input.memory");
            f.array::<Ix3>("input.target")
        );
    positions: Positions, "positions", logits -> "logits", PositionsLossDims { b: 4, t: 5 },
        |f| (tokens = f.ints::<Ix2>("input.tokens"); f.ints::<Ix2>("input.label"));
}

type SmallGpt = gpt_model::Gpt<11, 6, 3, 2, 8>;

/// The example `gpt`: loss, gradients and optimizers, and what its cache of keys and values gives token by token.
#[test]
fn gpt() {
    let fixture = Fixture::load("gpt");
    let (tokens, next) = (
        fixture.ints::<Ix2>("input.tokens"),
        fixture.ints::<Ix2>("input.next"),
    );
    let (tokens, next) = (tokens.mapv(|t| t as u16), next.mapv(|t| t as u16));
    let mut model = initial::<SmallGpt>(&fixture, Precision::F64);
    let mut work = model.loss_workspace(3).unwrap();
    let loss = model.loss_grad(&mut work, &tokens, &next, 0.0).unwrap();
    check_gradients(&fixture, loss, &work);
    let logits = fixture.array::<Ix3>("eval.logits");
    let mut keys = ndarray::Array4::<f32>::zeros((3, 3, 0, 8));
    let mut values = keys.clone();
    for t in 0..6 {
        let position = ndarray::Array1::from_elem(3, t as i64);
        let (scores, key, value) = model.next(tokens.column(t), &position, &keys, &values).unwrap();
        let expected = logits.index_axis(ndarray::Axis(1), t).to_owned().into_dyn();
        assert!(
            distance(&scores.mapv(f64::from).into_dyn(), &expected) < 1e-5,
            "scores of token {t}"
        );
        keys = ndarray::concatenate(ndarray::Axis(2), &[keys.view(), key.view()]).unwrap();
        values = ndarray::concatenate(ndarray::Axis(2), &[values.view(), value.view()]).unwrap();
    }
    check_optimizers::<SmallGpt>(
        &fixture,
        &|model| model.loss_workspace(3).unwrap(),
        &|model, work| model.loss_grad(work, &tokens, &next, 0.0).unwrap(),
    );
}

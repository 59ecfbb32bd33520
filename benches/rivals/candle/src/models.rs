//! The workloads in candle. Names of variables are the paths of the comparison's files; `benches/training/models` is the original.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::{
    Conv2d, Init, LSTM, LSTMConfig, Linear, RNN, VarBuilder, conv2d, linear, linear_no_bias, lstm, ops,
};
use rival_orders::Dropout;

/// What turns a batch into scores.
pub trait Model {
    /// Scores of the classes, a row each.
    fn scores(&self, x: &Tensor, train: bool) -> Result<Tensor>;
}

/// The model of a workload.
pub fn model(workload: &str, dropout: Dropout, vb: VarBuilder<'_>) -> rival_orders::Result<Box<dyn Model>> {
    Ok(match workload {
        "mlp" => Box::new(Mlp {
            layers: vec![linear(784, 128, vb.pp("fc1"))?, linear(128, 10, vb.pp("fc2"))?],
            dropout: dropout.rate(0.2),
        }),
        "mlp-large" => Box::new(Mlp {
            layers: vec![
                linear(784, 1024, vb.pp("fc1"))?,
                linear(1024, 1024, vb.pp("fc2"))?,
                linear(1024, 10, vb.pp("fc3"))?,
            ],
            dropout: 0.0,
        }),
        "cnn" => Box::new(Cnn {
            convolutions: [
                conv2d(1, 32, 3, Default::default(), vb.pp("conv1"))?,
                conv2d(32, 64, 3, Default::default(), vb.pp("conv2"))?,
            ],
            layers: [linear(9216, 128, vb.pp("fc1"))?, linear(128, 10, vb.pp("fc2"))?],
            dropouts: [dropout.rate(0.25), dropout.rate(0.5)],
        }),
        "gpt" => Box::new(Gpt::new(65, 64, 4, 4, 128, vb)?),
        "lstm" => Box::new(Classifier {
            rnn: lstm(64, 256, LSTMConfig::default(), vb.pp("rnn"))?,
            fc: linear(256, 10, vb.pp("fc"))?,
        }),
        other => return Err(format!("candle does not run {other}").into()),
    })
}

/// Dropout where anything is dropped.
fn drop(x: Tensor, rate: f64, train: bool) -> Result<Tensor> {
    if train && rate > 0.0 {
        ops::dropout(&x, rate as f32)
    } else {
        Ok(x)
    }
}

struct Mlp {
    layers: Vec<Linear>,
    dropout: f64,
}

impl Model for Mlp {
    fn scores(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (last, hidden) = self.layers.split_last().expect("there are layers");
        let mut x = x.clone();
        for layer in hidden {
            x = drop(layer.forward(&x)?.relu()?, self.dropout, train)?;
        }
        last.forward(&x)
    }
}

struct Cnn {
    convolutions: [Conv2d; 2],
    layers: [Linear; 2],
    dropouts: [f64; 2],
}

impl Model for Cnn {
    fn scores(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.convolutions[0].forward(x)?.relu()?;
        let x = self.convolutions[1].forward(&x)?.relu()?.max_pool2d(2)?;
        let x = drop(x, self.dropouts[0], train)?.flatten_from(1)?;
        let x = drop(self.layers[0].forward(&x)?.relu()?, self.dropouts[1], train)?;
        self.layers[1].forward(&x)
    }
}

/// A layer norm of plain operations: the fused one has no gradient.
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(width: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints(width, "weight", Init::Const(1.0))?,
            bias: vb.get_with_hints(width, "bias", Init::Const(0.0))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm_slow(x, &self.weight, &self.bias, 1e-5)
    }
}

struct Block {
    norms: [LayerNorm; 2],
    attention: [Linear; 2],
    perceptron: [Linear; 2],
}

struct Gpt {
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    /// Added to scores: 0 where a position may look, else minus infinity.
    mask: Tensor,
    heads: usize,
}

impl Gpt {
    fn new(
        vocabulary: usize,
        context: usize,
        n_blocks: usize,
        heads: usize,
        width: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let table = Init::Randn {
            mean: 0.0,
            stdev: 0.02,
        };
        let blocks = (0..n_blocks).map(|k| {
            let vb = vb.pp("h").pp(k);
            Ok(Block {
                norms: [
                    LayerNorm::new(width, vb.pp("ln_1"))?,
                    LayerNorm::new(width, vb.pp("ln_2"))?,
                ],
                attention: [
                    linear(width, 3 * width, vb.pp("attn.c_attn"))?,
                    linear(width, width, vb.pp("attn.c_proj"))?,
                ],
                perceptron: [
                    linear(width, 4 * width, vb.pp("c_fc"))?,
                    linear(4 * width, width, vb.pp("c_proj"))?,
                ],
            })
        });
        let mask = (0..context * context).map(|k| {
            if k % context > k / context {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        });
        Ok(Self {
            tokens: vb.get_with_hints((vocabulary, width), "wte", table)?,
            positions: vb.get_with_hints((context, width), "wpe", table)?,
            blocks: blocks.collect::<Result<_>>()?,
            norm: LayerNorm::new(width, vb.pp("ln_f"))?,
            head: linear_no_bias(width, vocabulary, vb.pp("lm_head"))?,
            mask: Tensor::from_iter(mask, vb.device())?.reshape((context, context))?,
            heads,
        })
    }

    fn attention(&self, block: &Block, x: &Tensor) -> Result<Tensor> {
        let (b, t, width) = x.dims3()?;
        let size = width / self.heads;
        let parts = block.attention[0].forward(x)?;
        let part = |k: usize| -> Result<Tensor> {
            let part = parts.narrow(2, k * width, width)?;
            part.reshape((b, t, self.heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let scores = (part(0)?.matmul(&part(1)?.t()?)? / (size as f64).sqrt())?;
        let weights = ops::softmax(&scores.broadcast_add(&self.mask)?, D::Minus1)?;
        let y = weights
            .matmul(&part(2)?)?
            .transpose(1, 2)?
            .reshape((b, t, width))?;
        block.attention[1].forward(&y)
    }
}

impl Model for Gpt {
    fn scores(&self, tokens: &Tensor, _: bool) -> Result<Tensor> {
        let (b, t) = tokens.dims2()?;
        let x = self
            .tokens
            .embedding(&tokens.flatten_all()?)?
            .reshape((b, t, ()))?;
        let mut x = x.broadcast_add(&self.positions)?;
        for block in &self.blocks {
            x = (&x + self.attention(block, &block.norms[0].forward(&x)?)?)?;
            // candle's gelu is the approximation by tanh.
            let hidden = block.perceptron[0]
                .forward(&block.norms[1].forward(&x)?)?
                .gelu()?;
            x = (x + block.perceptron[1].forward(&hidden)?)?;
        }
        self.head.forward(&self.norm.forward(&x)?)?.flatten_to(1)
    }
}

struct Classifier {
    rnn: LSTM,
    fc: Linear,
}

impl Model for Classifier {
    fn scores(&self, x: &Tensor, _: bool) -> Result<Tensor> {
        let states = self.rnn.seq(x)?;
        self.fc.forward(states.last().expect("a sequence has steps").h())
    }
}

//! GPT-2's architecture at any size, with its parameter names.

use tapeless::prelude::*;

/// Causal self attention of several heads.
#[model]
pub struct Attention<const WIDTH: usize, const HEADS: usize> {
    c_attn: Linear<WIDTH, { 3 * WIDTH }>,
    c_proj: Linear<WIDTH, WIDTH>,
}

#[model]
impl<const WIDTH: usize, const HEADS: usize> Attention<WIDTH, HEADS> {
    /// Every position attends to itself and to those before it.
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, WIDTH>) -> Tensor<B, T, WIDTH> {
        let (q, k, v) = self.c_attn(x).chunk(3, axis = 2);
        let y = attention(Self::heads(q), Self::heads(k), Self::heads(v), causal = true);
        self.c_proj(y.permute(0, 2, 1, 3).reshape((B, T, WIDTH)))
    }

    /// One more position attends to `P` earlier ones, whose keys and values are known. Also its own key and value.
    pub fn step<B: Dim, P: Dim>(
        &self,
        x: Tensor<B, 1, WIDTH>,
        keys: Tensor<B, P, WIDTH>,
        values: Tensor<B, P, WIDTH>,
    ) -> (Tensor<B, 1, WIDTH>, Tensor<B, 1, WIDTH>, Tensor<B, 1, WIDTH>) {
        let (q, k, v) = self.c_attn(x).chunk(3, axis = 2);
        let (keys, values) = (concat((keys, k), axis = 1), concat((values, v), axis = 1));
        let y = attention(Self::heads(q), Self::heads(keys), Self::heads(values));
        (self.c_proj(y.permute(0, 2, 1, 3).reshape((B, 1, WIDTH))), k, v)
    }

    fn heads<B: Dim, T: Dim>(x: Tensor<B, T, WIDTH>) -> Tensor<B, HEADS, T, { WIDTH / HEADS }> {
        x.reshape((B, T, HEADS, WIDTH / HEADS)).permute(0, 2, 1, 3)
    }
}

/// Attention and a perceptron, each behind a norm and beside a shortcut.
#[model]
pub struct Block<const WIDTH: usize, const HEADS: usize> {
    ln_1: LayerNorm<WIDTH>,
    attn: Attention<WIDTH, HEADS>,
    ln_2: LayerNorm<WIDTH>,
    c_fc: Linear<WIDTH, { 4 * WIDTH }>,
    c_proj: Linear<{ 4 * WIDTH }, WIDTH>,
}

#[model]
impl<const WIDTH: usize, const HEADS: usize> Block<WIDTH, HEADS> {
    /// All positions at once.
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, WIDTH>, dropout: f32) -> Tensor<B, T, WIDTH> {
        let x = x + self.attn(self.ln_1(x)).dropout(dropout);
        x + self.perceptron(x).dropout(dropout)
    }

    /// One more position.
    pub fn step<B: Dim, P: Dim>(
        &self,
        x: Tensor<B, 1, WIDTH>,
        keys: Tensor<B, P, WIDTH>,
        values: Tensor<B, P, WIDTH>,
    ) -> (Tensor<B, 1, WIDTH>, Tensor<B, 1, WIDTH>, Tensor<B, 1, WIDTH>) {
        let (y, key, value) = self.attn.step(self.ln_1(x), keys, values);
        let x = x + y;
        (x + self.perceptron(x), key, value)
    }

    fn perceptron<B: Dim, T: Dim>(&self, x: Tensor<B, T, WIDTH>) -> Tensor<B, T, WIDTH> {
        self.c_proj(self.c_fc(self.ln_2(x)).gelu())
    }
}

/// A language model over `VOCAB` tokens. The table of tokens is the last layer as well.
#[model]
pub struct Gpt<
    const VOCAB: usize,
    const CONTEXT: usize,
    const LAYERS: usize,
    const HEADS: usize,
    const WIDTH: usize,
> {
    #[layer(init = normal(0.0, 0.02))]
    wte: Param<VOCAB, WIDTH>,
    #[layer(init = normal(0.0, 0.02))]
    wpe: Param<CONTEXT, WIDTH>,
    h: [Block<WIDTH, HEADS>; LAYERS],
    ln_f: LayerNorm<WIDTH>,
}

#[model]
impl<const VOCAB: usize, const CONTEXT: usize, const LAYERS: usize, const HEADS: usize, const WIDTH: usize>
    Gpt<VOCAB, CONTEXT, LAYERS, HEADS, WIDTH>
{
    /// Mean cross-entropy of the next token at every position, in nats.
    pub fn loss<B: Dim>(
        &self,
        tokens: Tensor<u16, B, CONTEXT>,
        next: Tensor<u16, B, CONTEXT>,
        dropout: f32,
    ) -> Scalar {
        let mut x = (self.wte.take(tokens, axis = 0) + self.wpe).dropout(dropout);
        for block in &self.h {
            x = block(x, dropout);
        }
        let scores = self.ln_f(x).matmul(self.wte.transpose(0, 1));
        cross_entropy(scores.reshape((B * CONTEXT, VOCAB)), next.reshape((B * CONTEXT,)))
    }

    /// The scores of the token that follows `token`, which stands at `position`, and what every layer remembers of it: its
    /// key and value, to be appended to `keys` and `values` of the positions before.
    pub fn next<B: Dim, P: Dim>(
        &self,
        token: Tensor<u16, B>,
        position: Tensor<i64, B>,
        keys: Tensor<LAYERS, B, P, WIDTH>,
        values: Tensor<LAYERS, B, P, WIDTH>,
    ) -> (
        Tensor<B, VOCAB>,
        Tensor<LAYERS, B, 1, WIDTH>,
        Tensor<LAYERS, B, 1, WIDTH>,
    ) {
        let x = self.wte.take(token, axis = 0) + self.wpe.take(position, axis = 0);
        let mut x = x.unsqueeze(1);
        let (mut new_keys, mut new_values) = (Steps::new(), Steps::new());
        for (block, (k, v)) in self
            .h
            .iter()
            .zip(keys.steps(axis = 0).zip(values.steps(axis = 0)))
        {
            let (y, key, value) = block.step(x, k, v);
            x = y;
            new_keys.push(key);
            new_values.push(value);
        }
        let scores = self.ln_f(x).squeeze(1).matmul(self.wte.transpose(0, 1));
        (scores, new_keys.stack(axis = 0), new_values.stack(axis = 0))
    }
}

//! The other side: the loop that one would write for a network of just these sizes.
//!
//! Layer 1 is kept transposed, so that its inner loops run over hidden units and the compiler can vectorise them; everything
//! lies in arrays of constant size. Compiled for the baseline of the target, as users' programs are.

use std::hint::black_box;

use crate::model::{Batch, LR, Weights};

/// A network IN-HIDDEN-OUT with relu in plain arrays.
pub struct ByHand<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    net: Net<IN, HIDDEN, OUT>,
    x: Vec<[f32; IN]>,
    y: Vec<[f32; OUT]>,
    predictions: Vec<[f32; OUT]>,
}

/// Parameters, or their gradients.
#[derive(Clone)]
struct Net<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    /// `[input][hidden]`.
    w1: [[f32; HIDDEN]; IN],
    b1: [f32; HIDDEN],
    /// `[output][hidden]`.
    w2: [[f32; HIDDEN]; OUT],
    b2: [f32; OUT],
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Net<IN, HIDDEN, OUT> {
    const ZERO: Self = Self {
        w1: [[0.0; HIDDEN]; IN],
        b1: [0.0; HIDDEN],
        w2: [[0.0; HIDDEN]; OUT],
        b2: [0.0; OUT],
    };

    fn forward(&self, x: &[f32; IN]) -> ([f32; HIDDEN], [f32; OUT]) {
        let mut hidden = self.b1;
        for (x, row) in x.iter().zip(&self.w1) {
            for (h, w) in hidden.iter_mut().zip(row) {
                *h += x * w;
            }
        }
        for h in &mut hidden {
            *h = h.max(0.0);
        }
        let mut out = self.b2;
        for (o, row) in out.iter_mut().zip(&self.w2) {
            for (h, w) in hidden.iter().zip(row) {
                *o += h * w;
            }
        }
        (hidden, out)
    }

    /// Adds the gradient of one sample, given that of its outputs.
    fn backward(&self, grad: &mut Self, x: &[f32; IN], hidden: &[f32; HIDDEN], out_grad: &[f32; OUT]) {
        let mut hidden_grad = [0.0; HIDDEN];
        for (o, out_grad) in out_grad.iter().enumerate() {
            grad.b2[o] += out_grad;
            let rows = grad.w2[o].iter_mut().zip(&self.w2[o]);
            for ((g, w), (hidden, hidden_grad)) in rows.zip(hidden.iter().zip(&mut hidden_grad)) {
                *g += out_grad * hidden;
                *hidden_grad += out_grad * w;
            }
        }
        for ((hidden, hidden_grad), g) in hidden.iter().zip(&mut hidden_grad).zip(&mut grad.b1) {
            *hidden_grad = if *hidden > 0.0 { *hidden_grad } else { 0.0 };
            *g += *hidden_grad;
        }
        for (row, x) in grad.w1.iter_mut().zip(x) {
            for (g, h) in row.iter_mut().zip(&hidden_grad) {
                *g += x * h;
            }
        }
    }

    /// Gradient descent.
    fn update(&mut self, grad: &Self) {
        let step = |params: &mut [f32], grads: &[f32]| {
            for (p, g) in params.iter_mut().zip(grads) {
                *p -= LR as f32 * g;
            }
        };
        step(self.w1.as_flattened_mut(), grad.w1.as_flattened());
        step(&mut self.b1, &grad.b1);
        step(self.w2.as_flattened_mut(), grad.w2.as_flattened());
        step(&mut self.b2, &grad.b2);
    }
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> ByHand<IN, HIDDEN, OUT> {
    /// A network with given weights, for a batch.
    pub fn new(Weights { weights, biases }: Weights, (x, y): &Batch) -> Self {
        let mut net = Net::ZERO;
        for h in 0..HIDDEN {
            for i in 0..IN {
                net.w1[i][h] = weights[0][h * IN + i];
            }
        }
        net.b1.copy_from_slice(&biases[0]);
        net.w2.as_flattened_mut().copy_from_slice(&weights[1]);
        net.b2.copy_from_slice(&biases[1]);
        let x: Vec<[f32; IN]> = x
            .rows()
            .into_iter()
            .map(|row| std::array::from_fn(|i| row[i]))
            .collect();
        let y: Vec<[f32; OUT]> = y
            .rows()
            .into_iter()
            .map(|row| std::array::from_fn(|o| row[o]))
            .collect();
        Self {
            net,
            predictions: vec![[0.0; OUT]; x.len()],
            x,
            y,
        }
    }

    /// A step of gradient descent; the loss before it.
    pub fn step(&mut self) -> f32 {
        // A caller's loop must not be merged with this one.
        black_box(&mut *self);
        let mut grad = Net::ZERO;
        let scale = 1.0 / (OUT * self.x.len()) as f32;
        let mut loss = 0.0;
        for (x, y) in self.x.iter().zip(&self.y) {
            let (hidden, out) = self.net.forward(x);
            let distance: [f32; OUT] = std::array::from_fn(|o| out[o] - y[o]);
            loss += distance.iter().map(|d| d * d).sum::<f32>();
            self.net
                .backward(&mut grad, x, &hidden, &distance.map(|d| 2.0 * scale * d));
        }
        self.net.update(&grad);
        loss * scale
    }

    /// Predictions of the batch; the first of them.
    pub fn predict(&mut self) -> f32 {
        // Or computed once for all of a caller's loop.
        black_box(&mut *self);
        for (x, prediction) in self.x.iter().zip(&mut self.predictions) {
            *prediction = self.net.forward(x).1;
        }
        self.predictions[0][0]
    }
}

//! The other side: the loop that one would write for a network of just these sizes.
//!
//! Layer 1 is kept transposed, so that its inner loops run over hidden units and the compiler can vectorise them; everything
//! lies in arrays of constant size. Compiled for the baseline of the target, as users' programs are.
//!
//! Loops go by index and functions are inlined by force, because the workspace's profile optimises across no codegen units: with
//! iterators, whose adaptors are then calls, a step took five times as long.

#![expect(
    clippy::needless_range_loop,
    reason = "adaptors of iterators are calls in this profile"
)]

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

    #[inline(always)]
    fn forward(&self, x: &[f32; IN]) -> ([f32; HIDDEN], [f32; OUT]) {
        let mut hidden = self.b1;
        for i in 0..IN {
            for h in 0..HIDDEN {
                hidden[h] += x[i] * self.w1[i][h];
            }
        }
        for h in 0..HIDDEN {
            hidden[h] = if hidden[h] > 0.0 { hidden[h] } else { 0.0 };
        }
        let mut out = self.b2;
        for o in 0..OUT {
            for h in 0..HIDDEN {
                out[o] += hidden[h] * self.w2[o][h];
            }
        }
        (hidden, out)
    }

    /// Adds the gradient of one sample, given that of its outputs.
    #[inline(always)]
    fn backward(&self, grad: &mut Self, x: &[f32; IN], hidden: &[f32; HIDDEN], out_grad: &[f32; OUT]) {
        let mut hidden_grad = [0.0; HIDDEN];
        for o in 0..OUT {
            grad.b2[o] += out_grad[o];
            for h in 0..HIDDEN {
                grad.w2[o][h] += out_grad[o] * hidden[h];
                hidden_grad[h] += out_grad[o] * self.w2[o][h];
            }
        }
        for h in 0..HIDDEN {
            hidden_grad[h] = if hidden[h] > 0.0 { hidden_grad[h] } else { 0.0 };
            grad.b1[h] += hidden_grad[h];
        }
        for i in 0..IN {
            for h in 0..HIDDEN {
                grad.w1[i][h] += x[i] * hidden_grad[h];
            }
        }
    }

    /// Gradient descent.
    #[inline(always)]
    fn update(&mut self, grad: &Self) {
        let lr = LR as f32;
        for h in 0..HIDDEN {
            for i in 0..IN {
                self.w1[i][h] -= lr * grad.w1[i][h];
            }
            self.b1[h] -= lr * grad.b1[h];
        }
        for o in 0..OUT {
            for h in 0..HIDDEN {
                self.w2[o][h] -= lr * grad.w2[o][h];
            }
            self.b2[o] -= lr * grad.b2[o];
        }
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
        for k in 0..self.x.len().min(self.y.len()) {
            let (x, y) = (&self.x[k], &self.y[k]);
            let (hidden, out) = self.net.forward(x);
            let mut out_grad = [0.0; OUT];
            for o in 0..OUT {
                let distance = out[o] - y[o];
                loss += distance * distance;
                out_grad[o] = 2.0 * scale * distance;
            }
            self.net.backward(&mut grad, x, &hidden, &out_grad);
        }
        self.net.update(&grad);
        loss * scale
    }

    /// Predictions of the batch; the first of them.
    pub fn predict(&mut self) -> f32 {
        // Or computed once for all of a caller's loop.
        black_box(&mut *self);
        for k in 0..self.x.len().min(self.predictions.len()) {
            self.predictions[k] = self.net.forward(&self.x[k]).1;
        }
        self.predictions[0][0]
    }
}

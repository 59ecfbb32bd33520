//! Loops over layers and over time, against the same models written out.

#![allow(missing_docs)]

use ndarray::{Array2, Array3};
use tapeless::prelude::*;

#[model]
pub struct Block<const D: usize> {
    norm: LayerNorm<D>,
    up: Linear<D, { 2 * D }>,
    down: Linear<{ 2 * D }, D>,
}

#[model]
impl<const D: usize> Block<D> {
    pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        x + self.down(self.up(self.norm(x)).tanh()).dropout(0.25)
    }
}

#[model]
pub struct Tower {
    blocks: [Block<6>; 3],
    head: Linear<6, 4>,
}

#[model]
impl Tower {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 6>) -> Tensor<B, 4> {
        let mut x = x;
        for block in &self.blocks {
            x = block(x);
        }
        self.head(x)
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.scores(x), label)
    }
}

#[model]
pub struct Elman {
    input: Linear<3, 5>,
    hidden: Linear<5, 5>,
    out: Linear<5, 2>,
}

#[model]
impl Elman {
    pub fn outputs<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, h: Tensor<B, 5>) -> Tensor<B, T, 2> {
        let mut h = h;
        let mut ys = Steps::new();
        for x_t in x.steps(axis = 1) {
            h = (self.input(x_t) + self.hidden(h)).tanh();
            ys.push(h);
        }
        self.out(ys.stack(axis = 1))
    }

    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, h: Tensor<B, 5>) -> Scalar {
        self.outputs(x, h).square().mean()
    }
}

#[test]
fn a_tower_trains() -> Result<()> {
    let mut model = Tower::new(&Device::cpu(), 1)?;
    println!("{}", Tower::summary());
    println!("{:?}", model.params());
    let mut work = model.loss_workspace(5)?;
    let x = Array2::from_shape_fn((5, 6), |(b, k)| ((b * 6 + k) as f32).sin());
    let label = ndarray::array![0u8, 1, 2, 3, 0];
    let mut adam = Adam::new(1e-2);
    let first = model.train_step(&mut work, &mut adam, &x, &label)?;
    let mut last = first;
    for _ in 0..60 {
        last = model.train_step(&mut work, &mut adam, &x, &label)?;
    }
    println!("{first} {last}");
    assert!(last < 0.7 * first);
    Ok(())
}

#[test]
fn an_rnn_runs() -> Result<()> {
    let mut model = Elman::new(&Device::cpu(), 1)?;
    let x = Array3::from_shape_fn((2, 4, 3), |(b, t, k)| ((b * 12 + t * 3 + k) as f32).sin());
    let h = Array2::<f32>::zeros((2, 5));
    let y = model.outputs(&x, &h)?;
    assert_eq!(y.dim(), (2, 4, 2));
    let mut work = model.loss_workspace(ElmanLossDims { b: 2, t: 4 })?;
    let loss = model.loss_grad(&mut work, &x, &h)?;
    println!("{loss} {:?}", work.grad("hidden.weight")?);
    Ok(())
}

#[model]
pub struct Recurrent {
    #[layer(layers = 2, bidirectional = true)]
    lstm: Lstm<3, 4>,
    gru: Gru<8, 5>,
    #[layer(nonlinearity = "relu", bias = false)]
    rnn: Rnn<5, 2>,
}

#[model]
impl Recurrent {
    pub fn loss<B: Dim, T: Dim>(
        &self,
        #[grad] x: Tensor<B, T, 3>,
        lengths: Tensor<i64, B>,
        h0: Tensor<1, B, 5>,
    ) -> Scalar {
        let (y, h, c) = self.lstm(x, lengths = lengths);
        let (z, g) = self.gru(y, h0);
        let (y, _) = self.rnn(z);
        y.square().mean() + h.square().mean() + c.sum() * 0.1 + g.mean()
    }
}

#[test]
fn recurrent_layers_run() -> Result<()> {
    let mut model = Recurrent::builder(&Device::cpu())
        .seed(3)
        .precision(Precision::F64)
        .build()?;
    let x = Array3::from_shape_fn((2, 4, 3), |(b, t, k)| ((b * 12 + t * 3 + k) as f64).sin());
    let (lengths, h0) = (ndarray::array![4i64, 2], Array3::<f64>::zeros((1, 2, 5)));
    let mut work = model.loss_workspace(RecurrentLossDims { b: 2, t: 4 })?;
    let loss = model.loss_grad(&mut work, &x, &lengths, &h0)?;
    println!("{loss}");
    for (path, _) in model.params() {
        println!("{path}");
    }
    let path = "lstm.weight_hh_l1_reverse";
    let grad = work.grad(path)?;
    let mut w = model.param(path)?;
    let h = 1e-5;
    w[[3, 2]] += h;
    model.set_param(path, &w)?;
    let up = model.loss(&x, &lengths, &h0)?;
    w[[3, 2]] -= 2.0 * h;
    model.set_param(path, &w)?;
    let down = model.loss(&x, &lengths, &h0)?;
    let slope = (up - down) / (2.0 * h);
    assert!((slope - grad[[3, 2]]).abs() < 1e-8, "{slope} {}", grad[[3, 2]]);
    Ok(())
}

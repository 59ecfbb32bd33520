//! Our side: a model of two layers, trained as any other.

use ndarray::{Array2, Array3, Ix2, s};
use tapeless::prelude::*;
use tapeless::rng::Key;

/// IN-HIDDEN-OUT with relu, and the mean squared error.
#[model]
pub struct Small<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    fc1: Linear<IN, HIDDEN>,
    fc2: Linear<HIDDEN, OUT>,
}

#[model]
impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Small<IN, HIDDEN, OUT> {
    /// The prediction for every sample.
    pub fn prediction<B: Dim>(&self, x: Tensor<B, IN>) -> Tensor<B, OUT> {
        self.fc2(self.fc1(x).relu())
    }

    /// Its mean squared error.
    pub fn loss<B: Dim>(&self, x: Tensor<B, IN>, y: Tensor<B, OUT>) -> Scalar {
        mse(self.prediction(x), y)
    }
}

/// The learning rate of both sides.
pub const LR: f64 = 1e-2;

/// Inputs and targets of a batch, row by row.
pub type Batch = (Array2<f32>, Array2<f32>);

/// Weights as PyTorch has them: of layer 1 `[HIDDEN, IN]`, of layer 2 `[OUT, HIDDEN]`, each with its bias.
pub struct Weights {
    /// Of layer 1, then layer 2.
    pub weights: [Vec<f32>; 2],
    /// Of layer 1, then layer 2.
    pub biases: [Vec<f32>; 2],
}

/// A model with everything that its steps and predictions need.
pub struct Ours<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    model: Small<IN, HIDDEN, OUT>,
    work: Workspace,
    eval: Workspace,
    sgd: Sgd,
    batch: Batch,
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Ours<IN, HIDDEN, OUT> {
    /// A model on one thread, with a random batch.
    pub fn new(batch: usize) -> Result<Self> {
        let model = Small::new(&Device::cpu().threads(1), 7)?;
        let numbers = Key::for_path(7, "small").at(0).stream(0);
        // Inputs and targets are two slices of one array of random numbers.
        let draw = Array3::from_shape_fn((2, batch, IN.max(OUT)), |(k, b, i)| {
            numbers.normal_f64(((k * batch + b) * IN.max(OUT) + i) as u64) as f32
        });
        let batch_arrays = (
            draw.slice(s![0, .., ..IN]).to_owned(),
            draw.slice(s![1, .., ..OUT]).to_owned(),
        );
        Ok(Self {
            work: model.loss_workspace(batch)?,
            eval: model.prediction_workspace(batch)?,
            model,
            sgd: Sgd::new(LR),
            batch: batch_arrays,
        })
    }

    /// The weights now.
    pub fn weights(&self) -> Result<Weights> {
        let read =
            |path: &str| -> Result<Vec<f32>> { Ok(self.model.param_as::<f32>(path)?.into_iter().collect()) };
        Ok(Weights {
            weights: [read("fc1.weight")?, read("fc2.weight")?],
            biases: [read("fc1.bias")?, read("fc2.bias")?],
        })
    }

    /// The batch.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// A step of gradient descent; the loss before it.
    pub fn step(&mut self) -> f64 {
        let (x, y) = &self.batch;
        self.model
            .train_step(&mut self.work, &mut self.sgd, x, y)
            .expect("arguments suit the model")
    }

    /// Predictions of the batch; the first of them.
    pub fn predict(&mut self) -> f64 {
        let outputs = self.model.prediction_in(&mut self.eval, &self.batch.0);
        let outputs = outputs.expect("arguments suit the model");
        let predictions = outputs.view::<f32, Ix2>(0).expect("a prediction has two axes");
        f64::from(predictions[[0, 0]])
    }
}

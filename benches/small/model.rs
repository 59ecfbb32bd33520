//! Our side: models of two layers, trained as any other.

use ndarray::{Array2, Array3, s};
use tapeless::prelude::*;
use tapeless::rng::Key;

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
pub trait Ours: Sized {
    /// A model on one thread, with a random batch.
    fn new(batch: usize) -> Result<Self>;
    /// The weights now.
    fn weights(&self) -> Result<Weights>;
    /// The batch.
    fn batch(&self) -> &Batch;
    /// A step of gradient descent; the loss before it.
    fn step(&mut self) -> f64;
    /// Predictions of the batch; the first of them.
    fn predict(&mut self) -> f64;
}

/// Random inputs and targets: two slices of one array of random numbers.
fn draw(batch: usize, inputs: usize, outputs: usize) -> Batch {
    let numbers = Key::for_path(7, "small").at(0).stream(0);
    let width = inputs.max(outputs);
    let all = Array3::from_shape_fn((2, batch, width), |(k, b, i)| {
        numbers.normal_f64(((k * batch + b) * width + i) as u64) as f32
    });
    (
        all.slice(s![0, .., ..inputs]).to_owned(),
        all.slice(s![1, .., ..outputs]).to_owned(),
    )
}

/// Networks IN-HIDDEN-OUT with relu, and the mean squared error. Their sizes are literals, as one writes them for a network of one
/// size; with const generics the kernels are the ordinary ones.
macro_rules! networks {
    ($($model:ident, $ours:ident: $input:tt, $hidden:tt, $output:tt;)*) => {$(
        #[doc = concat!(stringify!($input), "-", stringify!($hidden), "-", stringify!($output))]
        #[model]
        pub struct $model {
            fc1: Linear<$input, $hidden>,
            fc2: Linear<$hidden, $output>,
        }

        #[model]
        impl $model {
            /// The prediction for every sample.
            pub fn prediction<B: Dim>(&self, x: Tensor<B, $input>) -> Tensor<B, $output> {
                self.fc2(self.fc1(x).relu())
            }

            /// Its mean squared error.
            pub fn loss<B: Dim>(&self, x: Tensor<B, $input>, y: Tensor<B, $output>) -> Scalar {
                mse(self.prediction(x), y)
            }
        }

        #[doc = concat!("[`", stringify!($model), "`] with what it needs.")]
        pub struct $ours {
            model: $model,
            work: Workspace,
            eval: Workspace,
            sgd: Sgd,
            batch: Batch,
        }

        impl Ours for $ours {
            fn new(batch: usize) -> Result<Self> {
                let model = $model::new(&Device::cpu().threads(1), 7)?;
                Ok(Self {
                    work: model.loss_workspace(batch)?,
                    eval: model.prediction_workspace(batch)?,
                    model,
                    sgd: Sgd::new(LR),
                    batch: draw(batch, $input, $output),
                })
            }

            fn weights(&self) -> Result<Weights> {
                let read =
                    |path: &str| -> Result<Vec<f32>> { Ok(self.model.param_as::<f32>(path)?.into_iter().collect()) };
                Ok(Weights {
                    weights: [read("fc1.weight")?, read("fc2.weight")?],
                    biases: [read("fc1.bias")?, read("fc2.bias")?],
                })
            }

            fn batch(&self) -> &Batch {
                &self.batch
            }

            fn step(&mut self) -> f64 {
                let (x, y) = &self.batch;
                self.model
                    .train_step(&mut self.work, &mut self.sgd, x, y)
                    .expect("arguments suit the model")
            }

            fn predict(&mut self) -> f64 {
                let outputs = self.model.prediction_in(&mut self.eval, &self.batch.0);
                let outputs = outputs.expect("arguments suit the model");
                let predictions = outputs.slice::<f32>(0).expect("predictions are floats");
                f64::from(predictions[0])
            }
        }
    )*};
}

networks! {
    Net3x2x1, Ours3x2x1: 3, 2, 1;
    Net8x8x1, Ours8x8x1: 8, 8, 1;
    Net16x16x1, Ours16x16x1: 16, 16, 1;
    Net16x48x3, Ours16x48x3: 16, 48, 3;
}

//! The workloads: models with their optimizers and batches, as every framework of the comparison runs them.
//!
//! A step is forward, loss, backward and the optimizer's update, on one of [`N_BATCHES`] random batches that lie in memory. The
//! comparison with other frameworks (`benches/rivals`) includes this module as it is, so that what is measured against the
//! floor and what is measured against others is the same program.

// Each of the programs that include this module uses a part of it.
#![allow(dead_code)]

pub mod batch;
pub mod cnn;
pub mod gpt;
pub mod gpt2;
pub mod lstm;
pub mod mlp;
pub mod mlp_large;
pub mod resnet20;

use std::path::Path;

use tapeless::prelude::*;

use batch::{Batch, Values};

/// Batches that are taken in turn.
pub const N_BATCHES: usize = 8;

/// What is trained.
pub struct Workload {
    /// Its name on command lines and in tables.
    pub name: &'static str,
    /// Model and optimizer in words.
    pub about: &'static str,
    /// Samples of a batch.
    pub batch: usize,
    /// Begins a training.
    pub start: fn(&Setup) -> Result<Box<dyn Training>>,
}

/// How a training is set up.
#[derive(Clone)]
pub struct Setup {
    /// Where it runs.
    pub device: Device,
    /// How exact its products are.
    pub precision: Precision,
    /// Whether activations are dropped.
    pub dropout: Dropout,
}

impl Setup {
    /// A device in the default precision, with dropout as the workload has it.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            precision: Precision::default(),
            dropout: Dropout::AsDefined,
        }
    }

    /// A model with the initial weights that every framework begins with.
    ///
    /// # Errors
    ///
    /// If the device cannot be used or the model does not fit into memory.
    pub fn model<M: Model>(&self) -> Result<M> {
        M::builder(&self.device)
            .seed(SEED)
            .precision(self.precision)
            .build()
    }
}

/// All of them, the smallest step first.
pub const WORKLOADS: [Workload; 7] = [
    mlp::WORKLOAD,
    mlp_large::WORKLOAD,
    lstm::WORKLOAD,
    gpt::WORKLOAD,
    cnn::WORKLOAD,
    resnet20::WORKLOAD,
    gpt2::WORKLOAD,
];

/// Whether activations are dropped.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Dropout {
    /// At the rates of the workload.
    AsDefined,
    /// Not at all, for comparing losses: no two frameworks draw the same masks.
    Never,
}

impl Dropout {
    /// The rate where the workload has `rate`.
    pub fn rate(self, rate: f32) -> f32 {
        match self {
            Self::AsDefined => rate,
            Self::Never => 0.0,
        }
    }
}

/// A model in training.
pub trait Training {
    /// Takes a step on batch `index % N_BATCHES` and returns the loss before its update.
    fn step(&mut self, index: usize) -> Result<f64>;

    /// The workspace in which steps run.
    fn workspace(&mut self) -> &mut Workspace;

    /// Writes parameters and carried tensors to a safetensors file.
    fn save(&self, path: &Path) -> Result<()>;

    /// Reads what [`save`](Self::save) has written.
    fn load(&mut self, path: &Path) -> Result<()>;

    /// Name and values of the two tensors of batch `index % N_BATCHES`.
    fn batch(&self, index: usize) -> [(&'static str, Values); 2];
}

/// A step of a model on a batch.
type Step<M, O, B> = fn(&mut M, &mut Workspace, &mut O, &B, Dropout) -> Result<f64>;

/// What every [`Training`] is.
pub struct Run<M, O, B> {
    model: M,
    work: Workspace,
    optimizer: O,
    batches: Vec<B>,
    dropout: Dropout,
    step: Step<M, O, B>,
}

impl<M, O, B> Run<M, O, B>
where
    M: Model + 'static,
    O: Optimizer + 'static,
    B: Batch + 'static,
{
    /// Puts the parts together.
    pub fn start(
        (model, work): (M, Workspace),
        optimizer: O,
        batch: impl Fn(usize) -> B,
        setup: &Setup,
        step: Step<M, O, B>,
    ) -> Box<dyn Training> {
        let batches = (0..N_BATCHES).map(batch).collect();
        Box::new(Self {
            model,
            work,
            optimizer,
            batches,
            dropout: setup.dropout,
            step,
        })
    }
}

impl<M: Model, O: Optimizer, B: Batch> Training for Run<M, O, B> {
    fn step(&mut self, index: usize) -> Result<f64> {
        let batch = &self.batches[index % N_BATCHES];
        (self.step)(
            &mut self.model,
            &mut self.work,
            &mut self.optimizer,
            batch,
            self.dropout,
        )
    }

    fn workspace(&mut self) -> &mut Workspace {
        &mut self.work
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.model.save(path)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        self.model.load(path)
    }

    fn batch(&self, index: usize) -> [(&'static str, Values); 2] {
        self.batches[index % N_BATCHES].values()
    }
}

/// The seed of initial weights.
pub const SEED: u64 = 42;

//! The models of the examples `dna`, `speech`, `sentiment` and `translate` against PyTorch in float64, at reduced width:
//! results, loss, every gradient, and ten steps of every optimizer.

#![allow(missing_docs)]

mod common;
#[path = "../examples/dna/model.rs"]
mod dna_model;
#[path = "../examples/sentiment/model.rs"]
mod sentiment_model;
#[path = "../examples/speech/model.rs"]
mod speech_model;
#[path = "../examples/translate/model.rs"]
mod translate_model;

use common::fixture::Fixture;
use common::reference::{check_gradients, check_optimizers, distance, initial};
use dna_model::{Motifs, MotifsLossDims};
use ndarray::{Array, Array4, ArrayD, Dimension, Ix1, Ix2, Ix3, IxDyn};
use sentiment_model::{Sentiment, SentimentLossDims};
use speech_model::{Recogniser, RecogniserLossDims};
use tapeless::prelude::*;
use translate_model::{Translator, TranslatorLossDims};

/// Tokens and labels.
fn small<D: Dimension>(fixture: &Fixture, name: &str) -> Array<u8, D> {
    fixture.ints::<D>(&format!("input.{name}")).mapv(|n| n as u8)
}

fn lengths(fixture: &Fixture, name: &str) -> Array<i64, Ix1> {
    fixture.ints::<Ix1>(&format!("input.{name}"))
}

/// Compares what a plain call gives.
fn check_output(fixture: &Fixture, name: &str, found: ArrayD<f64>) {
    let expected = fixture.array::<IxDyn>(&format!("eval.{name}"));
    let error = distance(&found, &expected);
    assert!(error < 1e-10, "`{name}` is off by {error:e}");
}

/// Gradients from the initial values, then the optimizers.
fn check_training<M: Model>(
    fixture: &Fixture,
    workspace: &dyn Fn(&M) -> Workspace,
    loss_grad: &dyn Fn(&mut M, &mut Workspace) -> f64,
) {
    let mut model = initial::<M>(fixture, Precision::F64);
    let mut work = workspace(&model);
    let loss = loss_grad(&mut model, &mut work);
    check_gradients(fixture, loss, &work);
    check_optimizers(fixture, workspace, loss_grad);
}

#[test]
fn dna() {
    let fixture = Fixture::load("dna");
    let (bases, label) = (small::<Ix2>(&fixture, "bases"), small::<Ix1>(&fixture, "label"));
    let model = initial::<Motifs<4, 3>>(&fixture, Precision::F64);
    check_output(&fixture, "scores", model.scores_as(&bases).unwrap().into_dyn());
    check_training::<Motifs<4, 3>>(
        &fixture,
        &|model| model.loss_workspace(MotifsLossDims { b: 6, t: 9 }).unwrap(),
        &|model, work| model.loss_grad(work, &bases, &label).unwrap(),
    );
}

type SmallRecogniser = Recogniser<3, 4, 5>;

#[test]
fn speech() {
    let fixture = Fixture::load("speech");
    let sound = fixture.array::<Ix3>("input.sound");
    let (frames, n_words) = (lengths(&fixture, "lengths"), lengths(&fixture, "n_words"));
    let words = small::<Ix2>(&fixture, "words");
    let model = initial::<SmallRecogniser>(&fixture, Precision::F64);
    let found = model.log_probabilities_as(&sound, &frames).unwrap();
    check_output(&fixture, "log_probabilities", found.into_dyn());
    check_training::<SmallRecogniser>(
        &fixture,
        &|model| {
            model
                .loss_workspace(RecogniserLossDims { b: 4, t: 8, s: 3 })
                .unwrap()
        },
        &|model, work| model.loss_grad(work, &sound, &frames, &words, &n_words).unwrap(),
    );
}

type SmallSentiment = Sentiment<9, 3, 4>;

#[test]
fn sentiment() {
    let fixture = Fixture::load("sentiment");
    let words = fixture.ints::<Ix2>("input.words").mapv(|word| word as u16);
    let (n_words, label) = (lengths(&fixture, "lengths"), small::<Ix1>(&fixture, "label"));
    let model = initial::<SmallSentiment>(&fixture, Precision::F64);
    check_output(
        &fixture,
        "scores",
        model.scores_as(&words, &n_words).unwrap().into_dyn(),
    );
    check_training::<SmallSentiment>(
        &fixture,
        &|model| model.loss_workspace(SentimentLossDims { b: 5, t: 6 }).unwrap(),
        &|model, work| model.loss_grad(work, &words, &n_words, &label).unwrap(),
    );
}

type SmallTranslator = Translator<7, 4, 2, 5, 1>;

#[test]
fn translate() {
    let fixture = Fixture::load("translate");
    let [source, answer, next] = ["source", "answer", "next"].map(|name| small::<Ix2>(&fixture, name));
    let seen = small::<Ix2>(&fixture, "seen");
    let seen = Array4::from_shape_fn((3, 1, 1, 5), |(b, _, _, s)| seen[[b, s]] == 1);
    let model = initial::<SmallTranslator>(&fixture, Precision::F64);
    let found = model.scores_as(&source, &seen, &answer).unwrap();
    check_output(&fixture, "scores", found.into_dyn());
    check_training::<SmallTranslator>(
        &fixture,
        &|model| {
            model
                .loss_workspace(TranslatorLossDims { b: 3, s: 5, t: 4 })
                .unwrap()
        },
        &|model, work| model.loss_grad(work, &source, &seen, &answer, &next).unwrap(),
    );
}

/// A target that no alignment spells has an infinite loss, as in PyTorch, or none; a length out of range is an error.
#[test]
fn impossible_targets() {
    let model = Losses::new(&Device::cpu(), 0).unwrap();
    let x = ndarray::Array3::<f64>::zeros((2, 2, 3));
    let (words, frames, n_words) = (
        ndarray::array![[1u8, 1], [1, 2]],
        ndarray::array![2i64, 2],
        ndarray::array![2i64, 2],
    );
    let losses = model.losses(&x, &words, &frames, &n_words).unwrap();
    assert_eq!(losses, ndarray::array![f32::INFINITY, 0.0]);
    let losses = model.finite_losses(&x, &words, &frames, &n_words).unwrap();
    assert_eq!(losses, ndarray::array![0.0, 0.0]);
    let error = model
        .losses(&x, &words, &frames, &ndarray::array![2i64, 3])
        .unwrap_err();
    let want =
        "ctc_loss: the target length of sample 1 is 3, but there are 2 labels: lengths must be in 0..=2";
    assert!(error.to_string().contains(want), "{error}");
}

#[model]
pub struct Losses {}

#[model]
impl Losses {
    pub fn losses<B: Dim, T: Dim, S: Dim>(
        &self,
        x: Tensor<B, T, 3>,
        words: Tensor<u8, B, S>,
        frames: Tensor<i64, B>,
        n_words: Tensor<i64, B>,
    ) -> Tensor<B> {
        ctc_loss(x, words, frames, n_words, reduction = "none")
    }

    pub fn finite_losses<B: Dim, T: Dim, S: Dim>(
        &self,
        x: Tensor<B, T, 3>,
        words: Tensor<u8, B, S>,
        frames: Tensor<i64, B>,
        n_words: Tensor<i64, B>,
    ) -> Tensor<B> {
        ctc_loss(
            x,
            words,
            frames,
            n_words,
            reduction = "none",
            zero_infinity = true,
        )
    }
}

//! Graphs as they are turned. (That they mean the same is for the oracle to say.)

use super::*;
use crate::diag::Diagnostics;
use crate::ir::verify::verify;
use crate::lower::{lower, tests::define};
use crate::simplify::simplify;

/// The train graph of the first function, turned and simplified.
fn turned_text(source: &str) -> String {
    turned_for(Sweeps::Both, source)
}

fn turned_for(sweeps: Sweeps, source: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    let lowered = lower(&define(source), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("{errors}");
    }
    let lowered = lowered.expect("there was no error");
    let function = &lowered.functions[0];
    let graph = turn(function.train.as_ref().unwrap_or(&function.eval), sweeps);
    verify(&graph).unwrap_or_else(|violation| panic!("{violation}\n{graph}"));
    simplify(&graph).to_string()
}

#[test]
fn a_convolutional_network_permutes_at_its_edges() {
    insta::assert_snapshot!(turned_text(
        "struct Cnn { conv1: Conv2d<3, 8, 3>, conv2: Conv2d<_, 16, 3>, fc: Linear<_, 10> }
         impl Cnn {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 12, 12>, label: Tensor<u8, B>) -> Scalar {
                 let hidden = self.conv2(self.conv1(image).relu()).relu().max_pool2d(2);
                 cross_entropy(self.fc(hidden.flatten()), label)
             }
         }"
    ));
}

/// The weights of `hidden` are read in the order of the image where nothing is differentiated, and the weights of `scores` in both.
const FLATTENED: &str =
    "struct Cnn { conv: Conv2d<3, 16, 3>, hidden: Linear<_, 64>, scores: Linear<3136, 10> }
     impl Cnn {
         pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 16, 16>) -> Scalar {
             let image = self.conv(image).relu();
             self.hidden(image.flatten()).square().mean() + self.scores(image.flatten()).square().mean()
         }
     }";

#[test]
fn a_prediction_sums_over_a_flattened_image_as_it_lies() {
    insta::assert_snapshot!(turned_for(Sweeps::Forward, FLATTENED));
}

#[test]
fn a_step_turns_what_has_fewer_numbers() {
    insta::assert_snapshot!(turned_for(Sweeps::Both, FLATTENED));
}

#[test]
fn blocks_in_a_loop_carry_images_channels_last() {
    insta::assert_snapshot!(turned_text(
        "struct Net {
             #[layer(padding = 1)] stem: Conv2d<1, 8, 3>,
             #[layer(padding = 1)] conv: [Conv2d<8, 8, 3>; 3], norm: [BatchNorm2d<8>; 3],
         }
         impl Net {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 12, 12>) -> Scalar {
                 let mut x = self.stem(image);
                 for (conv, norm) in self.conv.iter().zip(&self.norm) { x = (x + norm(conv(x))).relu(); }
                 x.global_avg_pool2d().square().mean()
             }
         }"
    ));
}

#[test]
fn a_carry_becomes_channels_last_where_the_body_leaves_it_so() {
    insta::assert_snapshot!(turned_text(
        "struct Net { #[layer(padding = 1)] conv: [Conv2d<2, 2, 3>; 3] }
         impl Net {
             pub fn features<B: Dim>(&self, image: Tensor<B, 2, 4, 4>) -> Tensor<B, 2, 4, 4> {
                 let mut x = image;
                 for conv in &self.conv { x = conv(x).tanh(); }
                 x
             }
         }"
    ));
}

#[test]
fn an_image_that_every_step_reads_is_permuted_before_the_loop() {
    insta::assert_snapshot!(turned_text(
        "struct Net { #[layer(padding = 1)] conv: [Conv2d<2, 2, 3>; 3] }
         impl Net {
             pub fn features<B: Dim>(&self, image: Tensor<B, 2, 4, 4>, guide: Tensor<B, 2, 4, 4>) -> Tensor<B, 2, 4, 4> {
                 let mut x = image;
                 for conv in &self.conv { x = conv(x * guide).tanh(); }
                 x
             }
         }"
    ));
}

#[test]
fn views_reductions_and_channels_follow() {
    insta::assert_snapshot!(turned_text(
        "struct Net { #[layer(padding = 1)] left: Conv2d<2, 3, 3>, #[layer(padding = 1)] right: Conv2d<2, 5, 3>, drop: Dropout2d }
         impl Net {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 6, 4>, mask: Tensor<6, 4>) -> Scalar {
                 let both = concat((self.left(image), self.right(image)), axis = 1);
                 let gate = both.mean(axis = (2, 3), keepdim = true).sigmoid();
                 let masked = self.drop(both * gate * mask);
                 let part = masked.slice(.., 1..4, .., 0..2).pad((0, 0), (0, 0), (1, 1), (0, 0));
                 (part.max(axis = 1) * part.sum(axis = 1)).sum() + part.softmax(axis = 1).sum()
             }
         }"
    ));
}

#[test]
fn sequences_keep_their_axis_of_one_row() {
    insta::assert_snapshot!(turned_text(
        "struct Net { conv1: Conv1d<3, 4, 3>, norm: BatchNorm1d<4>, conv2: Conv1d<4, 5, 3>, fc: Linear<5, 2> }
         impl Net {
             pub fn scores<B: Dim>(&self, x: Tensor<B, 3, 16>) -> Tensor<B, 12, 2> {
                 let x = self.conv2(self.norm(self.conv1(x)).relu());
                 self.fc(x.transpose(1, 2))
             }
         }"
    ));
}

#[test]
fn what_has_no_images_stays_as_it_is() {
    let text = turned_text(
        "struct Net { norm: BatchNorm2d<3> }
         impl Net {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 4, 4>) -> Scalar { self.norm(image).square().mean() }
         }",
    );
    assert!(
        !text.contains("permute") && !text.contains("channels last"),
        "{text}"
    );
}

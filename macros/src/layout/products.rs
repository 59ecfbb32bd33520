//! Products of flattened images: summed in the order in which the image lies.
//!
//! ```text
//! %1: float[B, 4, 4, 16] = ..                          %1: float[B, 4, 4, 16] = ..
//! %2: float[B, 16, 4, 4] = permute[[0, 3, 1, 2]](%1)   %2: float[B, 256] = reshape(%1)
//! %3: float[B, 256] = reshape(%2)                      %4: float[10, 16, 16] = reshape(%w)
//! %4: float[256, 10] = permute[[1, 0]](%w)      to     %5: float[16, 16, 10] = permute[[2, 1, 0]](%4)
//! %5: float[B, 10] = matmul(%3, %4)                    %6: float[256, 10] = reshape(%5)
//!                                                      %7: float[B, 10] = matmul(%2, %6)
//! ```
//!
//! A sum may go in any order, and so either factor may be put into the order of the other. What that costs, in numbers that are moved
//! for an inner size `k`, `rows` of images and `columns` of the result:
//!
//! | | the image | the other factor |
//! |---|---|---|
//! | a forward sweep alone | `rows k` | none: packing reads its rows in any order (`fuse/reads.rs`), and in calls that follow one another once for all |
//! | with the way back | `2 rows k`: its cotangent returns | `2 columns k`: a copy that both sweeps read, and its cotangent returns |
//!
//! So a forward sweep leaves the image as it lies, and a step of training does where the result has fewer columns than rows. A batch
//! of unknown size counts as [`ROWS`] rows. Factors of few numbers stay as they are: small products read both factors where they lie.

use super::{Lying, Show, Sweeps, Walk};
use crate::ir::images::Images;
use crate::ir::{Node, Value, ViewMap, may_be_small};
use crate::ops::Op;
use crate::ops::matmul::Matmul;
use crate::ops::view::View;
use crate::shape::Dim;

/// Rows that a batch of unknown size is taken to have: few for training.
const ROWS: i64 = 32;

/// How the numbers of a sample of a flattened image lie.
struct Sample {
    channels: Dim,
    pixels: Dim,
}

impl Walk<'_> {
    /// A product whose first factor is a flattened image that lies channels last, where it pays to leave that so.
    pub(super) fn product(&mut self, node: &Node) -> Option<Vec<Lying>> {
        // A trace lists what the user wrote, not how it is read.
        let is_hidden = self.show == Show::Nothing;
        if !matches!(node.op, Op::Matmul(_)) || node.types[0].rank() != 2 || !is_hidden {
            return None;
        }
        let (image, sample) = self.flattened(node.inputs[0])?;
        let source = self.factor(node.inputs[1])?;
        if !self.pays(node) {
            return None;
        }
        let rows = self.last(image);
        let rows = self.b.reshape(rows, self.old.ty(node.inputs[0]).shape.clone());
        let factor = self.interleaved(source, &sample, &self.old.ty(node.inputs[1]).shape.clone());
        let product = self.b.push(Matmul, &[rows, factor]);
        Some(vec![Lying::first(product)])
    }

    /// The image that lies channels last of which a matrix has a sample in every row, if permuting it would move its numbers.
    fn flattened(&self, rows: Value) -> Option<(Value, Sample)> {
        let node = self.old.node(rows.node);
        let Op::View(View(ViewMap::Reshape(shape))) = &node.op else {
            return None;
        };
        let image = node.inputs[0];
        let from = &self.old.ty(image).shape;
        if self.own(image) != Images::ChannelsLast || shape.len() != 2 || shape[0] != from[0] {
            return None;
        }
        let sample = Sample {
            channels: from[1].clone(),
            pixels: Dim::product(&from[2..]),
        };
        (!sample.channels.is_one() && !sample.pixels.is_one()).then_some((image, sample))
    }

    /// A second factor as it is stored: what it is the transpose of, or itself. None where it is another view, whose rows might not
    /// lie so that runs of them can be told.
    fn factor(&self, factor: Value) -> Option<Stored> {
        let is_view = |value: Value| matches!(self.old.node(value.node).op, Op::View(_));
        let node = self.old.node(factor.node);
        match &node.op {
            Op::View(View(ViewMap::Permute(_))) if !is_view(node.inputs[0]) => {
                Some(Stored::Transposed(node.inputs[0]))
            }
            Op::View(_) => None,
            _ => Some(Stored::AsRead(factor)),
        }
    }

    /// Whether fewer numbers are moved where the image stays as it lies.
    fn pays(&self, node: &Node) -> bool {
        let result = &node.types[0].shape;
        if may_be_small(&self.old.ty(node.inputs[1]).numel()) {
            return false;
        }
        match self.sweeps {
            Sweeps::Forward => true,
            Sweeps::Both => {
                let rows = result[0].as_lit().unwrap_or(ROWS);
                result[1].as_lit().is_some_and(|columns| columns < rows)
            }
        }
    }

    /// A second factor `[k, n]` with its rows, one a channel and pixel, in the order of an image channels last.
    fn interleaved(&mut self, stored: Stored, sample: &Sample, shape: &[Dim]) -> Value {
        let (channels, pixels, columns) = (sample.channels.clone(), sample.pixels.clone(), shape[1].clone());
        let turned = match (stored, self.sweeps) {
            (Stored::Transposed(factor), Sweeps::Forward) => {
                let factor = self.first(factor);
                let planes = self.b.reshape(factor, vec![columns, channels, pixels]);
                self.b.permute(planes, &[2, 1, 0])
            }
            // A copy that lies as the factor does.
            (Stored::Transposed(factor), Sweeps::Both) => {
                let (factor, lies) = (self.first(factor), self.old.ty(factor).shape.clone());
                let planes = self.b.reshape(factor, vec![columns, channels, pixels]);
                let pixels = self.b.permute(planes, &[0, 2, 1]);
                let turned = self.b.reshape(pixels, lies);
                return self.b.transpose(turned);
            }
            (Stored::AsRead(factor), _) => {
                let factor = self.first(factor);
                let planes = self.b.reshape(factor, vec![channels, pixels, columns]);
                self.b.permute(planes, &[1, 0, 2])
            }
        };
        self.b.reshape(turned, shape.to_vec())
    }
}

/// A second factor by what is stored.
#[derive(Copy, Clone)]
enum Stored {
    /// Its transpose, as of the weights of a layer.
    Transposed(Value),
    /// Itself.
    AsRead(Value),
}

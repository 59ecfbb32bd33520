//! Where tiles take less time than windows: the cost model, beside that of [`method`](super::super::method).
//!
//! Windows take a multiply-add for each of their nine elements, each channel and each column, of columns rounded up to whole vectors.
//! Tiles take one for each of 36 points, of channels that need not fill a vector, and transforms: of an image's numbers, of results
//! (or cotangents), and of weights (or their gradients), each for as many tiles, vectors and blocks as it is repeated for.
//!
//! Only the ratios of the constants matter. They were measured with these kernels on Zen 4, images and results coming from memory.

use super::{POINTS, TAPS};
use crate::cpu::gemm::Arithmetic;
use crate::cpu::gemm::method::{FMA, VECTOR};
use crate::dtype::Precision;

/// What tiles would compute.
#[derive(Copy, Clone, Debug)]
pub struct TileWork {
    /// Tiles of all images, and places.
    pub tiles: usize,
    /// Places of all images.
    pub places: usize,
    /// Channels that are summed over.
    pub channels: usize,
    /// Columns of the result.
    pub columns: usize,
    /// How often numbers of images, of results and of weights are transformed.
    pub often: [usize; 3],
}

/// Picoseconds that it takes to transform a number at a point: of an image, of a result, of a weight.
const TRANSFORM: [u64; 3] = [200, 150, 100];

/// Whether an arithmetic leaves it to tiles to sum windows: where more error is allowed than that of a plain loop, and no unit
/// multiplies pairs.
pub fn allows_tiles(arithmetic: Arithmetic) -> bool {
    arithmetic.precision() == Precision::High && arithmetic.unit().is_none()
}

impl TileWork {
    /// Whether they are allowed, and take less time.
    pub fn is_faster(&self, arithmetic: Arithmetic) -> bool {
        allows_tiles(arithmetic) && self.cost() < self.cost_of_windows()
    }

    fn columns(&self) -> u64 {
        self.columns.next_multiple_of(VECTOR) as u64
    }

    fn cost(&self) -> u64 {
        let (tiles, vectors) = (self.tiles as u64, self.channels.next_multiple_of(VECTOR) as u64);
        let numbers = [tiles * vectors, tiles * self.columns(), vectors * self.columns()];
        let transforms = (0..3).map(|k| numbers[k] * self.often[k] as u64 * TRANSFORM[k]);
        let multiplied = tiles
            .saturating_mul(self.channels as u64 * self.columns())
            .saturating_mul(FMA);
        let each = transforms.fold(multiplied, u64::saturating_add);
        each.saturating_mul(POINTS as u64)
    }

    fn cost_of_windows(&self) -> u64 {
        let window = (TAPS * TAPS * self.channels) as u64;
        let multiplied = (self.places as u64).saturating_mul(window * self.columns());
        multiplied.saturating_mul(FMA)
    }
}

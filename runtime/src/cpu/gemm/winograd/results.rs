//! From values at the points back to results and gradients of weights, and from weights to their values.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::{OfFilter, PLACES, POINTS, SEEN, TAPS, TileAt, ToFilter, ToResult, both};
use crate::cpu::gemm::Block;
use crate::cpu::gemm::few::OnVectors;
use crate::cpu::gemm::lanes::Lanes;
use crate::ops::epilogue::{Activation, Simple};

/// Transforms the sums of tiles to results. Gives whether all of them are finite numbers, before they are finished.
pub struct TileResults<'a, 'b> {
    /// The sums, as [`TileProducts`](super::TileProducts) writes them.
    pub sums: &'a [f32],
    /// The tiles.
    pub tiles: &'a [TileAt],
    /// Results: a row for each place.
    pub out: Block<'b, f32>,
    /// Rows from a line of places to the next.
    pub line: usize,
    /// What happens to them.
    pub finish: Simple<'a, f32>,
}

impl OnVectors<f32> for TileResults<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<f32>>(mut self, lanes: L) -> bool {
        let cols = self.out.cols();
        let fits = self.tiles.len() * POINTS * cols.next_multiple_of(L::LANES) <= self.sums.len()
            && self.finish.bias.is_none_or(|bias| bias.len() == cols);
        assert!(fits, "the sizes of results of tiles do not fit");
        let zero = lanes.splat(0.0);
        // Zero times a number that is not finite is NaN, which stays.
        let mut seen = zero;
        let mut rest = self.sums;
        for col in (0..cols).step_by(L::LANES) {
            for tile in 0..self.tiles.len() {
                let (from, behind) = rest.split_at(POINTS * L::LANES);
                rest = behind;
                let mut sums = [[zero; SEEN]; SEEN];
                for i in 0..SEEN {
                    for j in 0..SEEN {
                        sums[i][j] = lanes.load(&from[(i * SEEN + j) * L::LANES..]);
                    }
                }
                let results = both::<ToResult, L, SEEN, PLACES>(lanes, &sums);
                for i in 0..PLACES {
                    for j in 0..PLACES {
                        seen = lanes.mul_add(zero, results[i][j], seen);
                    }
                }
                self.write(lanes, tile, col, &results);
            }
        }
        lanes.sum(seen) == 0.0
    }
}

impl TileResults<'_, '_> {
    /// Finishes and writes what counts of a tile, from a column on.
    #[inline(always)]
    fn write<L: Lanes<f32>>(
        &mut self,
        lanes: L,
        tile: usize,
        col: usize,
        results: &[[L::Vector; PLACES]; PLACES],
    ) {
        let count = (self.out.cols() - col).min(L::LANES);
        let bias = match self.finish.bias {
            Some(bias) if count == L::LANES => lanes.load(&bias[col..]),
            Some(bias) => lanes.load_part(&bias[col..]),
            None => lanes.splat(0.0),
        };
        let tile = self.tiles[tile];
        for i in tile.lines[0]..tile.lines[1].min(PLACES) {
            for j in 0..tile.columns.min(PLACES) {
                let mut result = lanes.add(results[i][j], bias);
                if self.finish.activation == Activation::Relu {
                    result = lanes.relu(result);
                }
                let to = &mut self.out.row_mut(tile.row + (i - tile.lines[0]) * self.line + j)[col..];
                match count == L::LANES {
                    true => lanes.store(result, to),
                    false => lanes.store_part(result, to),
                }
            }
        }
    }
}

/// Transforms the weights of one channel to their values at the points.
pub struct FilterValues<'a, 'b> {
    /// `[elements of the window, columns]`.
    pub weights: &'a [f32],
    /// Columns: whole vectors.
    pub columns: usize,
    /// A line of columns for each point, so far apart.
    pub values: &'b mut [f32],
    /// From the line of a point to that of the next.
    pub plane: usize,
}

impl OnVectors<f32> for FilterValues<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) {
        for col in (0..self.columns).step_by(L::LANES) {
            let mut weights = [[lanes.splat(0.0); TAPS]; TAPS];
            for i in 0..TAPS {
                for j in 0..TAPS {
                    weights[i][j] = lanes.load(&self.weights[(i * TAPS + j) * self.columns + col..]);
                }
            }
            let values = both::<OfFilter, L, TAPS, SEEN>(lanes, &weights);
            for i in 0..SEEN {
                for j in 0..SEEN {
                    let at = (i * SEEN + j) * self.plane + col;
                    lanes.store(values[i][j], &mut self.values[at..]);
                }
            }
        }
    }
}

/// Transforms sums over tiles to the gradient of weights.
pub struct FilterGradient<'a, 'b> {
    /// `[points, channels rounded up to whole vectors, columns]`.
    pub sums: &'a [f32],
    /// Channels.
    pub channels: usize,
    /// Columns of the sums: whole vectors.
    pub columns: usize,
    /// The gradient: a row for every channel and element of the window, and no more columns than those of the sums.
    pub out: Block<'b, f32>,
}

impl OnVectors<f32> for FilterGradient<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<f32>>(mut self, lanes: L) -> bool {
        let plane = self.channels.next_multiple_of(L::LANES) * self.columns;
        assert!(
            POINTS * plane <= self.sums.len() && self.out.cols() <= self.columns,
            "the sizes of a gradient do not fit"
        );
        let zero = lanes.splat(0.0);
        let mut seen = zero;
        for c in 0..self.channels {
            for col in (0..self.out.cols()).step_by(L::LANES) {
                let mut sums = [[zero; SEEN]; SEEN];
                for i in 0..SEEN {
                    for j in 0..SEEN {
                        let at = (i * SEEN + j) * plane + c * self.columns + col;
                        sums[i][j] = lanes.load(&self.sums[at..]);
                    }
                }
                let gradient = both::<ToFilter, L, SEEN, TAPS>(lanes, &sums);
                let count = (self.out.cols() - col).min(L::LANES);
                for i in 0..TAPS {
                    for j in 0..TAPS {
                        seen = lanes.mul_add(zero, gradient[i][j], seen);
                        let to = &mut self.out.row_mut((c * TAPS + i) * TAPS + j)[col..];
                        match count == L::LANES {
                            true => lanes.store(gradient[i][j], to),
                            false => lanes.store_part(gradient[i][j], to),
                        }
                    }
                }
            }
        }
        lanes.sum(seen) == 0.0
    }
}

//! What is multiplied at each point: tiles by weights, and tiles by tiles.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::{POINTS, Values};
use crate::cpu::gemm::few::OnVectors;
use crate::cpu::gemm::lanes::Lanes;
use crate::cpu::gemm::micro::write_row;
use crate::cpu::gemm::product::Start;

/// `sums[vector(o), tile, point, lane(o)] = sum over c of values[point, tile, c] weights[point, c, o]`.
pub struct TileProducts<'a, 'b> {
    /// The tiles.
    pub values: Values<'a>,
    /// Tiles and channels.
    pub size: [usize; 2],
    /// `[points, channels, columns]`.
    pub weights: &'a [f32],
    /// Columns: a few whole vectors.
    pub columns: usize,
    /// The products: all points of a tile follow each other.
    pub sums: &'b mut [f32],
}

/// `sums[point, c, o] += sum over tiles of values[point, tile, c] others[point, tile, o]`.
pub struct TileSums<'a, 'b> {
    /// The tiles of one factor.
    pub values: Values<'a>,
    /// Tiles and channels.
    pub size: [usize; 2],
    /// The tiles of the other.
    pub others: Values<'a>,
    /// Columns: a few whole vectors.
    pub columns: usize,
    /// `[points, channels rounded up to whole vectors, columns]`.
    pub sums: &'b mut [f32],
}

macro_rules! kernels {
    ($($kernel:ident $count:ident [$($is:literal $rows:literal)* | $other:literal])*) => {$(
        impl OnVectors<f32> for $kernel<'_, '_> {
            type Output = ();

            #[inline(always)]
            fn run<L: Lanes<f32>>(mut self, lanes: L) {
                self.check(L::LANES);
                match self.columns / L::LANES {
                    0 => {}
                    1 => self.height::<L, 1>(lanes),
                    2 => self.height::<L, 2>(lanes),
                    3 if L::MOST_VECTORS == 3 => self.height::<L, 3>(lanes),
                    vectors => unreachable!("no tile has {vectors} vectors"),
                }
            }
        }

        impl $kernel<'_, '_> {
            #[inline(always)]
            fn height<L: Lanes<f32>, const V: usize>(&mut self, lanes: L) {
                match L::$count {
                    $($is => self.points::<L, $rows, V>(lanes),)*
                    _ => self.points::<L, $other, V>(lanes),
                }
            }
        }
    )*};
}
// Rows in registers, by the places of which windows keep the sums there; those of sums over tiles are channels, of which a vector has a
// whole number of rows.
kernels! {
    TileProducts PLACES [8 8 | 4]
    TileSums LANES [16 8 | 4]
}

impl TileProducts<'_, '_> {
    fn check(&self, lanes: usize) {
        let [tiles, channels] = self.size;
        let fits = self.values.has(tiles, channels, lanes)
            && tiles * POINTS * self.columns <= self.sums.len()
            && self.columns.is_multiple_of(lanes)
            && POINTS * channels * self.columns <= self.weights.len();
        assert!(fits, "the sizes of products of tiles do not fit");
    }

    #[inline(always)]
    fn points<L: Lanes<f32>, const R: usize, const V: usize>(&mut self, lanes: L) {
        let [tiles, _] = self.size;
        for point in 0..POINTS {
            for first in (0..tiles).step_by(R) {
                let sums = self.sums::<L, R, V>(lanes, point, first);
                for i in 0..R.min(tiles - first) {
                    for v in 0..V {
                        let at = ((v * tiles + first + i) * POINTS + point) * L::LANES;
                        lanes.store(sums[i][v], &mut self.sums[at..]);
                    }
                }
            }
        }
    }

    /// The products of some tiles, in registers, and of what lies behind the last. No loop ends early: `check` has found all numbers.
    #[inline(always)]
    fn sums<L: Lanes<f32>, const R: usize, const V: usize>(
        &self,
        lanes: L,
        point: usize,
        first: usize,
    ) -> [[L::Vector; V]; R] {
        let [_, channels] = self.size;
        let mut sums = [[lanes.splat(0.0); V]; R];
        let step = V * L::LANES;
        let mut weights = &self.weights[point * channels * step..][..channels * step];
        let mut vector = 0;
        while !weights.is_empty() {
            let Some(rows) = self.values.run([vector, point, first], R * L::LANES) else {
                return sums;
            };
            let (some, rest) = weights.split_at(weights.len().min(L::LANES * step));
            for (c, weights) in some.chunks_exact(step).enumerate().take(L::LANES) {
                let mut vectors = [lanes.splat(0.0); V];
                for v in 0..V {
                    vectors[v] = lanes.load(&weights[v * L::LANES..]);
                }
                for i in 0..R {
                    let number = lanes.splat(rows[i * L::LANES + c]);
                    for v in 0..V {
                        sums[i][v] = lanes.mul_add(number, vectors[v], sums[i][v]);
                    }
                }
            }
            weights = rest;
            vector += 1;
        }
        sums
    }
}

impl TileSums<'_, '_> {
    fn check(&self, lanes: usize) {
        let [tiles, channels] = self.size;
        let fits = self.values.has(tiles, channels, lanes)
            && self.others.has(tiles, self.columns, lanes)
            && self.columns.is_multiple_of(lanes)
            && POINTS * channels.next_multiple_of(lanes) * self.columns <= self.sums.len();
        assert!(fits, "the sizes of sums over tiles do not fit");
    }

    #[inline(always)]
    fn points<L: Lanes<f32>, const R: usize, const V: usize>(&mut self, lanes: L) {
        let channels = self.size[1].next_multiple_of(L::LANES);
        for point in 0..POINTS {
            for first in (0..channels).step_by(R) {
                let sums = self.sums::<L, R, V>(lanes, point, first);
                for i in 0..R {
                    let at = (point * channels + first + i) * V * L::LANES;
                    write_row(lanes, &sums[i], &mut self.sums[at..], Start::Accumulate);
                }
            }
        }
    }

    /// The sums of some channels, in registers. No loop ends early here either.
    #[inline(always)]
    fn sums<L: Lanes<f32>, const R: usize, const V: usize>(
        &self,
        lanes: L,
        point: usize,
        first: usize,
    ) -> [[L::Vector; V]; R] {
        let len = self.size[0] * L::LANES;
        let mut sums = [[lanes.splat(0.0); V]; R];
        let Some(values) = self.values.run([first / L::LANES, point, 0], len) else {
            return sums;
        };
        let mut others: [&[f32]; V] = [&[]; V];
        for v in 0..V {
            let Some(other) = self.others.run([v, point, 0], len) else {
                return sums;
            };
            others[v] = other;
        }
        let lane = first % L::LANES;
        let mut at = 0;
        while at < len {
            let Some(row) = values.get(at + lane..at + lane + R) else {
                return sums;
            };
            let mut vectors = [lanes.splat(0.0); V];
            for v in 0..V {
                let Some(vector) = others[v].get(at..at + L::LANES) else {
                    return sums;
                };
                vectors[v] = lanes.load(vector);
            }
            for i in 0..R {
                let number = lanes.splat(row[i]);
                for v in 0..V {
                    sums[i][v] = lanes.mul_add(number, vectors[v], sums[i][v]);
                }
            }
            at += L::LANES;
        }
        sums
    }
}

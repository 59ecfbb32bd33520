//! Weights' gradients as outer products of pixels and places, with channels in the lanes of vectors.

use super::{Part, Sums};
use crate::cpu::gemm::{self, At, Band, Block, Correlate, Outer, Tap, Turn};
use crate::ops::conv::Conv2d;
use crate::ops::conv::window::{BAND, Layout, TAPS};

impl<T: Correlate> Sums<'_, T> {
    /// Computes a block of the gradient in tiles of so many rows and channels.
    #[inline(never)]
    pub(super) fn pixels(&self, [height, lanes]: [usize; 2], at: At, mut block: Block<'_, T>) {
        let window = Conv2d::area(self.conv.kernel);
        let size = [block.rows(), block.cols()];
        let rows = size[0].next_multiple_of(height);
        let vectors = (size[1] / window).div_ceil(lanes);
        let mut sums = Band::<T, BAND>::new();
        let sums = sums.push(vectors * rows * window * lanes);
        let (mut places, mut planes, mut pixels) = (Band::new(), Band::new(), Band::new());
        let tiles = vectors * (rows / height) * window.div_ceil(3);
        self.for_each_part(at, size, tiles, |part, layout, ahead| {
            self.turn_cotangent(part, layout, height, &mut places);
            let mut taps = [Tap::default(); TAPS];
            let taps = layout.taps(&mut taps);
            let [lines, line] = layout.size();
            for (sums, c) in sums
                .chunks_exact_mut(rows * window * lanes)
                .zip(part.channels.clone().step_by(lanes))
            {
                let channels = lanes.min(part.channels.end - c);
                layout.lay(
                    self.env.isa,
                    self.channel(part, c),
                    self.image(),
                    channels,
                    &mut planes,
                );
                self.turn_pixels(layout, channels, lanes, &planes, &mut pixels);
                let outer = Outer {
                    pixels: pixels.filled(),
                    taps,
                    rows: places.filled(),
                    size: [part.images.len(), lines, line],
                    image: layout.image,
                    pitch: layout.pitch,
                    sums,
                    ahead,
                };
                T::outer(self.env.isa, outer);
            }
        });
        write(sums, [rows, window, lanes], &mut block);
    }

    /// The rows of a tile for each place, for all tiles below each other.
    fn turn_cotangent(&self, part: &Part, layout: &Layout, height: usize, places: &mut Band<T, BAND>) {
        let conv = &self.conv;
        let [lines, line] = layout.size();
        // Lines that follow each other are one.
        let (lines, line) = if line == conv.out[1] {
            (1, lines * line)
        } else {
            (lines, line)
        };
        places.clear();
        for r in part.rows.clone().step_by(height) {
            for image in part.images.clone() {
                for l in 0..lines {
                    let turn = Turn {
                        from: &self.cotangent(part, image, r)[l * conv.out[1]..],
                        step: Conv2d::area(conv.out),
                        rows: height.min(part.rows.end - r),
                        len: line,
                        to: places.push(line * height),
                        width: height,
                    };
                    T::turn(self.env.isa, turn);
                }
            }
        }
        gemm::prepare(self.env.arithmetic(), places.filled_mut());
    }

    /// A vector of channels for each pixel.
    fn turn_pixels(
        &self,
        layout: &Layout,
        channels: usize,
        lanes: usize,
        planes: &Band<T, BAND>,
        pixels: &mut Band<T, BAND>,
    ) {
        pixels.clear();
        let turn = Turn {
            from: planes.filled(),
            step: layout.channel,
            rows: channels,
            len: layout.channel,
            to: pixels.push(layout.channel * lanes),
            width: lanes,
        };
        T::turn(self.env.isa, turn);
        gemm::prepare(self.env.arithmetic(), pixels.filled_mut());
    }
}

/// Writes sums `[vectors of channels, rows, window, lanes]` as a block `[rows, channels * window]`.
fn write<T: Correlate>(sums: &[T], [rows, window, lanes]: [usize; 3], block: &mut Block<'_, T>) {
    for r in 0..block.rows() {
        for (to, v) in block.row_mut(r).chunks_mut(lanes * window).zip(0..) {
            let from = &sums[(v * rows + r) * window * lanes..][..window * lanes];
            for (c, to) in to.chunks_exact_mut(window).enumerate() {
                for t in 0..window {
                    to[t] = from[t * lanes + c];
                }
            }
        }
    }
}

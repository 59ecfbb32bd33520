//! Weights' gradients as outer products of pixels and places, with channels in the lanes of vectors.

use super::{Part, Sums};
use crate::cpu::gemm::{self, At, Band, Block, Correlate, Outer, Tap, Turn};
use crate::ops::conv::Conv2d;
use crate::ops::conv::window::{Axis, BAND, Layout, TAPS};

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
        self.for_each_part(at, size, tiles, |part, axes, ahead| {
            self.turn_cotangent(part, lanes, &mut places);
            let [(y, down), (x, right)] = axes.map(Axis::merged);
            let layout = &Layout::new([y, x], part.images.len());
            let mut taps = [Tap::default(); TAPS];
            let taps = layout.taps(&mut taps);
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
                    count: part.rows.len(),
                    size: [part.images.len(), axes[0].places, axes[1].places],
                    image: layout.image,
                    step: [down * layout.pitch, right],
                    sums,
                    ahead,
                };
                T::outer(self.env.isa, outer);
            }
        });
        write(sums, [rows, window, lanes], &mut block);
    }

    /// A vector of rows for each place.
    fn turn_cotangent(&self, part: &Part, lanes: usize, places: &mut Band<T, BAND>) {
        let conv = &self.conv;
        let [mut lines, mut line] = [0, 1].map(|k| part.end[k] - part.first[k]);
        if line == conv.out[1] {
            // Lines that follow each other are one.
            (lines, line) = (1, lines * line);
        }
        places.clear();
        for r in part.rows.clone().step_by(lanes) {
            for image in part.images.clone() {
                for l in 0..lines {
                    let turn = Turn {
                        from: &self.cotangent(part, image, r)[l * conv.out[1]..],
                        step: Conv2d::area(conv.out),
                        rows: lanes.min(part.rows.end - r),
                        len: line,
                        to: places.push(line * lanes),
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

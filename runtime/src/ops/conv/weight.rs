//! The gradient of a convolution's weight: sums over the places of all images.
//!
//! The images are cut into at most [`SHARDS`] shards, by their number alone, whose gradients are then added in order; within a
//! shard images follow each other in order. So the bits depend on shapes alone.

use std::ops::Range;

use super::Conv2d;
use super::window::{Axis, BAND, Cut, Layout, SUMMED, TAPS};
use crate::cpu::gemm::{self, At, Band, Block, Blocks, Correlate, Dots, LANES, Lines, Tap};
use crate::cx::Env;

/// Most shards of the images: the scratch memory is as many times as large as the weight.
pub const SHARDS: usize = 4;
/// Rows of a cotangent that find room beside each other.
const ROWS: usize = BAND / SUMMED;
/// Tasks of the gradient, at least, where it is large enough: every task lays out its images anew.
const TASKS: usize = 16;
/// Fewest rows and channels of a task, for the same reason.
const FEW: [usize; 2] = [16, 8];
/// Multiply-adds in all below which other threads are not asked for help.
const SMALL: usize = 1 << 17;
/// Weights whose shards are added by a task.
const CHUNK: usize = 1 << 13;

/// The sizes of the computation.
struct Sums<'a, T> {
    env: Env<'a>,
    conv: Conv2d,
    x: &'a [T],
    dy: &'a [T],
    shards: usize,
}

/// Computes the gradient of the weight. `scratch` is [`SHARDS`] times as large.
pub(super) fn run<T: Correlate>(
    env: Env<'_>,
    cut: Cut,
    (x, dy): (&[T], &[T]),
    (dw, scratch): (&mut [T], &mut [T]),
    conv: Conv2d,
) {
    let shards = SHARDS.min(conv.batch.div_ceil(cut.images)).max(1);
    let sums = Sums {
        env,
        conv,
        x,
        dy,
        shards,
    };
    if shards == 1 {
        return sums.add(cut, dw);
    }
    let len = dw.len();
    let parts = &mut scratch[..shards * len];
    sums.add(cut, parts);
    let parts: &[T] = parts;
    env.team.chunks_mut(dw, CHUNK, |n, dw| {
        let first = n * CHUNK;
        dw.copy_from_slice(&parts[first..][..dw.len()]);
        for shard in 1..shards {
            let part = &parts[shard * len + first..][..dw.len()];
            for (to, from) in dw.iter_mut().zip(part) {
                *to += *from;
            }
        }
    });
}

impl<T: Correlate> Sums<'_, T> {
    /// Rows and channels of a task.
    fn task(&self) -> [usize; 2] {
        let (channels, rows) = self.conv.group();
        let (mut down, mut across) = (rows.div_ceil(ROWS).max(1), 1);
        while self.shards * self.conv.groups * down * across < TASKS {
            if rows / (down + 1) >= FEW[0] && rows / down >= channels / across {
                down += 1;
            } else if channels / (across + 1) >= FEW[1] {
                across += 1;
            } else {
                break;
            }
        }
        [rows.div_ceil(down), channels.div_ceil(across)]
    }

    /// Computes the gradients of the shards one after the other.
    fn add(&self, cut: Cut, parts: &mut [T]) {
        let conv = &self.conv;
        let (channels, rows) = conv.group();
        let window = Conv2d::area(conv.kernel);
        let [task_rows, task_channels] = self.task();
        let work = parts.len() / self.shards * conv.batch * Conv2d::area(conv.out);
        let team = (work >= SMALL).then_some(self.env.team);
        let size = [self.shards * conv.out_channels, channels * window];
        let blocks = Blocks::new(parts, size, rows, [task_rows, task_channels * window]);
        blocks.run(team, |at, mut block| self.block(cut, at, &mut block));
    }

    /// A block of the gradient of one group in one shard.
    #[inline(never)]
    fn block(&self, cut: Cut, at: At, block: &mut Block<'_, T>) {
        let conv = &self.conv;
        (0..block.rows()).for_each(|r| block.row_mut(r).fill(T::ZERO));
        let (shard, group) = (at.matrix / conv.groups, at.matrix % conv.groups);
        let images = shard * conv.batch / self.shards..(shard + 1) * conv.batch / self.shards;
        let [y, x] = conv.forward();
        let mut dy = Band::<T, BAND>::new();
        let mut band = Band::<T, BAND>::new();
        for first in images.clone().step_by(cut.images) {
            let part = Part {
                images: first..(first + cut.images).min(images.end),
                group,
                rows: at.row..at.row + block.rows(),
                channel: at.col / Conv2d::area(conv.kernel),
            };
            for line in (0..y.places).step_by(cut.lines) {
                for place in (0..x.places).step_by(cut.places) {
                    let first = [line, place];
                    let axes = (
                        Axis::new(y, line, y.places.min(line + cut.lines)),
                        Axis::new(x, place, x.places.min(place + cut.places)),
                    );
                    if let (Some(y), Some(x)) = axes {
                        let layout = Layout::new([y, x], part.images.len());
                        self.cotangent(&part, &layout, first, &mut dy);
                        gemm::prepare(self.env.arithmetic(), dy.filled_mut());
                        self.places(&part, &layout, cut, dy.filled(), &mut band, block);
                    }
                }
            }
        }
    }

    /// Lays out the cotangent as the image is, with zeros where no place is.
    fn cotangent(&self, part: &Part, layout: &Layout, first: [usize; 2], dy: &mut Band<T, BAND>) {
        dy.clear();
        let conv = &self.conv;
        let row = layout.places().next_multiple_of(LANES);
        let [lines, places] = layout.size();
        let rows = conv.group().1;
        let area = Conv2d::area(conv.out);
        for r in part.rows.clone() {
            let to = dy.zeros(row);
            for (m, image) in part.images.clone().enumerate() {
                let plane = &self.dy[((image * conv.groups + part.group) * rows + r) * area..][..area];
                for line in 0..lines {
                    let from = &plane[(first[0] + line) * conv.out[1] + first[1]..][..places];
                    to[m * layout.image + line * layout.pitch..][..places].copy_from_slice(from);
                }
            }
        }
    }

    /// Adds what the places of a layout give.
    fn places(
        &self,
        part: &Part,
        layout: &Layout,
        cut: Cut,
        dy: &[T],
        band: &mut Band<T, BAND>,
        block: &mut Block<'_, T>,
    ) {
        let conv = &self.conv;
        let (window, area) = (Conv2d::area(conv.kernel), Conv2d::area(conv.size));
        let mut taps = [Tap::default(); TAPS];
        let taps = layout.taps(&mut taps);
        let row = layout.places().next_multiple_of(LANES);
        let channels = block.cols() / window;
        let step = conv.in_channels * area;
        let first = (part.images.start * conv.groups + part.group) * conv.group().0 + part.channel;
        for from in (0..channels).step_by(cut.channels) {
            let some = cut.channels.min(channels - from);
            layout.lay(&self.x[(first + from) * area..], step, some, band);
            gemm::prepare(self.env.arithmetic(), band.filled_mut());
            let dots = Dots {
                lines: Lines {
                    data: band.filled(),
                    step: layout.channel,
                    channels: some,
                    taps,
                },
                rows: dy,
                row,
                first: from * window,
                sums: block,
            };
            T::dots(self.env.isa, dots);
        }
    }
}

/// What of an image a task looks at.
struct Part {
    images: Range<usize>,
    group: usize,
    rows: Range<usize>,
    /// The first channel.
    channel: usize,
}

//! The gradient of a convolution's weight: sums over the places of all images.
//!
//! The images are cut into at most [`SHARDS`] shards, by their number alone, whose gradients are then added in order; within a
//! shard images follow each other in order. So the bits depend on shapes alone.

use std::ops::Range;

use super::Conv2d;
use super::window::{Axis, BAND, Cut, Layout, SUMMED, TAPS, runs};
use crate::cpu::gemm::{self, Ahead, At, Band, Block, Blocks, Correlate, Dots, LANES, Lines, Runs, Tap};
use crate::cx::Env;

/// Most shards of the images: the scratch memory is as many times as large as the weight.
pub const SHARDS: usize = 4;
/// Rows of a cotangent that find room beside each other.
const ROWS: usize = BAND / SUMMED;
/// Tasks of the gradient, at least, where it is large enough: every task lays out its images anew.
const TASKS: usize = 8;
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
        blocks.run(team, |at, block| self.block(cut, at, block));
    }

    /// A block of the gradient of one group in one shard.
    #[inline(never)]
    fn block(&self, cut: Cut, at: At, mut block: Block<'_, T>) {
        let conv = &self.conv;
        (0..block.rows()).for_each(|r| block.row_mut(r).fill(T::ZERO));
        let (shard, group) = (at.matrix / conv.groups, at.matrix % conv.groups);
        let (rows, channels) = (block.rows(), block.cols() / Conv2d::area(conv.kernel));
        let channel = at.col / Conv2d::area(conv.kernel);
        let images = shard * conv.batch / self.shards..(shard + 1) * conv.batch / self.shards;
        let [y, x] = conv.forward();
        let (down, across) = (y.places.div_ceil(cut.lines), x.places.div_ceil(cut.places));
        let mut dy = Band::<T, BAND>::new();
        let mut band = Band::<T, BAND>::new();
        let part = |number: usize| {
            let (first, place) = (number / across % down * cut.lines, number % across * cut.places);
            let image = images.start + number / (across * down) * cut.images;
            (image < images.end).then(|| Part {
                images: image..(image + cut.images).min(images.end),
                group,
                rows: at.row..at.row + rows,
                channels: channel..channel + channels,
                first: [first, place],
                end: [y.places.min(first + cut.lines), x.places.min(place + cut.places)],
            })
        };
        let mut next = part(0);
        for number in 1.. {
            let Some(now) = next else { break };
            next = part(number);
            let axes = (
                Axis::new(y, now.first[0], now.end[0]),
                Axis::new(x, now.first[1], now.end[1]),
            );
            if let (Some(y), Some(x)) = axes {
                let layout = Layout::new([y, x], now.images.len());
                self.cotangent(&now, &layout, &mut dy);
                gemm::prepare(self.env.arithmetic(), dy.filled_mut());
                let runs = next.as_ref().map_or([Runs::NONE; 2], |next| self.runs(next));
                let tiles = rows.div_ceil(8) * block.cols().div_ceil(3);
                let mut ahead = Ahead::new(runs, tiles);
                self.places(&now, &layout, cut, dy.filled(), &mut band, &mut block, &mut ahead);
            }
        }
    }

    /// The memory of a part.
    fn runs(&self, part: &Part) -> [Runs; 2] {
        let conv = &self.conv;
        let [channels, rows] = [conv.in_channels, conv.out_channels];
        let (ins, outs) = conv.group();
        let lines = Axis::new(conv.forward()[0], part.first[0], part.end[0]).map_or(0..0, |axis| axis.seen());
        let image =
            (part.images.start * channels + part.group * ins + part.channels.start) * Conv2d::area(conv.size);
        let cotangent =
            (part.images.start * rows + part.group * outs + part.rows.start) * Conv2d::area(conv.out);
        [
            runs(
                &self.x[image..],
                conv.size,
                lines,
                [part.images.len(), channels, part.channels.len()],
            ),
            runs(
                &self.dy[cotangent..],
                conv.out,
                part.first[0]..part.end[0],
                [part.images.len(), rows, part.rows.len()],
            ),
        ]
    }

    /// Lays out the cotangent as the image is, with zeros where no place is.
    fn cotangent(&self, part: &Part, layout: &Layout, dy: &mut Band<T, BAND>) {
        dy.clear();
        let conv = &self.conv;
        let row = layout.places().next_multiple_of(LANES);
        let rows = conv.group().1;
        let area = Conv2d::area(conv.out);
        for r in part.rows.clone() {
            let mut rest = dy.push(row);
            for image in part.images.clone() {
                let len = if image + 1 < part.images.end {
                    layout.image
                } else {
                    rest.len()
                };
                let (to, after) = rest.split_at_mut(len);
                let plane = &self.dy[((image * conv.groups + part.group) * rows + r) * area..][..area];
                let from = &plane[part.first[0] * conv.out[1] + part.first[1]..];
                T::lay(self.env.isa, layout.cotangent(from, conv.out[1], to));
                rest = after;
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
        ahead: &mut Ahead,
    ) {
        let conv = &self.conv;
        let (window, area) = (Conv2d::area(conv.kernel), Conv2d::area(conv.size));
        let mut taps = [Tap::default(); TAPS];
        let taps = layout.taps(&mut taps);
        let row = layout.places().next_multiple_of(LANES);
        let channels = block.cols() / window;
        let step = conv.in_channels * area;
        let first = (part.images.start * conv.groups + part.group) * conv.group().0 + part.channels.start;
        for from in (0..channels).step_by(cut.channels) {
            let some = cut.channels.min(channels - from);
            layout.lay(self.env.isa, &self.x[(first + from) * area..], step, some, band);
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
                ahead,
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
    channels: Range<usize>,
    /// The first line and place.
    first: [usize; 2],
    /// Where lines and places end.
    end: [usize; 2],
}

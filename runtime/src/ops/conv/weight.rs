//! The gradient of a convolution's weight: sums over the places of all images.
//!
//! The images are cut into at most [`SHARDS`] shards, by their number alone, whose gradients are then added in order; within a
//! shard images follow each other in order. So the bits depend on shapes alone (and on the instruction set, as everywhere).
//!
//! While a block of images is multiplied, its kernels ask the memory for the next one.

mod lines;
mod pixels;

use std::ops::Range;

use super::Conv2d;
use super::window::{Axis, BAND, Cut, SUMMED, TURNED, runs};
use crate::cpu::gemm::{Ahead, At, Blocks, Correlate, Runs};
use crate::cx::Env;

/// Most shards of the images: the scratch memory is as many times as large as the weight.
pub const SHARDS: usize = 4;
/// Which part of tiles must be full for channels to be in the lanes.
const FULL: [usize; 2] = [4, 5];
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
    cut: Cut,
    way: Way,
}

/// How the sums are computed.
#[derive(Copy, Clone)]
enum Way {
    /// As dot products of lines, with pixels in the lanes of vectors.
    Lines,
    /// As outer products, with channels in the lanes: tiles of so many rows and channels.
    Pixels([usize; 2]),
}

impl Way {
    /// Channels in the lanes where they fill most of them: what is added to make tiles whole is computed for nothing, but lines need
    /// sums across lanes, and compute what lies between the places of two lines. Nothing where a window is too large.
    fn new<T: Correlate>(env: Env<'_>, conv: &Conv2d) -> Option<(Self, Cut)> {
        let (channels, rows) = conv.group();
        let tile = T::tile(env.isa);
        let whole = [rows.next_multiple_of(tile[0]), channels.next_multiple_of(tile[1])];
        if FULL[1] * rows * channels >= FULL[0] * whole[0] * whole[1]
            && let Some(cut) = conv.sums(whole[1], TURNED)
            && cut.channels >= tile[1]
        {
            return Some((Self::Pixels(tile), cut));
        }
        Some((Self::Lines, conv.sums(channels, SUMMED)?))
    }

    /// Rows of a cotangent that find room beside each other.
    fn most_rows(self) -> usize {
        match self {
            Self::Lines => BAND / SUMMED,
            Self::Pixels(_) => BAND / TURNED,
        }
    }
}

/// Computes the gradient of the weight, if a window is not too large. `scratch` is [`SHARDS`] times as large.
pub(super) fn run<T: Correlate>(
    env: Env<'_>,
    (x, dy): (&[T], &[T]),
    (dw, scratch): (&mut [T], &mut [T]),
    conv: Conv2d,
) -> Option<()> {
    let (way, cut) = Way::new::<T>(env, &conv)?;
    let shards = SHARDS.min(conv.batch.div_ceil(cut.images)).max(1);
    let sums = Sums {
        env,
        conv,
        x,
        dy,
        shards,
        cut,
        way,
    };
    if shards == 1 {
        sums.add(dw);
        return Some(());
    }
    let len = dw.len();
    let parts = &mut scratch[..shards * len];
    sums.add(parts);
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
    Some(())
}

impl<T: Correlate> Sums<'_, T> {
    /// Rows and channels of a task.
    fn task(&self) -> [usize; 2] {
        let (channels, rows) = self.conv.group();
        let unit = match self.way {
            Way::Lines => [1, 1],
            Way::Pixels(tile) => tile,
        };
        let (mut down, mut across) = (1, 1);
        let task = |down: usize, across: usize| {
            [
                rows.div_ceil(down).next_multiple_of(unit[0]),
                channels.div_ceil(across).next_multiple_of(unit[1]),
            ]
        };
        while !self.fits(task(down, across)) {
            *(if down * unit[0] < rows {
                &mut down
            } else {
                &mut across
            }) += 1;
        }
        while self.shards * self.conv.groups * down * across < TASKS {
            if rows / (down + 1) >= FEW[0] && rows / down >= channels / across {
                down += 1;
            } else if channels / (across + 1) >= FEW[1].max(unit[1]) {
                across += 1;
            } else {
                break;
            }
        }
        let [task_rows, task_channels] = task(down, across);
        [task_rows.min(rows), task_channels.min(channels)]
    }

    /// Whether a task finds room for what it computes.
    fn fits(&self, [rows, channels]: [usize; 2]) -> bool {
        match self.way {
            Way::Lines => rows <= self.way.most_rows(),
            Way::Pixels(_) => {
                rows <= self.way.most_rows() && rows * channels * Conv2d::area(self.conv.kernel) <= BAND
            }
        }
    }

    /// Computes the gradients of the shards one after the other.
    fn add(&self, parts: &mut [T]) {
        let conv = &self.conv;
        let (channels, rows) = conv.group();
        let window = Conv2d::area(conv.kernel);
        let [task_rows, task_channels] = self.task();
        let work = parts.len() / self.shards * conv.batch * Conv2d::area(conv.out);
        let team = (work >= SMALL).then_some(self.env.team);
        let size = [self.shards * conv.out_channels, channels * window];
        let blocks = Blocks::new(parts, size, rows, [task_rows, task_channels * window]);
        blocks.run(team, |at, block| match self.way {
            Way::Lines => self.lines(at, block),
            Way::Pixels(tile) => self.pixels(tile, at, block),
        });
    }

    /// Calls `f` with each part of the images that a block of the gradient of one group in one shard sums over, how it is laid out, and
    /// what to ask for in so many `times`.
    fn for_each_part(
        &self,
        at: At,
        block: [usize; 2],
        times: usize,
        mut f: impl FnMut(&Part, [Axis; 2], &mut Ahead),
    ) {
        let (conv, cut) = (&self.conv, self.cut);
        let (shard, group) = (at.matrix / conv.groups, at.matrix % conv.groups);
        let window = Conv2d::area(conv.kernel);
        let (channel, channels) = (at.col / window, block[1] / window);
        let images = shard * conv.batch / self.shards..(shard + 1) * conv.batch / self.shards;
        let [y, x] = conv.forward();
        let (down, across) = (y.places.div_ceil(cut.lines), x.places.div_ceil(cut.places));
        let part = |number: usize| {
            let (first, place) = (number / across % down * cut.lines, number % across * cut.places);
            let image = images.start + number / (across * down) * cut.images;
            (image < images.end).then(|| Part {
                images: image..(image + cut.images).min(images.end),
                group,
                rows: at.row..at.row + block[0],
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
                let runs = next.as_ref().map_or([Runs::NONE; 2], |next| self.runs(next));
                f(&now, [y, x], &mut Ahead::new(runs, times));
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

    /// A row of the cotangent of an image, from the first place of a part on.
    fn cotangent(&self, part: &Part, image: usize, row: usize) -> &[T] {
        let conv = &self.conv;
        let plane = (image * conv.groups + part.group) * conv.group().1 + row;
        &self.dy[plane * Conv2d::area(conv.out) + part.first[0] * conv.out[1] + part.first[1]..]
    }

    /// A channel of the first image of a part.
    fn channel(&self, part: &Part, channel: usize) -> &[T] {
        let conv = &self.conv;
        let plane = (part.images.start * conv.groups + part.group) * conv.group().0 + channel;
        &self.x[plane * Conv2d::area(conv.size)..]
    }

    /// From an image to the next.
    fn image(&self) -> usize {
        self.conv.in_channels * Conv2d::area(self.conv.size)
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

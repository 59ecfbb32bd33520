//! The gradient of a convolution's weight: sums over the places of all images.
//!
//! The images are cut into at most [`SHARDS`] shards, by their number alone, whose gradients are then added in order; within a
//! shard images follow each other in order. So the bits depend on shapes alone (and on the instruction set, as everywhere).

use std::ops::Range;

use super::Conv2d;
use crate::cpu::gemm::{self, At, Axis, Block, Blocks, Convolve, Operands, Outer, Plane};
use crate::cx::Env;

/// Most shards of the images: the scratch memory is as many times as large as the weight.
pub const SHARDS: usize = 4;
/// Tasks of the gradient, at least, where it is large enough.
const TASKS: usize = 8;
/// Multiply-adds that are worth a task of their own.
const TASK: usize = 1 << 20;
/// Multiply-adds in all below which other threads are not asked for help.
const SMALL: usize = 1 << 17;
/// Rows of the gradient whose shards are added by a task.
const CHUNK: usize = 1 << 13;
/// Numbers of images and cotangents that are multiplied while they stay in the first-level cache, about.
const NEAR: usize = 7 << 10;
/// Places that are summed at a time, at least: sums are loaded and stored as often.
const PLACES: usize = 64;
/// Room for the rounded numbers of a part of an image, or of a cotangent.
const ROOM: usize = 1 << 15;
/// Channels below which a tile's rows are those of all elements of the window.
const FEW: usize = 8;

/// The sizes of the computation.
struct Sums<'a, T> {
    env: Env<'a>,
    conv: Conv2d,
    x: &'a [T],
    dy: &'a [T],
    shards: usize,
    cut: Cut,
}

/// What is multiplied at a time.
#[derive(Copy, Clone, Debug)]
struct Cut {
    lines: usize,
    /// Places of a line.
    places: usize,
    /// Channels of an image, and of a cotangent, that a task multiplies.
    channels: [usize; 2],
}

/// Computes the gradient of the weight. `scratch` is [`SHARDS`] times as large.
pub(super) fn run<T: Convolve>(
    env: Env<'_>,
    (x, dy): (&[T], &[T]),
    (dw, scratch): (&mut [T], &mut [T]),
    conv: Conv2d,
) {
    let shards = SHARDS.min(conv.batch);
    let (channels, rows) = conv.group();
    let depth = channels * Conv2d::area(conv.kernel);
    let cut = Cut::new(&conv, shards, T::columns(env.isa, rows));
    let sums = Sums {
        env,
        conv,
        x,
        dy,
        shards,
        cut,
    };
    let len = dw.len();
    let parts = &mut scratch[..shards * len];
    let team = (conv.work() >= SMALL).then_some(env.team);
    let block = [cut.channels[0] * Conv2d::area(conv.kernel), cut.channels[1]];
    let blocks = Blocks::new(parts, [shards * conv.groups * depth, rows], depth, block);
    blocks.run(team, |at, block| sums.add(at, block));
    let parts: &[T] = parts;
    let lines = (CHUNK / depth).max(1);
    env.team.chunks_mut(dw, lines * depth, |n, dw| {
        for (line, dw) in (n * lines..).zip(dw.chunks_exact_mut(depth)) {
            let from = &parts[line / rows * depth * rows + line % rows..];
            for (k, to) in dw.iter_mut().enumerate() {
                let mut sum = from[k * rows];
                for shard in 1..shards {
                    sum += from[shard * len + k * rows];
                }
                *to = sum;
            }
        }
    });
}

impl Cut {
    fn new(conv: &Conv2d, shards: usize, columns: usize) -> Self {
        let (channels, rows) = conv.group();
        let mut cut = Self {
            lines: conv.out[0],
            places: conv.out[1],
            channels: [channels, rows],
        };
        let worth = (conv.work() / TASK).min(TASKS);
        let mut parts = worth.div_ceil(shards * conv.groups).max(1);
        while parts > 1 && cut.channels[1] > columns {
            let half = cut.channels[1].div_ceil(2).next_multiple_of(columns);
            (cut.channels[1], parts) = (half, parts.div_ceil(2));
        }
        while parts > 1 && cut.channels[0] >= 2 * FEW {
            let half = cut.channels[0].div_ceil(2).next_multiple_of(FEW);
            (cut.channels[0], parts) = (half, parts.div_ceil(2));
        }
        let near = |cut: &Cut| {
            let columns = columns.min(cut.channels[1]);
            cut.image(conv) + cut.lines * cut.places * columns <= NEAR || cut.lines * cut.places <= PLACES
        };
        while cut.lines > 1 && !(near(&cut) && cut.fits(conv)) {
            cut.lines -= 1;
        }
        while cut.places > 1 && !cut.fits(conv) {
            cut.places = cut.places.div_ceil(2);
        }
        while cut.channels[0] > 1 && !cut.fits(conv) {
            cut.channels[0] = cut.channels[0].div_ceil(2);
        }
        while !cut.fits(conv) {
            cut.channels[1] = cut.channels[1].div_ceil(2).next_multiple_of(columns);
        }
        cut
    }

    /// Numbers of the part of an image that the places of a part see.
    fn image(&self, conv: &Conv2d) -> usize {
        let span = |k: usize, places: usize| {
            let all = (places - 1) * conv.stride[k] + (conv.kernel[k] - 1) * conv.dilation[k] + 1;
            all.min(conv.size[k])
        };
        span(0, self.lines) * span(1, self.places) * self.channels[0]
    }

    fn fits(&self, conv: &Conv2d) -> bool {
        self.image(conv) <= ROOM && self.lines * self.places * self.channels[1] <= ROOM
    }
}

/// What of an image a task looks at at a time.
struct Part {
    image: usize,
    group: usize,
    channels: Range<usize>,
    rows: Range<usize>,
    /// The first line and place.
    first: [usize; 2],
    /// The windows of the part's places.
    axes: [Axis; 2],
}

impl<T: Convolve> Sums<'_, T> {
    /// Computes a block of the gradient of one group in one shard.
    fn add(&self, at: At, mut block: Block<'_, T>) {
        (0..block.rows()).for_each(|row| block.row_mut(row).fill(T::ZERO));
        match self.env.arithmetic().operands() {
            Operands::Exact => self.for_each_part(at, &mut block, |sums, part, block| {
                let [image, cotangent] = sums.planes(&part);
                sums.part(&part, (image, [0, 0]), cotangent, block);
            }),
            Operands::Rounded => self.add_rounded(at, &mut block),
        }
    }

    /// The same, with what is multiplied rounded first.
    #[inline(never)]
    fn add_rounded(&self, at: At, block: &mut Block<'_, T>) {
        let mut rooms = [[T::ZERO; ROOM]; 2];
        self.for_each_part(at, block, |sums, part, block| {
            let [image, cotangent] = sums.planes(&part);
            let seen = part.axes.map(|axis| axis.seen());
            let [first, second] = &mut rooms;
            let round =
                |plane: Plane<'_, T>, [lines, line]: [Range<usize>; 2], len: usize, room: &mut [T]| {
                    let mut rest = room;
                    for y in lines {
                        for x in line.clone() {
                            let to = rest.split_off_mut(..len).expect("a part fits");
                            to.copy_from_slice(&plane.data[y * plane.line + x * plane.pixel..][..len]);
                        }
                    }
                };
            let places = part.axes.map(|axis| 0..axis.places);
            let lens = [part.channels.len(), part.rows.len()];
            round(image, seen.clone(), lens[0], first);
            round(cotangent, places.clone(), lens[1], second);
            let plane = |data, line: usize, pixel| Plane {
                data,
                line: line * pixel,
                pixel,
            };
            gemm::prepare(sums.env.arithmetic(), first);
            gemm::prepare(sums.env.arithmetic(), second);
            let image = plane(&first[..], seen[1].len(), lens[0]);
            let cotangent = plane(&second[..], places[1].len(), lens[1]);
            sums.part(&part, (image, [seen[0].start, seen[1].start]), cotangent, block);
        });
    }

    /// Calls `f` with each part of the images that a block sums over, in order.
    fn for_each_part(
        &self,
        at: At,
        block: &mut Block<'_, T>,
        mut f: impl FnMut(&Self, Part, &mut Block<'_, T>),
    ) {
        let (conv, cut) = (&self.conv, self.cut);
        let (shard, group) = (at.matrix / conv.groups, at.matrix % conv.groups);
        let window = Conv2d::area(conv.kernel);
        let first = at.row / window;
        let (channels, rows) = (
            first..first + block.rows() / window,
            at.col..at.col + block.cols(),
        );
        let images = shard * conv.batch / self.shards..(shard + 1) * conv.batch / self.shards;
        for image in images {
            for line in (0..conv.out[0]).step_by(cut.lines) {
                for place in (0..conv.out[1]).step_by(cut.places) {
                    let axis = |k: usize, first: usize, most: usize| {
                        conv.forward(k).from(first, most.min(conv.out[k] - first))
                    };
                    let part = Part {
                        image,
                        group,
                        channels: channels.clone(),
                        rows: rows.clone(),
                        first: [line, place],
                        axes: [axis(0, line, cut.lines), axis(1, place, cut.places)],
                    };
                    f(self, part, block);
                }
            }
        }
    }

    /// The image, and the cotangent from a part's first place on.
    fn planes(&self, part: &Part) -> [Plane<'_, T>; 2] {
        let conv = &self.conv;
        let (ins, outs) = conv.group();
        let image = part.image * Conv2d::area(conv.size) * conv.in_channels;
        let place = part.image * Conv2d::area(conv.out) + part.first[0] * conv.out[1] + part.first[1];
        let cotangent = place * conv.out_channels + part.group * outs + part.rows.start;
        [
            Plane {
                data: &self.x[image + part.group * ins + part.channels.start..],
                line: conv.size[1] * conv.in_channels,
                pixel: conv.in_channels,
            },
            Plane {
                data: &self.dy[cotangent..],
                line: conv.out[1] * conv.out_channels,
                pixel: conv.out_channels,
            },
        ]
    }

    /// Adds the sums of a part. `origin` is the image's pixel that comes first in its plane.
    fn part(
        &self,
        part: &Part,
        (image, origin): (Plane<'_, T>, [usize; 2]),
        cotangent: Plane<'_, T>,
        block: &mut Block<'_, T>,
    ) {
        let [y, x] = part.axes;
        let columns = T::columns(self.env.isa, self.conv.group().1);
        for col in (0..block.cols()).step_by(columns) {
            let cols = col..(col + columns).min(block.cols());
            let mut add = |first: [usize; 2], taps: [usize; 2], places: [Range<usize>; 2]| {
                let [lines, line] = places;
                if lines.is_empty() || line.is_empty() {
                    return;
                }
                let position = |axis: Axis, tap: usize, place: usize, origin: usize| {
                    (axis.start + (place * axis.stride + tap * axis.step) as isize) as usize - origin
                };
                let at = position(y, first[0], lines.start, origin[0]) * image.line
                    + position(x, first[1], line.start, origin[1]) * image.pixel;
                let rows = block.rows();
                let outer = Outer {
                    image: Plane {
                        data: &image.data[at..],
                        line: image.line * y.stride,
                        pixel: image.pixel * x.stride,
                    },
                    channels: part.channels.len(),
                    taps,
                    steps: [image.line * y.step, image.pixel * x.step],
                    cotangent: Plane {
                        data: &cotangent.data
                            [lines.start * cotangent.line + line.start * cotangent.pixel + col..],
                        ..cotangent
                    },
                    places: [lines.len(), line.len()],
                    sums: block.part(0..rows, cols.clone()),
                    first: first[0] * x.taps + first[1],
                    row: y.taps * x.taps,
                };
                T::outer(self.env.isa, outer);
            };
            let inner = match part.channels.len() < FEW {
                true => [y, x].map(|axis| axis.inside(0).start..axis.inside(axis.taps - 1).end),
                false => [0..0, 0..0],
            };
            let is_inner = !inner[0].is_empty() && !inner[1].is_empty();
            if is_inner {
                add([0, 0], [y.taps, x.taps], inner.clone());
            }
            for i in 0..y.taps {
                for j in 0..x.taps {
                    let (lines, line) = (y.inside(i), x.inside(j));
                    if !is_inner {
                        add([i, j], [1, 1], [lines, line]);
                        continue;
                    }
                    let [v, u] = &inner;
                    add(
                        [i, j],
                        [1, 1],
                        [lines.start..lines.end.min(v.start), line.clone()],
                    );
                    add([i, j], [1, 1], [v.clone(), line.start..line.end.min(u.start)]);
                    add([i, j], [1, 1], [v.clone(), line.start.max(u.end)..line.end]);
                    add([i, j], [1, 1], [lines.start.max(v.end)..lines.end, line]);
                }
            }
        }
    }
}

//! The gradient of a convolution's weight: sums over the places of all images.
//!
//! The images are cut into at most [`SHARDS`] shards, by their number alone, whose gradients are then added in order; within a
//! shard images follow each other in order. So the bits depend on shapes alone (and on the instruction set, as everywhere).

mod pairs;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::Conv2d;
use super::places::SMALL;
use super::way::Images;
use super::winograd;
use crate::cpu::gemm::{self, At, Axis, Block, Blocks, Convolve, MOST_LANES, Operands, Outer, Plane};
use crate::cpu::isa::Isa;
use crate::cx::Env;
pub(super) use pairs::Bands;

/// Most shards of the images: the scratch memory is as many times as large as the weight.
pub const SHARDS: usize = 4;
/// Rows of the gradient whose shards are added by a task.
const CHUNK: usize = 1 << 13;
/// Numbers of images and cotangents that are multiplied while they stay in the second-level cache, about: the first level does not pay, for
/// then sums are loaded and stored more often.
const NEAR: usize = 28 << 10;
/// Places that are summed at a time, at least: sums are loaded and stored as often.
const PLACES: usize = 64;
/// Room for the rounded numbers of a part of an image, or of a cotangent.
const ROOM: usize = 1 << 15;
/// Channels of an image that a task multiplies with one block of columns, at most: the sums of all elements of a window stay in the
/// second-level cache, and mostly in the first.
const CHANNELS: usize = 32;
/// Rows of a tile.
const FULL: usize = 8;

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

/// How sums are computed.
pub(super) enum Way {
    /// On vectors.
    Lanes,
    /// In pairs, of images that are cut so.
    Pairs(Bands),
    /// By tiles of places.
    Tiles,
}

impl From<Option<Bands>> for Way {
    fn from(bands: Option<Bands>) -> Self {
        bands.map_or(Self::Lanes, Self::Pairs)
    }
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
pub(super) fn run<T: Images>(
    env: Env<'_>,
    (x, dy): (&[T], &[T]),
    (dw, scratch): (&mut [T], &mut [T]),
    conv: Conv2d,
) {
    run_in(env, (x, dy), (dw, scratch), conv, T::sum_way(&conv, env));
}

/// The same in one of the ways.
pub(super) fn run_in<T: Images>(
    env: Env<'_>,
    (x, dy): (&[T], &[T]),
    (dw, scratch): (&mut [T], &mut [T]),
    conv: Conv2d,
    way: impl Into<Way>,
) {
    let way = way.into();
    let shards = shards(&conv);
    let (channels, rows) = conv.group();
    let depth = channels * Conv2d::area(conv.kernel);
    let columns = rows.min(T::columns(env.isa, rows));
    let block = match &way {
        Way::Pairs(bands) => bands.channels,
        Way::Tiles => [winograd::channels_of_task(channels, columns), columns],
        Way::Lanes => [channels.div_ceil(channels.div_ceil(CHANNELS)), columns],
    };
    let cut = Cut::new(&conv, block);
    let sums = Sums {
        env,
        conv,
        x,
        dy,
        shards,
        cut,
        way,
    };
    let len = dw.len();
    let parts = &mut scratch[..shards * len];
    let team = (conv.work() >= SMALL).then_some(env.team);
    let block = [cut.channels[0] * Conv2d::area(conv.kernel), cut.channels[1]];
    let blocks = Blocks::new(parts, [shards * conv.groups * depth, rows], depth, block);
    blocks.run(team, |at, block| sums.add(at, block));
    let parts: &[T] = parts;
    let lanes = T::lanes(env.isa);
    for (group, dw) in dw.chunks_exact_mut(depth * rows).enumerate() {
        // Rows of two lines of the cache, which are read together.
        let lines = (CHUNK / depth).max(1).next_multiple_of(2 * lanes);
        let from = &parts[group * depth * rows..];
        env.team.chunks_mut(dw, lines * depth, |n, dw| {
            turn_sums(env.isa, (from, shards, len), [n * lines, rows, depth], dw);
        });
    }
}

/// Shards of the images.
fn shards(conv: &Conv2d) -> usize {
    SHARDS.min(conv.batch)
}

/// Adds the sums `[depth, rows]` of the shards, which are `len` numbers apart, and writes lines of `depth` numbers for the rows from
/// `first` on.
pub(super) fn turn_sums<T: Convolve>(
    isa: Isa,
    (from, shards, len): (&[T], usize, usize),
    [first, rows, depth]: [usize; 3],
    to: &mut [T],
) {
    let lanes = T::lanes(isa);
    let mut sums = [T::ZERO; MOST_LANES * MOST_LANES];
    let mut turned = [T::ZERO; MOST_LANES * MOST_LANES];
    for k in (0..depth).step_by(lanes) {
        let some = lanes.min(depth - k);
        for (row, to) in (first..).step_by(lanes).zip(to.chunks_mut(lanes * depth)) {
            let count = to.len() / depth;
            for (n, sums) in sums.chunks_exact_mut(lanes).take(some).enumerate() {
                let at = (k + n) * rows + row;
                sums[..count].copy_from_slice(&from[at..at + count]);
                for shard in 1..shards {
                    let at = at + shard * len;
                    for (sum, part) in sums.iter_mut().zip(&from[at..at + count]) {
                        *sum += *part;
                    }
                }
            }
            T::turn(isa, &sums, lanes, lanes - 1, &mut turned);
            for (to, line) in to.chunks_exact_mut(depth).zip(turned.chunks_exact(lanes)) {
                to[k..k + some].copy_from_slice(&line[..some]);
            }
        }
    }
}

impl Cut {
    fn new(conv: &Conv2d, channels: [usize; 2]) -> Self {
        let mut cut = Self {
            lines: conv.out[0],
            places: conv.out[1],
            channels,
        };
        let near = |cut: &Cut| {
            cut.image(conv) + cut.lines * cut.places * cut.channels[1] <= NEAR
                || cut.lines * cut.places <= PLACES
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

/// What a task sums over, or a band of it.
#[derive(Clone)]
pub(super) struct Region {
    pub images: Range<usize>,
    group: usize,
    pub channels: Range<usize>,
    pub rows: Range<usize>,
    /// Lines, and places of each.
    places: [Range<usize>; 2],
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

impl<T: Images> Sums<'_, T> {
    /// Computes a block of the gradient of one group in one shard.
    fn add(&self, at: At, mut block: Block<'_, T>) {
        (0..block.rows()).for_each(|row| block.row_mut(row).fill(T::ZERO));
        let region = self.region(at, &block);
        match &self.way {
            Way::Pairs(bands) => self.add_pairs(bands, &region, &mut block),
            Way::Lanes => self.add_lanes(&region, &mut block),
            Way::Tiles => {
                if !T::tile_sums(self.env, [self.x, self.dy], &self.conv, &region, &mut block) {
                    (0..block.rows()).for_each(|row| block.row_mut(row).fill(T::ZERO));
                    self.add_lanes(&region, &mut block);
                }
            }
        }
    }

    /// Adds the sums of a region on vectors.
    fn add_lanes(&self, region: &Region, block: &mut Block<'_, T>) {
        // Windows that see more than there is room for are multiplied as they are, which is more exact than was asked for.
        let operands = match self.cut.fits(&self.conv) {
            true => self.env.arithmetic().operands(),
            false => Operands::Exact,
        };
        match operands {
            Operands::Exact => self.for_each_part(region, |part| {
                let [image, cotangent] = self.planes(&part);
                self.part(&part, (image, [0, 0]), cotangent, block);
            }),
            Operands::Rounded => self.add_rounded(region, block),
        }
    }

    /// The same, with what is multiplied rounded first.
    #[inline(never)]
    fn add_rounded(&self, region: &Region, block: &mut Block<'_, T>) {
        let mut rooms = [[T::ZERO; ROOM]; 2];
        self.for_each_part(region, |part| {
            let [image, cotangent] = self.planes(&part);
            let seen = part.axes.map(|axis| axis.seen());
            let [first, second] = &mut rooms;
            let round =
                |plane: Plane<'_, T>, [lines, line]: [Range<usize>; 2], len: usize, room: &mut [T]| {
                    let room = &mut room[..lines.len() * line.len() * len];
                    let mut rest = &mut *room;
                    for y in lines {
                        if plane.pixel == len {
                            let len = line.len() * len;
                            let to = rest.split_off_mut(..len).expect("a part fits");
                            let from = y * plane.line + line.start * plane.pixel;
                            to.copy_from_slice(&plane.data[from..][..len]);
                            continue;
                        }
                        for x in line.clone() {
                            let to = rest.split_off_mut(..len).expect("a part fits");
                            to.copy_from_slice(&plane.data[y * plane.line + x * plane.pixel..][..len]);
                        }
                    }
                    gemm::prepare(self.env.arithmetic(), room);
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
            let image = plane(&first[..], seen[1].len(), lens[0]);
            let cotangent = plane(&second[..], places[1].len(), lens[1]);
            self.part(&part, (image, [seen[0].start, seen[1].start]), cotangent, block);
        });
    }

    /// What a block sums over.
    fn region(&self, at: At, block: &Block<'_, T>) -> Region {
        let conv = &self.conv;
        let (shard, group) = (at.matrix / conv.groups, at.matrix % conv.groups);
        let window = Conv2d::area(conv.kernel);
        let first = at.row / window;
        Region {
            images: shard * conv.batch / self.shards..(shard + 1) * conv.batch / self.shards,
            group,
            channels: first..first + block.rows() / window,
            rows: at.col..at.col + block.cols(),
            places: conv.out.map(|places| 0..places),
        }
    }

    /// Calls `f` with each part of a region, in order.
    fn for_each_part(&self, region: &Region, mut f: impl FnMut(Part)) {
        let (conv, cut) = (&self.conv, self.cut);
        let [lines, places] = &region.places;
        for image in region.images.clone() {
            for line in lines.clone().step_by(cut.lines) {
                for place in places.clone().step_by(cut.places) {
                    let axis = |k: usize, first: usize, most: usize| {
                        conv.forward(k)
                            .from(first, most.min(region.places[k].end - first))
                    };
                    f(Part {
                        image,
                        group: region.group,
                        channels: region.channels.clone(),
                        rows: region.rows.clone(),
                        first: [line, place],
                        axes: [axis(0, line, cut.lines), axis(1, place, cut.places)],
                    });
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
                    line: x.taps,
                };
                T::outer(self.env.isa, outer);
            };
            // Tiles of one element's channels where these fill them, and of all elements that some places see where they do not.
            if part.channels.len().is_multiple_of(FULL) || part.channels.len() > CHANNELS / 2 {
                for i in 0..y.taps {
                    for j in 0..x.taps {
                        add([i, j], [1, 1], [y.inside(i), x.inside(j)]);
                    }
                }
            } else {
                y.for_each_sight(|lines, down| {
                    x.for_each_sight(|line, right| {
                        let taps = [down.len(), right.len()];
                        if taps[0] * taps[1] > 0 {
                            add([down.start, right.start], taps, [lines.clone(), line]);
                        }
                    });
                });
            }
        }
    }
}

//! Convolutions by windows of 3 x 3 that move by one, and their gradients, with a quarter of the multiply-adds: what
//! [`Precision::High`] allows on vectors. [`gemm::winograd`](crate::cpu::gemm::winograd) has the algorithm.
//!
//! A task goes through its tiles of 4 x 4 places some at a time: their values at all points, and the products with a block of columns
//! of the weights, stay in the second-level cache. Where results are not finite numbers, which the transforms carry to neighbouring
//! places, the tiles' results are summed over their windows one by one.

mod gradient;
mod results;
#[cfg(test)]
mod tests;

pub(super) use gradient::add;
pub(super) use results::run;

use std::ops::Range;

use super::places::{Cut, Places, Slide, Weights};
use super::{Conv2d, sums};
use crate::cpu::gemm::winograd::{
    FilterValues, PLACES, POINTS, TAPS, TILE_ROOM, TileAt, TileWork, allows_tiles,
};
use crate::cpu::gemm::{Arithmetic, Axis, Convolve, Product, SmallProduct};
use crate::cx::Env;

/// Multiply-adds of windows that are worth a task of their own.
const TASK: usize = 1 << 23;
/// Tasks that a convolution is cut into, about, where it is large enough.
const TASKS: usize = 32;
/// Tiles that are multiplied together, at most: weights are read as seldom.
const TILES: usize = 32;
/// Tiles that are multiplied together at least.
const FEWEST: usize = 8;
/// Channels of an image that a task of a gradient multiplies with one block of columns, at most.
const CHANNELS: usize = 64;
/// Tiles whose products are added at a time there, at least.
const FEWEST_ADDED: usize = 16;

/// How often weights of windows for which tiles may be chosen lie in packed memory at most, as many points as a window has for each
/// of its elements.
pub(super) const COPIES: usize = POINTS / (TAPS * TAPS);

/// Whether windows with so many elements may be summed by tiles, at some size.
pub(super) fn may_serve(arithmetic: Arithmetic, elements: usize) -> bool {
    elements == TAPS * TAPS && allows_tiles(arithmetic)
}

/// Numbers that transformed weights take.
fn values_len(env: Env<'_>, channels: usize, rows: usize) -> usize {
    POINTS * channels * rows.next_multiple_of(f32::lanes(env.isa))
}

/// Windows that move by one over images with one group of channels.
#[derive(Copy, Clone)]
struct Grid {
    slides: [Slide; 2],
    /// Tiles along an axis of an image.
    tiles: [usize; 2],
}

impl Grid {
    /// The tiles of the places, where they are such.
    fn of(places: &Places<'_>) -> Option<Self> {
        let slides = [(places.slide)(0, 0), (places.slide)(1, 0)];
        let is_unit = |axis: &Axis| axis.taps == TAPS && axis.stride == 1 && axis.step == 1;
        let serves = places.groups == 1
            && places.residues == [1, 1]
            && slides.iter().all(|slide| is_unit(&slide.axis))
            && room(places.channels, BLOCK_COLUMNS, FEWEST, 0) <= TILE_ROOM;
        serves.then(|| Self {
            slides,
            tiles: places.out.map(|places| places.div_ceil(PLACES)),
        })
    }

    /// The tiles of some lines of an image, whose first place has this row. They begin every fourth line of the image, so that results do
    /// not depend on how it is cut.
    fn of_lines(self, image: usize, lines: Range<usize>, row: usize) -> impl Iterator<Item = TileAt> {
        let [y, x] = self.slides.map(|slide| slide.axis);
        let tops = (lines.start / PLACES..lines.end.div_ceil(PLACES)).map(|tile| tile * PLACES);
        tops.flat_map(move |top| {
            let [from, end] = [lines.start.max(top), lines.end.min(top + PLACES)];
            (0..x.places).step_by(PLACES).map(move |place| TileAt {
                image,
                start: [y.start + top as isize, x.start + place as isize],
                row: row + (from - lines.start) * x.places + place,
                lines: [from - top, end - top],
                columns: (x.places - place).min(PLACES),
            })
        })
    }

    /// The tiles of `rows` places, whole lines of images, from number `first` of all on.
    fn of_places(self, places: &Places<'_>, first: usize, rows: usize) -> impl Iterator<Item = TileAt> {
        let (area, width, end) = (places.area(), places.out[1], first + rows);
        (first / area..end.div_ceil(area)).flat_map(move |image| {
            let [from, end] = [first.max(image * area), end.min((image + 1) * area)];
            let lines = (from - image * area) / width..(end - image * area) / width;
            self.of_lines(image, lines, from - first)
        })
    }
}

/// The next tiles, as many as there is room for.
fn next<'t>(tiles: &mut impl Iterator<Item = TileAt>, room: &'t mut [TileAt]) -> &'t mut [TileAt] {
    let mut held = 0;
    for (to, tile) in room.iter_mut().zip(tiles) {
        *to = tile;
        held += 1;
    }
    &mut room[..held]
}

/// The most columns of a block on any instruction path.
const BLOCK_COLUMNS: usize = super::COLUMNS;
/// The most numbers of a vector.
const LANES: usize = crate::cpu::gemm::MOST_LANES;

/// Tiles that the layout of values has room for beyond those that are asked for, at most.
const SPARE: usize = 1;

/// Numbers that some tiles take, of so many channels on one side and columns on the other, and sums of so many channels.
fn room(channels: usize, columns: usize, tiles: usize, sums: usize) -> usize {
    let whole = |n: usize| n.next_multiple_of(LANES);
    POINTS * ((whole(channels) + whole(columns)) * (tiles + SPARE) + whole(sums) * whole(columns))
}

/// Tiles that are multiplied together, of `all`: whole rows of tiles in registers.
fn together(channels: usize, columns: usize, all: usize, sums: usize) -> usize {
    let most = all.next_multiple_of(FEWEST).min(TILES);
    let fitting = (FEWEST..=most).rev().step_by(FEWEST);
    fitting
        .into_iter()
        .find(|tiles| room(channels, columns, *tiles, sums) <= TILE_ROOM)
        .unwrap_or(FEWEST)
}

/// Channels that a task of a gradient multiplies with so many columns: an even share of all.
pub(super) fn channels_of_task(channels: usize, columns: usize) -> usize {
    let fits = |n: &usize| room(*n, columns, FEWEST_ADDED, *n) <= TILE_ROOM;
    let most = (1..=CHANNELS.min(channels.max(1))).rev().find(fits).unwrap_or(1);
    channels.div_ceil(channels.div_ceil(most).max(1)).max(1)
}

/// Whether windows of these sizes are summed by tiles.
pub(super) fn serves(places: &Places<'_>, env: Env<'_>) -> bool {
    Grid::of(places).is_some() && work(places).is_faster(env.arithmetic())
}

/// Whether the gradient of the weight is summed by tiles.
pub(super) fn sums_serve(conv: &Conv2d, env: Env<'_>) -> bool {
    let slide = |k, _| conv.forward_slide(k);
    let places = conv.forward_places(&slide);
    let often = [
        places.rows.div_ceil(f32::columns(env.isa, places.rows)),
        places
            .channels
            .div_ceil(channels_of_task(places.channels, BLOCK_COLUMNS)),
        sums::SHARDS,
    ];
    let work = TileWork {
        often,
        ..work(&places)
    };
    Grid::of(&places).is_some() && work.is_faster(env.arithmetic())
}

/// What tiles would compute of these places.
fn work(places: &Places<'_>) -> TileWork {
    let tiles: usize = places.out.iter().map(|places| places.div_ceil(PLACES)).product();
    TileWork {
        tiles: places.batch * tiles,
        places: places.batch * places.area(),
        channels: places.channels,
        columns: places.rows,
        often: [1; 3],
    }
}

/// Transforms the weights: for each block of columns `[points, channels, columns]`, with zeros behind the last column.
pub(super) fn pack(places: &Places<'_>, env: Env<'_>, weights: Weights<'_, f32>, values: &mut [f32]) {
    let Some(grid) = Grid::of(places) else { return };
    let columns = f32::columns(env.isa, places.rows);
    let values = &mut values[..values_len(env, places.channels, places.rows)];
    let pack = |n: usize, values: &mut [f32]| {
        let cols = values.len() / (POINTS * places.channels);
        let first = n * columns;
        let rows = first..places.rows.min(first + cols);
        let mut lines = [0.0; TAPS * TAPS * BLOCK_COLUMNS];
        let lines = &mut lines[..TAPS * TAPS * cols];
        for c in 0..places.channels {
            let from = &weights.data[c * weights.channel..];
            weights.turn(env.isa, from, rows.clone(), grid.slides, (&mut *lines, cols));
            f32::on_vectors(
                env.isa,
                FilterValues {
                    weights: lines,
                    columns: cols,
                    values: &mut values[c * cols..],
                    plane: places.channels * cols,
                },
            );
        }
    };
    let each = columns * POINTS * places.channels;
    if each == 0 {
        return;
    }
    places.for_each_chunk(env, values, each, pack);
}

/// How results are cut: images, or lines of whole tiles.
fn cut(places: &Places<'_>, grid: &Grid, columns: usize) -> (Cut, usize) {
    let worth = (places.work / TASK).clamp(1, TASKS);
    let all = places.rows;
    let images = places.batch / worth;
    if images > 0 {
        let cut = Cut {
            images,
            places: places.area(),
            channels: all,
        };
        return (cut, if images > 1 { places.batch } else { 1 });
    }
    let parts = worth.div_ceil(places.batch.max(1));
    let lines = grid.tiles[0].div_ceil(parts).max(1) * PLACES;
    let lines = lines.min(places.out[0]);
    let parts = worth.div_ceil(places.batch.max(1) * places.out[0].div_ceil(lines.max(1)).max(1));
    let cut = Cut {
        images: 1,
        places: lines * places.out[1],
        channels: all.div_ceil(parts).next_multiple_of(columns).min(all),
    };
    (cut, 1)
}

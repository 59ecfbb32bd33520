//! Convolutions by windows of 3 x 3 that move by one, and their gradients, with a quarter of the multiply-adds: what
//! [`Precision::High`] allows on vectors. [`gemm::winograd`](crate::cpu::gemm::winograd) has the algorithm.
//!
//! A task goes through its tiles of 4 x 4 places some at a time: their values at all points, and the products with a block of columns
//! of the weights, stay in the second-level cache. Where results are not finite numbers, which the transforms carry to neighbouring
//! places, the tiles' results are summed over their windows one by one.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::pairs::InPairs;
use super::places::{Cut, Places, SMALL, Slide, Weights};
use super::results::Results;
use super::{Conv2d, sums};
use crate::cpu::gemm::winograd::{
    FilterGradient, FilterValues, Layout, OfCotangent, OfImage, PLACES, POINTS, TAPS, TILE_ROOM, TileAt,
    TileProducts, TileResults, TileRoom, TileSums, TileValues,
};
use crate::cpu::gemm::{Arithmetic, At, Axis, Block, Convolve, Product, SmallProduct};
use crate::cx::Env;
use crate::dtype::Precision;
use crate::ops::epilogue::{Activation, Finish, Simple};

/// Floats whose windows may be summed by tiles.
pub(super) trait InTiles: InPairs {
    /// Whether windows of these sizes are summed by tiles.
    fn has_tiles(places: &Places<'_>, env: Env<'_>) -> bool;

    /// Transforms the weights of windows for which that holds. `values` has room for [`values_len`] numbers.
    fn pack_tiles(places: &Places<'_>, env: Env<'_>, weights: Weights<'_, Self>, values: &mut [Self]);

    /// Computes all results with weights that [`pack_tiles`](Self::pack_tiles) has transformed.
    fn in_tiles(
        places: &Places<'_>,
        env: Env<'_>,
        images: &[Self],
        weights: (Weights<'_, Self>, &[Self]),
        out: Results<'_, Self>,
        finish: Finish<'_, Self>,
    );

    /// Whether the gradient of the weight is summed by tiles.
    fn sums_tiles(conv: &Conv2d, env: Env<'_>) -> bool;

    /// Computes a block of the gradient; gives whether all of it are finite numbers.
    fn tile_sums(
        env: Env<'_>,
        data: [&[Self]; 2],
        conv: &Conv2d,
        region: &sums::Region,
        block: &mut Block<'_, Self>,
    ) -> bool;
}

impl InTiles for f32 {
    fn has_tiles(places: &Places<'_>, env: Env<'_>) -> bool {
        Grid::of(places).is_some() && is_faster(places, env.arithmetic())
    }

    fn pack_tiles(places: &Places<'_>, env: Env<'_>, weights: Weights<'_, f32>, values: &mut [f32]) {
        pack(places, env, weights, values);
    }

    fn in_tiles(
        places: &Places<'_>,
        env: Env<'_>,
        images: &[f32],
        weights: (Weights<'_, f32>, &[f32]),
        out: Results<'_, f32>,
        finish: Finish<'_, f32>,
    ) {
        run(places, env, images, weights, out, finish);
    }

    fn sums_tiles(conv: &Conv2d, env: Env<'_>) -> bool {
        let slide = |k, _| conv.forward_slide(k);
        let places = conv.forward_places(&slide);
        Grid::of(&places).is_some() && sums_are_faster(&places, env.arithmetic())
    }

    fn tile_sums(
        env: Env<'_>,
        data: [&[f32]; 2],
        conv: &Conv2d,
        region: &sums::Region,
        block: &mut Block<'_, f32>,
    ) -> bool {
        tile_sums(env, data, conv, region, block)
    }
}

#[cfg(feature = "f64")]
impl InTiles for f64 {
    fn has_tiles(_: &Places<'_>, _: Env<'_>) -> bool {
        false
    }

    fn pack_tiles(_: &Places<'_>, _: Env<'_>, _: Weights<'_, f64>, _: &mut [f64]) {
        unreachable!("`f64` is computed in full");
    }

    fn in_tiles(
        _: &Places<'_>,
        _: Env<'_>,
        _: &[f64],
        _: (Weights<'_, f64>, &[f64]),
        _: Results<'_, f64>,
        _: Finish<'_, f64>,
    ) {
        unreachable!("`f64` is computed in full");
    }

    fn sums_tiles(_: &Conv2d, _: Env<'_>) -> bool {
        false
    }

    fn tile_sums(_: Env<'_>, _: [&[f64]; 2], _: &Conv2d, _: &sums::Region, _: &mut Block<'_, f64>) -> bool {
        unreachable!("`f64` is computed in full");
    }
}

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
    elements == TAPS * TAPS && arithmetic.precision() == Precision::High && arithmetic.unit().is_none()
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

    /// Calls `f` with the tiles of some lines of an image, whose first place has this row. Tiles begin every fourth line of the image, so
    /// that results do not depend on how it is cut.
    fn for_each_tile(&self, image: usize, lines: Range<usize>, row: usize, mut f: impl FnMut(TileAt)) {
        let [y, x] = self.slides.map(|slide| slide.axis);
        let mut line = lines.start;
        while line < lines.end {
            let top = line - line % PLACES;
            let end = lines.end.min(top + PLACES);
            for place in (0..x.places).step_by(PLACES) {
                f(TileAt {
                    image,
                    start: [y.start + top as isize, x.start + place as isize],
                    row: row + (line - lines.start) * x.places + place,
                    lines: [line - top, end - top],
                    columns: (x.places - place).min(PLACES),
                });
            }
            line = end;
        }
    }
}

/// The most columns of a block on any instruction path.
const BLOCK_COLUMNS: usize = super::COLUMNS;
/// The most numbers of a vector.
const LANES: usize = crate::cpu::gemm::MOST_LANES;

/// Tiles that a [`Layout`] has room for beyond those that are asked for, at most.
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

/// Picoseconds of a multiply-add on vectors, in windows and in products of tiles.
const FMA: u64 = 12;
/// Columns to which vectors round a result up.
const VECTOR: usize = 16;
/// Picoseconds that it takes to transform one number at a point: of an image, of a result, of a weight.
const TRANSFORM: [u64; 3] = [200, 150, 100];

/// Multiply-adds of a column and transformed numbers of images (or cotangents) and of results, of all tiles.
struct Work {
    tiles: u64,
    channels: u64,
    columns: u64,
}

impl Work {
    fn of(places: &Places<'_>) -> Self {
        let across: usize = places.out.iter().map(|places| places.div_ceil(PLACES)).product();
        Self {
            tiles: (places.batch * across) as u64,
            channels: places.channels.next_multiple_of(VECTOR) as u64,
            columns: places.rows.next_multiple_of(VECTOR) as u64,
        }
    }

    /// Picoseconds of the multiply-adds of all tiles, and of transforms: `often` for each number.
    fn cost(&self, transformed: u64) -> u64 {
        let points = POINTS as u64;
        let multiplied = self.tiles.saturating_mul(points * self.channels * self.columns);
        multiplied
            .saturating_mul(FMA)
            .saturating_add(transformed.saturating_mul(points))
    }
}

/// Whether tiles take less time than windows.
fn is_faster(places: &Places<'_>, arithmetic: Arithmetic) -> bool {
    if !may_serve(arithmetic, TAPS * TAPS) {
        return false;
    }
    let work = Work::of(places);
    let [image, result, weight] = TRANSFORM;
    let transformed =
        work.tiles * (work.channels * image + work.columns * result) + work.channels * work.columns * weight;
    work.cost(transformed) < windows_cost(places)
}

/// Whether tiles take less time than sums over places.
fn sums_are_faster(places: &Places<'_>, arithmetic: Arithmetic) -> bool {
    if !may_serve(arithmetic, TAPS * TAPS) {
        return false;
    }
    let work = Work::of(places);
    let [image, cotangent, weight] = TRANSFORM;
    let blocks = [
        places
            .channels
            .div_ceil(channels_of_task(places.channels, 2 * VECTOR)) as u64,
        places.rows.div_ceil(2 * VECTOR) as u64,
    ];
    let transformed = work.tiles * (work.channels * image * blocks[1] + work.columns * cotangent * blocks[0])
        + work.channels * work.columns * weight * sums::SHARDS as u64;
    work.cost(transformed) < windows_cost(places)
}

/// Picoseconds of the windows' multiply-adds.
fn windows_cost(places: &Places<'_>) -> u64 {
    let sums = (places.batch * places.area() * places.channels * TAPS * TAPS) as u64;
    sums.saturating_mul(places.rows.next_multiple_of(VECTOR) as u64)
        .saturating_mul(FMA)
}

/// Transforms the weights: for each block of columns `[points, channels, columns]`, with zeros behind the last column.
fn pack(places: &Places<'_>, env: Env<'_>, weights: Weights<'_, f32>, values: &mut [f32]) {
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
    match places.work >= SMALL {
        true => env.team.chunks_mut(values, each, pack),
        false => values
            .chunks_mut(each)
            .enumerate()
            .for_each(|(n, some)| pack(n, some)),
    }
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

/// Computes all results.
fn run(
    places: &Places<'_>,
    env: Env<'_>,
    images: &[f32],
    (weights, values): (Weights<'_, f32>, &[f32]),
    out: Results<'_, f32>,
    finish: Finish<'_, f32>,
) {
    let Some(grid) = Grid::of(places) else { return };
    if out.memory.is_empty() {
        return;
    }
    let columns = f32::columns(env.isa, places.rows);
    let job = Job {
        places,
        grid,
        env,
        images,
        weights,
        values,
        columns,
        finish,
    };
    let cut = cut(places, &grid, columns);
    out.compute(places, env, (cut, [columns, PLACES]), |at, block| {
        job.task(at, block)
    });
}

/// What all tasks have in common.
struct Job<'a> {
    places: &'a Places<'a>,
    grid: Grid,
    env: Env<'a>,
    images: &'a [f32],
    /// Weights as they lie in memory.
    weights: Weights<'a, f32>,
    /// Their values at the points.
    values: &'a [f32],
    /// Columns of a block of values.
    columns: usize,
    finish: Finish<'a, f32>,
}

impl Job<'_> {
    /// Computes a block of results.
    fn task(&self, at: At, block: &mut Block<'_, f32>) {
        let (places, rows) = (self.places, block.rows());
        let width = places.out[1];
        let place = at.matrix * places.area() + at.row;
        let count = together(places.channels, self.columns, rows.div_ceil(PLACES * PLACES), 0);
        let lanes = f32::lanes(self.env.isa);
        let layout = Layout::new(count, places.channels, lanes);
        let mut room = TileRoom::new();
        let numbers = room.zeros(layout.len() + count * POINTS * self.columns.next_multiple_of(lanes));
        let (values, sums) = numbers.split_at_mut(layout.len());
        let (mut tiles, mut held) = ([TileAt::default(); TILES], 0);
        let mut some = Some(block);
        places.for_each_image(place, rows, |image, first, rows| {
            let lines = first / width..(first + rows.len()) / width;
            self.grid.for_each_tile(image, lines, rows.start, |tile| {
                tiles[held] = tile;
                held += 1;
                if held == count {
                    if let Some(block) = some.as_deref_mut() {
                        self.compute(&tiles[..held], at.col, block, layout, [&mut *values, &mut *sums]);
                    }
                    held = 0;
                }
            });
        });
        let Some(block) = some.take() else { return };
        if held > 0 {
            self.compute(&tiles[..held], at.col, block, layout, [&mut *values, &mut *sums]);
        }
        let cols = at.col..at.col + block.cols();
        if self.finish.in_registers(cols).is_none() {
            f32::finish_columns(self.env.isa, block, self.finish, [place, at.col]);
        }
    }

    /// Computes the results of some tiles, in all columns of a block, whose first is `col`.
    fn compute(
        &self,
        tiles: &[TileAt],
        col: usize,
        block: &mut Block<'_, f32>,
        layout: Layout,
        [values, sums]: [&mut [f32]; 2],
    ) {
        let (places, isa) = (self.places, self.env.isa);
        let lanes = f32::lanes(isa);
        f32::on_vectors(
            isa,
            TileValues {
                images: self.images,
                size: places.size,
                pixel: places.channels,
                channels: places.channels,
                tiles,
                values,
                layout,
                of: OfImage,
            },
        );
        let (rows, end) = (block.rows(), col + block.cols());
        for first in (col..end).step_by(self.columns) {
            let cols = first..(first + self.columns).min(end);
            let columns = (places.rows - first).min(self.columns).next_multiple_of(lanes);
            let weights =
                &self.values[first * POINTS * places.channels..][..columns * POINTS * places.channels];
            f32::on_vectors(
                isa,
                TileProducts {
                    values,
                    layout,
                    size: [tiles.len(), places.channels],
                    weights,
                    columns,
                    sums,
                },
            );
            let finish = self.finish.in_registers(cols.clone()).unwrap_or(Simple::NONE);
            let mut out = block.part(0..rows, cols.start - col..cols.end - col);
            let results = TileResults {
                sums,
                tiles,
                out: out.part(0..rows, 0..cols.len()),
                line: places.out[1],
                finish,
            };
            if !f32::on_vectors(isa, results) {
                tiles
                    .iter()
                    .for_each(|tile| self.sum(tile, first, &mut out, finish));
            }
        }
    }

    /// Computes the results of a tile by sums over windows, for the columns of a block from `first` on.
    fn sum(&self, tile: &TileAt, first: usize, out: &mut Block<'_, f32>, finish: Simple<'_, f32>) {
        let (places, weights) = (self.places, self.weights);
        let [height, width] = places.size;
        let number = |k: usize, tap: usize| {
            let slide = &self.grid.slides[k];
            (slide.weight as isize + tap as isize * slide.weight_step) as usize
        };
        let [from, end] = tile.lines;
        for (v, u) in (from..end).flat_map(|v| (0..tile.columns).map(move |u| (v, u))) {
            let row = out.row_mut(tile.row + (v - from) * places.out[1] + u);
            row.fill(0.0);
            for (i, j) in (0..TAPS).flat_map(|i| (0..TAPS).map(move |j| (i, j))) {
                let y = tile.start[0] + (v + i) as isize;
                let x = tile.start[1] + (u + j) as isize;
                if y as usize >= height || x as usize >= width {
                    continue;
                }
                let pixel = (tile.image * height + y as usize) * width + x as usize;
                let pixel = &self.images[pixel * places.channels..][..places.channels];
                let at = number(0, i) * weights.line + number(1, j);
                for (c, x) in pixel.iter().enumerate() {
                    for (o, sum) in row.iter_mut().enumerate() {
                        *sum += x * weights.data[at + (first + o) * weights.row + c * weights.channel];
                    }
                }
            }
            for (o, sum) in row.iter_mut().enumerate() {
                *sum += finish.bias.map_or(0.0, |bias| bias[o]);
                if finish.activation == Activation::Relu {
                    *sum = crate::real::Real::relu(*sum);
                }
            }
        }
    }
}

/// Computes a block of the gradient of the weight: see [`InTiles::tile_sums`].
fn tile_sums(
    env: Env<'_>,
    [x, dy]: [&[f32]; 2],
    conv: &Conv2d,
    region: &sums::Region,
    block: &mut Block<'_, f32>,
) -> bool {
    let slide = |k, _| conv.forward_slide(k);
    let places = conv.forward_places(&slide);
    let Some(grid) = Grid::of(&places) else {
        return false;
    };
    let lanes = f32::lanes(env.isa);
    let (channels, columns) = (region.channels.len(), region.rows.len().next_multiple_of(lanes));
    let all = region.images.len() * grid.tiles[0] * grid.tiles[1];
    let count = together(channels, columns, all, channels);
    let layouts = [channels, columns].map(|n| Layout::new(count, n, lanes));
    let kept = POINTS * channels.next_multiple_of(lanes) * columns;
    let mut room = TileRoom::new();
    let numbers = room.zeros(kept + layouts[0].len() + layouts[1].len());
    let (sums, rest) = numbers.split_at_mut(kept);
    let (values, others) = rest.split_at_mut(layouts[0].len());
    let mut add = |tiles: &mut [TileAt]| {
        let image = TileValues {
            images: &x[region.channels.start..],
            size: conv.size,
            pixel: conv.in_channels,
            channels,
            tiles,
            values,
            layout: layouts[0],
            of: OfImage,
        };
        f32::on_vectors(env.isa, image);
        for tile in &mut *tiles {
            tile.start = [0, 1].map(|k| tile.start[k] - grid.slides[k].axis.start);
        }
        let cotangent = TileValues {
            images: &dy[region.rows.start..],
            size: conv.out,
            pixel: conv.out_channels,
            channels: region.rows.len(),
            tiles,
            values: others,
            layout: layouts[1],
            of: OfCotangent,
        };
        f32::on_vectors(env.isa, cotangent);
        let work = TileSums {
            values,
            of_values: layouts[0],
            size: [tiles.len(), channels],
            others,
            of_others: layouts[1],
            columns,
            sums,
        };
        f32::on_vectors(env.isa, work);
    };
    let (mut tiles, mut held) = ([TileAt::default(); TILES], 0);
    for image in region.images.clone() {
        grid.for_each_tile(image, 0..conv.out[0], 0, |tile| {
            tiles[held] = tile;
            held += 1;
            if held == count {
                add(&mut tiles[..held]);
                held = 0;
            }
        });
    }
    if held > 0 {
        add(&mut tiles[..held]);
    }
    let (rows, cols) = (block.rows(), block.cols());
    let gradient = FilterGradient {
        sums,
        channels,
        columns,
        out: block.part(0..rows, 0..cols),
    };
    f32::on_vectors(env.isa, gradient)
}

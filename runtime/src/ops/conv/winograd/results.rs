//! Results, and gradients of images, by tiles.

use super::{Grid, TILES, cut, next, together};
use crate::cpu::gemm::winograd::{
    Layout, OfImage, PLACES, POINTS, TAPS, TileAt, TileProducts, TileResults, TileRoom, TileValues, Values,
};
use crate::cpu::gemm::{At, Block, Convolve, Product, SmallProduct};
use crate::ops::conv::results::Results;
use crate::ops::conv::way::Work;
use crate::ops::epilogue::{Activation, Simple};
use crate::real::Real;

/// Computes all results with weights that [`pack`](super::pack) has transformed.
pub(in crate::ops::conv) fn run(work: &Work<'_, f32>, values: &[f32], out: Results<'_, f32>) {
    let (places, env) = (&work.places, work.env);
    let Some(grid) = Grid::of(places) else { return };
    if out.memory.is_empty() {
        return;
    }
    let columns = f32::columns(env.isa, places.rows);
    let job = Job {
        work,
        grid,
        values,
        columns,
    };
    let cut = cut(places, &grid, columns);
    out.compute(places, env, (cut, [columns, PLACES]), |at, block| {
        job.task(at, block)
    });
}

/// What all tasks have in common.
struct Job<'a> {
    work: &'a Work<'a, f32>,
    grid: Grid,
    /// The values of the weights at the points.
    values: &'a [f32],
    /// Columns of a block of values.
    columns: usize,
}

impl Job<'_> {
    /// Computes a block of results.
    fn task(&self, at: At, block: &mut Block<'_, f32>) {
        let Work {
            places, env, finish, ..
        } = self.work;
        let rows = block.rows();
        let place = at.matrix * places.area() + at.row;
        let count = together(places.channels, self.columns, rows.div_ceil(PLACES * PLACES), 0);
        let lanes = f32::lanes(env.isa);
        let layout = Layout::new(count, places.channels, lanes);
        let mut room = TileRoom::new();
        let numbers = room.zeros(layout.numbers() + count * POINTS * self.columns.next_multiple_of(lanes));
        let (values, sums) = numbers.split_at_mut(layout.numbers());
        let mut tiles = self.grid.of_places(places, place, rows);
        let mut held = [TileAt::default(); TILES];
        loop {
            let some: &[TileAt] = next(&mut tiles, &mut held[..count]);
            if some.is_empty() {
                break;
            }
            self.compute(some, at.col, block, layout, [&mut *values, &mut *sums]);
        }
        let cols = at.col..at.col + block.cols();
        if finish.in_registers(cols).is_none() {
            f32::finish_columns(env.isa, block, *finish, [place, at.col]);
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
        let (places, isa) = (&self.work.places, self.work.env.isa);
        let lanes = f32::lanes(isa);
        let image = TileValues {
            images: self.work.images,
            size: places.size,
            pixel: places.channels,
            channels: places.channels,
            tiles,
            values,
            layout,
            of: OfImage,
        };
        f32::on_vectors(isa, image);
        let (rows, end) = (block.rows(), col + block.cols());
        for first in (col..end).step_by(self.columns) {
            let cols = first..(first + self.columns).min(end);
            let columns = (places.rows - first).min(self.columns).next_multiple_of(lanes);
            let weights =
                &self.values[first * POINTS * places.channels..][..columns * POINTS * places.channels];
            let products = TileProducts {
                values: Values {
                    numbers: values,
                    layout,
                },
                size: [tiles.len(), places.channels],
                weights,
                columns,
                sums,
            };
            f32::on_vectors(isa, products);
            let finish = self
                .work
                .finish
                .in_registers(cols.clone())
                .unwrap_or(Simple::NONE);
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
        let Work { places, weights, .. } = self.work;
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
                let pixel = &self.work.images[pixel * places.channels..][..places.channels];
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
                    *sum = sum.relu();
                }
            }
        }
    }
}

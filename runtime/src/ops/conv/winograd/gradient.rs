//! Gradients of weights by tiles.

use super::{Grid, TILES, next, together};
use crate::cpu::gemm::winograd::{
    FilterGradient, Layout, OfCotangent, OfImage, POINTS, TileAt, TileRoom, TileSums, TileValues, Values,
};
use crate::cpu::gemm::{Block, Product, SmallProduct};
use crate::cx::Env;
use crate::ops::conv::Conv2d;
use crate::ops::conv::sums::Region;

/// Computes a block of the gradient; gives whether all of it are finite numbers.
pub(in crate::ops::conv) fn add(
    env: Env<'_>,
    data: [&[f32]; 2],
    conv: &Conv2d,
    region: &Region,
    block: &mut Block<'_, f32>,
) -> bool {
    let slide = |k, _| conv.forward_slide(k);
    let Some(grid) = Grid::of(&conv.forward_places(&slide)) else {
        return false;
    };
    let lanes = f32::lanes(env.isa);
    let (channels, columns) = (region.channels.len(), region.rows.len().next_multiple_of(lanes));
    let all = region.images.len() * grid.tiles[0] * grid.tiles[1];
    let count = together(channels, columns, all, channels);
    let layouts = [channels, columns].map(|n| Layout::new(count, n, lanes));
    let kept = POINTS * channels.next_multiple_of(lanes) * columns;
    let mut room = TileRoom::new();
    let numbers = room.zeros(kept + layouts[0].numbers() + layouts[1].numbers());
    let (sums, rest) = numbers.split_at_mut(kept);
    let (values, others) = rest.split_at_mut(layouts[0].numbers());
    let images = region.images.clone();
    let mut tiles = images.flat_map(|image| grid.of_lines(image, 0..conv.out[0], 0));
    let mut held = [TileAt::default(); TILES];
    loop {
        let some = next(&mut tiles, &mut held[..count]);
        if some.is_empty() {
            break;
        }
        let size = [some.len(), channels];
        transform(
            env,
            data,
            conv,
            region,
            (&grid, some),
            [(&mut *values, layouts[0]), (&mut *others, layouts[1])],
        );
        let [values, others] = [(&*values, layouts[0]), (&*others, layouts[1])]
            .map(|(numbers, layout)| Values { numbers, layout });
        let work = TileSums {
            values,
            size,
            others,
            columns,
            sums,
        };
        f32::on_vectors(env.isa, work);
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

/// Transforms what some tiles see of the image, and their cotangents.
fn transform(
    env: Env<'_>,
    [x, dy]: [&[f32]; 2],
    conv: &Conv2d,
    region: &Region,
    (grid, tiles): (&Grid, &mut [TileAt]),
    [of_image, of_cotangent]: [(&mut [f32], Layout); 2],
) {
    let image = TileValues {
        images: &x[region.channels.start..],
        size: conv.size,
        pixel: conv.in_channels,
        channels: region.channels.len(),
        tiles,
        values: of_image.0,
        layout: of_image.1,
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
        values: of_cotangent.0,
        layout: of_cotangent.1,
        of: OfCotangent,
    };
    f32::on_vectors(env.isa, cotangent);
}

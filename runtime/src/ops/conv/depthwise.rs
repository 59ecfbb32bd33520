//! Depthwise convolution, whose groups have one channel each, and its gradients: channels lie in the lanes throughout.

use super::Conv2d;
use super::places::{SMALL, Slide, Weights};
use super::sums::{SHARDS, turn_sums};
use super::way::Work;
use crate::cpu::gemm::{self, Axis, Blocks, Convolve, Depthwise, DepthwiseSums, Plane};
use crate::cx::Env;

/// Channels of a task's sums: few vectors, and their weights and lines stay in the first-level cache.
const CHANNELS: usize = 64;
/// Numbers of an image whose sums are taken for one element of the window after the other.
const NEAR: usize = 1 << 12;

/// All places of a convolution, or of its image's gradient. `packed` is at least as large as the weight.
pub(super) fn places<T: Convolve>(work: &Work<'_, T>, packed: &mut [T], out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let (places, env, finish) = (&work.places, work.env, work.finish);
    let channels = places.groups;
    let weights = Weights {
        row: work.weights.window,
        ..work.weights
    };
    places.for_each_residue(channels, |slides, first| {
        if !slides.iter().any(|slide| slide.axis.taps == 0) {
            weights.turn(
                env.isa,
                weights.data,
                0..channels,
                slides,
                (&mut packed[first..], channels),
            );
        }
    });
    let packed = &mut packed[..channels * weights.window];
    gemm::prepare(env.arithmetic(), packed);
    let packed: &[T] = packed;
    let image = places.size[0] * places.size[1] * channels;
    let team = (places.work >= SMALL).then_some(env.team);
    let (cut, matrices) = places.blocks(channels);
    let size = [places.batch * places.area(), channels];
    let blocks = Blocks::new(
        out,
        size,
        matrices * places.area(),
        [cut.images * cut.places, channels],
    );
    blocks.run(team, |at, mut block| {
        let place = at.matrix * places.area() + at.row;
        places.for_each_image(place, block.rows(), |index, first, rows| {
            places.for_each_residue(channels, |slides, weight| {
                let (slides, to) = places.part(slides, first, rows.len());
                T::depthwise(
                    env.isa,
                    Depthwise {
                        image: &work.images[index * image..][..image],
                        pixel: channels,
                        axes: slides.map(|slide: Slide| slide.axis),
                        weights: &packed[weight..],
                        element: channels,
                        out: block.part(rows.clone(), 0..channels),
                        rows: to,
                        operands: env.arithmetic().operands(),
                    },
                );
            });
        });
        if !finish.is_none() {
            T::finish_columns(env.isa, &mut block, finish, [place, 0]);
        }
    });
}

/// The gradient of the weight. `scratch` is [`SHARDS`] times as large.
pub(super) fn sums<T: Convolve>(
    env: Env<'_>,
    (x, dy): (&[T], &[T]),
    (dw, scratch): (&mut [T], &mut [T]),
    conv: Conv2d,
) {
    let (channels, window) = (conv.groups, Conv2d::area(conv.kernel));
    let shards = SHARDS.min(conv.batch);
    let len = dw.len();
    let parts = &mut scratch[..shards * len];
    parts.fill(T::ZERO);
    let [image, cotangent] = [conv.size, conv.out].map(|size| Conv2d::area(size) * channels);
    let lines = (NEAR / (conv.out[1] * CHANNELS.min(channels))).max(1);
    let team = (conv.work() >= SMALL).then_some(env.team);
    let blocks = Blocks::new(parts, [shards * window, channels], window, [window, CHANNELS]);
    blocks.run(team, |at, mut block| {
        for index in at.matrix * conv.batch / shards..(at.matrix + 1) * conv.batch / shards {
            for line in (0..conv.out[0]).step_by(lines) {
                let (rows, cols) = (block.rows(), block.cols());
                let y: Axis = conv.forward(0).from(line, lines.min(conv.out[0] - line));
                T::depthwise_sums(
                    env.isa,
                    DepthwiseSums {
                        image: &x[index * image..][..image][at.col..],
                        pixel: channels,
                        axes: [y, conv.forward(1)],
                        cotangent: Plane {
                            data: &dy[index * cotangent + line * conv.out[1] * channels + at.col..],
                            line: conv.out[1] * channels,
                            pixel: channels,
                        },
                        sums: block.part(0..rows, 0..cols),
                        operands: env.arithmetic().operands(),
                    },
                );
            }
        }
    });
    turn_sums(env.isa, (parts, shards, len), [0, channels, window], dw);
}

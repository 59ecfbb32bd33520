//! Convolution as products of matrices, one factor of which is the patches of an image, gathered while a product packs it
//! (`im2col` that is never stored), or the image itself where a patch is one element.

use super::Conv2d;
use crate::cpu::gemm::{self, At, Block, Blocks, Matrix, Product, Sharing, Start};
use crate::cx::Env;

/// Convolves; every finished block is handed to `finish`.
pub(super) fn forward<T: Product>(
    env: Env<'_>,
    (x, w): (&[T], &[T]),
    y: &mut [T],
    conv: Conv2d,
    finish: impl Fn(At, &mut Block<'_, T>) + Sync,
) {
    let (in_channels, out_channels) = conv.group();
    let (depth, places) = (in_channels * Conv2d::area(conv.kernel), Conv2d::area(conv.out));
    let factors = |part: usize| {
        let w = &w[part % conv.groups * out_channels * depth..][..out_channels * depth];
        let patches = conv.patches(x, part, in_channels, conv.forward());
        (Matrix::row_major(w, out_channels, depth), patches.transposed())
    };
    let size = (out_channels, places);
    gemm::products(
        (env.team, env.arithmetic()),
        conv.batch * conv.groups,
        factors,
        y,
        size,
        finish,
    );
}

/// The gradient of the image. `turned` has the size of the weight.
pub(super) fn input_grad<T: Product>(
    env: Env<'_>,
    (w, dy): (&[T], &[T]),
    dx: &mut [T],
    turned: &mut [T],
    conv: Conv2d,
) {
    let (in_channels, out_channels) = conv.group();
    let kernel = Conv2d::area(conv.kernel);
    turn(w, turned, [in_channels, out_channels, kernel]);
    let turned: &[T] = turned;
    let depth = out_channels * kernel;
    let factors = |part: usize| {
        let w = &turned[part % conv.groups * in_channels * depth..][..in_channels * depth];
        let patches = conv.patches(dy, part, out_channels, conv.backward());
        (Matrix::row_major(w, in_channels, depth), patches.transposed())
    };
    let size = (in_channels, Conv2d::area(conv.size));
    let count = conv.batch * conv.groups;
    gemm::products((env.team, env.arithmetic()), count, factors, dx, size, |_, _| {});
}

/// Exchanges the channels of a weight: `[groups, out, in, kernel]` becomes `[groups, in, out, kernel]`.
fn turn<T: Copy>(w: &[T], turned: &mut [T], [in_channels, out_channels, kernel]: [usize; 3]) {
    if w.is_empty() {
        return;
    }
    let group = in_channels * out_channels * kernel;
    for (from, to) in w.chunks_exact(group).zip(turned.chunks_exact_mut(group)) {
        for (at, to) in to.chunks_exact_mut(kernel).enumerate() {
            let (c, o) = (at / out_channels, at % out_channels);
            to.copy_from_slice(&from[(o * in_channels + c) * kernel..][..kernel]);
        }
    }
}

/// Every task computes one block of the weight's gradient and goes through the images in order.
pub(super) fn weight_grad<T: Product>(env: Env<'_>, (x, dy): (&[T], &[T]), dw: &mut [T], conv: Conv2d) {
    let (in_channels, out_channels) = conv.group();
    let (depth, places) = (in_channels * Conv2d::area(conv.kernel), Conv2d::area(conv.out));
    let method = env.arithmetic().method([out_channels, depth, places]);
    let sharing = Sharing {
        threads: env.team.threads(),
        products: conv.groups,
    };
    let (rows, cols) = gemm::task_block(method, sharing, out_channels, depth, places * conv.batch);
    let blocks = Blocks::new(dw, [conv.out_channels, depth], out_channels, [rows, cols]);
    blocks.run(Some(env.team), |at, mut block| {
        let (block_rows, block_cols) = (at.row..at.row + block.rows(), at.col..at.col + block.cols());
        for image in 0..conv.batch {
            let part = image * conv.groups + at.matrix;
            let dy = &dy[part * out_channels * places..][..out_channels * places];
            let dy = Matrix::row_major(dy, out_channels, places).part(block_rows.clone(), 0..places);
            let patches = conv.patches(x, part, in_channels, conv.forward());
            let patches = patches.part(0..places, block_cols.clone());
            let start = if image == 0 {
                Start::Overwrite
            } else {
                Start::Accumulate
            };
            T::product(method, dy.into(), patches, &mut block, start);
        }
    });
}

//! Convolution of images in two dimensions (cross-correlation, as in every deep-learning framework), and its gradients.
//!
//! All three are products of matrices in which one factor is the patches of an image, gathered while the product packs it
//! (`im2col` that is never stored): no scratch memory is needed but for the reordered weight of the image's gradient. The
//! gradient of the weight adds up the images of the batch in order, so its bits depend on shapes alone.

use crate::arena::Buf;
use crate::cpu::gemm::{self, At, Block, Blocks, Factor, Matrix, Patches, Product, Slide, Start};
use crate::cx::{Cx, Env};
use crate::float;
use crate::ops::epilogue::Epilogue;

/// Sizes of a convolution. Images are `[batch, in_channels, size]`, weights `[out_channels, in_channels / groups, kernel]`,
/// results `[batch, out_channels, out]`; pairs are (height, width).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Conv2d {
    /// Number of images.
    pub batch: usize,
    /// Channels of an image.
    pub in_channels: usize,
    /// Channels of a result.
    pub out_channels: usize,
    /// Groups of channels that are convolved apart.
    pub groups: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Height and width of a result.
    pub out: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step of the kernel over the image.
    pub stride: [usize; 2],
    /// Zeros on either side of the image.
    pub padding: [usize; 2],
    /// Distance of neighbouring elements of the kernel.
    pub dilation: [usize; 2],
}

impl Conv2d {
    fn area(size: [usize; 2]) -> usize {
        size[0] * size[1]
    }

    /// Input and output channels of one group.
    fn group(&self) -> (usize, usize) {
        (self.in_channels / self.groups, self.out_channels / self.groups)
    }

    /// True where a patch is one element and the patches are the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// The windows that a result sees of an image.
    fn forward(&self) -> [Slide; 2] {
        std::array::from_fn(|k| Slide {
            image: self.size[k],
            places: self.out[k],
            window: self.kernel[k],
            stride: self.stride[k],
            step: self.dilation[k] as isize,
            start: -(self.padding[k] as isize),
            divisor: 1,
        })
    }

    /// The windows that an image's gradient sees of a result's: where element `i` of the kernel meets pixel `y`, the result
    /// lies at `(y + padding - i * dilation) / stride`.
    fn backward(&self) -> [Slide; 2] {
        std::array::from_fn(|k| Slide {
            image: self.out[k],
            places: self.size[k],
            window: self.kernel[k],
            stride: 1,
            step: -(self.dilation[k] as isize),
            start: self.padding[k] as isize,
            divisor: self.stride[k],
        })
    }

    /// The patches of group number `part` of all groups of all images: `[places, channels * kernel]`.
    fn patches<'a, T: Product>(
        &self,
        images: &'a [T],
        part: usize,
        channels: usize,
        slides: [Slide; 2],
    ) -> Factor<'a, T> {
        let area = slides[0].image * slides[1].image;
        let image = &images[part * channels * area..][..channels * area];
        if self.is_pointwise() {
            Matrix::row_major(image, channels, area).transposed().into()
        } else {
            Patches::new(image, channels, slides).into()
        }
    }
}

/// Convolves: `y[b, o, v, u] = activation(sum over c, i, j of x[b, c, v s + i d - p, u s + j d - p] w[o, c, i, j] + bias[o])`.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d(cx: &mut Cx<'_>, x: Buf, w: Buf, y: Buf, conv: Conv2d, epilogue: Epilogue) {
    float!(cx, T => forward::<T>(cx, x, w, y, conv, epilogue));
}

fn forward<T: Product>(cx: &mut Cx<'_>, x: Buf, w: Buf, y: Buf, conv: Conv2d, epilogue: Epilogue) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, w): (&[T], &[T]) = (bind.read(x), bind.read(w));
    let finish = epilogue.bind(&mut bind, conv.out_channels);
    let y = bind.write::<T>(y);
    let (in_channels, out_channels) = conv.group();
    let (depth, places) = (in_channels * Conv2d::area(conv.kernel), Conv2d::area(conv.out));
    let factors = |part: usize| {
        let w = &w[part % conv.groups * out_channels * depth..][..out_channels * depth];
        let patches = conv.patches(x, part, in_channels, conv.forward());
        (Matrix::row_major(w, out_channels, depth), patches.transposed())
    };
    let finish = |at: At, block: &mut Block<'_, T>| {
        if !finish.is_none() {
            T::finish_rows(
                env.isa,
                block,
                finish,
                at.matrix % conv.groups * out_channels + at.row,
            );
        }
    };
    let count = conv.batch * conv.groups;
    gemm::products(
        (env.team, env.isa),
        count,
        factors,
        y,
        (out_channels, places),
        finish,
    );
}

/// The gradient of the image: `dx[b, c, y, x] = sum over o, i, j of w[o, c, i, j] dy[b, o, (y + p - i d) / s, ..]`, where that
/// is whole. `scratch` has the size of the weight.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d_input_grad(cx: &mut Cx<'_>, w: Buf, dy: Buf, dx: Buf, scratch: Buf, conv: Conv2d) {
    float!(cx, T => input_grad::<T>(cx, w, dy, dx, scratch, conv));
}

fn input_grad<T: Product>(cx: &mut Cx<'_>, w: Buf, dy: Buf, dx: Buf, scratch: Buf, conv: Conv2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (w, dy): (&[T], &[T]) = (bind.read(w), bind.read(dy));
    let (dx, turned) = (bind.write::<T>(dx), bind.write::<T>(scratch));
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
    let count = conv.batch * conv.groups;
    let size = (in_channels, Conv2d::area(conv.size));
    gemm::products((env.team, env.isa), count, factors, dx, size, |_, _| {});
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

/// The gradient of the weight: `dw[o, c, i, j] = sum over b, v, u of dy[b, o, v, u] x[b, c, v s + i d - p, u s + j d - p]`.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d_weight_grad(cx: &mut Cx<'_>, x: Buf, dy: Buf, dw: Buf, conv: Conv2d) {
    float!(cx, T => weight_grad::<T>(cx, x, dy, dw, conv));
}

fn weight_grad<T: Product>(cx: &mut Cx<'_>, x: Buf, dy: Buf, dw: Buf, conv: Conv2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, dy): (&[T], &[T]) = (bind.read(x), bind.read(dy));
    let dw = bind.write::<T>(dw);
    if conv.batch == 0 {
        dw.fill(T::ZERO);
    } else if !dw.is_empty() {
        add_images(env, x, dy, dw, conv);
    }
}

/// Every task computes one block of the weight's gradient and goes through the images in order.
fn add_images<T: Product>(env: Env<'_>, x: &[T], dy: &[T], dw: &mut [T], conv: Conv2d) {
    let (in_channels, out_channels) = conv.group();
    let (depth, places) = (in_channels * Conv2d::area(conv.kernel), Conv2d::area(conv.out));
    let (rows, cols) = gemm::task_block(out_channels, depth, places * conv.batch);
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
            gemm::product(env.isa, dy, patches, &mut block, start);
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::isa::Isa;
    use crate::dtype::Precision;
    use crate::ops::epilogue::Activation;
    use crate::ops::testbed::{assert_close, numbers};
    use crate::ops::testkit::Desk;

    /// Calls `f` with the places in image, weight and result of every product that a convolution sums.
    fn for_each_term(conv: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
        let (ins, outs) = conv.group();
        let [h, w] = conv.size;
        let ([oh, ow], [kh, kw]) = (conv.out, conv.kernel);
        for at in 0..conv.batch * conv.out_channels * oh * ow {
            let (u, v, o, b) = (
                at % ow,
                at / ow % oh,
                at / ow / oh % conv.out_channels,
                at / ow / oh / conv.out_channels,
            );
            for tap in 0..ins * kh * kw {
                let (j, i, c) = (tap % kw, tap / kw % kh, tap / kw / kh);
                let y = (v * conv.stride[0] + i * conv.dilation[0]).checked_sub(conv.padding[0]);
                let x = (u * conv.stride[1] + j * conv.dilation[1]).checked_sub(conv.padding[1]);
                if let (Some(y), Some(x)) = (y.filter(|y| *y < h), x.filter(|x| *x < w)) {
                    let channel = o / outs * ins + c;
                    f(
                        ((b * conv.in_channels + channel) * h + y) * w + x,
                        o * ins * kh * kw + tap,
                        at,
                    );
                }
            }
        }
    }

    struct Lengths {
        x: usize,
        w: usize,
        y: usize,
    }

    fn lengths(conv: &Conv2d) -> Lengths {
        Lengths {
            x: conv.batch * conv.in_channels * Conv2d::area(conv.size),
            w: conv.out_channels * conv.group().0 * Conv2d::area(conv.kernel),
            y: conv.batch * conv.out_channels * Conv2d::area(conv.out),
        }
    }

    /// Forward and both gradients against the definition, in one precision.
    fn check(conv: &Conv2d, precision: Precision) {
        let len = lengths(conv);
        let (x, w, dy) = (numbers(len.x, 1), numbers(len.w, 2), numbers(len.y, 3));
        let bias = numbers(conv.out_channels, 4);
        let (mut y, mut dx, mut dw) = (vec![0.0; len.y], vec![0.0; len.x], vec![0.0; len.w]);
        for_each_term(conv, |at_x, at_w, at_y| {
            y[at_y] += x[at_x] * w[at_w];
            dx[at_x] += w[at_w] * dy[at_y];
            dw[at_w] += x[at_x] * dy[at_y];
        });
        let area = Conv2d::area(conv.out);
        let finished = y.iter().enumerate();
        let y: Vec<f64> = finished
            .map(|(at, y)| (y + bias[at / area % conv.out_channels]).max(0.0))
            .collect();
        let mut desk = Desk::new(precision);
        let (x, w, dy) = (desk.floats(&x), desk.floats(&w), desk.floats(&dy));
        let epilogue = Epilogue {
            bias: Some(desk.floats(&bias)),
            activation: Activation::Relu,
        };
        let outputs = (desk.blank(len.y), desk.blank(len.x), desk.blank(len.w));
        let scratch = desk.blank(len.w);
        desk.run(|cx| {
            conv2d(cx, x, w, outputs.0, *conv, epilogue);
            conv2d_input_grad(cx, w, dy, outputs.1, scratch, *conv);
            conv2d_weight_grad(cx, x, dy, outputs.2, *conv);
        });
        let tolerance = if precision == Precision::F32 { 1e-4 } else { 1e-12 };
        assert_close(&desk.read(outputs.0), &y, tolerance);
        assert_close(&desk.read(outputs.1), &dx, tolerance);
        assert_close(&desk.read(outputs.2), &dw, tolerance);
    }

    fn out(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
        let room = (size + 2 * padding).checked_sub(dilation * (kernel - 1) + 1)?;
        Some(room / stride + 1)
    }

    fn plain(batch: usize, channels: [usize; 2], size: [usize; 2], kernel: usize, padding: usize) -> Conv2d {
        Conv2d {
            batch,
            in_channels: channels[0],
            out_channels: channels[1],
            groups: 1,
            size,
            out: size.map(|n| out(n, kernel, 1, padding, 1).unwrap()),
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [padding; 2],
            dilation: [1; 2],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn convolutions_are_those_of_the_definition(
            (batch, ins, outs, groups) in (0usize..3, 1usize..4, 1usize..4, 1usize..4),
            size in prop::array::uniform2(1usize..10),
            kernel in prop::array::uniform2(1usize..4),
            stride in prop::array::uniform2(1usize..5),
            padding in prop::array::uniform2(0usize..3),
            dilation in prop::array::uniform2(1usize..3),
        ) {
            let places = |k: usize| out(size[k], kernel[k], stride[k], padding[k], dilation[k]);
            let (Some(height), Some(width)) = (places(0), places(1)) else { return Ok(()) };
            let conv = Conv2d {
                batch,
                in_channels: groups * ins,
                out_channels: groups * outs,
                groups,
                size,
                out: [height, width],
                kernel,
                stride,
                padding,
                dilation,
            };
            check(&conv, Precision::F32);
            check(&conv, Precision::F64);
        }
    }

    #[test]
    fn larger_convolutions_are_right() {
        check(&plain(5, [3, 33], [28, 28], 3, 0), Precision::F32);
        check(&plain(2, [40, 17], [13, 9], 5, 2), Precision::F32);
        check(&plain(3, [20, 30], [7, 7], 1, 0), Precision::F32);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let conv = plain(7, [5, 24], [20, 20], 3, 1);
        let len = lengths(&conv);
        for &isa in Isa::available() {
            let run = |threads| {
                let mut desk = Desk::with(Precision::F32, threads, isa);
                let x = desk.floats(&numbers(len.x, 1));
                let w = desk.floats(&numbers(len.w, 2));
                let dy = desk.floats(&numbers(len.y, 3));
                let outputs = (desk.blank(len.y), desk.blank(len.x), desk.blank(len.w));
                let scratch = desk.blank(len.w);
                desk.run(|cx| {
                    conv2d(cx, x, w, outputs.0, conv, Epilogue::NONE);
                    conv2d_input_grad(cx, w, dy, outputs.1, scratch, conv);
                    conv2d_weight_grad(cx, x, dy, outputs.2, conv);
                });
                [desk.read(outputs.0), desk.read(outputs.1), desk.read(outputs.2)]
            };
            let alone = run(1);
            assert_eq!(alone, run(2), "{isa}");
            assert_eq!(alone, run(8), "{isa}");
        }
    }
}

//! Convolution of images in two dimensions (cross-correlation, as in every deep-learning framework), and its gradients.
//!
//! Images have their channels last. Sizes alone decide how they are convolved:
//!
//! - A kernel of one element with stride 1 and no padding is a product of matrices as it stands.
//! - Otherwise results, and gradients of images, are sums over windows of images that are read where they lie (`conv/places.rs`), with
//!   channels of the result in the lanes of vectors. The gradient of an image sees a window of its own for each residue of the stride.
//!   On CPUs that multiply pairs of bf16 numbers, images are split into bf16 parts with their padding, and windows are summed on that
//!   unit where it is faster (`conv/pairs.rs`).
//! - Windows of 3 x 3 that move by one are summed by tiles of 4 x 4 places with a quarter of the multiply-adds, and so are gradients of
//!   their weights, where [`Precision::High`](crate::Precision::High) allows that and no unit multiplies pairs (`conv/winograd.rs`).
//! - Gradients of weights are sums of outer products over places (`conv/sums.rs`), on vectors or in pairs of bf16 numbers, as the cost
//!   model of products says (`conv/sums/pairs.rs`).
//!
//! Where every channel is a group of its own, channels lie in the lanes of images, weights and results (`conv/depthwise.rs`).
//!
//! Weights stay `[out_channels, in_channels / groups, kernel]` in memory and are packed once a call, or, by [`pack_window`], once for
//! many.
//!
//! Under [`Precision::Bf16`](crate::Precision::Bf16) images, cotangents and weights are rounded as they are read or packed; what is
//! not computed in pairs is multiplied on vectors of f32.

mod depthwise;
mod pairs;
mod places;
mod results;
mod sums;
#[cfg(test)]
mod tests;
mod way;
mod winograd;

pub use results::{COLUMNS, LINES};
pub use sums::SHARDS;

use crate::arena::Buf;
use crate::cpu::gemm::{self, Arithmetic, At, Axis, Block, Convolve, Factor, Matrix, Product, Strips};
use crate::cx::{Cx, Env, float};
use crate::dtype::stored;
use crate::ops::epilogue::{Activation, Epilogue, Finish};
use crate::ops::packed::{self, Packed};
use crate::ops::pool::Pool2d;
use crate::program::Lasts;

use places::{Places, Slide, Weights};
use results::Results;
use way::{Images, Work};

/// The weights of a convolution, and where they were packed.
#[derive(Copy, Clone, Debug)]
pub struct Filter {
    buf: Buf,
    packed: Option<Packed>,
}

impl From<Buf> for Filter {
    fn from(buf: Buf) -> Self {
        Self { buf, packed: None }
    }
}

impl Buf {
    /// Weights that [`pack_window`] has packed as number `index`.
    #[inline(never)]
    pub fn packed(self, numbers: Buf, index: usize) -> Filter {
        Filter {
            buf: self,
            packed: Some(Packed { numbers, index }),
        }
    }
}

/// Sizes of a convolution. Images are `[batch, size, in_channels]`, weights `[out_channels, in_channels / groups, kernel]`,
/// results `[batch, out, out_channels]`; pairs are (height, width).
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

    /// True where every place sees one pixel, its own, and all its channels.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0] && self.groups == 1
    }

    /// True where each channel of a result is that of one channel of an image, and there are several.
    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// The windows that a result sees of an image, along one axis.
    fn forward(&self, k: usize) -> Axis {
        Axis {
            size: self.size[k],
            start: -(self.padding[k] as isize),
            stride: self.stride[k],
            taps: self.kernel[k],
            step: self.dilation[k],
            places: self.out[k],
        }
    }

    /// The windows that pixels `residue`, `residue + stride`, ... of an image's gradient see of a result's, along one axis.
    ///
    /// Where element `i` of the kernel meets pixel `y`, the result lies at `(y + padding - i * dilation) / stride`, where that is whole.
    /// Elements for which it is are `period` apart; counted from the last, they lie ever further.
    fn backward(&self, k: usize, residue: usize) -> Slide {
        let (stride, dilation) = (self.stride[k], self.dilation[k]);
        let divisor = gcd(stride, dilation);
        let period = stride / divisor;
        let origin = residue + self.padding[k];
        let meets = |i: &usize| (origin as isize - (i * dilation) as isize) % stride as isize == 0;
        let first = (0..self.kernel[k].min(period)).find(meets);
        let taps = first.map_or(0, |first| (self.kernel[k] - first).div_ceil(period));
        let last = first.unwrap_or(0) + taps.saturating_sub(1) * period;
        Slide {
            axis: Axis {
                size: self.out[k],
                start: (origin as isize - (last * dilation) as isize).div_euclid(stride as isize),
                stride: 1,
                taps,
                step: dilation / divisor,
                places: self.size[k].saturating_sub(residue).div_ceil(stride),
            },
            weight: last,
            weight_step: -(period as isize),
            first: residue,
            spacing: stride,
        }
    }

    /// The windows that a result sees of an image, with their weights and their results.
    fn forward_slide(&self, k: usize) -> Slide {
        Slide {
            axis: self.forward(k),
            weight: 0,
            weight_step: 1,
            first: 0,
            spacing: 1,
        }
    }

    /// What results are sums of; `slide` is [`forward_slide`](Self::forward_slide).
    fn forward_places<'s>(&self, slide: &'s (dyn Fn(usize, usize) -> Slide + Sync)) -> Places<'s> {
        let (channels, rows) = self.group();
        Places {
            batch: self.batch,
            groups: self.groups,
            members: 1,
            channels,
            rows,
            size: self.size,
            out: self.out,
            work: self.work(),
            residues: [1, 1],
            slide,
        }
    }

    /// What gradients of images are sums of; `slide` is [`backward`](Self::backward).
    fn backward_places<'s>(&self, slide: &'s (dyn Fn(usize, usize) -> Slide + Sync)) -> Places<'s> {
        let (rows, channels) = self.group();
        Places {
            batch: self.batch,
            groups: self.groups,
            members: 1,
            channels,
            rows,
            size: self.out,
            out: self.size,
            work: self.work(),
            residues: self.stride,
            slide,
        }
    }

    /// Weights, as results see them.
    fn forward_weights<'w, T>(&self, data: &'w [T]) -> Weights<'w, T> {
        let window = Self::area(self.kernel);
        Weights {
            data,
            row: self.group().0 * window,
            channel: window,
            line: self.kernel[1],
            window,
        }
    }

    /// Weights, as gradients of images see them.
    fn backward_weights<'w, T>(&self, data: &'w [T]) -> Weights<'w, T> {
        let window = Self::area(self.kernel);
        Weights {
            data,
            row: window,
            channel: self.group().0 * window,
            line: self.kernel[1],
            window,
        }
    }

    /// Rows, columns and inner size of the product that results are, where every place sees one pixel.
    fn product(&self) -> [usize; 3] {
        [
            self.batch * Self::area(self.out),
            self.out_channels,
            self.in_channels,
        ]
    }

    /// Numbers that an element of a result is a sum over, and channels of a result, where all are one group.
    fn factor(&self) -> [usize; 2] {
        [self.in_channels * Self::area(self.kernel), self.out_channels]
    }

    /// Elements that its weights take packed.
    fn packed_len(&self, env: Env<'_>) -> usize {
        let [k, n] = self.factor();
        let places = self.batch * Self::area(self.out);
        packed_len(env.arithmetic(), [places, k, n, 1, Self::area(self.kernel)])
    }

    /// Multiply-adds of the convolution, and of either of its gradients.
    fn work(&self) -> usize {
        let (channels, rows) = self.group();
        let factors = [
            self.batch,
            self.groups,
            channels,
            rows,
            Self::area(self.kernel),
            Self::area(self.out),
        ];
        factors.into_iter().fold(1, usize::saturating_mul)
    }
}

/// The greatest common divisor.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Elements that `count` weights of `n` channels, each a sum over `k` numbers, take packed for windows of `elements`; none on units that
/// multiply pairs, which split them in each call.
pub(crate) fn packed_len(arithmetic: Arithmetic, [_, k, n, count, elements]: [usize; 5]) -> usize {
    if arithmetic.unit().is_some() {
        return 0;
    }
    let lanes = stored!(arithmetic.precision(), T => T::lanes(arithmetic.isa()));
    let copies = if winograd::may_serve(arithmetic, elements) {
        winograd::COPIES
    } else {
        1
    };
    k.saturating_mul(n.next_multiple_of(lanes))
        .saturating_mul(copies * count)
}

/// Packs weights of convolutions, as many as there are in `w`, for [`Buf::packed`]. `packed` has room for as many elements as
/// [`PackForm::len`](crate::program::PackForm::len) says, or for none: then convolutions pack them themselves. What lasts from call to
/// call and is there already stays.
///
/// # Panics
/// Where there are several groups: a mistake of the compiler.
pub fn pack_window(cx: &mut Cx<'_>, w: Buf, packed: Buf, conv: Conv2d, lasts: Lasts) {
    assert!(conv.groups == 1, "{conv:?} has several groups");
    float!(cx, T => pack_all::<T>(cx, w, packed, conv, lasts));
}

fn pack_all<T: Images>(cx: &mut Cx<'_>, w: Buf, packed: Buf, conv: Conv2d, lasts: Lasts) {
    let (env, is_there) = (cx.env, packed::is_there(cx, lasts));
    let mut bind = cx.bind();
    let ([k, n], len) = (conv.factor(), conv.packed_len(env));
    if is_there || len == 0 {
        return;
    }
    let (w, packed) = (bind.read::<T>(w), bind.write::<T>(packed));
    if packed.len() / len < w.len() / (k * n) {
        return;
    }
    let slide = |k, _| conv.forward_slide(k);
    let places = conv.forward_places(&slide);
    for (w, packed) in w.chunks_exact(k * n).zip(packed.chunks_exact_mut(len)) {
        match conv.is_pointwise() {
            true => {
                let method = env.arithmetic().method(conv.product());
                gemm::pack_right(env.team, method, Matrix::row_major(w, n, k).transposed(), packed);
            }
            false => T::pack_weights(&places, env, conv.forward_weights(w), packed),
        }
    }
}

/// Convolves: `y[b, v, u, o] = activation(sum over i, j, c of x[b, v s + i d - p, u s + j d - p, c] w[o, c, i, j] + bias[o])`.
/// `scratch` has the size of the weight with the output channels of a group rounded up to a multiple of 32; three times that where
/// there is one group, and four times for windows of 3 x 3 that move by one.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d(
    cx: &mut Cx<'_>,
    x: Buf,
    w: impl Into<Filter>,
    y: Buf,
    scratch: Buf,
    conv: Conv2d,
    epilogue: Epilogue,
) {
    float!(cx, T => forward::<T>(cx, w.into(), [x, y, scratch], conv, (epilogue, None)));
}

/// Convolves as [`conv2d`] does, and pools what that gives some lines at a time: `y` is the pooled image.
///
/// # Panics
/// Where a buffer has another size, groups are several, the windows of the pooling do not share out the image, or `kernel + 1`
/// lines of it with [`COLUMNS`] channels are more than [`LINES`] numbers: a mistake of the compiler.
#[expect(
    clippy::too_many_arguments,
    reason = "those of a convolution, and the pooling"
)]
pub fn conv2d_pool2d(
    cx: &mut Cx<'_>,
    x: Buf,
    w: impl Into<Filter>,
    y: Buf,
    scratch: Buf,
    conv: Conv2d,
    epilogue: Epilogue,
    pool: Pool2d,
) {
    assert!(
        conv.groups == 1 && conv.out == pool.size && conv.out_channels == pool.channels && pool.shares_out(),
        "{pool:?} cannot follow {conv:?} at once"
    );
    float!(cx, T => forward::<T>(cx, w.into(), [x, y, scratch], conv, (epilogue, Some(pool))));
}

fn forward<T: Images>(
    cx: &mut Cx<'_>,
    w: Filter,
    [x, y, scratch]: [Buf; 3],
    conv: Conv2d,
    (epilogue, pooling): (Epilogue, Option<Pool2d>),
) {
    let env = cx.env;
    let mut bind = cx.bind();
    let kept = w
        .packed
        .and_then(|packed| packed.read::<T>(&mut bind, conv.packed_len(env)));
    let (x, w): (&[T], &[T]) = (bind.read(x), bind.read(w.buf));
    assert!(epilogue.residual.is_none(), "a convolution adds no residual");
    let finish: Finish<'_, T> = epilogue.bind(&mut bind, conv.out_channels);
    let (y, scratch) = (bind.write::<T>(y), bind.write::<T>(scratch));
    if conv.is_pointwise() && pooling.is_none() {
        let weights = Matrix::row_major(w, conv.out_channels, conv.in_channels).transposed();
        let method = env.arithmetic().method(conv.product());
        let strips = kept.and_then(|kept| Strips::of(method, weights, kept));
        let factor = strips.map_or_else(|| weights.into(), Factor::Strips);
        return pixels(env, (x, factor), y, conv.product(), finish);
    }
    let slide = |k, _| conv.forward_slide(k);
    let work = Work {
        places: conv.forward_places(&slide),
        env,
        images: x,
        weights: conv.forward_weights(w),
        finish,
    };
    if conv.is_depthwise() {
        return depthwise::places(&work, scratch, y);
    }
    let out = Results { memory: y, pooling };
    match kept {
        Some(kept) => T::sum_packed(&work, kept, out),
        None => T::sum(&work, scratch, out),
    }
}

/// The product of every pixel's channels and a matrix.
fn pixels<T: Convolve>(
    env: Env<'_>,
    (from, weights): (&[T], Factor<'_, T>),
    to: &mut [T],
    [m, n, k]: [usize; 3],
    finish: Finish<'_, T>,
) {
    let factors = |_| (Factor::from(Matrix::row_major(from, m, k)), weights);
    let finish = |at: At, block: &mut Block<'_, T>| {
        if !finish.is_none() {
            T::finish_columns(env.isa, block, finish, [at.row, at.col]);
        }
    };
    gemm::products((env.team, env.arithmetic()), 1, factors, to, (m, n), finish);
}

/// The gradient of the image: `dx[b, y, x, c] = sum over i, j, o of w[o, c, i, j] dy[b, (y + p - i d) / s, .., o]`, where that
/// is whole. `scratch` has the size of the weight with the input channels of a group rounded up to a multiple of 32; three times that
/// where there is one group, and four times for windows of 3 x 3 that move by one.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d_input_grad(cx: &mut Cx<'_>, w: Buf, dy: Buf, dx: Buf, scratch: Buf, conv: Conv2d) {
    float!(cx, T => input_grad::<T>(cx, w, dy, dx, scratch, conv));
}

fn input_grad<T: Images>(cx: &mut Cx<'_>, w: Buf, dy: Buf, dx: Buf, scratch: Buf, conv: Conv2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (w, dy): (&[T], &[T]) = (bind.read(w), bind.read(dy));
    let (dx, packed) = (bind.write::<T>(dx), bind.write::<T>(scratch));
    let (in_channels, out_channels) = conv.group();
    let finish = Finish::new(None, Activation::None);
    if conv.is_pointwise() {
        let weights = Matrix::row_major(w, out_channels, in_channels);
        return pixels(
            env,
            (dy, weights.into()),
            dx,
            [conv.batch * Conv2d::area(conv.out), in_channels, out_channels],
            finish,
        );
    }
    let slide = |k, residue| conv.backward(k, residue);
    let work = Work {
        places: conv.backward_places(&slide),
        env,
        images: dy,
        weights: conv.backward_weights(w),
        finish,
    };
    match conv.is_depthwise() {
        true => depthwise::places(&work, packed, dx),
        false => T::sum(&work, packed, Results::stored(dx)),
    }
}

/// The gradient of the weight: `dw[o, c, i, j] = sum over b, v, u of dy[b, v, u, o] x[b, v s + i d - p, u s + j d - p, c]`.
/// `scratch` is [`SHARDS`] times as large as the weight.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d_weight_grad(cx: &mut Cx<'_>, x: Buf, dy: Buf, dw: Buf, scratch: Buf, conv: Conv2d) {
    float!(cx, T => weight_grad::<T>(cx, [x, dy, dw, scratch], conv));
}

fn weight_grad<T: Images>(cx: &mut Cx<'_>, [x, dy, dw, scratch]: [Buf; 4], conv: Conv2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, dy): (&[T], &[T]) = (bind.read(x), bind.read(dy));
    let (dw, scratch) = (bind.write::<T>(dw), bind.write::<T>(scratch));
    if conv.work() == 0 || dw.is_empty() || x.is_empty() {
        return dw.fill(T::ZERO);
    }
    match conv.is_depthwise() {
        true => depthwise::sums(env, (x, dy), (dw, scratch), conv),
        false => sums::run(env, (x, dy), (dw, scratch), conv),
    }
}

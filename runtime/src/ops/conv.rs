//! Convolution of images in two dimensions (cross-correlation, as in every deep-learning framework), and its gradients.
//!
//! There are three ways, chosen by sizes alone:
//!
//! - A kernel of one element with stride 1 and no padding is a product of matrices as it stands.
//! - Otherwise images are laid out with their padding, a block of lines at a time and on the stack, so that every element of the
//!   window is a fixed step away from every place (`conv/window.rs`). Results and gradients of images are then sums of shifted
//!   lines, with pixels in the lanes of vectors (`conv/places.rs`): nothing is gathered or transposed, and few channels are as fast
//!   as many. Gradients of weights are sums of outer products, with channels in the lanes (`conv/weight/pixels.rs`), where there
//!   are channels enough to fill most of them, and dot products of lines otherwise (`conv/weight/lines.rs`). This is direct
//!   convolution as in J. Zhang, F. Franchetti, T. M. Low, *High Performance Zero-Memory Overhead Direct Convolutions* (2018), but
//!   for the layout: images stay as they are.
//! - Where a block of one line and its halo is larger than the room on the stack, or a window has more than 256 elements, the
//!   patches of the image are gathered while a product packs them (`conv/patches.rs`).
//!
//! Under [`Precision::Bf16`](crate::Precision::Bf16) the direct way rounds images, cotangents and weights as it lays them out, and
//! multiplies them on vectors of f32.

mod patches;
mod places;
#[cfg(test)]
mod tests;
mod weight;
mod window;

pub use weight::SHARDS;

use crate::arena::Buf;
use crate::cpu::gemm::{At, Block, Correlate, Factor, Matrix, Patches, Product, Slide};
use crate::cx::Cx;
use crate::cx::float;
use crate::ops::epilogue::{Epilogue, Finish};

use places::{Places, Weights};
use window::Cut;

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

    /// How results come from images.
    fn places(&self) -> Places {
        let (channels, rows) = self.group();
        Places {
            batch: self.batch,
            groups: self.groups,
            channels,
            rows,
            slides: self.forward(),
        }
    }

    /// How gradients of images come from those of results.
    fn gradient_places(&self) -> Places {
        let (rows, channels) = self.group();
        Places {
            channels,
            rows,
            slides: self.backward(),
            ..self.places()
        }
    }

    /// The blocks of a convolution without patches; nothing where another way is better.
    fn cut(&self, places: &Places) -> Option<Cut> {
        let cut = || Cut::new(places.channels, places.slides);
        (!self.is_pointwise()).then(cut).flatten()
    }

    /// The blocks of the sums over places, at most so many at a time, for so many channels.
    fn sums(&self, channels: usize, most: usize) -> Option<Cut> {
        let cut = || Cut::sums(channels, self.forward(), most);
        (!self.is_pointwise()).then(cut).flatten()
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
/// `scratch` has the size of the weight.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d(cx: &mut Cx<'_>, x: Buf, w: Buf, y: Buf, scratch: Buf, conv: Conv2d, epilogue: Epilogue) {
    float!(cx, T => forward::<T>(cx, [x, w, y, scratch], conv, epilogue));
}

fn forward<T: Correlate>(cx: &mut Cx<'_>, [x, w, y, scratch]: [Buf; 4], conv: Conv2d, epilogue: Epilogue) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, w): (&[T], &[T]) = (bind.read(x), bind.read(w));
    assert!(epilogue.residual.is_none(), "a convolution adds no residual");
    let finish: Finish<'_, T> = epilogue.bind(&mut bind, conv.out_channels);
    let (y, packed) = (bind.write::<T>(y), bind.write::<T>(scratch));
    let (in_channels, out_channels) = conv.group();
    let finish = |at: At, block: &mut Block<'_, T>| {
        if !finish.is_none() {
            let channel = at.matrix % conv.groups * out_channels + at.row;
            T::finish_rows(env.isa, block, finish, channel);
        }
    };
    let places = conv.places();
    let Some(cut) = conv.cut(&places) else {
        return patches::forward(env, (x, w), y, conv, finish);
    };
    let window = Conv2d::area(conv.kernel);
    let weights = Weights {
        data: w,
        row: in_channels * window,
        channel: window,
    };
    places.run(env, cut, x, (weights, packed), y, finish);
}

/// The gradient of the image: `dx[b, c, y, x] = sum over o, i, j of w[o, c, i, j] dy[b, o, (y + p - i d) / s, ..]`, where that
/// is whole. `scratch` has the size of the weight.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d_input_grad(cx: &mut Cx<'_>, w: Buf, dy: Buf, dx: Buf, scratch: Buf, conv: Conv2d) {
    float!(cx, T => input_grad::<T>(cx, w, dy, dx, scratch, conv));
}

fn input_grad<T: Correlate>(cx: &mut Cx<'_>, w: Buf, dy: Buf, dx: Buf, scratch: Buf, conv: Conv2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (w, dy): (&[T], &[T]) = (bind.read(w), bind.read(dy));
    let (dx, packed) = (bind.write::<T>(dx), bind.write::<T>(scratch));
    let places = conv.gradient_places();
    let Some(cut) = conv.cut(&places) else {
        return patches::input_grad(env, (w, dy), dx, packed, conv);
    };
    let window = Conv2d::area(conv.kernel);
    let weights = Weights {
        data: w,
        row: window,
        channel: conv.group().0 * window,
    };
    places.run(env, cut, dy, (weights, packed), dx, |_, _| {});
}

/// The gradient of the weight: `dw[o, c, i, j] = sum over b, v, u of dy[b, o, v, u] x[b, c, v s + i d - p, u s + j d - p]`.
/// `scratch` is [`SHARDS`] times as large as the weight.
///
/// Where the sums are dot products of lines, an image that holds infinities or NaN makes the gradients of all weights of that channel NaN.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn conv2d_weight_grad(cx: &mut Cx<'_>, x: Buf, dy: Buf, dw: Buf, scratch: Buf, conv: Conv2d) {
    float!(cx, T => weight_grad::<T>(cx, [x, dy, dw, scratch], conv));
}

fn weight_grad<T: Correlate>(cx: &mut Cx<'_>, [x, dy, dw, scratch]: [Buf; 4], conv: Conv2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, dy): (&[T], &[T]) = (bind.read(x), bind.read(dy));
    let (dw, scratch) = (bind.write::<T>(dw), bind.write::<T>(scratch));
    if conv.batch == 0 || dw.is_empty() {
        return dw.fill(T::ZERO);
    }
    if weight::run(env, (x, dy), (dw, scratch), conv).is_none() {
        patches::weight_grad(env, (x, dy), dw, conv);
    }
}

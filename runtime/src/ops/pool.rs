//! Pooling of images with channels last, `[batch, height, width, channels]`: the maximum or the average of every window.
//!
//! The gradient of a maximum finds it again in the image instead of keeping an index for every result: the image is kept
//! for the layer before anyway, and an index would cost as much memory as the result.

mod backward;
mod forward;
mod pick;
mod windows;

pub use pick::max_pool2d_pick;

use crate::arena::Buf;
use crate::cpu::isa::Isa;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::real::Real;

/// What is computed of a window.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Pool {
    /// The largest element inside the image; the first of equals, NaN where there is one.
    Max,
    /// The sum divided by the size of the kernel: padding counts as zeros.
    Average,
    /// The sum divided by the number of elements inside the image.
    AverageInside,
    /// The average of windows that share out the image: `floor(i H / out) .. ceil((i + 1) H / out)`.
    Adaptive,
}

/// Sizes of a pooling; pairs are (height, width). Kernel, stride, padding and dilation mean nothing to [`Pool::Adaptive`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Pool2d {
    /// What is computed.
    pub kind: Pool,
    /// Images.
    pub batch: usize,
    /// Channels, which lie side by side.
    pub channels: usize,
    /// Size of an image.
    pub size: [usize; 2],
    /// Size of a pooled image.
    pub out: [usize; 2],
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Elements added on either side.
    pub padding: [usize; 2],
    /// Distance of neighbours in the window.
    pub dilation: [usize; 2],
}

/// Elements of a task, about.
const TASK: usize = 1 << 14;

impl Pool2d {
    /// Elements of an image.
    fn image(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// Elements of a row of results.
    fn out_line(&self) -> usize {
        self.out[1] * self.channels
    }

    /// Elements of the results of an image.
    fn out_image(&self) -> usize {
        self.out[0] * self.out_line()
    }

    /// What does not matter is made to matter nothing; an average over the whole image is that of one share.
    fn simplified(self) -> Self {
        let is_average = matches!(self.kind, Pool::Average | Pool::AverageInside);
        let is_whole = self.kernel == self.size
            && self.out == [1, 1]
            && self.padding == [0, 0]
            && self.dilation == [1, 1];
        if self.kind == Pool::Adaptive || (is_average && is_whole) {
            return Pool2d {
                kind: Pool::Adaptive,
                dilation: [1, 1],
                ..self
            };
        }
        self
    }

    /// Whether no two windows see the same element.
    fn is_apart(&self) -> bool {
        (0..2).all(|k| match self.kind {
            Pool::Adaptive => self.size[k].is_multiple_of(self.out[k]),
            _ => self.stride[k] > (self.kernel[k] - 1) * self.dilation[k],
        })
    }

    /// Whether every element is seen by exactly one window.
    fn is_tiled(&self) -> bool {
        let is_share = |k: usize| {
            self.kernel[k] == self.stride[k]
                && self.padding[k] == 0
                && self.size[k] == self.out[k] * self.stride[k]
        };
        self.is_apart() && (self.kind == Pool::Adaptive || (is_share(0) && is_share(1)))
    }

    /// Whether windows lie side by side and inside the image, of which they may leave out an edge.
    pub(super) fn shares_out(&self) -> bool {
        self.kind != Pool::Adaptive
            && self.kernel == self.stride
            && self.padding == [0, 0]
            && self.dilation == [1, 1]
            && (0..2).all(|k| self.out[k] * self.kernel[k] <= self.size[k])
    }

    /// What the sum of a window is divided by. Of one that sees nothing the average is 0.
    #[inline(always)]
    fn divisor<T: Real>(&self, window: &windows::Window) -> T {
        let n = match self.kind {
            Pool::Average => self.kernel[0] * self.kernel[1],
            _ => (window.taps[0] * window.taps[1]).max(1),
        };
        T::from_f64(n as f64)
    }

    /// The pooling of cotangents that gives the gradient of this one, if there is such: an average with a step of 1 is a sum with
    /// weights that do not depend on the place.
    fn transposed(&self) -> Option<Self> {
        if self.kind != Pool::Average || self.stride != [1, 1] || self.dilation != [1, 1] {
            return None;
        }
        let padding = |k: usize| (self.kernel[k] - 1).checked_sub(self.padding[k]);
        Some(Pool2d {
            size: self.out,
            out: self.size,
            padding: [padding(0)?, padding(1)?],
            ..*self
        })
    }

    /// Rows of results of a task: a function of the sizes of an image.
    fn rows_a_task(&self) -> usize {
        (TASK / self.out_line().max(self.image() / self.out[0].max(1)).max(1)).max(1)
    }

    /// Images of a task, likewise.
    fn images_a_task(&self) -> usize {
        (TASK / self.image().max(self.out_image()).max(1)).max(1)
    }
}

/// `y[.., v, u, c]` is the maximum or the average of a window of `x`.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn pool2d(cx: &mut Cx<'_>, x: Buf, y: Buf, pool: Pool2d) {
    float!(cx, T => forward::<T>(cx, x, y, pool.simplified()));
}

/// The results of whole lines of windows from number `first` on.
///
/// # Panics
/// Where the sizes do not fit together.
pub(super) fn forward_lines<T: Real>(isa: Isa, pool: &Pool2d, x: &[T], y: &mut [T], first: usize) {
    T::run_narrow(isa, forward::Forward { pool, x, y, first });
}

fn forward<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, y: Buf, pool: Pool2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let x: &[T] = bind.read(x);
    let y = bind.write::<T>(y);
    assert!(
        x.len() == pool.batch * pool.image() && y.len() == pool.batch * pool.out_image(),
        "{pool:?} of other sizes"
    );
    let (rows, line, pool) = (pool.rows_a_task(), pool.out_line(), &pool);
    env.team.chunks_mut(y, rows * line.max(1), |task, y| {
        let first = task * rows;
        forward_lines(env.isa, pool, x, y, first);
    });
}

/// The gradient of a maximum: each cotangent goes to the element that its window took.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn max_pool2d_grad(cx: &mut Cx<'_>, x: Buf, dy: Buf, dx: Buf, pool: Pool2d) {
    float!(cx, T => backward::<T>(cx, Some(x), dy, dx, pool));
}

/// The gradient of an average: each cotangent is shared out evenly over its window.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn avg_pool2d_grad(cx: &mut Cx<'_>, dy: Buf, dx: Buf, pool: Pool2d) {
    let pool = pool.simplified();
    match pool.transposed() {
        Some(transposed) => float!(cx, T => forward::<T>(cx, dy, dx, transposed)),
        None => float!(cx, T => backward::<T>(cx, None, dy, dx, pool)),
    }
}

fn backward<T: Real + Element>(cx: &mut Cx<'_>, x: Option<Buf>, dy: Buf, dx: Buf, pool: Pool2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, dy): (Option<&[T]>, &[T]) = (x.map(|x| bind.read(x)), bind.read(dy));
    let dx = bind.write::<T>(dx);
    let (images, image, out_image) = (pool.images_a_task(), pool.image(), pool.out_image());
    let numel = pool.batch * image;
    assert!(
        x.is_none_or(|x| x.len() == numel) && dx.len() == numel && dy.len() == pool.batch * out_image,
        "{pool:?} of other sizes"
    );
    env.team.chunks_mut(dx, images * image.max(1), |task, dx| {
        let first = task * images;
        let (pool, dy) = (&pool, &dy[first * out_image..][..dx.len() / image * out_image]);
        let x = x.map_or(&[][..], |x| &x[first * image..][..dx.len()]);
        T::run_narrow(env.isa, backward::Backward { pool, x, dy, dx });
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dtype::Precision;
    use crate::ops::testbed::{assert_close, numbers};
    use crate::ops::testkit::Desk;

    /// The places along an axis that a window sees, by trying every position.
    fn window(pool: &Pool2d, k: usize, place: usize) -> Vec<usize> {
        let n = pool.size[k];
        if pool.kind == Pool::Adaptive {
            return (0..n)
                .filter(|&i| (i + 1) * pool.out[k] > place * n && i * pool.out[k] < (place + 1) * n)
                .collect();
        }
        let taps = (0..pool.kernel[k]).map(|t| place * pool.stride[k] + t * pool.dilation[k]);
        taps.filter_map(|at| at.checked_sub(pool.padding[k]))
            .filter(|at| *at < n)
            .collect()
    }

    /// Results and the image's gradient by the definition.
    fn naive(pool: &Pool2d, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut dx) = (Vec::new(), vec![0.0; x.len()]);
        for (at, &bar) in dy.iter().enumerate() {
            let (channel, at) = (at % pool.channels, at / pool.channels);
            let (u, v, image) = (
                at % pool.out[1],
                at / pool.out[1] % pool.out[0],
                at / pool.out[1] / pool.out[0],
            );
            let cells: Vec<usize> = window(pool, 0, v)
                .iter()
                .flat_map(|row| window(pool, 1, u).into_iter().map(move |col| (row, col)))
                .map(|(row, col)| (image * pool.size[0] + row) * pool.size[1] + col)
                .map(|pixel| pixel * pool.channels + channel)
                .collect();
            match pool.kind {
                // The first of equals, the last NaN. A window that sees nothing of the image has no largest element.
                Pool::Max => match cells
                    .into_iter()
                    .reduce(|a, b| if x[b] > x[a] || x[b].is_nan() { b } else { a })
                {
                    Some(best) => {
                        y.push(x[best]);
                        dx[best] += bar;
                    }
                    None => y.push(f64::NEG_INFINITY),
                },
                kind => {
                    let full = pool.kernel[0] * pool.kernel[1];
                    let n = if kind == Pool::Average { full } else { cells.len() } as f64;
                    y.push(cells.iter().map(|cell| x[*cell]).sum::<f64>() / n);
                    cells.iter().for_each(|cell| dx[*cell] += bar / n);
                }
            }
        }
        (y, dx)
    }

    fn check(pool: &Pool2d, precision: Precision) {
        let (x, dy) = (
            numbers(pool.batch * pool.image(), 1),
            numbers(pool.batch * pool.out_image(), 2),
        );
        // Few different values, so that windows have equal largest elements.
        let x: Vec<f64> = x.iter().map(|x| (x * 4.0).round() / 4.0).collect();
        let (y, dx) = naive(pool, &x, &dy);
        let mut desk = Desk::new(precision);
        let (image, cotangent) = (desk.floats(&x), desk.floats(&dy));
        let (out, grad) = (desk.blank(y.len()), desk.blank(dx.len()));
        desk.run(|cx| {
            pool2d(cx, image, out, *pool);
            match pool.kind {
                Pool::Max => max_pool2d_grad(cx, image, cotangent, grad, *pool),
                _ => avg_pool2d_grad(cx, cotangent, grad, *pool),
            }
        });
        assert_close(&desk.read(out), &y, 1e-5);
        assert_close(&desk.read(grad), &dx, 1e-5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn pooling_is_that_of_the_definition(
            kind in prop::sample::select(vec![Pool::Max, Pool::Average, Pool::AverageInside]),
            batch in 0usize..3,
            channels in prop_oneof![1usize..6, 14usize..40],
            height in 1usize..12,
            width in prop_oneof![1usize..12, 60usize..80],
            kernel in prop::array::uniform2(1usize..4),
            stride in prop::array::uniform2(1usize..5),
            padding in prop::array::uniform2(0usize..2),
            dilation in prop::array::uniform2(1usize..3),
        ) {
            let size = [height, width];
            let padding = [padding[0].min(kernel[0] / 2), padding[1].min(kernel[1] / 2)];
            let dilation = if kind == Pool::Max { dilation } else { [1, 1] };
            let room = |k: usize| (size[k] + 2 * padding[k]).checked_sub(dilation[k] * (kernel[k] - 1) + 1);
            let (Some(height), Some(width)) = (room(0), room(1)) else { return Ok(()) };
            let out = [height / stride[0] + 1, width / stride[1] + 1];
            let pool = Pool2d { kind, batch, channels, size, out, kernel, stride, padding, dilation };
            check(&pool, Precision::F32);
            check(&pool, Precision::F64);
        }

        #[test]
        fn adaptive_windows_share_out_the_image(
            size in prop::array::uniform2(1usize..12),
            out in prop::array::uniform2(1usize..9),
            channels in 1usize..24,
        ) {
            let one = [1, 1];
            let kind = Pool::Adaptive;
            let pool = Pool2d { kind, batch: 2, channels, size, out, kernel: one, stride: one, padding: [0, 0], dilation: one };
            check(&pool, Precision::F64);
        }
    }

    /// More channels than a block has, with NaN, infinities and zeros of both signs among the numbers, and windows of nothing
    /// but minus infinity.
    #[test]
    fn extreme_numbers_find_their_places() {
        for (kernel, stride, padding, dilation) in [([2, 2], 2, 0, 1), ([3, 3], 1, 1, 1), ([2, 3], 1, 1, 2)] {
            let size = [5, 15];
            let room = |k: usize| size[k] + 2 * padding - (dilation * (kernel[k] - 1) + 1);
            let pool = Pool2d {
                kind: Pool::Max,
                batch: 2,
                channels: 19,
                size,
                out: [room(0) / stride + 1, room(1) / stride + 1],
                kernel,
                stride: [stride; 2],
                padding: [padding; 2],
                dilation: [dilation; 2],
            };
            let extreme = |(k, x): (usize, f64)| match k % 31 {
                3 | 4 => f64::NAN,
                7 | 8 => f64::INFINITY,
                11 => -0.0,
                12 => 0.0,
                _ if k % 300 > 180 => f64::NEG_INFINITY,
                _ => x,
            };
            let x: Vec<f64> = numbers(2 * pool.image(), 1)
                .into_iter()
                .enumerate()
                .map(extreme)
                .collect();
            let dy = numbers(2 * pool.out_image(), 2);
            let (want, want_grad) = naive(&pool, &x, &dy);
            for precision in [Precision::F32, Precision::F64] {
                let mut desk = Desk::new(precision);
                let (image, cotangent) = (desk.floats(&x), desk.floats(&dy));
                let (out, grad, picked) = (
                    desk.blank(want.len()),
                    desk.blank(x.len()),
                    desk.blank(want.len()),
                );
                let source = desk.floats(&numbers(x.len(), 3));
                desk.run(|cx| {
                    pool2d(cx, image, out, pool);
                    max_pool2d_grad(cx, image, cotangent, grad, pool);
                    max_pool2d_pick(cx, image, source, picked, pool);
                });
                let y = desk.read(out);
                for (k, (y, want)) in y.iter().zip(&want).enumerate() {
                    let is_close = (y - want).abs() <= 1e-6 * want.abs();
                    assert!(
                        y == want || is_close || (y.is_nan() && want.is_nan()),
                        "{k}: {y} for {want}"
                    );
                    assert!(
                        *want != 0.0 || y.is_sign_negative() == want.is_sign_negative(),
                        "{k}"
                    );
                }
                assert_close(&desk.read(grad), &want_grad, 1e-5);
                // Picking is the transpose of the gradient: with the cotangent as weights both give one sum.
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let (left, right) = (dot(&desk.read(picked), &dy), dot(&desk.read(source), &want_grad));
                assert!((left - right).abs() < 1e-3, "{left} instead of {right}");
            }
        }
    }

    #[test]
    fn not_a_number_is_the_largest() {
        let mut desk = Desk::new(Precision::F32);
        let x = desk.floats(&[1.0, f64::NAN, 3.0, 2.0]);
        let (dy, y, dx) = (desk.floats(&[5.0]), desk.blank(1), desk.blank(4));
        let two = [2, 2];
        let pool = Pool2d {
            kind: Pool::Max,
            batch: 1,
            channels: 1,
            size: two,
            out: [1, 1],
            kernel: two,
            stride: two,
            padding: [0, 0],
            dilation: [1, 1],
        };
        desk.run(|cx| {
            pool2d(cx, x, y, pool);
            max_pool2d_grad(cx, x, dy, dx, pool);
        });
        assert!(desk.read(y)[0].is_nan());
        assert_eq!(desk.read(dx), [0.0, 5.0, 0.0, 0.0]);
    }
}

//! What lies where windows have their maxima, for second derivatives.

use super::Pool2d;
use super::backward::largest;
use super::windows::{Visit, Window, equal, load, select, store};
use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::real::Real;

/// `y[.., v, u, c]` is the element of `source` where the window of `x` has its maximum; 0 where the window sees only padding.
///
/// # Panics
/// Where a buffer has another size: a mistake of the compiler.
pub fn max_pool2d_pick(cx: &mut Cx<'_>, x: Buf, source: Buf, y: Buf, pool: Pool2d) {
    float!(cx, T => pick::<T>(cx, x, source, y, pool));
}

fn pick<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, source: Buf, y: Buf, pool: Pool2d) {
    let env = cx.env;
    let mut bind = cx.bind();
    let (x, source): (&[T], &[T]) = (bind.read(x), bind.read(source));
    let y = bind.write::<T>(y);
    let (image, line) = (pool.image(), pool.out_line());
    assert!(
        x.len() == pool.batch * image && source.len() == x.len() && y.len() == pool.batch * pool.out_image(),
        "{pool:?} of other sizes"
    );
    let (rows, pool) = (pool.rows_a_task(), &pool);
    env.team.chunks_mut(y, rows * line.max(1), |task, y| {
        for (k, y) in y.chunks_exact_mut(line).enumerate() {
            let row = task * rows + k;
            let (x, source) = (
                &x[row / pool.out[0] * image..][..image],
                &source[row / pool.out[0] * image..][..image],
            );
            pool.for_each_window(row % pool.out[0], &mut Pick { pool, x, source, y });
        }
    });
}

/// Writes what lies where windows have their maxima.
struct Pick<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    source: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Visit for Pick<'_, T> {
    #[inline(always)]
    fn visit<const N: usize>(&mut self, window: &Window, number: usize, channel: usize) {
        let places = largest::<T, N>(self.x, window, channel);
        let mut picked = [T::ZERO; N];
        let at = number * self.pool.channels + channel;
        let (mut line, mut number) = (window.first + channel, T::ZERO);
        for _ in 0..window.taps[0] {
            let mut at = line;
            for _ in 0..window.taps[1] {
                picked = select(equal(places, number), load(self.source, at), picked);
                number += T::ONE;
                at += window.steps[1];
            }
            line += window.steps[0];
        }
        store(self.y, at, picked);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pool, max_pool2d_grad};
    use super::*;
    use crate::dtype::Precision;
    use crate::ops::testbed::{assert_close, numbers};
    use crate::ops::testkit::Desk;

    /// `<pick(s), g> = <s, grad(g)>`: one is the transpose of the other, overlapping windows and padding included.
    #[test]
    fn picking_is_the_transpose_of_the_gradient() {
        for (size, kernel, stride, padding) in [([4, 6], [2, 2], [2, 2], 0), ([5, 7], [3, 3], [2, 2], 1)] {
            let out: [usize; 2] =
                std::array::from_fn(|k| (size[k] + 2 * padding - kernel[k]) / stride[k] + 1);
            let pool = Pool2d {
                kind: Pool::Max,
                batch: 3,
                channels: 5,
                size,
                out,
                kernel,
                stride,
                padding: [padding; 2],
                dilation: [1; 2],
            };
            let (n, m) = (15 * size[0] * size[1], 15 * out[0] * out[1]);
            let (x, source, g) = (numbers(n, 1), numbers(n, 2), numbers(m, 3));
            let mut desk = Desk::new(Precision::F64);
            let (x, s, c) = (desk.floats(&x), desk.floats(&source), desk.floats(&g));
            let (y, dx) = (desk.blank(m), desk.blank(n));
            desk.run(|cx| max_pool2d_pick(cx, x, s, y, pool));
            desk.run(|cx| max_pool2d_grad(cx, x, c, dx, pool));
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (left, right) = (dot(&desk.read(y), &g), dot(&source, &desk.read(dx)));
            assert_close(&[left], &[right], 1e-12);
        }
    }
}

//! Functions that the op table calls and the runtime does not export yet, written plainly, so that plans with them can be
//! executed. Each disappears when its kernel arrives.

use tapeless_runtime::arena::Buf;
use tapeless_runtime::cx::Cx;
use tapeless_runtime::dtype::Element;
use tapeless_runtime::real::Real;

use super::super::tensor::indices;
use super::arguments::Arguments;
use super::memory::float;

/// `reduce(kind, x, y, shape, axes)`.
pub(super) fn reduce(cx: &mut Cx<'_>, a: &mut Arguments) {
    let kind = a.constant(&[
        ("Reduction::Sum", 0),
        ("Reduction::Max", 1),
        ("Reduction::Min", 2),
        ("Reduction::Prod", 3),
    ]);
    let (x, y, shape, axes) = (a.buf(), a.buf(), a.sizes(), a.sizes());
    float!(cx, T => reduce_as::<T>(cx, kind, x, y, &shape, &axes));
}

fn reduce_as<T: Real + Element>(
    cx: &mut Cx<'_>,
    kind: usize,
    x: Buf,
    y: Buf,
    shape: &[usize],
    axes: &[usize],
) {
    let mut bind = cx.bind();
    let (x, y) = (bind.read::<T>(x), bind.write::<T>(y));
    y.fill([T::ZERO, -T::INFINITY, T::INFINITY, T::ONE][kind]);
    let mut next = x.iter();
    indices(shape, |i| {
        let kept = (0..i.len()).filter(|k| !axes.contains(k));
        let at = kept.fold(0, |at, k| at * shape[k] + i[k]);
        let value = *next.next().expect("an element for every index");
        y[at] = match kind {
            0 => y[at] + value,
            1 => y[at].max(value),
            2 => y[at].min(value),
            _ => y[at] * value,
        };
    });
}

/// `pad(x, y, x_shape, y_shape, starts, steps, value)`.
pub(super) fn pad(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, y) = (a.buf(), a.buf());
    let sizes = [a.sizes(), a.sizes(), a.sizes(), a.sizes()];
    let value = a.scalar();
    float!(cx, T => pad_as::<T>(cx, x, y, &sizes, value));
}

fn pad_as<T: Real + Element>(cx: &mut Cx<'_>, x: Buf, y: Buf, sizes: &[Vec<usize>; 4], value: f64) {
    let [from, to, starts, steps] = sizes;
    let mut bind = cx.bind();
    let (x, y) = (bind.read::<T>(x), bind.write::<T>(y));
    y.fill(T::from_f64(value));
    let mut next = x.iter();
    indices(from, |i| {
        let at = (0..i.len()).fold(0, |at, k| at * to[k] + starts[k] + steps[k] * i[k]);
        y[at] = *next.next().expect("an element for every index");
    });
}

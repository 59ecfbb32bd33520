//! Arguments of convolutions and poolings.

use tapeless_runtime::cx::Cx;
use tapeless_runtime::rt;

use super::arguments::{Arguments, array};

pub(super) fn conv_spec(a: &mut Arguments) -> rt::Conv2d {
    let order = [
        "batch",
        "in_channels",
        "out_channels",
        "groups",
        "size",
        "out",
        "kernel",
        "stride",
        "padding",
        "dilation",
    ];
    let mut f = a.fields("Conv2d", &order);
    rt::Conv2d {
        batch: f.size(),
        in_channels: f.size(),
        out_channels: f.size(),
        groups: f.size(),
        size: array(&f.sizes()),
        out: array(&f.sizes()),
        kernel: array(&f.sizes()),
        stride: array(&f.sizes()),
        padding: array(&f.sizes()),
        dilation: array(&f.sizes()),
    }
}

pub(super) fn conv2d(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, w, y, scratch, spec) = (a.buf(), a.filter(), a.buf(), a.buf(), conv_spec(a));
    rt::conv2d(cx, x, w, y, scratch, spec, a.epilogue());
}

pub(super) fn conv2d_pool2d(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, w, y, scratch, spec) = (a.buf(), a.filter(), a.buf(), a.buf(), conv_spec(a));
    let epilogue = a.epilogue();
    rt::conv2d_pool2d(cx, x, w, y, scratch, spec, epilogue, pool_spec(a));
}

pub(super) fn conv2d_input_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    rt::conv2d_input_grad(cx, a.buf(), a.buf(), a.buf(), a.buf(), conv_spec(a));
}

pub(super) fn conv2d_weight_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    rt::conv2d_weight_grad(cx, a.buf(), a.buf(), a.buf(), a.buf(), conv_spec(a));
}

fn pool_spec(a: &mut Arguments) -> rt::Pool2d {
    let order = [
        "kind", "batch", "channels", "size", "out", "kernel", "stride", "padding", "dilation",
    ];
    let mut f = a.fields("Pool2d", &order);
    rt::Pool2d {
        kind: f.constant(&[
            ("Pool::Max", rt::Pool::Max),
            ("Pool::Average", rt::Pool::Average),
            ("Pool::AverageInside", rt::Pool::AverageInside),
            ("Pool::Adaptive", rt::Pool::Adaptive),
        ]),
        batch: f.size(),
        channels: f.size(),
        size: array(&f.sizes()),
        out: array(&f.sizes()),
        kernel: array(&f.sizes()),
        stride: array(&f.sizes()),
        padding: array(&f.sizes()),
        dilation: array(&f.sizes()),
    }
}

pub(super) fn pool2d(cx: &mut Cx<'_>, a: &mut Arguments) {
    rt::pool2d(cx, a.buf(), a.buf(), pool_spec(a));
}

pub(super) fn max_pool2d_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    rt::max_pool2d_grad(cx, a.buf(), a.buf(), a.buf(), pool_spec(a));
}

pub(super) fn max_pool2d_pick(cx: &mut Cx<'_>, a: &mut Arguments) {
    rt::max_pool2d_pick(cx, a.buf(), a.buf(), a.buf(), pool_spec(a));
}

pub(super) fn avg_pool2d_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    rt::avg_pool2d_grad(cx, a.buf(), a.buf(), pool_spec(a));
}

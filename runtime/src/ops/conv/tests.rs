//! Convolutions against their definition.

use proptest::prelude::*;

use super::*;
use crate::cpu::gemm::{self, Arithmetic};
use crate::cpu::isa::Isa;
use crate::dtype::{Float, Precision};
use crate::ops::epilogue::Activation;
use crate::ops::testbed::{assert_close, numbers};
use crate::ops::testkit::Desk;

/// Calls `f` with the places in image, weight and result of every product that a convolution sums.
pub(super) fn for_each_term(conv: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let (ins, outs) = conv.group();
    let [h, w] = conv.size;
    let ([oh, ow], [kh, kw]) = (conv.out, conv.kernel);
    for at in 0..conv.batch * conv.out_channels * oh * ow {
        let (o, place) = (at % conv.out_channels, at / conv.out_channels);
        let (u, v, b) = (place % ow, place / ow % oh, place / ow / oh);
        for tap in 0..ins * kh * kw {
            let (j, i, c) = (tap % kw, tap / kw % kh, tap / kw / kh);
            let y = (v * conv.stride[0] + i * conv.dilation[0]).checked_sub(conv.padding[0]);
            let x = (u * conv.stride[1] + j * conv.dilation[1]).checked_sub(conv.padding[1]);
            if let (Some(y), Some(x)) = (y.filter(|y| *y < h), x.filter(|x| *x < w)) {
                let channel = o / outs * ins + c;
                f(
                    ((b * h + y) * w + x) * conv.in_channels + channel,
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
    /// Scratch of the convolution, and of its gradients.
    scratch: [usize; 3],
}

fn lengths(conv: &Conv2d) -> Lengths {
    let (ins, outs) = conv.group();
    let w = conv.out_channels * ins * Conv2d::area(conv.kernel);
    let padded = |rows: usize| w.checked_div(rows).unwrap_or(0) * rows.next_multiple_of(32);
    Lengths {
        scratch: [4 * padded(outs), 4 * padded(ins), w * SHARDS],
        w,
        x: conv.batch * conv.in_channels * Conv2d::area(conv.size),
        y: conv.batch * conv.out_channels * Conv2d::area(conv.out),
    }
}

/// Forward and both gradients against the definition, in one precision.
fn check(conv: &Conv2d, precision: Precision) {
    check_with(conv, Desk::new(precision), precision);
}

/// Numbers as a precision sees them that are operands of products.
fn operands(numbers: &[f64], precision: Precision) -> Vec<f64> {
    if precision.float() == Float::F64 {
        return numbers.to_vec();
    }
    let mut singles: Vec<f32> = numbers.iter().map(|x| *x as f32).collect();
    gemm::prepare(Arithmetic::new(precision, Isa::Portable), &mut singles);
    singles.into_iter().map(f64::from).collect()
}

fn check_with(conv: &Conv2d, mut desk: Desk, precision: Precision) {
    let tolerance = if precision.float() == Float::F32 {
        1e-4
    } else {
        1e-12
    };
    let len = lengths(conv);
    let given = [numbers(len.x, 1), numbers(len.w, 2), numbers(len.y, 3)];
    let [x, w, dy] = given.each_ref().map(|numbers| operands(numbers, precision));
    let bias = numbers(conv.out_channels, 4);
    let (mut y, mut dx, mut dw) = (vec![0.0; len.y], vec![0.0; len.x], vec![0.0; len.w]);
    for_each_term(conv, |at_x, at_w, at_y| {
        y[at_y] += x[at_x] * w[at_w];
        dx[at_x] += w[at_w] * dy[at_y];
        dw[at_w] += x[at_x] * dy[at_y];
    });
    let finished = y.iter().enumerate();
    let y: Vec<f64> = finished
        .map(|(at, y)| (y + bias[at % conv.out_channels]).max(0.0))
        .collect();
    let [x, w, dy] = given.map(|numbers| desk.floats(&numbers));
    let epilogue = Epilogue::NONE
        .bias(desk.floats(&bias))
        .activation(Activation::Relu);
    let outputs = (desk.blank(len.y), desk.blank(len.x), desk.blank(len.w));
    let scratch = len.scratch.map(|len| desk.blank(len));
    desk.run(|cx| {
        conv2d(cx, x, w, outputs.0, scratch[0], *conv, epilogue);
        conv2d_input_grad(cx, w, dy, outputs.1, scratch[1], *conv);
        conv2d_weight_grad(cx, x, dy, outputs.2, scratch[2], *conv);
    });
    assert_close(&desk.read(outputs.0), &y, tolerance);
    assert_close(&desk.read(outputs.1), &dx, tolerance);
    assert_close(&desk.read(outputs.2), &dw, tolerance);
    if conv.groups == 1 {
        same_bits_packed(conv, &mut desk, [x, w, outputs.0, scratch[0]], epilogue);
    }
}

/// With packed weights, the second of two, a convolution has the bits that `y` has.
fn same_bits_packed(conv: &Conv2d, desk: &mut Desk, [x, w, y, scratch]: [Buf; 4], epilogue: Epilogue) {
    let mut len = 0;
    let [k, n] = conv.factor();
    desk.run(|cx| len = packed_len(cx.env.arithmetic(), [0, k, n, 2, Conv2d::area(conv.kernel)]));
    let both = [desk.read(w).iter().map(|w| 2.0 * w).collect(), desk.read(w)].concat();
    let (both, packed, again) = (desk.floats(&both), desk.blank(len), desk.blank(y.len));
    desk.run(|cx| {
        pack_window(cx, both, packed, *conv, Lasts::Calls);
        conv2d(cx, x, w.packed(packed, 1), again, scratch, *conv, epilogue);
    });
    assert_eq!(desk.read(again), desk.read(y), "{conv:?}");
}

pub(super) fn out(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Option<usize> {
    let room = (size + 2 * padding).checked_sub(dilation * (kernel - 1) + 1)?;
    Some(room / stride + 1)
}

pub(super) fn plain(
    batch: usize,
    channels: [usize; 2],
    size: [usize; 2],
    kernel: usize,
    padding: usize,
) -> Conv2d {
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
        for precision in [Precision::F32, Precision::Bf16, Precision::F64] {
            check(&conv, precision);
        }
    }
}

#[test]
fn larger_convolutions_are_right() {
    for precision in [Precision::F32, Precision::High, Precision::Bf16] {
        check(&plain(5, [3, 33], [28, 28], 3, 0), precision);
        check(&plain(2, [40, 17], [13, 9], 5, 2), precision);
        check(&plain(3, [20, 30], [7, 7], 1, 0), precision);
    }
}

/// The sizes with another way to move the window.
pub(super) fn moved(conv: Conv2d, stride: [usize; 2], dilation: [usize; 2]) -> Conv2d {
    let places = |k: usize| {
        out(
            conv.size[k],
            conv.kernel[k],
            stride[k],
            conv.padding[k],
            dilation[k],
        )
    };
    Conv2d {
        out: [places(0).unwrap(), places(1).unwrap()],
        stride,
        dilation,
        ..conv
    }
}

/// Sizes that are cut at every place where there is a cut: lines, long lines, channels, images, shards, strips of rows.
fn cut_sizes() -> Vec<Conv2d> {
    let line = |batch, channels, len: usize, kernel: usize| Conv2d {
        size: [1, len],
        out: [1, len - kernel + 1],
        kernel: [1, kernel],
        ..plain(batch, channels, [len, len], kernel, 0)
    };
    let grouped = Conv2d {
        groups: 3,
        ..plain(9, [6, 39], [11, 10], 3, 1)
    };
    let depthwise = Conv2d {
        groups: 87,
        ..plain(3, [87, 87], [17, 14], 3, 1)
    };
    vec![
        moved(plain(6, [5, 14], [31, 45], 3, 1), [2, 2], [1, 1]),
        moved(plain(2, [3, 4], [45, 31], 5, 2), [3, 2], [1, 2]),
        moved(plain(1, [2, 3], [40, 40], 3, 3), [2, 2], [2, 2]),
        moved(line(2, [3, 13], 1700, 7), [1, 1], [1, 3]),
        moved(line(1, [2, 3], 2100, 4), [1, 3], [1, 1]),
        // A line of more than one part in an image of more than one line.
        plain(1, [1, 2], [3, 600], 3, 1),
        // Images whose gradient of the weight is summed in parts.
        plain(2, [32, 12], [40, 29], 3, 1),
        // Many channels, and so many that a row of weights is longer than what is turned at a time.
        plain(2, [300, 5], [14, 14], 3, 1),
        plain(1, [1024, 2], [3, 3], 3, 1),
        // A deep window, whose places begin in the padding.
        Conv2d {
            dilation: [1, 16],
            padding: [0, 16],
            out: [1, 40],
            ..line(1, [64, 3], 40, 3)
        },
        // Nothing but padding.
        plain(2, [3, 4], [0, 0], 1, 1),
        Conv2d {
            groups: 4,
            ..plain(2, [4, 4], [0, 0], 1, 1)
        },
        plain(1, [5, 300], [14, 14], 3, 1),
        // Small images, many of which are summed together.
        plain(23, [4, 19], [6, 5], 3, 1),
        grouped,
        moved(grouped, [2, 3], [1, 1]),
        // Every channel for itself: more than are computed at a time, and a part of a vector.
        depthwise,
        moved(depthwise, [2, 2], [1, 1]),
        moved(depthwise, [3, 1], [2, 2]),
        // Channels enough to fill vectors: whole ones, and a part of the last; whole tiles of rows, and a part.
        moved(plain(5, [16, 24], [17, 24], 3, 1), [2, 2], [1, 1]),
        moved(plain(3, [30, 13], [9, 48], 3, 1), [1, 3], [2, 1]),
        plain(3, [20, 70], [5, 5], 4, 2),
        line(3, [16, 8], 1200, 5),
        // Wide images with dilated windows.
        moved(plain(2, [13, 8], [7, 1300], 3, 1), [2, 2], [1, 1]),
        // Lines of whole and of half vectors, and of neither.
        plain(2, [3, 20], [7, 24], 3, 1),
        plain(2, [3, 21], [7, 24], 3, 1),
        plain(2, [3, 20], [7, 32], 3, 1),
        plain(2, [3, 20], [7, 20], 3, 1),
        // Lines of an image's gradient that are as far apart as those that lie between them are wide.
        Conv2d {
            size: [6, 1],
            out: [2, 3],
            kernel: [2, 3],
            stride: [3, 1],
            padding: [0, 2],
            ..plain(1, [2, 3], [6, 6], 3, 0)
        },
        // The window lies in the padding at most places.
        plain(2, [3, 2], [1, 2], 3, 2),
        // More elements of a window than there is room for: the patches are gathered.
        plain(2, [2, 3], [20, 19], 17, 1),
    ]
}

#[test]
fn sizes_that_are_cut_are_right() {
    for conv in cut_sizes() {
        for precision in [Precision::F32, Precision::High, Precision::Bf16, Precision::F64] {
            check(&conv, precision);
        }
    }
}

#[test]
fn every_instruction_set_is_right() {
    let depthwise = Conv2d {
        groups: 37,
        ..plain(2, [37, 37], [9, 8], 3, 1)
    };
    let sizes = [
        moved(depthwise, [1, 2], [1, 1]),
        moved(plain(3, [7, 27], [19, 23], 3, 1), [1, 2], [1, 1]),
        moved(plain(3, [32, 24], [9, 24], 3, 1), [2, 1], [1, 1]),
        plain(3, [32, 24], [9, 24], 3, 1),
    ];
    for (conv, &isa) in sizes
        .iter()
        .flat_map(|conv| Isa::available().iter().map(move |isa| (conv, isa)))
    {
        for precision in [Precision::F32, Precision::High, Precision::Bf16, Precision::F64] {
            check_with(conv, Desk::with(precision, 2, isa), precision);
        }
    }
}

#[test]
fn a_pixel_that_is_no_number_stays_in_its_channel_and_its_places() {
    let conv = plain(1, [2, 3], [9, 9], 3, 0);
    let len = lengths(&conv);
    let mut x = numbers(len.x, 1);
    x[1] = f64::NAN;
    let mut desk = Desk::new(Precision::F32);
    let (x, w, dy) = (
        desk.floats(&x),
        desk.floats(&numbers(len.w, 2)),
        desk.floats(&numbers(len.y, 3)),
    );
    let (y, dw) = (desk.blank(len.y), desk.blank(len.w));
    let scratch = len.scratch.map(|len| desk.blank(len));
    desk.run(|cx| {
        conv2d(cx, x, w, y, scratch[0], conv, Epilogue::NONE);
        conv2d_weight_grad(cx, x, dy, dw, scratch[2], conv);
    });
    // The first pixel of the second channel is seen by the first place alone.
    for (at, y) in desk.read(y).iter().enumerate() {
        assert_eq!(y.is_nan(), at < 3, "place {at}");
    }
    for (at, dw) in desk.read(dw).iter().enumerate() {
        assert_eq!(dw.is_nan(), at % 18 == 9, "weight {at}");
    }
}

#[test]
fn a_pixel_that_is_no_number_stays_in_its_group() {
    let conv = Conv2d {
        groups: 2,
        ..plain(1, [4, 4], [5, 5], 3, 1)
    };
    let len = lengths(&conv);
    let (mut x, mut dy) = (numbers(len.x, 1), numbers(len.y, 3));
    (x[0], dy[2]) = (f64::INFINITY, f64::NAN);
    let mut desk = Desk::new(Precision::F32);
    let (x, w, dy) = (desk.floats(&x), desk.floats(&numbers(len.w, 2)), desk.floats(&dy));
    let (y, dx) = (desk.blank(len.y), desk.blank(len.x));
    let scratch = len.scratch.map(|len| desk.blank(len));
    desk.run(|cx| {
        conv2d(cx, x, w, y, scratch[0], conv, Epilogue::NONE);
        conv2d_input_grad(cx, w, dy, dx, scratch[1], conv);
    });
    let strays = |numbers: &[f64], group| {
        let mut numbers = numbers.iter().enumerate();
        numbers.any(|(at, x)| at % 4 / 2 != group && !x.is_finite())
    };
    assert!(!strays(&desk.read(y), 0), "of the first group");
    assert!(!strays(&desk.read(dx), 1), "of the second group");
}

/// A window that spans more pixels than there is room to round at a time.
#[test]
fn a_wide_window_has_a_weight_gradient_in_every_precision() {
    let conv = moved(plain(1, [1, 1], [190, 190], 3, 0), [1, 1], [94, 94]);
    let len = lengths(&conv);
    let gradient = |precision| {
        let mut desk = Desk::new(precision);
        let (x, dy) = (desk.floats(&numbers(len.x, 1)), desk.floats(&numbers(len.y, 3)));
        let (dw, scratch) = (desk.blank(len.w), desk.blank(len.scratch[2]));
        desk.run(|cx| conv2d_weight_grad(cx, x, dy, dw, scratch, conv));
        desk.read(dw)
    };
    assert_eq!(gradient(Precision::Bf16), gradient(Precision::F32));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let sizes = [
        plain(7, [5, 24], [20, 20], 3, 1),
        moved(plain(2, [16, 60], [33, 30], 3, 1), [2, 2], [1, 1]),
        plain(30, [8, 16], [8, 8], 3, 1),
        plain(2, [40, 60], [33, 30], 3, 1),
    ];
    let ways = |conv| {
        let precisions = [Precision::F32, Precision::High];
        let isas = Isa::available().iter();
        isas.flat_map(move |isa| precisions.map(|precision| (conv, *isa, precision)))
    };
    for (conv, isa, precision) in sizes.iter().flat_map(|conv| ways(*conv)) {
        let len = lengths(&conv);
        let run = |threads| {
            let mut desk = Desk::with(precision, threads, isa);
            let x = desk.floats(&numbers(len.x, 1));
            let w = desk.floats(&numbers(len.w, 2));
            let dy = desk.floats(&numbers(len.y, 3));
            let outputs = (desk.blank(len.y), desk.blank(len.x), desk.blank(len.w));
            let scratch = len.scratch.map(|len| desk.blank(len));
            desk.run(|cx| {
                conv2d(cx, x, w, outputs.0, scratch[0], conv, Epilogue::NONE);
                conv2d_input_grad(cx, w, dy, outputs.1, scratch[1], conv);
                conv2d_weight_grad(cx, x, dy, outputs.2, scratch[2], conv);
            });
            [desk.read(outputs.0), desk.read(outputs.1), desk.read(outputs.2)]
        };
        let alone = run(1);
        assert_eq!(alone, run(2), "{isa} {precision}");
        assert_eq!(alone, run(8), "{isa} {precision}");
    }
}

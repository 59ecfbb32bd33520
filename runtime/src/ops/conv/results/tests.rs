//! Pooling at once against pooling afterwards.

use proptest::prelude::*;

use crate::arena::Buf;
use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::ops::conv::{Conv2d, conv2d, conv2d_pool2d};
use crate::ops::epilogue::{Activation, Epilogue};
use crate::ops::pool::{Pool, Pool2d, pool2d};
use crate::ops::testbed::numbers;
use crate::ops::testkit::Desk;

/// Asserts that both ways give the same bits, on every instruction set and with any number of threads.
fn check(conv: Conv2d, pool: Pool2d, activation: Activation, precision: Precision) {
    let area = |size: [usize; 2]| size[0] * size[1];
    let weights = conv.out_channels * conv.in_channels * area(conv.kernel);
    let results = |size| conv.batch * conv.out_channels * area(size);
    let scratch = 4 * weights / conv.out_channels * conv.out_channels.next_multiple_of(32);
    for isa in Isa::available() {
        let mut all = Vec::new();
        for threads in [1, 2] {
            let mut desk = Desk::with(precision, threads, *isa);
            let x = desk.floats(&numbers(conv.batch * conv.in_channels * area(conv.size), 1));
            let (w, bias) = (
                desk.floats(&numbers(weights, 2)),
                desk.floats(&numbers(conv.out_channels, 3)),
            );
            let [image, then, at_once] = [conv.out, pool.out, pool.out].map(|size| desk.blank(results(size)));
            let scratch: [Buf; 2] = [desk.blank(scratch), desk.blank(scratch)];
            let epilogue = Epilogue::NONE.bias(bias).activation(activation);
            desk.run(|cx| {
                conv2d(cx, x, w, image, scratch[0], conv, epilogue);
                pool2d(cx, image, then, pool);
                conv2d_pool2d(cx, x, w, at_once, scratch[1], conv, epilogue, pool);
            });
            assert_eq!(desk.read(at_once), desk.read(then), "{isa}, {threads} threads");
            all.push(desk.read(at_once));
        }
        assert_eq!(all[0], all[1], "{isa}");
    }
}

fn sizes(
    size: [usize; 2],
    channels: [usize; 3],
    kernel: [usize; 2],
    padding: usize,
    windows: [usize; 2],
) -> (Conv2d, Pool2d) {
    let [batch, in_channels, out_channels] = channels;
    let out = [0, 1].map(|k| size[k] + 2 * padding + 1 - kernel[k]);
    let conv = Conv2d {
        batch,
        in_channels,
        out_channels,
        groups: 1,
        size,
        out,
        kernel,
        stride: [1; 2],
        padding: [padding; 2],
        dilation: [1; 2],
    };
    let pool = Pool2d {
        kind: Pool::Max,
        batch,
        channels: out_channels,
        size: out,
        out: [0, 1].map(|k| out[k] / windows[k]),
        kernel: windows,
        stride: windows,
        padding: [0; 2],
        dilation: [1; 2],
    };
    (conv, pool)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pooling_at_once_is_pooling_afterwards(
        size in [3usize..20, 3usize..20],
        channels in [0usize..4, 1usize..20, 1usize..70],
        kernel in [1usize..4, 1usize..4],
        padding in 0usize..2,
        windows in [1usize..4, 1usize..4],
        kind in prop::sample::select(vec![Pool::Max, Pool::Average, Pool::AverageInside]),
        activation in prop::sample::select(vec![Activation::Relu, Activation::Tanh]),
        precision in prop::sample::select(vec![Precision::F32, Precision::High, Precision::Bf16, Precision::F64]),
    ) {
        // A product of matrices adds in another order.
        prop_assume!(kernel != [1, 1]);
        let (conv, pool) = sizes(size, channels, kernel, padding, windows);
        check(conv, Pool2d { kind, ..pool }, activation, precision);
    }
}

/// Lines that do not fit into the first-level cache, and channels that do not fit into the room at once.
#[test]
fn wide_images_are_pooled_in_blocks_of_channels() {
    let (conv, pool) = sizes([6, 160], [1, 2, 100], [3, 3], 1, [2, 2]);
    check(conv, pool, Activation::Relu, Precision::F32);
}

/// Lines are summed by tiles of four, and pooled as many at a time as there is room for, which need not be four.
#[test]
fn pooled_lines_need_not_be_those_of_tiles() {
    for (width, windows) in [(30, [2, 2]), (31, [3, 3]), (220, [2, 2]), (90, [6, 2])] {
        let (conv, pool) = sizes([26, width], [1, 16, 35], [3, 3], 1, windows);
        check(conv, pool, Activation::Relu, Precision::High);
        check(conv, pool, Activation::Tanh, Precision::High);
    }
}

//! What the pen can write on images `[B, C, H, W]`, whose sizes are numbers.

use super::moves::{ACTIVATIONS, Move};
use super::pen::{Known, Pen};
use super::size::{Size, list};

/// All moves.
pub const MOVES: &[Move] = &[
    conv, conv, conv, batch_norm, activation, pool, pool, pool, gain, dropout, residual, group_norm,
];

/// Channels, height and width.
fn sizes(x: &Known) -> [usize; 3] {
    [1, 2, 3].map(|axis| {
        x.shape[axis]
            .literal()
            .expect("images are drawn with numbers as sizes")
    })
}

fn image(channels: usize, height: usize, width: usize) -> Vec<Size> {
    let mut shape = vec![Size::named("B")];
    shape.extend([channels, height, width].map(Size::number));
    shape
}

/// Places of a window: `floor((n + 2 p - d (k - 1) - 1) / s) + 1`, where there are any.
fn places(n: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let room = (n + 2 * padding).checked_sub(dilation * (kernel - 1) + 1)?;
    Some(room / stride + 1)
}

/// The options that differ from doing nothing.
fn options(named: &[(&str, usize, usize)]) -> String {
    let given = named.iter().filter(|(_, value, usual)| value != usual);
    let given: Vec<String> = given
        .map(|(name, value, _)| format!("{name} = {value}"))
        .collect();
    given.join(", ")
}

pub fn conv(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let [channels, height, width] = sizes(x);
    let groups = if channels % 2 == 0 && pen.one_in(2) { 2 } else { 1 };
    let out = groups * (1 + pen.dice.below(3));
    let (kernel, stride) = (1 + pen.dice.below(3), 1 + pen.dice.below(2));
    let (padding, dilation) = (pen.dice.below(2), 1 + pen.dice.below(2));
    let rows = places(height, kernel, stride, padding, dilation)?;
    let columns = places(width, kernel, stride, padding, dilation)?;
    let mut given = options(&[
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
        ("groups", groups, 1),
    ]);
    if pen.one_in(4) {
        given += if given.is_empty() {
            "bias = false"
        } else {
            ", bias = false"
        };
    }
    let input = if pen.one_in(3) && groups == 1 {
        "_".to_owned()
    } else {
        channels.to_string()
    };
    let ty = format!("Conv2d<{input}, {out}, {kernel}>");
    let field = pen.part.field("conv", &given, ty);
    let after = ["", ".relu()", ".sigmoid()"][pen.dice.below(3)];
    let expression = format!("self.{field}({}){after}", x.name);
    Some(pen.bind(&expression, image(out, rows, columns), &x.name))
}

fn batch_norm(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let [channels, ..] = sizes(x);
    let given = ["eps = 0.1", "eps = 0.1, affine = false"][pen.dice.below(2)];
    let field = pen.part.field("bn", given, format!("BatchNorm2d<{channels}>"));
    Some(pen.bind(&format!("self.{field}({})", x.name), x.shape.clone(), &x.name))
}

fn group_norm(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let [channels, ..] = sizes(x);
    let ty = format!("GroupNorm<1, {channels}>");
    let field = pen.part.field("gn", "eps = 0.1", ty);
    Some(pen.bind(&format!("self.{field}({})", x.name), x.shape.clone(), &x.name))
}

fn activation(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let method = pen.word(ACTIVATIONS);
    Some(pen.bind(&format!("{}.{method}()", x.name), x.shape.clone(), &x.name))
}

/// As a method or as a layer.
fn pool(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let [channels, height, width] = sizes(x);
    let (kernel, stride, padding) = (2 + pen.dice.below(2), 1 + pen.dice.below(2), pen.dice.below(2));
    let rows = places(height, kernel, stride, padding, 1)?;
    let columns = places(width, kernel, stride, padding, 1)?;
    let given = options(&[("stride", stride, kernel), ("padding", padding, 0)]);
    let which = pen.dice.below(2);
    let expression = if pen.one_in(2) {
        let ty = format!("{}<{kernel}>", ["MaxPool2d", "AvgPool2d"][which]);
        let field = pen.part.field("pool", &given, ty);
        format!("self.{field}({})", x.name)
    } else {
        let method = ["max_pool2d", "avg_pool2d"][which];
        let comma = if given.is_empty() { "" } else { ", " };
        format!("{}.{method}({kernel}{comma}{given})", x.name)
    };
    Some(pen.bind(&expression, image(channels, rows, columns), &x.name))
}

/// A parameter a channel.
fn gain(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let [channels, ..] = sizes(x);
    let sizes = [channels, 1, 1].map(Size::number);
    let field = pen
        .part
        .field("gain", "init = ones", format!("Param<{}>", list(&sizes)));
    Some(pen.bind(&format!("{} * self.{field}", x.name), x.shape.clone(), &x.name))
}

fn dropout(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let method = pen.word(&["dropout", "dropout2d"]);
    Some(pen.bind(&format!("{}.{method}(0.25)", x.name), x.shape.clone(), &x.name))
}

fn residual(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let y = pen.like(x)?;
    Some(pen.bind(&format!("{} + {}", x.name, y.name), x.shape.clone(), &x.name))
}

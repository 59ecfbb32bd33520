//! The output of an expression is read off its layers, or written.

use tapeless::prelude::*;

fn main() {
    let _ = network![(1, 8, 8) => Conv2d<_, 4, 3>].new(&Device::cpu(), 1);
}

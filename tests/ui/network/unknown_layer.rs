//! A layer that nobody knows.

use tapeless::prelude::*;

network! {
    struct Net(8) -> 8 { Lineer<_, 8> }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

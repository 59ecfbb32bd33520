//! A layer that does not fit is named and pointed at.

use tapeless::prelude::*;

network! {
    pub struct Net(1, 8, 8) -> 10 {
        Conv2d<_, 4, 3>(padding = 1), Relu,
        Conv2d<3, 4, 3>, Flatten, Linear<_, 10>,
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

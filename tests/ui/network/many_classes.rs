//! Labels are bytes unless something else is said.

use tapeless::prelude::*;

network! {
    struct Net(8) -> 1000 { Linear<_, 1000> }
    loss = cross_entropy
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

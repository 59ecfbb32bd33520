//! A struct without an impl.
use tapeless::prelude::*;

#[model]
pub struct Lonely {
    fc: Linear<4, 8>,
}

fn main() {
    let _ = Lonely::new(&Device::cpu(), 0).unwrap();
}

//! Every mistake is reported once, and the methods are still there.

use tapeless::prelude::*;

network! {
    pub struct Net(8) -> 2 {
        Linear<_, 3> Relu,
        7,
        Conv2d<_, 6, 5>(2),
        Linear<_, 2>,
    }
    loss = hinge
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1).map(|net| net.forward(&ndarray::Array2::<f32>::zeros((1, 8))));
}

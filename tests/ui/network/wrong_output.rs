//! The declared output is checked, and so is every layer between.

use tapeless::prelude::*;

network! {
    pub struct Net(784) -> 10 {
        Linear<_, 128>, Relu, Linear<_, 11>
    }
    loss = cross_entropy
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1).map(|net| net.forward(&ndarray::Array2::<f32>::zeros((1, 784))));
}

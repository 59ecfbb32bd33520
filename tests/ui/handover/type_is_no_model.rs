//! A type that is no model, in the place of one from a glob import.
use tapeless::prelude::*;

mod zoo {
    use tapeless::prelude::*;

    #[model]
    pub struct Block {
        fc: Linear<2, 2>,
    }

    #[model]
    impl Block {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            self.fc(x)
        }
    }
}

use zoo::*;

struct Block;

#[model]
struct Net {
    block: Block,
}

#[model]
impl Net {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.block(x)
    }
}

fn main() {
    let _ = Block;
}

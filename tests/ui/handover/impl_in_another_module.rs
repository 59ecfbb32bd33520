//! The functions of a model stand beside its struct.
use tapeless::prelude::*;

mod layers {
    use tapeless::prelude::*;

    #[model]
    pub struct Net {
        pub(super) fc: Linear<2, 2>,
    }
}

#[model]
impl layers::Net {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.fc(x)
    }
}

fn main() {}

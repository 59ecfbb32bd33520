//! What stands in `#[weights]` is a part of a path.

use tapeless::prelude::*;

#[model]
pub struct Net {
    #[weights]
    a: Linear<4, 4>,
    #[weights("h..{}")]
    b: Linear<4, 4>,
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.b(self.a(x))
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

//! Every dynamic dimension stands alone in some argument.

use tapeless::prelude::*;

#[model]
pub struct Net {
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<{ 2 * B }>) -> Scalar {
        x.sum()
    }
}

fn main() {
}

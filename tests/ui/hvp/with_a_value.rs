use tapeless::prelude::*;

#[model]
struct Net {
    fc: Linear<4, 2>,
}

#[model]
impl Net {
    #[model(hvp = "yes")]
    pub fn loss<B: Dim>(&self, x: Tensor<B, 4>, y: Tensor<B, 2>) -> Scalar {
        mse(self.fc(x), y)
    }
}

fn main() {}

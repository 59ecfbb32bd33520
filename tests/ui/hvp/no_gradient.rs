use tapeless::prelude::*;

#[model]
struct Net {
    fc: Linear<4, 3>,
}

#[model]
impl Net {
    #[model(hvp)]
    pub fn accuracy<B: Dim>(&self, x: Tensor<B, 4>, label: Tensor<i64, B>) -> Scalar {
        (self.fc(x).argmax(axis = 1) == label).to_float().mean()
    }
}

fn main() {}

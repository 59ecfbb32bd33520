use tapeless::prelude::*;

#[model]
struct Net {
    fc: Linear<4, 3>,
}

#[model]
impl Net {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 4>) -> Scalar {
        self.size(x) * 2.0
    }

    #[model(hvp)]
    fn size<B: Dim>(&self, x: Tensor<B, 4>) -> Scalar {
        self.fc(x).square().mean()
    }
}

fn main() {}

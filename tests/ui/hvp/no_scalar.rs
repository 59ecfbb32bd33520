use tapeless::prelude::*;

#[model]
struct Net {
    fc: Linear<4, 2>,
}

#[model]
impl Net {
    #[model(hvp)]
    pub fn scores<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        self.fc(x)
    }
}

fn main() {}

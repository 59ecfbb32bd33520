//! Constants are rustc's business: it checks the budget.

use tapeless::prelude::*;

const WIDTH: usize = 512;
const BATCH: usize = 64;

#[model]
pub struct Net {
    fc: Linear<784, WIDTH>,
}

#[model(max_memory = "1 MiB", dims(B = BATCH))]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, WIDTH> {
        self.fc(x)
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

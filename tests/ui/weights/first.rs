use tapeless::prelude::*;

#[model]
struct Net {
    #[weights("h", first = 1)]
    fc: Linear<4, 4>,
    #[weights("blocks", last = 3)]
    fcs: [Linear<4, 4>; 2],
    #[layer(init = kaimin_normal)]
    head: Linear<4, 4>,
}

#[model]
impl Net {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut x = self.fc(x);
        for fc in &self.fcs {
            x = fc(x);
        }
        self.head(x)
    }
}

fn main() {}

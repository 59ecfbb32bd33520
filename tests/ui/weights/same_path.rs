//! Two parameters cannot have one path, and every parameter has one.

use tapeless::prelude::*;

#[model]
pub struct Net {
    #[weights("h")]
    fcs: [Linear<4, 4>; 3],
    #[weights("h.1")]
    fc: Linear<4, 4>,
    #[weights("")]
    #[layer(init = ones)]
    gain: Param<4>,
}

#[model]
impl Net {
    pub fn f<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut x = self.fc(x) * self.gain;
        for fc in &self.fcs {
            x = fc(x);
        }
        x
    }
}

fn main() {
    let _ = Net::new(&Device::cpu(), 1);
}

//! What lies where windows have their maxima: the transpose of a maximum's gradient.

use super::{Pool2d, Pool2dGrad};
use crate::ir::{
    Builder, Call, CallArg, Constraints, Cotangents, Kernel, Rule, Sample, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::Dim;

/// `y[o] = source[place of the maximum of window o in x]`; 0 for a window that sees nothing but padding. Operands: `source` and
/// `x`, images of one shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Pool2dPick {
    /// The pooling, of maxima.
    pub pool: Pool2d,
}

impl Rule for Pool2dPick {
    fn name(&self) -> &'static str {
        "max_pool2d_pick"
    }

    fn attributes(&self) -> String {
        self.pool.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        if !constraints.equal_shapes(&inputs[0].shape, &inputs[1].shape) {
            let message = format!("`max_pool2d_pick` takes images of one shape, found {} and {}", inputs[0], inputs[1]);
            return Err(ShapeError::new(message));
        }
        Ok(vec![self.pool.result(&inputs[0], constraints)?])
    }

    /// It is linear in the source, and its transpose is the gradient of the maximum.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let x = site.inputs[1];
        let op = Pool2dGrad {
            pool: self.pool.clone(),
            image: b.shape(x),
        };
        let bar = out_bars[0].map(|g| b.push(op, &[g, x]));
        Cotangents::Flow(vec![bar, None])
    }

    fn kernel(&self, inputs: &[Type], outputs: &[Type]) -> Kernel {
        let spec = self.pool.spec(&inputs[1].shape, &outputs[0].shape);
        Kernel::Call(Call {
            function: "max_pool2d_pick",
            args: vec![CallArg::In(1), CallArg::In(0), CallArg::Out(0), spec],
            scratch: Vec::new(),
        })
    }

    fn flops(&self, inputs: &[Type], outputs: &[Type]) -> Dim {
        self.pool.work(&inputs[1].shape, &outputs[0].shape)
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

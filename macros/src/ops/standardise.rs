//! Standardisation, written out: `h = (x - m) r` with mean `m` and inverse deviation `r` over some axes. Norms have kernels that
//! do this and its gradient in one pass; the derivative of that gradient comes from here.

use crate::ir::{Builder, Scalar, Value};
use crate::ops::layer_norm::Center;
use crate::shape::{self, Dim};

/// What is standardised, and how.
pub struct Standardise<'a> {
    /// The tensor.
    pub x: Value,
    /// The axes over which mean and deviation are taken.
    pub axes: &'a [usize],
    /// What is subtracted.
    pub center: Center,
    /// Added to the variance.
    pub eps: &'a Scalar,
}

impl Standardise<'_> {
    /// `h`, and the cotangent of `x` where that of `h` is `g`: `r (g - mean(g) - h mean(g h))`, without the second term where
    /// nothing is subtracted.
    pub fn with_gradient(&self, b: &mut Builder, g: Value) -> [Value; 2] {
        let shape = b.shape(self.x);
        let centred = match self.center {
            Center::Mean => self.centred(b, self.x, &shape),
            Center::Zero => self.x,
        };
        let squares = b.mul(centred, centred);
        let variance = self.mean(b, squares, &shape);
        let shifted = b.offset(variance, self.eps.clone());
        let r = b.pointwise("rsqrt", &[shifted]);
        let h = b.mul(centred, r);
        let gh = b.mul(g, h);
        let along = self.mean(b, gh, &shape);
        let along = b.mul(h, along);
        let across = match self.center {
            Center::Mean => self.centred(b, g, &shape),
            Center::Zero => g,
        };
        let rest = b.sub(across, along);
        [h, b.mul(rest, r)]
    }

    fn centred(&self, b: &mut Builder, x: Value, shape: &[Dim]) -> Value {
        let mean = self.mean(b, x, shape);
        b.sub(x, mean)
    }

    /// The mean over the axes, spread over them again.
    fn mean(&self, b: &mut Builder, x: Value, shape: &[Dim]) -> Value {
        let sizes: Vec<Dim> = self.axes.iter().map(|&axis| shape[axis].clone()).collect();
        let sum = b.sum(x, self.axes);
        let mean = b.scale(sum, Scalar::dim(&shape::numel(&sizes)).recip());
        b.expand_axes(mean, self.axes, shape)
    }
}

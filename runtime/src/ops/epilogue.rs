//! What happens to a result of matmul or convolution while it is still in cache: bias, then a residual, then activation.
//!
//! An [`Epilogue`] is what emitted code passes; a kernel binds it and applies the resulting [`Finish`] to every block that
//! it has just computed. The numbers are those that the separate pointwise kernels would give, to the bit.

use crate::arena::{Binder, Buf};
use crate::dtype::Element;
use crate::ops::lanes;
use crate::real::Real;

/// A pointwise function applied last.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// max(x, 0), NaN stays NaN.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
}

/// `activation((y + bias) + residual)`, where the bias varies along one axis of the result.
#[derive(Copy, Clone, Debug, Default)]
pub struct Epilogue {
    /// One number for every index of the channel axis.
    pub bias: Option<Buf>,
    /// One number for every element of the result: what is added to a product (to nothing else).
    pub residual: Option<Buf>,
    /// What follows.
    pub activation: Activation,
}

impl Epilogue {
    /// Nothing to be done.
    pub const NONE: Self = Self {
        bias: None,
        residual: None,
        activation: Activation::None,
    };

    /// With a bias.
    #[inline(never)]
    pub fn bias(self, bias: Buf) -> Self {
        let bias = Some(bias);
        Self { bias, ..self }
    }

    /// With a residual.
    #[inline(never)]
    pub fn residual(self, residual: Buf) -> Self {
        let residual = Some(residual);
        Self { residual, ..self }
    }

    /// With an activation.
    #[inline(never)]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Asks for the bias, which must have `channels` elements, and the residual, which must have whole lines of as many.
    ///
    /// # Panics
    /// Where one has another length: a mistake of the compiler.
    pub fn bind<'b, T: Element>(self, bind: &mut Binder<'b, '_>, channels: usize) -> Finish<'b, T> {
        let bias = self.bias.map(|buf| bind.read::<T>(buf));
        if let Some(bias) = bias {
            assert_eq!(
                bias.len(),
                channels,
                "a bias must have one element for every channel"
            );
        }
        let residual = self.residual.map(|buf| bind.read::<T>(buf));
        if let Some(residual) = residual {
            assert!(
                residual.len() % channels.max(1) == 0,
                "a residual must have whole lines of {channels} elements"
            );
        }
        Finish {
            bias,
            residual,
            channels,
            activation: self.activation,
        }
    }
}

/// An epilogue with its bias and its residual at hand.
#[derive(Copy, Clone, Debug)]
pub struct Finish<'b, T> {
    bias: Option<&'b [T]>,
    residual: Option<&'b [T]>,
    /// Elements of a line of the residual.
    channels: usize,
    activation: Activation,
}

/// What is done to results while they are in registers: see [`Finish::in_registers`].
#[derive(Copy, Clone, Debug)]
pub struct Simple<'b, T> {
    /// One number for every channel.
    pub bias: Option<&'b [T]>,
    /// [`Activation::None`] or [`Activation::Relu`].
    pub activation: Activation,
}

impl<T> Simple<'_, T> {
    /// Nothing.
    pub const NONE: Self = Self {
        bias: None,
        activation: Activation::None,
    };
}

impl<'b, T: Real> Finish<'b, T> {
    /// An epilogue over a bias that lies in a slice.
    pub fn new(bias: Option<&'b [T]>, activation: Activation) -> Self {
        Self {
            bias,
            residual: None,
            channels: bias.map_or(0, <[T]>::len),
            activation,
        }
    }

    /// With a residual of whole lines, `channels` elements each.
    pub fn with_residual(self, residual: &'b [T], channels: usize) -> Self {
        let residual = Some(residual);
        Self {
            residual,
            channels,
            ..self
        }
    }

    /// True where there is nothing to do.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.bias.is_none() && self.residual.is_none() && self.activation == Activation::None
    }

    /// What is done to `channels`, where that is no more than a bias and relu.
    pub fn in_registers(&self, channels: std::ops::Range<usize>) -> Option<Simple<'b, T>> {
        let is_simple = matches!(self.activation, Activation::None | Activation::Relu);
        (is_simple && self.residual.is_none()).then(|| Simple {
            bias: self.bias.map(|bias| &bias[channels]),
            activation: self.activation,
        })
    }

    /// Finishes part of line `line` of the result, whose elements are the channels from `first` on.
    #[inline(always)]
    pub fn along_channels(&self, row: &mut [T], line: usize, first: usize) {
        let n = row.len();
        let bias = self.bias.map(|bias| &bias[first..][..n]);
        let other = self
            .residual
            .map(|residual| &residual[line * self.channels + first..][..n]);
        match (bias, other, self.activation) {
            (Some(bias), None, Activation::Relu) => lanes::each(row, bias, |y, b| *y = (*y + b).relu()),
            (Some(bias), Some(other), activation) => {
                lanes::each2(row, bias, other, |y, b, x| *y = (*y + b) + x);
                activate(activation, row);
            }
            (Some(added), None, activation) | (None, Some(added), activation) => {
                lanes::each(row, added, |y, x| *y += x);
                activate(activation, row);
            }
            (None, None, activation) => activate(activation, row),
        }
    }

    /// Finishes elements that all belong to one channel.
    #[inline(always)]
    pub fn within_channel(&self, plane: &mut [T], channel: usize) {
        if let Some(bias) = self.bias {
            let b = bias[channel];
            for y in plane.iter_mut() {
                *y += b;
            }
        }
        activate(self.activation, plane);
    }
}

#[inline(always)]
fn activate<T: Real>(activation: Activation, ys: &mut [T]) {
    match activation {
        Activation::None => {}
        Activation::Relu => ys.iter_mut().for_each(|y| *y = y.relu()),
        Activation::Tanh => ys.iter_mut().for_each(|y| *y = y.tanh()),
        Activation::Sigmoid => ys.iter_mut().for_each(|y| *y = y.sigmoid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bias_comes_before_the_activation() {
        let bias = [1.0, -10.0, 0.0];
        let finish = Finish::new(Some(&bias), Activation::Relu);
        let mut row = [1.0f64, 2.0, f64::NAN];
        finish.along_channels(&mut row, 0, 0);
        assert_eq!(row[..2], [2.0, 0.0]);
        assert!(row[2].is_nan());
        let mut part = [3.0, 4.0];
        finish.along_channels(&mut part, 0, 1);
        assert_eq!(part, [0.0, 4.0]);
    }

    #[test]
    fn the_residual_comes_between_bias_and_activation() {
        let (bias, residual) = ([1.0, -10.0, 0.5], [0.0, 0.0, 0.0, 5.0, 6.0, -7.0]);
        let finish = Finish::new(Some(&bias), Activation::Relu).with_residual(&residual, 3);
        let mut row = [1.0f64, 2.0, 3.0];
        finish.along_channels(&mut row, 1, 0);
        assert_eq!(row, [7.0, 0.0, 0.0]);
        let mut part = [3.0f64];
        Finish::new(None, Activation::None)
            .with_residual(&residual, 3)
            .along_channels(&mut part, 1, 2);
        assert_eq!(part, [-4.0]);
    }

    #[test]
    fn a_plane_takes_the_bias_of_its_channel() {
        let bias = [0.5f32, 2.0];
        let mut plane = [0.0f32, -2.0];
        Finish::new(Some(&bias), Activation::Sigmoid).within_channel(&mut plane, 1);
        assert_eq!(plane, [Real::sigmoid(2.0f32), 0.5]);
        let mut plane = [0.25f32; 3];
        Finish::new(None, Activation::Tanh).within_channel(&mut plane, 7);
        assert_eq!(plane, [Real::tanh(0.25f32); 3]);
    }
}

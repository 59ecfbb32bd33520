//! Sizes of tables, which are evaluated when a program runs: names and constants of every form, and sizes that cannot be.

#![allow(
    non_upper_case_globals,
    reason = "a raw name of a const generic, which has no upper case"
)]

use ndarray::Array2;
use tapeless::prelude::*;

const WIDE: usize = 4;

/// Emitted code has a function of a similar name, and a letter of this one ends a name where formulas are read.
const fn generics(n: u8) -> usize {
    n as usize - b'`' as usize
}

/// Sizes of every form.
#[model]
pub struct Names<const r#type: usize> {
    first: Linear<{ 2 * r#type }, WIDE>,
    second: Linear<WIDE, { generics(b'c') }>,
    third: Linear<_, { b'`' as usize }>,
}

#[model]
impl<const r#type: usize> Names<r#type> {
    pub fn forward<r#in: Dim>(&self, x: Tensor<r#in, { 2 * r#type }>) -> Tensor<r#in, { b'`' as usize }> {
        self.third(self.second(self.first(x)))
    }

    pub fn loss<r#in: Dim>(&self, x: Tensor<r#in, { 2 * r#type }>) -> Scalar {
        self.forward(x).square().mean()
    }
}

#[test]
fn raw_names_and_constants_of_every_form_are_sizes() {
    let mut model = Names::<5>::new(&Device::cpu(), 1).unwrap();
    let x = Array2::<f32>::ones((7, 10));
    assert_eq!(model.forward(&x).unwrap().dim(), (7, 96));
    let shapes: Vec<Vec<usize>> = model.params().into_iter().map(|(_, shape)| shape).collect();
    assert_eq!(
        shapes,
        [vec![4, 10], vec![4], vec![3, 4], vec![3], vec![96, 3], vec![96]]
    );
    let mut work = model.loss_workspace(7).unwrap();
    assert!(model.loss_grad(&mut work, &x).unwrap() > 0.0);
    for text in [Names::<5>::summary(), Names::<5>::explain()] {
        assert!(text.contains("Names"), "{text}");
    }
    assert!(!model.loss_trace(&x).unwrap().values().is_empty());
}

/// A model that exists for `D` of 10 or more.
#[model]
pub struct Narrow<const D: usize> {
    fc: Linear<{ D - 10 }, 3>,
}

#[model]
impl<const D: usize> Narrow<D> {
    pub fn forward<B: Dim>(&self, x: Tensor<B, { D - 10 }>) -> Tensor<B, 3> {
        self.fc(x)
    }
}

#[test]
fn a_negative_size_is_an_error_of_the_model_that_has_it() {
    assert!(Narrow::<12>::new(&Device::cpu(), 1).is_ok());
    let error = Narrow::<5>::new(&Device::cpu(), 1)
        .err()
        .expect("there is no such model");
    let text = error.to_string();
    for part in ["Narrow", "fc.weight", "D - 10", "is -5", "D = 5"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(Narrow::<5>::summary().contains("fc.weight"));
}

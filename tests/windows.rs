//! Windows over images and sequences of any size: those that are too small are errors at the call, not results.

#![allow(missing_docs)]

use ndarray::{Array3, Array4};
use tapeless::prelude::*;

#[model]
pub struct Sequences {
    conv: Conv1d<2, 3, 3>,
    #[layer(stride = 2)]
    wide: Conv1d<3, 1, 5>,
}

#[model]
impl Sequences {
    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, 2, T>) -> Scalar {
        self.wide(self.conv(x).relu()).square().mean()
    }
}

#[model]
pub struct Images {
    conv: Conv2d<1, 2, 5>,
    pool: MaxPool2d<3>,
}

#[model]
impl Images {
    pub fn forward<B: Dim, H: Dim, W: Dim>(&self, x: Tensor<B, 1, H, W>) -> Tensor<B, 2> {
        self.pool(self.conv(x)).mean(axis = (2, 3))
    }
}

#[test]
fn sequences_shorter_than_their_windows_are_errors() -> Result<()> {
    let mut model = Sequences::new(&Device::cpu(), 1)?;
    let mut work = model.loss_workspace(SequencesLossDims { b: 2, t: 20 })?;
    for (steps, layer, window) in [(0, "conv", 3), (2, "conv", 3), (3, "wide", 5), (6, "wide", 5)] {
        let x = Array3::<f32>::zeros((2, 2, steps));
        let errors = [
            model.loss(&x).unwrap_err(),
            model.loss_grad(&mut work, &x).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Shape);
            assert!(text.contains(&format!("layer `{layer}`")), "{text}");
            assert!(text.contains(&format!("covers {window} steps")), "{text}");
            assert!(text.contains(&format!("T = {steps}")), "{text}");
        }
        assert!(
            model
                .loss_workspace(SequencesLossDims { b: 2, t: steps })
                .is_err()
        );
    }
    assert!(
        model
            .loss_grad(&mut work, &Array3::<f32>::ones((2, 2, 7)))?
            .is_finite()
    );
    Ok(())
}

#[test]
fn images_smaller_than_their_windows_are_errors() -> Result<()> {
    let model = Images::new(&Device::cpu(), 1)?;
    for size in [(0, 0), (1, 1), (4, 9), (9, 4), (6, 6), (7, 6)] {
        let error = model
            .forward(&Array4::<f32>::zeros((1, 1, size.0, size.1)))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape, "{size:?}: {error}");
    }
    assert_eq!(model.forward(&Array4::<f32>::zeros((1, 1, 7, 7)))?.dim(), (1, 2));
    Ok(())
}

#[test]
fn schedules_are_listed_for_sizes_that_fit() {
    let text = Images::explain();
    assert!(text.contains("H = 8, W = 8") && text.contains("conv2d"), "{text}");
    let text = Images::explain_at(&[("H", 3), ("W", 30)]);
    assert!(text.contains("the window of `conv2d` covers 5 rows"), "{text}");
}

//! Models inside of function bodies, as in a small program or a doctest.

use ndarray::{Array2, array};
use tapeless::prelude::*;

#[test]
fn models_and_their_constants_may_be_local() -> tapeless::Result<()> {
    const WIDTH: usize = 2;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = ones)]
        weight: Param<D, WIDTH>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        /// The sum of each row, in `WIDTH` places.
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, WIDTH> {
            x.matmul(self.weight)
        }
    }

    #[model]
    struct Net {
        inner: Inner<3>,
        fc: Linear<_, WIDTH>,
    }

    #[model]
    impl Net {
        pub fn sums<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, WIDTH> {
            self.inner(x)
        }

        pub fn scores<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, WIDTH> {
            self.fc(self.sums(x))
        }
    }

    let model = Net::new(&Device::cpu(), 1)?;
    let x = Array2::<f32>::ones((1, 3));
    assert_eq!(model.sums(&x)?, array![[3.0, 3.0]]);
    assert_eq!(model.scores(&x)?.dim(), (1, WIDTH));
    Ok(())
}

#[test]
fn another_function_may_have_models_of_the_same_names() -> tapeless::Result<()> {
    #[model]
    struct Net {
        #[layer(init = constant(4.0))]
        weight: Param<1>,
    }

    #[model]
    impl Net {
        pub fn sums<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
            x * self.weight
        }
    }

    let model = Net::new(&Device::cpu(), 1)?;
    assert_eq!(model.sums(&Array2::<f32>::ones((1, 3)))?, array![[4.0, 4.0, 4.0]]);
    Ok(())
}

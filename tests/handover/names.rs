//! Names follow rustc's rules: imports, renaming, shadowing; a definition is never found by its name alone.

use ndarray::{Array2, array};
use tapeless::prelude::*;

/// Adds 1.
mod one {
    use tapeless::prelude::*;

    #[model]
    pub struct Shift {
        #[layer(init = constant(1.0))]
        by: Param<1>,
    }

    #[model]
    impl Shift {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            x + self.by
        }
    }
}

/// Adds 10: another model of the same name, with the same fields and functions.
mod ten {
    use tapeless::prelude::*;

    #[model]
    pub struct Shift {
        #[layer(init = constant(10.0))]
        by: Param<1>,
    }

    #[model]
    impl Shift {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            x + self.by
        }
    }
}

#[model]
struct Twins {
    one: one::Shift,
    ten: ten::Shift,
}

#[model]
impl Twins {
    pub fn first<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.one(x)
    }

    pub fn second<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.ten(x)
    }
}

#[test]
fn models_of_one_name_from_two_modules_are_two_layers() -> tapeless::Result<()> {
    let model = Twins::new(&Device::cpu(), 0)?;
    let x = Array2::<f32>::zeros((1, 2));
    assert_eq!(model.first(&x)?, array![[1.0, 1.0]]);
    assert_eq!(model.second(&x)?, array![[10.0, 10.0]]);
    Ok(())
}

mod renamed {
    use super::one::Shift as Ten;
    use super::ten::Shift as One;
    use ndarray::{Array2, array};
    use tapeless::layers::Relu as Linear;
    use tapeless::{Device, Dim, Model, Tensor, model};

    #[model]
    struct Renamed {
        ten: Ten,
        one: One,
        again: super::one::Shift,
        act: Linear,
    }

    #[model]
    impl Renamed {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            self.act(self.one(self.ten(x)) + self.again.by)
        }
    }

    #[test]
    fn a_renamed_import_is_what_it_was() -> tapeless::Result<()> {
        let model = Renamed::new(&Device::cpu(), 0)?;
        assert_eq!(
            model.forward(&Array2::<f32>::from_elem((1, 2), -15.0))?,
            array![[0.0, 0.0]]
        );
        assert_eq!(
            model.forward(&Array2::<f32>::zeros((1, 2)))?,
            array![[12.0, 12.0]]
        );
        Ok(())
    }
}

mod own {
    use ndarray::{Array2, array};
    use tapeless::prelude::*;

    /// Named as a layer of the library, in a module that imports them all.
    #[model]
    pub struct Linear {
        #[layer(init = constant(3.0))]
        factor: Param<1>,
    }

    #[model]
    impl Linear {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            x * self.factor
        }
    }

    #[model]
    struct Net {
        mine: self::Linear,
        theirs: tapeless::Linear<2, 2>,
    }

    #[model]
    impl Net {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            self.mine(x)
        }

        pub fn other<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            self.theirs(x)
        }
    }

    #[test]
    fn a_model_may_have_the_name_of_a_layer() -> tapeless::Result<()> {
        let model = Net::new(&Device::cpu(), 0)?;
        let x = Array2::<f32>::from_elem((1, 2), 2.0);
        assert_eq!(model.forward(&x)?, array![[6.0, 6.0]]);
        assert_ne!(model.other(&x)?, array![[6.0, 6.0]]);
        assert_eq!(model.params().len(), 3);
        Ok(())
    }
}

/// A module that imports by name what it needs of the library.
mod plain {
    use tapeless::{Dim, Param, Tensor, model};

    #[model]
    pub struct Linear {
        #[layer(init = constant(4.0))]
        factor: Param<1>,
    }

    #[model]
    impl Linear {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            x * self.factor
        }
    }
}

mod shadowed {
    // An import by name shadows the imports of a glob.
    use super::plain::Linear;
    use ndarray::{Array2, array};
    use tapeless::prelude::*;

    #[model]
    struct Net {
        mine: Linear,
    }

    #[model]
    impl Net {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
            self.mine(x)
        }
    }

    #[test]
    fn an_import_by_name_shadows_a_glob() -> tapeless::Result<()> {
        let model = Net::new(&Device::cpu(), 0)?;
        assert_eq!(model.forward(&Array2::<f32>::ones((1, 2)))?, array![[4.0, 4.0]]);
        Ok(())
    }
}

mod zoo_shadowed {
    use ndarray::{Array2, array};
    use tapeless::prelude::*;
    use zoo::*;

    /// The glob import brings another model of this name.
    #[model]
    pub struct Block {
        #[layer(init = constant(5.0))]
        factor: Param<1>,
    }

    #[model]
    impl Block {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
            x * self.factor
        }
    }

    #[model]
    struct Net {
        local: self::Block,
        nested: Nested<1>,
    }

    #[model]
    impl Net {
        pub fn forward<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
            self.local(x)
        }

        pub fn other<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
            self.nested(x)
        }
    }

    #[test]
    fn a_local_model_shadows_one_of_a_glob() -> tapeless::Result<()> {
        let model = Net::new(&Device::cpu(), 0)?;
        let x = Array2::<f32>::ones((1, 3));
        assert_eq!(model.forward(&x)?, array![[5.0, 5.0, 5.0]]);
        assert_eq!(model.other(&x)?, array![[18.0, 18.0, 18.0]]);
        Ok(())
    }
}

/// Only this file may name it.
#[model]
struct Secret {
    #[layer(init = constant(2.0))]
    factor: Param<1>,
}

#[model]
impl Secret {
    fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        x * self.factor
    }
}

#[model]
struct Open {
    secret: Secret,
}

#[model]
impl Open {
    pub(crate) fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.secret(x)
    }
}

#[test]
fn a_private_model_with_private_functions_is_a_layer() -> tapeless::Result<()> {
    let model = Open::new(&Device::cpu(), 0)?;
    assert_eq!(model.forward(&Array2::<f32>::ones((1, 2)))?, array![[2.0, 2.0]]);
    Ok(())
}

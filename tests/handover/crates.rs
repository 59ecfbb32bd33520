//! Layers from another crate, with constants that only that crate can see.

use ndarray::Array2;
use tapeless::prelude::*;
use zoo::Block;

/// One generic block with two sizes; a generic model between it and another crate's.
#[model]
struct Net<const D: usize> {
    small: Block<D>,
    large: Block<{ 3 * D }>,
    nested: zoo::Nested<D>,
    shift: zoo::Linear,
}

#[model]
impl<const D: usize> Net<D> {
    pub fn small_part<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        self.small(x)
    }

    pub fn large_part<B: Dim>(&self, x: Tensor<B, { 3 * D }>) -> Tensor<B, { 3 * D }> {
        self.large(x)
    }

    pub fn nested_part<B: Dim>(&self, x: Tensor<B, { 3 * D }>) -> Tensor<B, { 3 * D }> {
        self.shift(self.nested(x))
    }
}

/// A parent without generics, two models away from the constants.
#[model]
struct Outer {
    net: Net<2>,
}

#[model]
impl Outer {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 6>) -> Tensor<B, 6> {
        self.net.nested_part(x)
    }
}

#[test]
fn one_block_with_two_sizes_is_two_layers() -> tapeless::Result<()> {
    let model = Net::<2>::new(&Device::cpu(), 0)?;
    // A row of D ones sums to D, and passes through 2 D columns.
    assert_eq!(
        model.small_part(&Array2::<f32>::ones((1, 2)))?,
        Array2::from_elem((1, 2), 8.0)
    );
    assert_eq!(
        model.large_part(&Array2::<f32>::ones((1, 6)))?,
        Array2::from_elem((1, 6), 72.0)
    );
    let shapes = model.params();
    assert_eq!(shapes[0], ("small.up", vec![2, 4]));
    assert_eq!(shapes[2], ("large.up", vec![6, 12]));
    assert_eq!(shapes[4], ("nested.block.up", vec![6, 12]));
    Ok(())
}

#[test]
fn sizes_of_a_generic_model_are_those_of_its_use() -> tapeless::Result<()> {
    let wide = Net::<5>::new(&Device::cpu(), 0)?;
    assert_eq!(wide.param("large.down")?.shape(), [30, 15]);
    Ok(())
}

#[test]
fn private_constants_reach_a_parent_two_models_away() -> tapeless::Result<()> {
    let model = Outer::new(&Device::cpu(), 0)?;
    assert_eq!(
        model.forward(&Array2::<f32>::ones((1, 6)))?,
        Array2::from_elem((1, 6), 79.0)
    );
    assert_eq!(model.param("net.nested.block.down")?.shape(), [12, 6]);
    Ok(())
}

//! `#[weights("…")]`: paths of a checkpoint that was written elsewhere.

#![allow(missing_docs)]

use ndarray::Array2;
use tapeless::prelude::*;

#[model]
pub struct Block {
    #[weights("ln_1")]
    norm: LayerNorm<4>,
    #[weights("mlp.c_fc")]
    up: Linear<4, 4>,
}

#[model]
impl Block {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        x + self.up(self.norm(x)).tanh()
    }
}

/// With the names that the transformers of another library have.
#[model]
pub struct Foreign {
    #[weights("h")]
    blocks: [Block; 3],
    #[weights("")]
    inner: Block,
    #[weights("scale.value")]
    #[layer(init = ones)]
    gain: Param<4>,
    head: Linear<4, 2>,
}

#[model]
impl Foreign {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let mut x = x;
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.inner(x) * self.gain)
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 4>, y: Tensor<B, 2>) -> Scalar {
        mse(self.scores(x), y)
    }
}

const PATHS: [&str; 19] = [
    "h.0.ln_1.bias",
    "h.0.ln_1.weight",
    "h.0.mlp.c_fc.bias",
    "h.0.mlp.c_fc.weight",
    "h.1.ln_1.bias",
    "h.1.ln_1.weight",
    "h.1.mlp.c_fc.bias",
    "h.1.mlp.c_fc.weight",
    "h.2.ln_1.bias",
    "h.2.ln_1.weight",
    "h.2.mlp.c_fc.bias",
    "h.2.mlp.c_fc.weight",
    "head.bias",
    "head.weight",
    "ln_1.bias",
    "ln_1.weight",
    "mlp.c_fc.bias",
    "mlp.c_fc.weight",
    "scale.value",
];

#[test]
fn files_have_the_given_names_in_both_directions() {
    let device = Device::cpu();
    let model = Foreign::new(&device, 1).unwrap();
    let mut paths: Vec<&str> = model.params().iter().map(|(path, _)| *path).collect();
    paths.sort_unstable();
    assert_eq!(paths, PATHS);

    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign.safetensors");
    model.save(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<String> = tensors.names().iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    assert_eq!(names, PATHS);

    let mut other = Foreign::new(&device, 2).unwrap();
    let x = Array2::<f32>::from_shape_fn((3, 4), |(b, d)| (b + 2 * d) as f32);
    assert_ne!(other.scores(&x).unwrap(), model.scores(&x).unwrap());
    other.load(&file).unwrap();
    assert_eq!(other.scores(&x).unwrap(), model.scores(&x).unwrap());
}

#[test]
fn messages_and_summaries_have_the_names_of_the_fields() {
    let summary = Foreign::summary();
    for name in ["blocks", "inner", "gain", "norm"] {
        assert!(summary.contains(name), "{summary}");
    }
    let mut model = Foreign::new(&Device::cpu(), 1).unwrap();
    let mut work = model.loss_workspace(3).unwrap();
    let x = Array2::<f32>::ones((3, 4));
    model
        .loss_grad(&mut work, &x, &Array2::<f32>::zeros((3, 2)))
        .unwrap();
    assert!(
        work.grad("h.2.mlp.c_fc.weight")
            .unwrap()
            .iter()
            .any(|g| *g != 0.0)
    );
}

//! Drawings of models: those in `docs/` are what the library draws.

#![allow(missing_docs)]

use std::path::Path;

use tapeless::prelude::*;

network! {
    /// LeNet-5, as its authors drew it first.
    pub struct LeNet(1, 28, 28) -> 10 {
        Conv2d<_, 6, 5>(padding = 2), Tanh, AvgPool2d<2>,
        Conv2d<_, 16, 5>, Tanh, AvgPool2d<2>,
        Flatten, Linear<_, 120>, Tanh, Linear<_, 84>, Tanh, head: Linear<_, 10>,
    }
    loss = cross_entropy
}

#[model]
pub struct Mixer<const D: usize> {
    norm: LayerNorm<D>,
    up: Linear<D, { 4 * D }>,
    down: Linear<{ 4 * D }, D>,
    #[layer(init = ones)]
    scale: Param<D>,
}

#[model]
impl<const D: usize> Mixer<D> {
    pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        x + self.down(self.up(self.norm(x)).gelu()) * self.scale
    }
}

#[model]
pub struct Tower {
    input: Linear<16, 32>,
    blocks: [Mixer<32>; 4],
    head: Linear<32, 10>,
}

#[model]
impl Tower {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 16>) -> Tensor<B, 10> {
        let mut x = self.input(x);
        for block in &self.blocks {
            x = block(x);
        }
        self.head(x)
    }
}

/// A drawing is the file's; where it is not, the new one is left for a look.
fn check(name: &str, svg: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if known != svg {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&new, svg).unwrap();
        panic!(
            "docs/{name} is not what is drawn now; look at {}, and copy it where it is right",
            new.display()
        );
    }
}

#[test]
fn a_row_of_layers() {
    check("lenet.svg", &LeNet::diagram());
}

#[test]
fn models_in_models() {
    let svg = Tower::diagram();
    assert!(svg.contains("× 4"));
    check("tower.svg", &svg);
}

#[test]
fn operations_of_layers_inside_are_counted_once() {
    let summary = Tower::summary();
    let flops = |line: &&str| line.starts_with("FLOPs per sample");
    let total: u64 = summary
        .lines()
        .find(flops)
        .unwrap()
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();
    assert!(
        Tower::diagram()
            .replace(',', "")
            .contains(&format!("{total} FLOPs")),
        "{summary}"
    );
}

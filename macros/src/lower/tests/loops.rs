//! Loops: their graphs, and what they mean.

use super::{accept, graph};

const BLOCKS: &str = "
    struct Block<const D: usize> { fc: Linear<D, D> }
    impl<const D: usize> Block<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> { x + self.fc(x).relu() }
    }
    struct M { blocks: [Block<8>; 4] }
    impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, 8> {
        let mut h = x;
        for block in &self.blocks { h = block(h); }
        h
    } }";

#[test]
fn layers() {
    let lowered = accept(BLOCKS);
    println!("{}", graph(&lowered, "f"));
    let lowered = accept(
        "struct M { bns: [BatchNorm1d<8>; DEPTH], shared: BatchNorm1d<8> }
    impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Scalar {
        let mut h = x;
        for bn in &self.bns { h = self.shared(bn(h)); }
        h.sum()
    } }",
    );
    println!("{}", lowered.functions[0].train.as_ref().unwrap());
    let lowered = accept(
        "struct M { cell: Linear<8, 4>, h: Linear<4, 4> }
    impl M { pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T, 8>) -> (Tensor<B, T, 4>, Tensor<4>, Scalar) {
        let mut h = self.cell(x.slice(.., 0..0).sum(axis = 1));
        let mut n = 0.0;
        let mut ys = Steps::new();
        for (t, x_t) in x.steps(axis = 1).enumerate() {
            h = (self.cell(x_t) + self.h(h)).tanh() * (t + 1);
            n += h.sum();
            ys.push(h);
        }
        (ys.stack(axis = 1), self.h.bias, n)
    } }",
    );
    println!("{}", graph(&lowered, "f"));
    let lowered = accept(
        "struct M { grid: [[Linear<4, 4>; 2]; 3], ws: [Param<4>; 2] }
    impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut x = x;
        for row in self.grid.iter().rev() {
            for (fc, w) in row.iter().zip(&self.ws) { x = fc(x) * w; }
        }
        x
    } }"
        .replace("ws: [Param", "#[layer(init = ones)] ws: [Param")
        .as_str(),
    );
    println!("{}", graph(&lowered, "f"));
    for row in lowered.rows {
        println!("{} {} {} {}", row.path, row.kind, row.depth, row.params);
    }
    for p in lowered.params {
        println!("{} {:?} {:?}", p.path, p.repeats, p.shape);
    }
}

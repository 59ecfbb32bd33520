//! The whole pipeline on three small models: every stage as it prints, and the emitted code.

use quote::quote;

use super::*;
use crate::ir::Type;
use crate::lower::tests::define;
use crate::plan::Place;

mod plans;

const MLP: &str = "
    struct Mlp { fc1: Linear<784, 128>, fc2: Linear<_, 10> }
    impl Mlp {
        pub fn logits<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, 10> {
            let hidden = self.fc1(image.flatten()).relu();
            self.fc2(hidden.dropout(0.2))
        }
        pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
            cross_entropy(self.logits(image), label)
        }
    }
";

const CNN: &str = "
    struct Cnn {
        #[layer(padding = 1)]
        conv: Conv2d<1, 8, 3>,
        norm: BatchNorm2d<8>,
        fc: Linear<_, 10>,
    }
    impl Cnn {
        pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 12, 12>, label: Tensor<u8, B>) -> Scalar {
            let maps = self.norm(self.conv(image)).relu().max_pool2d(2);
            cross_entropy(self.fc(maps.flatten()), label)
        }
    }
";

const RESNET: &str = "
    struct Basic<const W: usize> {
        #[layer(padding = 1, bias = false)] conv1: Conv2d<W, W, 3>, bn1: BatchNorm2d<W>,
        #[layer(padding = 1, bias = false)] conv2: Conv2d<W, W, 3>, bn2: BatchNorm2d<W>,
    }
    impl<const W: usize> Basic<W> {
        pub fn forward<B: Dim, H: Dim>(&self, x: Tensor<B, W, H, H>) -> Tensor<B, W, H, H> {
            let y = self.bn1(self.conv1(x)).relu();
            (x + self.bn2(self.conv2(y))).relu()
        }
    }
    struct Down<const W: usize> {
        #[layer(stride = 2, padding = 1, bias = false)] conv: Conv2d<W, { 2 * W }, 3>, bn: BatchNorm2d<{ 2 * W }>,
    }
    impl<const W: usize> Down<W> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, W, 8, 8>) -> Tensor<B, { 2 * W }, 4, 4> {
            let half = x.slice(.., .., .., .., steps = (1, 1, 2, 2));
            (half.pad((0, 0), (W / 2, W / 2), (0, 0), (0, 0)) + self.bn(self.conv(x))).relu()
        }
    }
    struct Resnet {
        #[layer(padding = 1, bias = false)] stem: Conv2d<3, 4, 3>,
        first: [Basic<4>; 3], down: Down<4>, second: [Basic<8>; 2], fc: Linear<8, 10>,
    }
    impl Resnet {
        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 8, 8>, label: Tensor<u8, B>) -> Scalar {
            let mut x = self.stem(image);
            for block in &self.first { x = block(x); }
            x = self.down(x);
            for block in &self.second { x = block(x); }
            cross_entropy(self.fc(x.global_avg_pool2d()), label)
        }
    }
";

const MOTIFS: &str = "
    struct Motifs { conv: Conv1d<4, 8, 5>, out: Linear<8, 2> }
    impl Motifs {
        pub fn loss<B: Dim, T: Dim>(&self, bases: Tensor<B, 4, T>, label: Tensor<u8, B>) -> Scalar {
            cross_entropy(self.out(self.conv(bases).relu().max(axis = 2)), label)
        }
    }
";

const RESIDUAL: &str = "
    struct Residual { norm: LayerNorm<6>, up: Linear<6, 24>, down: Linear<24, 6> }
    impl Residual {
        pub fn loss<B: Dim>(&self, x: Tensor<B, 6>, target: Tensor<B, 6>) -> Scalar {
            let hidden = self.up(self.norm(x)).gelu();
            mse(x + self.down(hidden), target)
        }
    }
";

const TOWER: &str = "
    struct Block<const D: usize> { up: Linear<D, { 2 * D }>, down: Linear<{ 2 * D }, D> }
    impl<const D: usize> Block<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.up(x).relu();
            x + self.down(hidden.dropout(0.1))
        }
    }
    struct Tower { blocks: [Block<8>; 4], head: Linear<8, 10> }
    impl Tower {
        pub fn loss<B: Dim>(&self, image: Tensor<B, 8>, label: Tensor<u8, B>) -> Scalar {
            let mut x = image;
            for block in &self.blocks {
                x = block(x);
            }
            cross_entropy(self.head(x), label)
        }
    }
";

const RNN: &str = "
    struct Rnn { input: Linear<3, 5>, hidden: Linear<5, 5> }
    impl Rnn {
        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, first: Tensor<B, 5>) -> Scalar {
            let mut h = first;
            let mut all = Steps::new();
            for x_t in x.steps(axis = 1) {
                h = (self.input(x_t) + self.hidden(h)).tanh();
                all.push(h);
            }
            all.stack(axis = 1).square().mean()
        }
    }
";

const LSTM: &str = "
    struct Sentences { rnn: Lstm<3, 5>, out: Linear<5, 2> }
    impl Sentences {
        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, label: Tensor<u8, B>) -> Scalar {
            let (_, last, _) = self.rnn(x);
            cross_entropy(self.out(last.squeeze(0)), label)
        }
    }
";

const TUNED: &str = "
    struct Tuned { #[freeze] first: Linear<8, 16>, #[freeze] second: Linear<16, 12>, head: Linear<12, 4> }
    impl Tuned {
        pub fn loss<B: Dim>(&self, x: Tensor<B, 8>, label: Tensor<u8, B>) -> Scalar {
            let low = self.first(x).tanh();
            let high = self.second(low).tanh();
            cross_entropy(self.head(high), label)
        }
    }
";

fn compiled<T>(source: &str, f: impl FnOnce(&UserModel, &mut Diagnostics) -> Option<T>) -> T {
    let mut diagnostics = Diagnostics::new();
    let result = f(&define(source), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("{errors}");
    }
    result.expect("there was no error")
}

/// The emitted items of the last model of a text, formatted.
fn emitted(source: &str) -> String {
    let items = compiled(source, |model, diagnostics| {
        super::model(model, 7, &quote!(::tapeless), diagnostics)
    })
    .items;
    prettyplease::unparse(&syn::parse2(items).expect("emitted code is Rust"))
}

/// The emitted functions of the loss, without tables.
fn sweeps(source: &str) -> String {
    let file = syn::parse_file(&emitted(source)).expect("it was printed from a file");
    let items = file.items.into_iter().filter(|item| match item {
        syn::Item::Fn(f) => {
            let name = f.sig.ident.to_string();
            name.starts_with("loss_train_forward") || name.starts_with("loss_train_backward")
        }
        syn::Item::Struct(_) | syn::Item::Impl(_) => true,
        _ => false,
    });
    prettyplease::unparse(&syn::File {
        items: items.collect(),
        ..syn::parse_quote!()
    })
}

/// The graph of the loss after lowering, after differentiation and simplification, and its plan.
fn stages(source: &str) -> String {
    let lowered = compiled(source, lower::lower);
    let function = lowered
        .functions
        .iter()
        .find(|f| f.name == "loss")
        .expect("the model has a loss");
    let graph = function.train.as_ref().expect("a loss is compiled in train mode");
    let mut diagnostics = Diagnostics::new();
    let wanted = wanted(&lowered, function);
    let joint = joint(function, graph, &wanted, &mut diagnostics).expect("the loss has a gradient");
    assert!(diagnostics.finish().is_ok());
    let plan = plan(&joint, Calls::Apart);
    format!("== lowered\n{graph}\n== joint, simplified\n{joint}\n== plan\n{plan}")
}

#[test]
fn stages_of_the_mlp() {
    insta::assert_snapshot!(stages(MLP));
}

#[test]
fn stages_of_the_cnn() {
    insta::assert_snapshot!(stages(CNN));
}

#[test]
fn stages_of_the_residual_block() {
    insta::assert_snapshot!(stages(RESIDUAL));
}

#[test]
fn sweeps_of_the_mlp() {
    insta::assert_snapshot!(sweeps(MLP));
}

#[test]
fn sweeps_of_the_cnn() {
    insta::assert_snapshot!(sweeps(CNN));
}

#[test]
fn stages_of_the_tower() {
    insta::assert_snapshot!(stages(TOWER));
}

#[test]
fn stages_of_the_rnn() {
    insta::assert_snapshot!(stages(RNN));
}

#[test]
fn sweeps_of_the_tower() {
    insta::assert_snapshot!(sweeps(TOWER));
}

#[test]
fn sweeps_of_the_rnn() {
    insta::assert_snapshot!(sweeps(RNN));
}

#[test]
fn sweeps_of_the_residual_block() {
    insta::assert_snapshot!(sweeps(RESIDUAL));
}

/// Nothing is compiled twice for sizes that it never has, and a group that no product bounds has a limit of its own.
#[test]
fn sweeps_that_are_never_small_are_emitted_once() {
    let of = |batch: usize, pixels: usize| {
        let text = format!(
            "struct Net {{ fc: Linear<64, 10> }}
            impl Net {{
                pub fn loss<B: Dim>(&self, x: Tensor<{batch}, 64>, other: Tensor<B, {pixels}>) -> Scalar {{
                    self.fc(x).square().mean() + (other.exp() * other).sum()
                }}
            }}"
        );
        let text = sweeps(&text);
        let limit = format!("small::is_short([{pixels} * B, 1])");
        let is_small = text.contains("InOnePiece for LossTrain {");
        assert_eq!(is_small, text.contains(&limit), "{text}");
        is_small
    };
    assert!(of(8, 8));
    // A batch in fours has four rows at least.
    let fours = "struct Net { fc: Linear<64, 10> }
        impl Net {
            pub fn loss<B: Dim + MultipleOf<4>>(&self, x: Tensor<8, 64>, other: Tensor<B, 10000>) -> Scalar {
                self.fc(x).square().mean() + (other.exp() * other).sum()
            }
        }";
    assert!(!sweeps(fours).contains("InOnePiece for LossTrain {"));
    // 64 x 64 x 10 multiply-adds are more than a small product has, 40000 elements more than one thread computes.
    assert!(!of(64, 8) && !of(8, 40_000));
}

#[test]
fn stages_of_a_frozen_backbone() {
    insta::assert_snapshot!(stages(TUNED));
}

#[test]
fn stages_of_the_lstm() {
    insta::assert_snapshot!(stages(LSTM));
}

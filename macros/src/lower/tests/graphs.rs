//! The graphs of correct models.

use super::{accept, graph};
use crate::ast::TensorDtype;
use crate::ir::OutputKind;
use crate::model::{DynamicDim, InitSpec, Training};
use crate::shape::{self, Dim};

#[test]
fn arithmetic_and_names_become_nodes() {
    let lowered = accept(
        "struct M {}
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 10>, rate: f32) -> Tensor<B, 10> {
            let twice = x + x;
            twice * (1.0 - rate)
        } }",
    );
    assert_eq!(
        graph(&lowered, "f"),
        "%0: float[B, 10] = input[arg0]  // x
%1: float[B, 10] = add(%0, %0)  // twice
%2: float[B, 10] = fill[(1 - rate)]
%3: float[B, 10] = mul(%1, %2)
result 0 = %3
"
    );
}

/// The model of every tutorial, without dropout and flatten.
const MLP: &str = "
    struct Mlp { fc1: Linear<784, 128>, fc2: Linear<_, CLASSES> }
    impl Mlp {
        pub fn logits<B: Dim>(&self, image: Tensor<B, 784>) -> Tensor<B, CLASSES> {
            let hidden = self.fc1(image).relu();
            self.fc2(hidden.dropout(0.2))
        }
        pub fn loss<B: Dim>(&self, image: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
            cross_entropy(self.logits(image), label)
        }
    }";

#[test]
fn the_perceptron_lowers_in_both_modes() {
    let lowered = accept(MLP);
    assert_eq!(
        graph(&lowered, "logits"),
        "%0: float[B, 784] = input[arg0]  // image
%1: float[128, 784] = param[param0]  // fc1: weight
%2: float[128] = param[param1]  // fc1: bias
%3: float[784, 128] = permute[[1, 0]](%1)  // fc1
%4: float[B, 128] = matmul(%0, %3)  // fc1
%5: float[1, 128] = reshape(%2)  // fc1
%6: float[B, 128] = expand(%5)  // fc1
%7: float[B, 128] = add(%4, %6)  // fc1
%8: float[B, 128] = relu(%7)  // hidden
%9: float[CLASSES, 128] = param[param2]  // fc2: weight
%10: float[CLASSES] = param[param3]  // fc2: bias
%11: float[128, CLASSES] = permute[[1, 0]](%9)  // fc2
%12: float[B, CLASSES] = matmul(%8, %11)  // fc2
%13: float[1, CLASSES] = reshape(%10)  // fc2
%14: float[B, CLASSES] = expand(%13)  // fc2
%15: float[B, CLASSES] = add(%12, %14)  // fc2
result 0 = %15
"
    );
    let loss = lowered.functions.iter().find(|f| f.name == "loss").unwrap();
    let (eval, train) = (loss.eval.to_string(), loss.train.as_ref().unwrap().to_string());
    assert!(!eval.contains("dropout") && train.contains("= dropout[rate = 0.2, stream = "));
    assert!(eval.contains(": float[], float[B], float[] = cross_entropy[reduction = mean]("));
    assert!(lowered.functions[0].train.is_none());

    let params: Vec<String> = lowered
        .params
        .iter()
        .map(|p| format!("{} {}", p.path, shape::display(&p.shape)))
        .collect();
    let expected = [
        "fc1.weight [128, 784]",
        "fc1.bias [128]",
        "fc2.weight [CLASSES, 128]",
        "fc2.bias [CLASSES]",
    ];
    assert_eq!(params, expected);
    assert_eq!(
        lowered.params[3].init,
        InitSpec::LinearBias {
            fan_in: Dim::lit(128)
        }
    );
    let [solution] = &lowered.solved[..] else {
        panic!("there is one `_`")
    };
    assert_eq!(
        (solution.field, solution.position, &solution.size),
        (1, 0, &Dim::lit(128))
    );
    assert_eq!(lowered.constants.len(), 1);
    let rows: Vec<String> = lowered
        .rows
        .iter()
        .map(|row| {
            let output = shape::display(row.output.as_deref().unwrap_or_default());
            format!("{} {} {output} {}", row.path, row.kind, row.params)
        })
        .collect();
    let expected = [
        "fc1 Linear<784, 128> [B, 128] 100480",
        "fc2 Linear<128, CLASSES> [B, CLASSES] 129 * CLASSES",
    ];
    assert_eq!(rows, expected);
    assert_eq!(
        loss.dims,
        [DynamicDim {
            name: "B".to_owned(),
            multiple: 1,
            bare: (0, 0)
        }]
    );
    assert_eq!(loss.inputs[1].dtype, TensorDtype::U8);
}

#[test]
fn blocks_are_inlined_with_their_own_sizes_paths_and_constants() {
    let lowered = accept(
        "struct Inner<const W: usize> { fc: Linear<W, { HEADS * W }> }
        impl<const N: usize> Inner<N> {
            pub fn forward<B: Dim>(&self, x: Tensor<B, N>) -> Tensor<B, { HEADS * N }> { self.fc(x) }
        }
        struct Block<const D: usize> { inner: Inner<{ 4 * D }>, up: Linear<D, { 4 * D }> }
        impl<const D: usize> Block<D> {
            pub fn forward<R: Dim>(&self, x: Tensor<R, D>) -> Tensor<R, { WIDTH }> { self.inner(self.up(x)) }
        }
        struct M { a: Block<8>, #[freeze] b: Block<_> }
        impl M {
            pub fn f<B: Dim>(&self, x: Tensor<B, 8>, y: Tensor<B, 6>) -> Tensor<B, WIDE> { self.a(x) + self.b(y) }
        }",
    );
    let paths: Vec<&str> = lowered.params.iter().map(|param| param.path.as_str()).collect();
    assert_eq!(
        paths[..3],
        ["a.inner.fc.weight", "a.inner.fc.bias", "a.up.weight"]
    );
    assert_eq!(paths[4..6], ["b.inner.fc.weight", "b.inner.fc.bias"]);
    assert_eq!(lowered.params[6].shape, [Dim::lit(24), Dim::lit(6)]);
    let frozen: Vec<bool> = lowered
        .params
        .iter()
        .map(|p| p.training == Training::Frozen)
        .collect();
    assert_eq!(frozen, [false, false, false, false, true, true, true, true]);
    let graph = graph(&lowered, "f");
    assert!(
        graph.contains("// a.inner.fc") && graph.contains("// b.up"),
        "{graph}"
    );
    assert!(
        lowered
            .rows
            .iter()
            .any(|row| row.path == "a.inner.fc" && row.depth == 2)
    );
    let checks: Vec<&str> = lowered
        .checks
        .iter()
        .map(|check| check.message.as_str())
        .collect();
    assert!(
        checks
            .iter()
            .any(|check| check.contains("<zoo::Block<0>>::__size_1(8)")),
        "{checks:?}"
    );
}

#[test]
fn the_constants_of_grandchildren_are_reached_through_their_parents() {
    let source = "struct Inner<const W: usize> { fc: Linear<W, HEADS> }
        impl<const W: usize> Inner<W> {
            pub fn forward<B: Dim>(&self, x: Tensor<B, W>) -> Tensor<B, HEADS> { self.fc(x) }
        }
        struct M<const D: usize> { inner: Inner<{ 2 * D }> }
        impl<const D: usize> M<D> {
            pub fn f<B: Dim>(&self, x: Tensor<B, { 2 * D }>) -> Tensor<B, 5> { self.inner(x) }
        }";
    let lowered = accept(source);
    let [check] = &lowered.checks[..] else {
        panic!("{:?}", lowered.checks)
    };
    let sides = (check.left.to_string(), check.right.to_string());
    assert_eq!(
        sides,
        ("5".to_owned(), "<zoo::Inner<0>>::__size_0(2 * D)".to_owned())
    );
    let constants: Vec<&str> = lowered
        .constants
        .iter()
        .map(|constant| constant.text.as_str())
        .collect();
    assert_eq!(constants, ["<zoo::Inner<0>>::__size_0(2 * D)"]);
}

#[test]
fn parameters_states_and_shared_tensors() {
    let lowered = accept(
        "struct M {
            #[layer(init = normal(0.0, 0.02))] scale: Param<8>,
            mean: State<8>,
            fc: Linear<8, 8>,
        }
        impl M {
            pub fn f<B: Dim>(&self, x: Tensor<B, 8>, rate: f32) -> Scalar {
                self.mean = self.mean * (1.0 - rate) + self.scale * rate;
                let y = self.fc(self.fc(x - self.mean)) * self.scale;
                mse(y.matmul(self.fc.weight), x)
            }
        }
        ",
    );
    assert_eq!(lowered.states[0].path, "mean");
    assert_eq!(lowered.params[0].init, InitSpec::Normal { mean: 0.0, std: 0.02 });
    let f = &lowered.functions[0];
    let n_weights = f
        .eval
        .iter()
        .filter(|(_, node)| node.types[0].shape == [Dim::lit(8), Dim::lit(8)]);
    assert_eq!(
        n_weights.filter(|(_, node)| node.leaf().is_some()).count(),
        1,
        "a tied parameter is one leaf"
    );
    let states = |graph: &crate::ir::Graph| {
        graph
            .outputs
            .iter()
            .filter(|output| matches!(output.kind, OutputKind::State(_)))
            .count()
    };
    assert_eq!((states(&f.eval), states(f.train.as_ref().unwrap())), (0, 1));
    assert_eq!(f.scalars, [("rate".to_owned(), crate::ast::HostType::F32)]);
}

#[test]
fn batch_norm_updates_its_statistics_in_train_mode_once_a_call() {
    let lowered = accept(
        "struct M { bn: BatchNorm2d<_> }
        impl M {
            pub fn f<B: Dim>(&self, x: Tensor<B, 3, 4, 4>) -> Scalar {
                mse(self.bn(self.bn(x)), x)
            }
        }",
    );
    let paths: Vec<&str> = lowered.states.iter().map(|state| state.path.as_str()).collect();
    assert_eq!(paths, ["bn.running_mean", "bn.running_var"]);
    let f = &lowered.functions[0];
    assert!(
        f.eval
            .outputs
            .iter()
            .all(|output| matches!(output.kind, OutputKind::Result(_)))
    );
    let train = f.train.as_ref().unwrap();
    let new: Vec<_> = train
        .outputs
        .iter()
        .filter(|o| matches!(o.kind, OutputKind::State(_)))
        .collect();
    assert_eq!(new.len(), 2, "the second call goes on with what the first left");
    let mut live = crate::ir::Graph::clone(train);
    live.outputs
        .retain(|output| matches!(output.kind, OutputKind::State(_)));
    let live = crate::simplify::simplify(&live);
    let n_norms = live.iter().filter(|(_, node)| node.types.len() == 4).count();
    assert_eq!(n_norms, 2);
}

#[test]
fn helpers_tuples_shadowing_and_numbers() {
    let lowered = accept(
        "struct M {}
        impl M {
            pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T>, rate: f32, warm: bool, n: usize) -> (Tensor<B, T>, Scalar) {
                let (x, half) = (x * 2.0, if warm && n > 3 { rate / 2.0 } else { rate });
                let mut y = Self::swish(x);
                y += half * (T as f32);
                if true { y = -y; }
                (y, 1.0 / (B as f32))
            }
            fn swish<A: Dim, C: Dim>(x: Tensor<A, C>) -> Tensor<A, C> {
                let gate: Tensor<A, _> = x.sigmoid();
                x * gate
            }
        }",
    );
    let graph = graph(&lowered, "f");
    let scalar = "fill[(if (warm * f64::from(u8::from(3 < n))) { (rate / 2) } else { rate } * T)]";
    assert!(graph.contains(scalar), "{graph}");
    assert!(
        graph.contains("= sigmoid(%2)  // gate") && graph.contains("result 1 ="),
        "{graph}"
    );
    let f = &lowered.functions[0];
    assert!(f.train.is_none() && f.scalars.len() == 3 && lowered.functions.len() == 1);
    assert_eq!(f.eval.outputs.len(), 2);
    assert_eq!(f.dims[1].bare, (0, 1));
}

#[test]
fn multiples_and_renamed_generics() {
    let lowered = accept(
        "struct M<const D: usize> { fc: Linear<D, 4> }
        impl<const WIDTH2: usize> M<WIDTH2> {
            pub fn f<H: Dim + MultipleOf<4>>(&self, x: Tensor<H, WIDTH2>) -> Tensor<H, 4> { self.half(self.fc(x)) }
            fn half<N: Dim + MultipleOf<2>>(&self, x: Tensor<N, 4>) -> Tensor<{ 2 * (N / 2) }, 4> { x }
        }",
    );
    let f = &lowered.functions[0];
    assert_eq!(f.dims[0].multiple, 4);
    assert_eq!(
        f.inputs[0].shape[1],
        Dim::generic("D"),
        "sizes speak of the struct's names"
    );
}

#[test]
fn a_convolutional_network_solves_its_sizes_from_the_image() {
    let lowered = accept(
        "struct Lenet {
            #[layer(padding = 2)] conv1: Conv2d<_, 6, 5>, #[layer(stride = 2)] pool: AvgPool2d<2>,
            #[layer(groups = 2, bias = false)] conv2: Conv2d<_, 16, 5>, bn: BatchNorm2d<_>, act: Tanh,
            flat: Flatten, #[layer(p = 0.2)] drop: Dropout, fc: Linear<_, _>,
        }
        impl Lenet {
            pub fn logits<B: Dim>(&self, x: Tensor<B, 1, 28, 28>) -> Tensor<B, 10> {
                let x = self.pool(self.act(self.conv1(x)));
                let x = self.pool(self.act(self.bn(self.conv2(x))));
                self.fc(self.drop(self.flat(x)))
            }
        }",
    );
    let params: Vec<String> = lowered
        .params
        .iter()
        .map(|p| format!("{} {}", p.path, shape::display(&p.shape)))
        .collect();
    let expected = [
        "conv1.weight [6, 1, 5, 5]",
        "conv1.bias [6]",
        "conv2.weight [16, 3, 5, 5]",
        "bn.weight [16]",
        "bn.bias [16]",
        "fc.weight [10, 400]",
        "fc.bias [10]",
    ];
    assert_eq!(params, expected);
    assert_eq!(
        lowered.params[1].init,
        InitSpec::LinearBias { fan_in: Dim::lit(25) }
    );
    let outputs: Vec<String> = lowered
        .rows
        .iter()
        .map(|row| shape::display(row.output.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(outputs[2..4], ["[B, 16, 10, 10]", "[B, 16, 10, 10]"]);
}

#[test]
fn embeddings_norms_and_accuracy() {
    let lowered = accept(
        "struct M {
            #[layer(padding_idx = 0)] tok: Embedding<VOCAB, 8>, ln: LayerNorm<_>, #[layer(bias = false)] lm: LayerNorm<4, 8>,
            rms: RmsNorm<8>, gn: GroupNorm<2, 4>, #[layer(slope = 0.2)] leaky: LeakyRelu, head: Linear<8, VOCAB>,
        }
        impl M {
            pub fn scores<B: Dim>(&self, tokens: Tensor<u32, B, 4>) -> Tensor<B, 4, VOCAB> {
                let x = self.gn(self.rms(self.lm(self.ln(self.tok(tokens)))));
                self.head(self.leaky(x) + self.tok.weight.sum(axis = 0))
            }
            pub fn accuracy<B: Dim>(&self, tokens: Tensor<u32, B, 4>, label: Tensor<u32, B, 4>) -> Scalar {
                let hit = self.scores(tokens).argmax(axis = 2) == label;
                (hit as f32).mean()
            }
        }",
    );
    let paths: Vec<&str> = lowered.params.iter().map(|param| param.path.as_str()).collect();
    let expected = [
        "tok.weight",
        "ln.weight",
        "ln.bias",
        "lm.weight",
        "rms.weight",
        "gn.weight",
        "gn.bias",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(paths, expected);
    assert!(
        lowered
            .functions
            .iter()
            .all(|function| function.eval.outputs.len() == 1)
    );
}

#[test]
fn every_activation_is_a_layer() {
    for layer in crate::layers::all().filter(|layer| matches!(layer.sizes, crate::layers::Sizes::Named([]))) {
        let sizes = if layer.name.ends_with("1d") {
            "2, 3, 4"
        } else {
            "2, 3, 4, 4"
        };
        let lowered = accept(&format!(
            "struct M {{ act: {} }} impl M {{ pub fn f(&self, x: Tensor<{sizes}>) -> Tensor<2, _> {{ self.act(x).flatten() }} }}",
            layer.name
        ));
        assert!(lowered.params.is_empty(), "{}", layer.name);
    }
}

#[test]
fn open_sizes_are_solved_by_sums_returns_and_later_functions() {
    let lowered = accept(
        "struct M { a: Linear<_, _>, b: Linear<8, _>, c: Linear<_, 3> }
        impl M {
            pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, _> { self.c(self.b(self.a(x) + x)) }
            pub fn g<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, { 4 * 5 }> { self.b(x) }
        }",
    );
    let sizes: Vec<i64> = lowered
        .solved
        .iter()
        .filter_map(|solution| solution.size.as_lit())
        .collect();
    assert_eq!(sizes, [8, 8, 20, 20]);
}

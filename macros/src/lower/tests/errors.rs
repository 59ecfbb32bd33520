//! Errors by class: what is said, and what is underlined.

use super::errors;

/// One error of a model whose only function has this body.
fn body(body: &str) -> (String, String) {
    only(&format!(
        "struct M {{ fc: Linear<784, 10>, act: Relu, mean: State<784> }}
        impl M {{
            pub fn f<B: Dim, T: Dim, S: Dim>(
                &self, x: Tensor<B, 784>, y: Tensor<B, T>, z: Tensor<B, S>, label: Tensor<u8, B>, rate: f32, n: usize,
            ) -> Tensor<B, 784> {{ {body} }}
            fn half<N: Dim, T: Dim>(x: Tensor<N, T>) -> Tensor<N, T> {{ x * 0.5 }}
            fn keep(&self, rate: f32) -> Scalar {{ 1.0 - rate }}
        }}"
    ))
}

fn only(source: &str) -> (String, String) {
    let mut found = errors(source);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// Checks one error: the text under it, and its lines.
#[track_caller]
fn expect(found: (String, String), under: &str, text: &str) {
    assert_eq!((found.0.as_str(), found.1.as_str()), (under, text));
}

#[test]
fn names() {
    expect(
        body("let hidden = x; hiden"),
        "hiden",
        "there is no variable `hiden` here\nhelp: did you mean `hidden`?",
    );
    expect(
        body("act"),
        "act",
        "there is no variable `act` here\nhelp: the field is written `self.act`",
    );
    expect(
        body("self.fd(x)"),
        "fd",
        "the model `M` has no layer or function `fd`\nnote: it has f, half, keep, fc, act, mean",
    );
    expect(
        body("self.means + x"),
        "means",
        "the model `M` has no field `means`\nhelp: did you mean `mean`?",
    );
    expect(
        body("x.rleu()"),
        "rleu",
        "tensors have no method `rleu`\nhelp: did you mean `relu`?",
    );
    assert!(
        body("x.kl_div(y)")
            .1
            .starts_with("tensors have no method `kl_div`\nhelp: it is written `kl_div(")
    );
    expect(
        body("hafl(x)"),
        "hafl",
        "there is no operation `hafl`\nhelp: did you mean `half`?",
    );
    expect(
        body("act(x)"),
        "act",
        "there is no operation `act`\nhelp: the layer is called as `self.act(x)`",
    );
    expect(
        body("zoo::relu(x)"),
        "zoo::relu",
        "there is no operation `zoo::relu`\nnote: a model calls its layers, its own functions, and operations",
    );
    expect(
        body("self.fc.wait"),
        "wait",
        "layer `fc` has no tensor `wait`\nnote: it has weight, bias",
    );
    expect(
        body("self.act.weight"),
        "weight",
        "layer `act` has no tensor `weight`\nnote: it has no tensors",
    );
    expect(
        body("keep(rate) * x"),
        "keep",
        "`keep` is a function of the model\nhelp: write `self.keep(..)`",
    );
    expect(
        body("self.half(x)"),
        "half",
        "`half` does not take `self`\nhelp: write `Self::half(..)`",
    );
}

#[test]
fn sizes() {
    expect(
        body("self.fc(y)"),
        "self.fc(y)",
        "layer `fc`: `Linear<784, 10>` expects inputs of 784 features, found T in [B, T]",
    );
    expect(
        body("y + z"),
        "+",
        "`+`: the shapes [B, T] and [B, S] do not fit together\n\
         help: axes are compared from the last one on; they are equal, or one of them is 1",
    );
    expect(
        body("y"),
        "y",
        "`f` returns another type than it declares\nexpected: [B, 784]\nfound: [B, T]\n\
         note: line 5, column 18: the declared type",
    );
    expect(
        body("let h: Tensor<B, 10> = x; x"),
        "x",
        "the value has another type than the `let` declares\nexpected: [B, 10]\nfound: [B, 784]\n\
         note: line 5, column 42: the declared type",
    );
    expect(
        body("label"),
        "label",
        "`f` returns another type than it declares\nexpected: float[B, 784]\nfound: int[B]\n\
         note: line 5, column 18: the declared type",
    );
    expect(
        body("x * (y.size(2) as f32)"),
        "y.size(2)",
        "there is no axis 2 in a tensor of 2 axes",
    );
}

#[test]
fn arguments() {
    expect(
        body("Self::half(x, y)"),
        "Self::half(x, y)",
        "`half` takes 1 argument\nexpected: half(x)\nfound: 2 arguments",
    );
    expect(
        body("Self::half(label)"),
        "label",
        "the argument `x` of `half` has another type\nexpected: float[B, T]\nfound: int[B]",
    );
    expect(
        body("x * self.keep(x)"),
        "x",
        "the argument `rate` of `keep` is of type `f32`\nfound: a tensor",
    );
    expect(
        body("x * self.keep(rat = rate)"),
        "rat = rate",
        "`keep` has no argument `rat`\nnote: its arguments are rate",
    );
    expect(
        body("self.act(x, y)"),
        "self.act(x, y)",
        "layer `act`: `Relu` does not take 2 arguments",
    );
    expect(
        body("self.act(x, slope = 1)"),
        "slope = 1",
        "layer `act` takes no option `slope` in its call\nhelp: write it at the field: `#[layer(slope = ..)]`",
    );
    expect(
        body("x.dropout(0.2, seed = 3)"),
        "x.dropout(0.2, seed = 3)",
        "`dropout`: there is no option `seed`\nhelp: it is written `x.dropout(rate)`",
    );
}

#[test]
fn statements() {
    expect(
        body("x = x * 2.0; x"),
        "x",
        "`x` is assigned, but is not `mut`\nhelp: declare it with `let mut x`",
    );
    expect(
        body("let (a, b) = x; a"),
        "(a, b)",
        "the pattern does not fit the value\nexpected: a tuple of 2\nfound: a tensor",
    );
    expect(
        body("if x > 0.0 { x } else { y }"),
        "x > 0.0",
        "the condition of `if` is a truth value of the host\nfound: a tensor\n\
         help: use `select(mask, a, b)` to choose element by element",
    );
    expect(
        body("if rate > 0.5 { x } else { x * 2.0 }"),
        "if rate > 0.5 { x } else { x * 2.0 }",
        "an `if` that is decided at run time chooses between numbers\nfound: a tensor and a tensor\n\
         help: compute both and use `select`, or write two functions",
    );
    expect(
        body("let mut a = 1.0; if rate > 0.5 { a = 2.0; } x * a"),
        "a",
        "`a` is assigned in one branch of an `if` that is decided at run time\n\
         help: let the `if` give the value: `let a = if c { 1.0 } else { 0.5 };`",
    );
    expect(
        body("self.mean = label; x"),
        "self.mean = label;",
        "the new value of `mean` has another type\nexpected: float[784]\nfound: int[B]",
    );
    expect(
        body("self.fc = x; x"),
        "fc",
        "`fc` is no `State`, so it cannot be assigned\nhelp: parameters are changed by the optimizer only",
    );
    expect(
        body("self.fc"),
        "self.fc",
        "`f` returns a tensor\nfound: a layer\nnote: line 5, column 18: the declared type",
    );
}

#[test]
fn operators() {
    expect(
        body("x + self.fc"),
        "+",
        "`+` is for tensors and numbers\nfound: a tensor and a layer",
    );
    expect(body("x % 2.0"), "%", "tensors have no operator `%`");
    expect(
        body("x * (rate && true)"),
        "&&",
        "`&&` is for truth values\nfound: a number and a truth value",
    );
    expect(body("x * (B / 0)"), "/", "a size is divided by 0");
}

#[test]
fn functions() {
    expect(
        only(
            "struct M {}
            impl M {
                pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> { self.g(x) }
                fn g<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> { self.f(x) }
            }",
        ),
        "self.f(x)",
        "`f` calls itself\nnote: the calls are f -> g -> f\n\
         help: functions are inlined, so a call cannot come back to one of its callers",
    );
    expect(
        only("struct M { f: Relu } impl M { pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> { x } }"),
        "f",
        "`f` is both a field and a function of the model\nnote: line 1, column 12: the field\n\
         help: rename one, so that `self.f(..)` has one meaning",
    );
    expect(
        only(
            "struct M {} impl M {
                pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> { Self::g(x) }
                fn g<H: Dim + MultipleOf<4>>(x: Tensor<H>) -> Tensor<H> { x }
            }",
        ),
        "x",
        "`g` needs `H` to be a multiple of 4\nfound: B\nhelp: bound the dimension: `B: Dim + MultipleOf<4>`",
    );
    expect(
        only("struct M {} impl M { pub fn f(x: Tensor<3>) -> Tensor<3> { self.g(x) } }"),
        "self",
        "`f` has no `self`\nhelp: add `&self` as its first argument",
    );
}

#[test]
fn fields() {
    let field = |field: &str| {
        only(&format!(
            "struct M {{ {field} }} impl M {{ pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> {{ x }} }}"
        ))
    };
    expect(
        field("fc: Linear<784>"),
        "fc: Linear<784>",
        "`Linear` does not have 1 sizes\nexpected: `Linear<IN, OUT>`\nfound: `Linear<784>`",
    );
    expect(
        field("#[layer(bais = false)] fc: Linear<784, 10>"),
        "bais = false",
        "`Linear` has no option `bais`\nhelp: did you mean `bias`?",
    );
    expect(
        field("#[layer(bias = 3)] fc: Linear<784, 10>"),
        "fc: Linear<784, 10>",
        "layer `fc`: `bias` should be `true` or `false`, found a whole number\nhelp: it is written `Linear<IN, OUT>`",
    );
    expect(
        field("#[layer(p = 1)] act: Relu"),
        "p = 1",
        "`Relu` has no option `p`\nnote: it has no options",
    );
    expect(
        field("scale: Param<10>"),
        "scale: Param<10>",
        "the parameter `scale` has no first values\n\
         help: say which: `#[layer(init = normal(0.0, 0.02))]`, `#[layer(init = ones)]`",
    );
    expect(
        field("#[layer(init = norml(0.0, 1.0))] scale: Param<10>"),
        "init = norml(0.0, 1.0)",
        "`norml` is not an initialiser\nhelp: did you mean `normal`?",
    );
    expect(
        field("#[layer(init = normal(0.0))] scale: Param<10>"),
        "init = normal(0.0)",
        "`std` of `normal` should be a number\nhelp: it is written `normal(mean, std)`",
    );
    expect(
        field("fc: Linear<{ 4 - 5 }, 10>"),
        "4 - 5",
        "the size `-1` is not a size",
    );
}

#[test]
fn unsolved_sizes() {
    expect(
        only(
            "struct M { fc: Linear<_, 10> } impl M { pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> { x } }",
        ),
        "_",
        "the size `_` of `fc` cannot be inferred\nnote: no function of the model uses `fc`\nhelp: write the size",
    );
    expect(
        only(
            "struct M { fc: Linear<_, 10> }
            impl M { pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T>) -> Tensor<B, 10> { self.fc(x) } }",
        ),
        "_",
        "the size `_` of `fc` cannot be a size that is only known at run time\n\
         note: line 2, column 90: it would be `T`\n\
         help: layers have sizes that are known when the program is compiled",
    );
}

#[test]
fn two_solutions_show_both_places() {
    expect(
        only(
            "struct M { fc: Linear<_, 10> }
            impl M {
                pub fn f<B: Dim>(&self, x: Tensor<B, 20>) -> Tensor<B, 10> { self.fc(x) }
                pub fn g<B: Dim>(&self, x: Tensor<B, 30>) -> Tensor<B, 10> { self.fc(x) }
            }",
        ),
        "self.fc(x)",
        "layer `fc`: `Linear<20, 10>` expects inputs of 20 features, found 30 in [B, 30]\n\
         note: line 3, column 78: the `_` of `fc` is 20 because of this",
    );
}

#[test]
fn every_mistake_is_reported_once() {
    let found = errors(
        "struct M { fc: Linear<784, 10>, out: Linear<10, 3> }
        impl M {
            pub fn f<B: Dim>(&self, x: Tensor<B, 780>) -> Tensor<B, 3> { let h = self.fc(x).relu(); self.out(h) }
            pub fn g<B: Dim>(&self, x: Tensor<B, 10>) -> Scalar { self.out(x.rleu()).sum() }
            pub fn h<B: Dim>(&self, x: Tensor<B, 10>) -> Scalar { y + z }
        }",
    );
    let lines: Vec<&str> = found
        .iter()
        .map(|(_, text)| text.lines().next().unwrap_or_default())
        .collect();
    assert_eq!(
        lines,
        [
            "layer `fc`: `Linear<784, 10>` expects inputs of 784 features, found 780 in [B, 780]",
            "tensors have no method `rleu`",
            "there is no variable `y` here",
            "there is no variable `z` here",
        ]
    );
}

#[test]
fn a_layer_with_errors_of_its_own_is_silent_here() {
    let source = "struct M { inner: Broken }
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 10>) -> Tensor<B, 10> { self.inner(x) + 1.0 } }";
    assert_eq!(errors(source), []);
    let mut diagnostics = crate::diag::Diagnostics::new();
    let lowered = super::super::lower(&super::define(source), &mut diagnostics);
    assert!(lowered.is_none() && diagnostics.finish().is_ok());
}

#[test]
fn errors_inside_a_layer_are_shown_at_its_call() {
    let (under, text) = only(
        "struct Block<const D: usize> { fc: Linear<D, 64> }
        impl<const D: usize> Block<D> {
            pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, 64> { self.fc(x) + x }
        }
        struct M { block: Block<32> }
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 32>) -> Tensor<B, 64> { self.block(x) } }",
    );
    assert_eq!(under, "self.block(x)");
    assert!(
        text.starts_with("layer `block`: `+`: the shapes [B, 64] and [B, 32] do not fit together"),
        "{text}"
    );
}

#[test]
fn a_layers_argument_of_another_shape_names_the_layer() {
    expect(
        only(
            "struct Block<const D: usize> {}
            impl<const D: usize> Block<D> {
                pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> { x }
            }
            struct M { block: Block<32> }
            impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 7, 30>) -> Tensor<B, 7, 30> { self.block(x) } }",
        ),
        "x",
        "layer `block`: the argument `x` of `forward` has another type\nexpected: [B, 7, 32]\nfound: [B, 7, 30]",
    );
}

//! Errors of loops: what is said, and what is underlined.

use super::errors;

/// Checks the one error of every function body: the text under it, and its lines.
#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (body, under, text) in cases {
        let found = errors(&format!(
            "struct M {{ fcs: [Linear<8, 8>; 3], others: [Linear<8, 8>; 2], fc: Linear<8, 8>, wide: [Linear<8, 9>; 3] }}
            impl M {{
                pub fn f<B: Dim, T: Dim, S: Dim>(
                    &self, x: Tensor<B, 8>, xs: Tensor<B, T, 8>, ys: Tensor<B, S, 8>, rate: f32, n: usize,
                ) -> Tensor<B, 8> {{ {body} }}
            }}"
        ));
        assert_eq!(found, [((*under).to_owned(), (*text).to_owned())], "{body}");
    }
}

#[test]
fn what_is_gone_through() {
    check(&[
        (
            "for x_t in xs { } x",
            "xs",
            "a `for` cannot go through this\nfound: a tensor\nhelp: `x.steps(axis = 1)` gives the slices along an axis",
        ),
        (
            "for fc in &self.fc { } x",
            "self.fc",
            "layer `fc` is not an array\nhelp: a field of several layers is written `blocks: [Block<D>; 4]`",
        ),
        (
            "for i in 0.. { } x",
            "0..",
            "this range has no end\nhelp: write both ends: `for i in 0..4`",
        ),
        (
            "for i in 0..n { } x",
            "n",
            "the ends of a range are whole numbers\nfound: a number that only the caller knows\nnote: they decide a shape",
        ),
        ("for i in 3..1 { } x", "3..1", "this range ends before it begins"),
        (
            "for i in rate { } x",
            "rate",
            "a `for` cannot go through this\nfound: a number\nexpected: an array of layers, `x.steps(axis = 1)`, or a range of numbers",
        ),
        (
            "for i in (x, x) { } x",
            "(x, x)",
            "a `for` cannot go through this\nfound: a tuple\nexpected: an array of layers, `x.steps(axis = 1)`, or a range of numbers",
        ),
        (
            "for (a, b) in self.fcs.iter().zip(&self.others) { } x",
            "self.fcs.iter().zip(&self.others)",
            "what is zipped has different lengths\nexpected: 3 steps\nfound: 2 steps",
        ),
        (
            "for (a, b) in xs.steps(axis = 1).zip(ys.steps(axis = 1)) { } x",
            "xs.steps(axis = 1).zip(ys.steps(axis = 1))",
            "what is zipped has different lengths\nexpected: T steps\nfound: S steps",
        ),
        (
            "for (a, b) in self.fcs.iter().zip(self.wide.iter().rev()) { } x",
            "self.fcs.iter().zip(self.wide.iter().rev())",
            "one of two arrays of layers is gone through backwards\nhelp: reverse both: `a.iter().zip(&self.b).rev()`",
        ),
        (
            "for a in self.fcs.iter().skip(1) { } x",
            "skip",
            "an iterator has no method `skip`\nnote: what a `for` goes through has iter, rev, enumerate, zip and len",
        ),
        (
            "for a in self.fcs.iter(2) { } x",
            "self.fcs.iter(2)",
            "`iter` is called with other arguments\nexpected: no arguments\nfound: 1 argument",
        ),
        (
            "for a in xs.steps() { } x",
            "xs.steps()",
            "`steps` needs the axis along which it goes\nhelp: it is written `x.steps(axis = 1)`",
        ),
        (
            "for a in xs.steps(axis = 3) { } x",
            "xs.steps(axis = 3)",
            "there is no axis 3 in a tensor of 3 axes",
        ),
        (
            "for a in xs.steps(axis = T) { } x",
            "xs.steps(axis = T)",
            "an axis is a literal, because shapes depend on it\nfound: `T`",
        ),
        (
            "for a in xs.steps(axes = 1) { } x",
            "xs.steps(axes = 1)",
            "this is written `x.steps(axis = 1)`",
        ),
        (
            "for a in xs.iter() { } x",
            "iter",
            "tensors have no method `iter`\nhelp: `x.steps(axis = 0)` gives the slices along an axis",
        ),
        (
            "for (a, b) in &self.fcs { } x",
            "(a, b)",
            "the pattern does not fit the value\nexpected: a tuple of 2\nfound: a layer",
        ),
        (
            "for a in self.fcsx.iter() { } x",
            "fcsx",
            "the model `M` has no field `fcsx`\nhelp: did you mean `fcs`?",
        ),
        (
            "self.fcs(x); x",
            "self.fcs(x)",
            "`fcs` is an array of layers\nhelp: call each of them: `for layer in &self.fcs { x = layer(x); }`",
        ),
        (
            "let mut x = x; for fc in &self.fcs { let x = fc(x); } x",
            "for",
            "this loop has no effect\nhelp: assign a variable that is declared before the loop, `x = block(x);` without `let`, or collect values in `Steps`",
        ),
        (
            "let mut x = x; for fc in &self.fcs { for other in &self.fcs { x = other(x); } } x",
            "self.fcs",
            "a loop around this one goes through `fcs` already\nhelp: let one loop end before the next begins",
        ),
        (
            "for fc in &self.fcs { x = fc(x); } x",
            "x",
            "`x` is assigned, but is not `mut`\nhelp: declare it with `let mut x`",
        ),
        (
            "let mut x = x; for fc in &self.fcs { x = fc(x.rleu()); } x",
            "rleu",
            "tensors have no method `rleu`\nhelp: did you mean `relu`?",
        ),
        (
            "let mut x = x; for fc in &self.fcsx { x = fc(x); } x",
            "fcsx",
            "the model `M` has no field `fcsx`\nhelp: did you mean `fcs`?",
        ),
        (
            "let mut x = x; for i in 0..T { x = x + xs.slice(.., i + 1); } x",
            "xs.slice(.., i + 1)",
            "`slice`: `i + 1..i + 2` cannot be shown to lie inside axis 1 of size T\nhelp: 0 <= start <= end <= size must hold for all sizes",
        ),
        (
            "let mut x = x; for fc in &self.fcs { x = fc(y); } x + x",
            "y",
            "there is no variable `y` here",
        ),
    ]);
}

#[test]
fn what_is_carried() {
    check(&[
        (
            "let mut x = x; for fc in &self.wide { x = fc(x); } x",
            "x",
            "`x` is carried from step to step and must keep its type\nexpected: float[B, 8]\nfound: float[B, 9]",
        ),
        (
            "let mut x = x; for fc in &self.fcs { x = fc(x).sum(); } x",
            "x",
            "`x` is carried from step to step and must keep its type\nexpected: float[B, 8]\nfound: float[]",
        ),
        (
            "let mut h = 0.0; for x_t in xs.steps(axis = 1) { h += x_t; } x * h",
            "h",
            "`h` is carried from step to step and must keep its type\nexpected: float[]\nfound: float[B, 8]\nhelp: begin with a tensor of the shape that it has after a step",
        ),
        (
            "let mut h = (x, 0.0); for x_t in xs.steps(axis = 1) { h = x_t; } x",
            "h",
            "`h` is carried from step to step and must keep its type\nexpected: a tuple of 2\nfound: float[B, 8]",
        ),
        (
            "let mut h = (x, 0.0); for x_t in xs.steps(axis = 1) { h = (x_t, x_t); } x",
            "h",
            "`h` is carried from step to step and must keep its type\nexpected: float[]\nfound: float[B, 8]\nhelp: begin with a tensor of the shape that it has after a step",
        ),
        (
            "let mut fc = self.fc; for x_t in xs.steps(axis = 1) { fc = self.fc; } x",
            "fc",
            "`fc` is assigned in a loop, so it is a tensor or a number\nfound: a layer",
        ),
        (
            "let mut x = x; for x_t in xs.steps(axis = 1) { if rate > 0.5 { x = x_t; } } x",
            "x",
            "`x` is assigned in one branch of an `if` that is decided at run time\nhelp: let the `if` give the value: `let a = if c { 1.0 } else { 0.5 };`",
        ),
        (
            "let mut x = x; if rate > 0.5 { for x_t in xs.steps(axis = 1) { x = x_t; } } x",
            "x",
            "`x` is assigned in one branch of an `if` that is decided at run time\nhelp: let the loop stand before the `if`",
        ),
        (
            "let mut n = 0; for x_t in xs.steps(axis = 1) { n = n + 1; } x.slice(n..)",
            "n",
            "the ends of a range are whole numbers\nfound: a tensor\nnote: they decide a shape",
        ),
    ]);
}

#[test]
fn what_is_collected() {
    check(&[
        (
            "let ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); } ys.stack().sum(axis = 0)",
            "ys",
            "`ys` is pushed to, but is not `mut`\nhelp: declare it with `let mut ys`",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); ys.push(x_t); } ys.stack().sum(axis = 0)",
            "ys.push(x_t)",
            "`ys` is pushed to twice in a step\nnote: line 5, column 96: the first time\nhelp: push once; for two values a step make two `Steps`, or concatenate the two",
        ),
        (
            "let mut ys = Steps::new(); ys.stack()",
            "ys.stack()",
            "nothing was pushed to `ys`\nhelp: push a tensor in a loop before: `ys.push(y);`",
        ),
        (
            "let mut ys = Steps::new(); ys.push(x); x",
            "ys.push(x)",
            "`push` stands in a loop, outside of which `ys` is declared\nhelp: it takes one value a step; `concat` puts single tensors together",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); let y = ys.stack(); } x",
            "ys.stack()",
            "`ys` is stacked inside of the loop that fills it\nnote: line 5, column 96: it is filled here\nhelp: stack it after the loop",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { for fc in &self.fcs { ys.push(x_t); } } x",
            "ys.push(x_t)",
            "`ys` is declared outside of two loops\nhelp: declare it in the outer loop, and push its stack to `Steps` outside of both",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); } for x_t in xs.steps(axis = 1) { ys.push(x_t); } x",
            "ys.push(x_t)",
            "`ys` is filled by an earlier loop\nhelp: every loop fills `Steps` of its own",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { if rate > 0.5 { ys.push(x_t); } } x",
            "ys.push(x_t)",
            "a `push` in an `if` that is decided at run time\nhelp: push in every step; let the `if` choose a number, or use `select`",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push((x_t, x_t)); } x",
            "(x_t, x_t)",
            "`push` takes a tensor\nfound: a tuple\nhelp: make `Steps` for each of the values",
        ),
        (
            "let mut ys = Steps::new(); for i in 0..T { ys.push(xs.slice(.., 0..i)); } x",
            "xs.slice(.., 0..i)",
            "what is pushed has another shape in every step\nfound: float[B, i, 8]",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); } ys.stack(axis = 3).sum(axis = 0)",
            "ys.stack(axis = 3)",
            "there is no axis 3 in a tensor of 3 axes",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); } ys.sum()",
            "sum",
            "`Steps` have no method `sum`\nnote: they have push, for a loop, and stack, for what comes after it",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t); } ys + x",
            "+",
            "`+` is for tensors and numbers\nfound: collected steps and a tensor",
        ),
        (
            "let mut ys = Steps::new(); for x_t in xs.steps(axis = 1) { ys.push(x_t.rleu()); } ys.stack().sum(axis = 0)",
            "rleu",
            "tensors have no method `rleu`\nhelp: did you mean `relu`?",
        ),
    ]);
}

#[test]
fn a_mistake_in_one_loop_is_no_mistake_in_another() {
    let found = errors(
        "struct M { fcs: [Linear<8, 8>; 3], out: [Linear<8, 3>; 2] }
        impl M {
            pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Scalar {
                let mut ys = Steps::new();
                let mut h = x;
                for fc in &self.fcs { h = fc(h.rleu()); ys.push(h); }
                for out in &self.out { h = out(h); }
                let mut g = x;
                for out in &self.out { g = out(g); }
                h.sum() + g.sum() + ys.stack().sum()
            }
        }",
    );
    let lines: Vec<&str> = found
        .iter()
        .map(|(_, text)| text.lines().next().unwrap_or_default())
        .collect();
    assert_eq!(
        lines,
        [
            "tensors have no method `rleu`",
            "`g` is carried from step to step and must keep its type"
        ]
    );
}

#[test]
fn mistakes_inside_layers_of_arrays_are_shown_at_their_calls() {
    let found = errors(
        "struct Block<const D: usize> { fc: Linear<D, 64> }
        impl<const D: usize> Block<D> {
            pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, 64> { self.fc(x) + x }
        }
        struct M { blocks: [Block<32>; 2] }
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 32>) -> Tensor<B, 32> {
            let mut x = x; for block in &self.blocks { x = block(x); } x
        } }",
    );
    let [(under, text)] = &found[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(under, "block(x)");
    assert!(
        text.starts_with("layer `blocks`: `+`: the shapes [B, 64] and [B, 32] do not fit together"),
        "{text}"
    );
}

#[test]
fn an_array_of_a_model_with_errors_of_its_own_is_silent_here() {
    let found = errors(
        "struct M { inner: [Broken; 3] }
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 10>) -> Tensor<B, 10> {
            let mut x = x; for inner in &self.inner { inner(x); } for inner in &self.inner { x = inner(x); } x + 1.0
        } }",
    );
    assert_eq!(found, []);
}

#[test]
fn states_are_not_assigned_in_a_branch() {
    let found = errors(
        "struct M { mean: State<3> }
        impl M {
            pub fn f(&self, x: Tensor<3>, rate: f32) -> Scalar {
                let a = if rate > 0.5 { self.keep(x) } else { 1.0 };
                x.sum() * a
            }
            fn keep(&self, x: Tensor<3>) -> Scalar { self.mean = x; 2.0 }
        }",
    );
    let lines: Vec<&str> = found
        .iter()
        .map(|(_, text)| text.lines().next().unwrap_or_default())
        .collect();
    assert_eq!(
        lines[0], "`mean` is assigned in one branch of an `if` that is decided at run time",
        "{found:?}"
    );
}

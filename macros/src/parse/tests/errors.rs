//! Wrong models: what is said, and under which tokens.

use super::errors;
use crate::ast::{ExprKind, Item, ReturnType, ValueType};

/// Checks that `source` has exactly the errors `expected`, each given as the text that is underlined and a part
/// of the message.
#[track_caller]
fn check(source: &str, expected: &[(&str, &str)]) {
    check_with("", source, expected);
}

#[track_caller]
fn check_with(attr: &str, source: &str, expected: &[(&str, &str)]) {
    let (_, found) = errors(attr, source);
    let fits = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|((under, text), (place, part))| under == place && text.contains(part));
    assert!(fits, "{source}\nexpected {expected:#?}\nfound {found:#?}");
}

/// Checks the errors of a function with this body.
#[track_caller]
fn check_body(body: &str, expected: &[(&str, &str)]) {
    check(
        &format!("impl M {{ fn f<B: Dim>(&self, x: Tensor<B>) -> Scalar {{ {body} }} }}"),
        expected,
    );
}

/// Checks the errors of a function with this signature.
#[track_caller]
fn check_signature(signature: &str, expected: &[(&str, &str)]) {
    check(&format!("impl M {{ {signature} {{ x }} }}"), expected);
}

#[test]
fn all_errors_are_reported_each_at_its_token() {
    check(
        "struct M { a: Linear<3.5>, b: Linear<-1, 2u8>, b: Relu, c: Vec<Relu>, #[cfg(x)] d: Tensor<3> }",
        &[
            ("3.5", "this is no size"),
            ("-1", "a size cannot be negative"),
            ("2u8", "a size is a `usize`"),
            (
                "b",
                "the field `b` is declared twice\nnote: line 1, column 28: it is declared here first",
            ),
            ("Vec<Relu>", "[Block<D>; 4]"),
            ("#[cfg(x)]", "above `#[model]`"),
            ("Tensor<3>", "`Param<…>`"),
        ],
    );
    check_body(
        "let y = x[0]; let z = match y { _ => y }; z.f(|v| v, unsafe { y? })",
        &[
            ("[0]", "x.slice(.., 0..3)"),
            ("match", "select(condition, a, b)"),
            ("|", "helper function without `self`"),
            ("unsafe", "not part of the language"),
            ("?", "operations cannot fail"),
        ],
    );
}

#[test]
fn only_structs_and_impls_are_models() {
    check("enum M { A }", &[("enum", "stands on a struct or on an impl")]);
    check("fn f() {}", &[("fn", "stands on a struct or on an impl")]);
    check(
        "struct M(Linear<1, 2>);",
        &[("(Linear<1, 2>)", "the fields of a model have names")],
    );
    check("impl Clone for M { }", &[("for", "implements no trait")]);
    check("unsafe impl M { }", &[("unsafe", "cannot be part of the impl")]);
    check("impl [u8] { }", &[("[u8]", "not the name of a model")]);
    check(
        "impl M { const A: usize = 3; type T = u8; m!(); }",
        &[
            ("const A: usize = 3;", "a constant cannot stand"),
            ("type T = u8;", "a type cannot stand"),
            ("m!();", "a macro call cannot stand"),
        ],
    );
}

#[test]
fn fields_are_layers_tensors_and_arrays_of_layers() {
    check(
        "struct M { a: (Relu, Relu) }",
        &[("(Relu, Relu)", "a field of a model is a layer")],
    );
    check(
        "struct M { a: [Relu] }",
        &[("[Relu]", "the number of layers is missing")],
    );
    check(
        "struct M { a: Param<f32, 3> }",
        &[("Param<f32, 3>", "name the dimensions only")],
    );
    check(
        "struct M { a: usize }",
        &[("usize", "const generics of the model")],
    );
    check("struct M { a: Option<Relu> }", &[("Option<Relu>", "two models")]);
    check(
        "struct M { a: Linear<Foo<3>> }",
        &[("Foo<3>", "a type is no size")],
    );
    check(
        "struct M { a: Conv2d<3, P = 1> }",
        &[("P = 1", "#[layer(P = 1)]")],
    );
    check(
        "struct M { a: Linear<{ _ + 1 }> }",
        &[("_", "cannot be part of an expression")],
    );
    check(
        "struct M { a: Linear<99999999999999999999> }",
        &[("99999999999999999999", "too large")],
    );
    check(
        "struct M { __a: Relu }",
        &[("__a", "rename it, for example to `a`")],
    );
    check("struct M { a: a::<3>::B }", &[("a::<3>::B", "sizes at its end")]);
}

#[test]
fn attributes_stand_where_they_belong() {
    check(
        "struct M { #[layer(1)] a: Relu }",
        &[("1", "the options of a layer have names")],
    );
    check(
        "struct M { #[layer] a: Relu }",
        &[("#[layer]", "needs its options")],
    );
    check(
        "struct M { #[freeze(1)] a: Relu }",
        &[("#[freeze(1)]", "has no options")],
    );
    check(
        "struct M { #[layer(p = 1, p = 2)] a: Relu }",
        &[("p", "the option `p` is declared twice")],
    );
    check(
        "struct M { #[layer(p = 1)] #[layer(p = 2)] a: Relu }",
        &[("p", "the option `p` is declared twice")],
    );
    check(
        "struct M { #[serde(skip)] a: Relu }",
        &[("#[serde(skip)]", "cannot stand on a field")],
    );
    check(
        "#[derive(Clone)] struct M { }",
        &[("#[derive(Clone)]", "generated by `#[model]`")],
    );
    check(
        "impl M { #[grad] fn f(x: Scalar) -> Scalar { x } }",
        &[("#[grad]", "stands on an argument")],
    );
    check_signature(
        "fn f(#[grad] x: f32) -> Scalar",
        &[("#[grad]", "`x` can have no gradient")],
    );
    check_signature(
        "fn f(#[grad] x: Tensor<u8, 3>) -> Scalar",
        &[("#[grad]", "`x` can have no gradient")],
    );
    check_signature(
        "#[test] fn f(x: Scalar) -> Scalar",
        &[("#[test]", "cannot stand on a function")],
    );
    check_body(
        "#[cfg(a)] let y = x; x",
        &[("#[cfg(a)]", "attributes cannot stand inside")],
    );
}

#[test]
fn options_of_a_model_are_checked() {
    let source = "struct M { }";
    check_with("max_memory = \"64\"", source, &[("\"64\"", "KiB, MiB")]);
    check_with("max_memory = 64", source, &[("64", "expected string literal")]);
    check_with(
        "grad = \"eval\"",
        source,
        &[("grad = \"eval\"", "option of a function")],
    );
    check_with("speed = 3", source, &[("speed", "no option `speed`")]);
    check_with(
        "dims(B = 0, B = 2)",
        source,
        &[
            ("0", "must not be 0"),
            ("B", "the dimension `B` is declared twice"),
        ],
    );
    check_with("dims = 3", source, &[("dims = 3", "in another form")]);
    check_with(
        "dims(B = 2)",
        "impl M { fn f(x: Scalar) -> Scalar { x } }",
        &[("B", "no function has")],
    );
    check_signature(
        "#[model(grad = \"both\")] fn f(x: Scalar) -> Scalar",
        &[("\"both\"", "`\"eval\"`")],
    );
    check_signature(
        "#[model(crate = a)] fn f(x: Scalar) -> Scalar",
        &[("crate = a", "option of a model")],
    );
    check_signature(
        "#[model(dims(T = 1))] fn f(x: Scalar) -> Scalar",
        &[("T", "no dynamic dimension `T`")],
    );
}

#[test]
fn generics_are_widths_of_models_and_dimensions_of_functions() {
    check("struct M<T> { }", &[("T", "no type parameters")]);
    check("struct M<'a> { }", &[("'a", "no lifetimes")]);
    check(
        "struct M<const D: u8 = 3> where u8: Copy { }",
        &[
            ("where u8: Copy", "no `where` clause"),
            ("3", "cannot have a default"),
            ("u8", "`D` is no size"),
        ],
    );
    check("impl<B: Dim> M { }", &[("B: Dim", "belongs to a function")]);
    check(
        "impl<const D: usize> M { }",
        &[("impl<const D: usize> M", "`D` is no size of the model")],
    );
    check("impl M<3> { }", &[("3", "for all its sizes")]);
    check_signature("fn f<T>(x: Tensor<T>) -> Scalar", &[("T", "write `T: Dim`")]);
    check_signature(
        "fn f<T: Float>(x: Tensor<T>) -> Scalar",
        &[("Float", "cannot have this bound")],
    );
    check_signature(
        "fn f<const N: usize>(x: Tensor<N>) -> Scalar",
        &[("N", "belongs to the model")],
    );
    check_signature("fn f<'a>(x: Scalar) -> Scalar", &[("'a", "no lifetimes")]);
    check_signature(
        "fn f<B>(x: Tensor<B>) -> Scalar where B: Dim",
        &[("where B: Dim", "no `where` clause")],
    );
    check_signature(
        "fn f<B: Dim, B: Dim>(x: Tensor<B>) -> Scalar",
        &[("B", "declared twice")],
    );
    check_signature(
        "fn f<B: Dim + MultipleOf>(x: Tensor<B>) -> Scalar",
        &[("MultipleOf", "one argument")],
    );
    check_signature(
        "fn f<B: Dim>(x: Tensor<{ 2 * B }>) -> Scalar",
        &[("B", "cannot be known")],
    );
    check(
        "impl<const D: usize> M<D> { fn f<D: Dim>(x: Tensor<D>) -> Scalar { x } }",
        &[("D", "declared twice")],
    );
}

#[test]
fn signatures_are_plain() {
    check_signature(
        "const async unsafe fn f(x: Scalar) -> Scalar",
        &[
            ("const", "cannot be `const`"),
            ("async", "cannot be `async`"),
            ("unsafe", "cannot be `unsafe`"),
        ],
    );
    check_signature(
        "extern \"C\" fn f(x: Scalar) -> Scalar",
        &[("extern", "cannot be `extern`")],
    );
    check_signature(
        "fn f(&mut self, x: Scalar) -> Scalar",
        &[("&mut self", "write `&self`")],
    );
    check_signature("fn f(self, x: Scalar) -> Scalar", &[("self", "write `&self`")]);
    check_signature("fn f(x: Scalar)", &[("f", "returns nothing")]);
    check_signature("fn f(x: Scalar) -> f32", &[("f32", "is a `Scalar`")]);
    check_signature("fn f(x: Scalar) -> ()", &[("()", "cannot return this")]);
    check_signature("fn f(x: Tensor<f64, 3>) -> Scalar", &[("f64", "Precision::F64")]);
    check_signature(
        "fn f(x: Tensor<u64, 3>) -> Scalar",
        &[("u64", "the integers `u8`")],
    );
    check_signature(
        "fn f(x: Vec<u8>) -> Scalar",
        &[("Vec<u8>", "not part of the language")],
    );
    check_signature("fn f(x: f64) -> Scalar", &[("f64", "write `f32`")]);
    check_signature(
        "fn f(x: impl Into<u8>) -> Scalar",
        &[("impl Into<u8>", "not part of the language")],
    );
    check_signature(
        "fn f((a, b): Scalar) -> Scalar",
        &[("(a, b)", "an argument is a name")],
    );
    check_signature("fn f(x: Scalar, x: Scalar) -> Scalar", &[("x", "declared twice")]);
    check_signature(
        "fn f<x: Dim>(x: Tensor<x>) -> Scalar",
        &[("x", "the name of a dimension")],
    );
}

#[test]
fn generated_names_are_reserved() {
    check(
        "impl M {
            fn new(x: Scalar) -> Scalar { x }
            fn loss(x: Scalar) -> Scalar { x }
            fn loss_grad(x: Scalar) -> Scalar { x }
            fn other_grad(x: Scalar) -> Scalar { x }
            fn loss(x: Scalar) -> Scalar { x }
        }",
        &[
            ("loss", "the function `loss` is declared twice"),
            ("new", "the name `new` is taken"),
            ("loss_grad", "generated for the function `loss`"),
        ],
    );
}

#[test]
fn what_rust_has_and_the_language_has_not_gets_help() {
    let cases = [
        ("loop { }; x", "loop", "for block in"),
        ("while x { }; x", "while", "for block in"),
        ("return x;", "return", "last expression"),
        ("for y in x { break; } x", "break", "run to their end"),
        ("'a: for y in x { } x", "'a:", "cannot have a label"),
        ("if let y = x { x } else { x }", "let", "a condition is a `bool`"),
        ("println!(\"{x}\"); x", "println!(\"{x}\")", "`trace`"),
        ("vec![1, 2]", "vec![1, 2]", "as an array"),
        ("x.sum::<f32>()", "::<f32>", "no generic arguments"),
        ("*x", "*", "remove the `*`"),
        ("&mut x", "&mut x", "through a reference"),
        ("x ^ 2", "^", "x.pow(2.0)"),
        ("x & x", "&", "`a && b`"),
        ("x << 1", "<<", "power of two"),
        ("f(x = 1, x)", "x", "put the options last"),
        ("f(x = 1, x = 2)", "x", "the option `x` is declared twice"),
        ("f(x.y = 1)", "x.y = 1", "this is no option"),
        ("f(x += 1)", "+=", "statement of its own"),
        ("1.0f64 * x", "1.0f64", "without the suffix"),
        ("1e999 * x", "1e999", "too large"),
        ("'c'", "'c'", "a number, `true`"),
        ("x as f64", "f64", "nothing can be converted"),
        ("(self.fc1)(x)", "(self.fc1)", "self.fc1(x)"),
        ("self.blocks[0](x)", "[0]", "x.slice"),
        ("self(x)", "self", "self.forward(x)"),
        ("Linear::<3>::new(x)", "Linear::<3>::new", "outside of the model"),
        ("S { a: x }", "S { a: x }", "is made of"),
        ("[x; 3]", ";", "broadcast_to"),
        ("let y; x", "let y;", "needs a value"),
        ("let y = x else { x }; x", "else", "every pattern matches"),
        ("let S { a } = x; x", "S { a }", "a tuple of these"),
        ("let (a, ..) = x; x", "..", "name every value"),
        (
            "let y: (Scalar, Scalar) = x; x",
            "(Scalar, Scalar)",
            "leave the type out",
        ),
        ("const A: usize = 3; x", "const A: usize = 3;", "move it out"),
        ("(a, b) = x; x", "(a, b)", "let (a, b)"),
        ("x[0] = 1.0; x", "x[0]", "tensors are values"),
        ("self = x; x", "self", "cannot be assigned"),
        ("let y = x;", "let y = x;", "ends without a value"),
        ("x = x", "x = x", "ends without a value"),
        ("", "", "ends without a value"),
        ("/// Doc.\n let y = x; x", "/// Doc.", "an ordinary comment"),
    ];
    for (body, place, part) in cases {
        let (_, found) = errors(
            "",
            &format!("impl M {{ fn f<B: Dim>(&self, x: Tensor<B>) -> Scalar {{ {body} }} }}"),
        );
        let [(under, text)] = found.as_slice() else {
            panic!("{body}: {found:#?}")
        };
        let under = if place.is_empty() { "" } else { under.as_str() };
        assert_eq!((under, text.contains(part)), (place, true), "{body}: {found:#?}");
    }
}

#[test]
fn a_function_with_a_broken_body_keeps_its_signature() {
    let (item, found) = errors(
        "",
        "impl M { fn f(x: Scalar) -> Scalar { x + } fn g(x: Scalar) -> Scalar { x } }",
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    let Some(Item::Impl(model)) = item else {
        panic!("this is an impl")
    };
    assert_eq!(model.functions.len(), 2);
    let tail = model.functions[0].body.tail.as_ref().unwrap();
    assert!(matches!(tail.kind, ExprKind::Error(_)));
}

#[test]
fn a_function_with_a_broken_signature_leaves_the_others() {
    let (item, found) = errors(
        "",
        "impl M { fn (x) -> { x } fn g(x: u8) -> u8 { x } fn h(x: Scalar) -> Scalar { x } }",
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    let Some(Item::Impl(model)) = item else {
        panic!("this is an impl")
    };
    let [g, h] = model.functions.as_slice() else {
        panic!("two functions are left")
    };
    assert!(matches!(
        (&g.args[0].ty, &g.ret),
        (ValueType::Error(_), ReturnType::Error(_))
    ));
    assert_eq!(h.name, "h");
    assert!(model.error.is_some());
}

/// A function with `n` times `open` and `close` around an `x`.
fn deep(open: &str, close: &str, n: usize) -> String {
    format!(
        "impl M {{ fn f(x: Scalar) -> Scalar {{ {}x{} }} }}",
        open.repeat(n),
        close.repeat(n)
    )
}

/// Runs a test with the stack that rustc has.
fn with_the_stack_of_rustc(test: fn()) {
    std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(test)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn what_is_too_deep_is_refused() {
    for (open, close) in [
        ("(", ")"),
        ("!", ""),
        ("{", "}"),
        ("f(", ")"),
        ("if x {} else ", ""),
        ("x + ", ""),
    ] {
        let (_, found) = errors("", &deep(open, close, 100_000));
        assert_eq!(found.len(), 1, "{open}");
        assert!(found[0].1.contains("too deeply nested"), "{open}: {found:?}");
    }
}

#[test]
fn what_is_not_refused_as_too_deep_leaves_the_stack_whole() {
    with_the_stack_of_rustc(|| {
        let forms = [
            ("(", ")"),
            ("!", ""),
            ("{", "}"),
            ("x + ", ""),
            ("", ".f()"),
            ("x.f(", ")"),
            ("if x {", "}"),
            ("if x {} else ", ""),
            ("return ", ""),
            ("|a| ", ""),
            ("match x { _ => ", "}"),
            ("let x: A<", ">"),
        ];
        for (open, close) in forms {
            let is_deep = |n| {
                let (_, found) = errors("", &deep(open, close, n));
                found.iter().any(|(_, text)| text.contains("too deeply nested"))
            };
            // Every depth up to the first that is refused.
            let first = (1..1000).step_by(7).find(|n| is_deep(*n));
            assert!(first.is_some_and(|n| n > 40), "{open}: {first:?}");
        }
    });
}

//! Errors by class: what is said, and what is underlined.

use super::errors;

/// One error of a model whose only function has this body.
fn body(body: &str) -> (String, String) {
    let source = format!(
        "struct M {{ fc: Linear<784, 10>, scale: Relu }}
        impl M {{ pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, 784>, y: Tensor<B, T>, rate: f32) -> Tensor<B, 784> {{ {body} }} }}"
    );
    only(&source)
}

fn only(source: &str) -> (String, String) {
    let mut found = errors(source);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn an_unknown_variable_is_named_with_its_nearest() {
    let (under, text) = body("let hidden = x; hiden");
    assert_eq!(
        (under.as_str(), text.as_str()),
        (
            "hiden",
            "there is no variable `hiden` here\nhelp: did you mean `hidden`?"
        )
    );
}

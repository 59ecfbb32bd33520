//! The whole pipeline on three small models: printed stages and emitted code.

use quote::quote;

use super::*;
use crate::lower::tests::define;

const MLP: &str = "
    struct Mlp { fc1: Linear<784, 128>, fc2: Linear<_, 10> }
    impl Mlp {
        pub fn logits<B: Dim>(&self, image: Tensor<B, 784>) -> Tensor<B, 10> {
            let hidden = self.fc1(image).relu();
            self.fc2(hidden.dropout(0.2))
        }
        pub fn loss<B: Dim>(&self, image: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
            cross_entropy(self.logits(image), label)
        }
    }
";

/// The emitted items of the last model of a text, formatted.
fn emitted(source: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    let compiled = super::model(&define(source), 7, &quote!(::tapeless), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("{errors}");
    }
    let file = syn::parse2(compiled.expect("there was no error").items).expect("emitted code is Rust");
    prettyplease::unparse(&file)
}

#[test]
fn the_emitted_code_of_the_mlp() {
    insta::assert_snapshot!(emitted(MLP));
}

//! What a network is written as, and that no input makes the macro panic.

use proc_macro2::TokenStream;
use proptest::prelude::*;
use quote::quote;

use super::{read, write};
use crate::diag::Diagnostics;
use syn::parse::Parser;

/// The struct and the impl, or the messages.
fn written(tokens: TokenStream) -> Result<(TokenStream, TokenStream), Vec<String>> {
    let mut diagnostics = Diagnostics::new();
    let network =
        (|input: syn::parse::ParseStream<'_>| read::network(input, &mut diagnostics)).parse2(tokens);
    let items = match network {
        Ok(network) => Some(write::items(&network, &mut diagnostics)),
        Err(error) => {
            diagnostics.push_syn(error);
            None
        }
    };
    let texts: Vec<String> = diagnostics.iter().map(crate::diag::Diagnostic::text).collect();
    let _ = diagnostics.finish();
    match items {
        Some(items) if texts.is_empty() => Ok((items.structure, items.implementation)),
        _ => Err(texts),
    }
}

fn errors(tokens: TokenStream) -> String {
    written(tokens).unwrap_err().join("\n")
}

#[test]
fn an_item_is_a_struct_and_an_impl() {
    let (structure, implementation) = written(quote! {
        /// Digits.
        pub struct Net<const D: usize>(1, 8, 8) -> CLASSES {
            Conv2d<_, 6, 3>(padding = 1), Relu, Flatten, #[freeze] mid: Linear<_, D>, Dropout(0.2), [zoo::Block<D>; 4],
            Linear<D, CLASSES>
        }
        loss = cross_entropy(label_smoothing = 0.1)
    })
    .unwrap();
    let expected = quote! {
        #[doc = r" Digits."]
        pub struct Net<const D: usize> {
            #[layer(padding = 1)]
            conv2d_1: Conv2d<_, 6, 3>,
            relu_1: Relu,
            flatten_1: Flatten,
            #[freeze]
            mid: Linear<_, D>,
            #[layer(p = 0.2)]
            dropout_1: Dropout,
            block_1: [zoo::Block<D>; 4],
            linear_1: Linear<D, CLASSES>,
        }
    };
    assert_eq!(structure.to_string(), expected.to_string());
    let words = quote!(::tapeless::__private);
    let input = quote!(#words::Tensor<B, 1, 8, 8>);
    let expected = quote! {
        impl<const D: usize> Net<D> {
            #[doc = "Applies the layers in their order to a batch: `[B, 1, 8, 8]` -> `[B, CLASSES]`."]
            pub fn forward<B: #words::Dim>(&self, input: #input) -> #words::Tensor<B, CLASSES> {
                let conv2d_1 = self.conv2d_1(input);
                let relu_1 = self.relu_1(conv2d_1);
                let flatten_1 = self.flatten_1(relu_1);
                let mid = self.mid(flatten_1);
                let dropout_1 = self.dropout_1(mid);
                let mut block_1 = dropout_1;
                for layer in &self.block_1 {
                    block_1 = layer(block_1);
                }
                let linear_1 = self.linear_1(block_1);
                linear_1
            }
            #[doc = "The mean `cross_entropy` of the network's outputs and the targets, which are the numbers of the classes."]
            pub fn loss<B: #words::Dim>(&self, input: #input, target: #words::Tensor<u8, B>) -> #words::Scalar {
                cross_entropy(self.forward(input), target, label_smoothing = 0.1)
            }
            #[doc = r" The share of the targets, between 0 and 1, at which the network's largest output stands."]
            pub fn accuracy<B: #words::Dim>(&self, input: #input, target: #words::Tensor<u8, B>) -> #words::Scalar {
                (self.forward(input).argmax(axis = 1) == target).to_float().mean()
            }
        }
    };
    assert_eq!(implementation.to_string(), expected.to_string());
}

#[test]
fn the_output_of_an_expression_is_read_off_its_layers() {
    let result = |tokens| {
        let (_, implementation) = written(tokens)?;
        let text = implementation.to_string().replace(' ', "");
        let text = text
            .split("->::tapeless::__private::Tensor<B")
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        Ok(text.split('>').next().unwrap_or_default().to_owned())
    };
    let same = |text: &str| -> Result<String, Vec<String>> { Ok(text.to_owned()) };
    assert_eq!(
        result(quote!((784) => Linear<_, 128>, Relu, Linear<_, 10>)),
        same(",10")
    );
    assert_eq!(result(quote!((T, 8) => Linear<_, 5>, Dropout(0.1))), same(",T,5"));
    assert_eq!(
        result(quote!((1, 8, 8) => Conv2d<_, 4, 3>, GlobalAvgPool2d)),
        same(",4")
    );
    assert_eq!(
        result(quote!((1, 8, 8) => Conv2d<_, 4, 3>, Flatten, Linear<_, { 2 * N }>)),
        same(",{2*N}")
    );
    assert_eq!(
        result(quote!((4, 200) => Conv1d<_, 8, 12>, MaxPool1d<2>, GlobalAvgPool1d)),
        same(",8")
    );
    assert_eq!(
        result(quote!((4, 200) => Conv1d<_, 8, 12>, AdaptiveAvgPool1d<5>)),
        same(",8,5")
    );
    assert_eq!(result(quote!((u32, 16) => Embedding<100, 8>)), same(",16,8"));
    assert_eq!(result(quote!((4) -> 4 => Mine<4>)), same(",4"));
    for unknown in [
        quote!((1, 8, 8) => Conv2d<_, 4, 3>),
        quote!((4, 200) => Conv1d<_, 8, 12>),
        quote!((4) => Mine<4>),
        quote!((4) => Flatten, Linear<_, _>),
    ] {
        assert!(result(unknown).unwrap_err()[0].contains("cannot be read off the layers"));
    }
}

#[test]
fn names_that_are_given_are_left_alone() {
    let (structure, implementation) = written(quote! {
        struct B(B) -> 2 { linear_1: Linear<_, 3>, Linear<_, 3>, layer: [Linear<3, 3>; 2], Linear<_, 2> }
    })
    .unwrap();
    let structure = structure.to_string();
    for name in ["linear_1 :", "linear_2 :", "layer :", "linear_3 :"] {
        assert!(structure.contains(name), "{structure}");
    }
    let implementation = implementation.to_string();
    assert!(implementation.contains("forward < B_ :"), "{implementation}");
    assert!(
        implementation.contains("for layer_ in & self . layer"),
        "{implementation}"
    );
}

#[test]
fn mistakes_are_named_and_the_other_layers_stay() {
    let found = errors(quote!(struct Net(4) -> 2 { Linear<_, 3> Relu, 7, Conv2d<_, 6, 5>(2), Linear<_, 2> }));
    assert!(found.contains("expected a comma between two layers"), "{found}");
    assert!(found.contains("expected a layer"), "{found}");
    assert!(found.contains("the options of `Conv2d` have names"), "{found}");
    for (tokens, message) in [
        (quote!(struct Net(4) { Relu }), "sizes of the output"),
        (quote!(struct Net -> 4 { Relu }), "sizes of an input"),
        (
            quote!(
                enum Net {}
            ),
            "expected `pub struct Name(sizes) -> sizes",
        ),
        (
            quote!(struct Net(4) -> 4 { Relu } loss = hinge),
            "there is no loss `hinge`",
        ),
        (
            quote!(struct Net(4) -> 4 { Relu } loss = mse(labels = u8)),
            "`mse` has no labels",
        ),
        (
            quote!(struct Net(4) -> 4 { Relu } more = mse),
            "expected `loss = name`",
        ),
        (
            quote!(struct Net(4) -> 1000 { Relu } loss = cross_entropy),
            "cannot tell 1000 classes apart",
        ),
        (quote!(struct Net(4) -> 4 { [Relu, 4] }), "expected `;`"),
    ] {
        let found = errors(tokens);
        assert!(found.contains(message), "{found}");
    }
}

proptest! {
    #[test]
    fn no_tokens_make_it_panic(words in prop::collection::vec(
        prop::sample::select(vec![
            "pub", "struct", "Net", "(4)", "->", "10", "=>", "{", "}", "Linear", "<_, 3>", ",", ":", ";", "[", "]", "(", ")",
            "loss", "=", "mse", "Relu", "_", "#[freeze]", "'a", "<", ">", "::", "u8", "0.2", "model",
        ]),
        0..24,
    )) {
        if let Ok(tokens) = words.join(" ").parse::<TokenStream>() {
            let _ = super::expand(tokens);
        }
    }
}

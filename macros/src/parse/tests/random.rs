//! No token stream makes the parser panic, and what it refuses always has an error.

use crate::ast::Item;
use crate::diag::Diagnostics;
use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use proptest::prelude::*;

/// Reads an item; the sink checks that nothing is lost.
fn read(attr: TokenStream, item: TokenStream) -> (Option<Item>, usize) {
    let mut diagnostics = Diagnostics::new();
    let item = crate::parse::item(attr, item, &mut diagnostics);
    let errors = diagnostics.iter().count();
    assert_eq!(diagnostics.finish().is_err(), errors > 0);
    (item, errors)
}

fn tree() -> impl Strategy<Value = TokenTree> {
    const WORDS: [&str; 40] = [
        "struct",
        "impl",
        "fn",
        "self",
        "Self",
        "let",
        "mut",
        "for",
        "in",
        "if",
        "else",
        "match",
        "while",
        "loop",
        "return",
        "const",
        "usize",
        "where",
        "unsafe",
        "async",
        "pub",
        "crate",
        "as",
        "ref",
        "move",
        "Dim",
        "MultipleOf",
        "Tensor",
        "Scalar",
        "Param",
        "State",
        "u8",
        "f64",
        "x",
        "y",
        "_",
        "layer",
        "freeze",
        "model",
        "r#type",
    ];
    const SIGNS: [char; 20] = [
        '<', '>', '=', '-', '+', '*', '/', '&', '|', '!', '.', ',', ';', ':', '#', '?', '^', '%', '\'', '@',
    ];
    let word = prop::sample::select(&WORDS[..]).prop_map(|word| {
        let ident = match word.strip_prefix("r#") {
            Some(raw) => Ident::new_raw(raw, Span::call_site()),
            None => Ident::new(word, Span::call_site()),
        };
        TokenTree::Ident(ident)
    });
    let sign = (prop::sample::select(&SIGNS[..]), any::<bool>()).prop_map(|(sign, joint)| {
        TokenTree::Punct(Punct::new(
            sign,
            if joint { Spacing::Joint } else { Spacing::Alone },
        ))
    });
    let literal = prop_oneof![
        any::<u64>().prop_map(Literal::u64_unsuffixed),
        any::<u8>().prop_map(Literal::u8_suffixed),
        (-1e300..1e300).prop_map(Literal::f64_unsuffixed),
        any::<String>().prop_map(|text| Literal::string(&text)),
        any::<char>().prop_map(Literal::character),
        any::<Vec<u8>>().prop_map(|bytes| Literal::byte_string(&bytes)),
    ]
    .prop_map(TokenTree::Literal);
    let leaf = prop_oneof![4 => word, 4 => sign, 1 => literal];
    leaf.prop_recursive(5, 200, 12, |inner| {
        let delimiter = prop::sample::select(
            &[
                Delimiter::Parenthesis,
                Delimiter::Brace,
                Delimiter::Bracket,
                Delimiter::None,
            ][..],
        );
        (delimiter, prop::collection::vec(inner, 0..12))
            .prop_map(|(delimiter, trees)| Group::new(delimiter, trees.into_iter().collect()).into())
    })
}

fn stream() -> impl Strategy<Value = TokenStream> {
    prop::collection::vec(tree(), 0..24).prop_map(|trees| trees.into_iter().collect())
}

/// Correct items, to be damaged.
const ITEMS: [&str; 3] = [
    "/// Doc. 
    pub struct Net<const D: usize> {
        #[layer(padding = 1, init = normal(0.0, 0.02))] conv: Conv2d<3, { 4 * D }, 3>,
        #[freeze] pub w: Param<D, 2>, mean: State<_>, blocks: [zoo::Block<D>; 4],
    }",
    "impl<const D: usize> Net<D> {
        #[model(grad = \"eval\", dims(B = 32), max_memory = \"1 MiB\")]
        pub fn f<B: Dim, T: Dim + MultipleOf<16>>(&self, #[grad] x: Tensor<B, T>, p: f32) -> (Scalar, Tensor<u8, B>) {
            let (mut a, _): Tensor<B> = self.fc1(&x).sum(axes = [2, 3], keep = true);
            for block in &self.blocks { a += block(a) as f32; }
            if p < 0.5 { (a, x.0) } else { { (-x, !self.w.slice(.., 0..3)) } }
        }
    }",
    "impl Net { fn g(x: Scalar) -> Scalar { let y = zoo::f(x, rate = 0.1) * 2.5 - A; y == 3 && true } }",
];

/// How a token is damaged.
#[derive(Clone, Debug)]
enum Damage {
    Remove,
    Repeat,
    Replace(TokenTree),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Remove),
        Just(Damage::Repeat),
        tree().prop_map(Damage::Replace)
    ]
}

/// Damages the `at`-th token, counted through all groups; `at` is counted down.
fn damaged(tokens: TokenStream, at: &mut usize, damage: &Damage) -> TokenStream {
    let mut result = Vec::new();
    for tree in tokens {
        let is_it = *at == 0;
        *at = at.wrapping_sub(1);
        if is_it {
            match damage {
                Damage::Remove => {}
                Damage::Repeat => result.extend([tree.clone(), tree]),
                Damage::Replace(other) => result.push(other.clone()),
            }
            continue;
        }
        result.push(match tree {
            TokenTree::Group(group) => {
                Group::new(group.delimiter(), damaged(group.stream(), at, damage)).into()
            }
            other => other,
        });
    }
    result.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn random_tokens_give_a_tree_or_an_error(attr in stream(), item in stream()) {
        let (tree, errors) = read(attr, item);
        prop_assert!(tree.is_some() || errors > 0);
    }

    #[test]
    fn random_tokens_inside_of_items_give_a_tree_or_an_error(inside in stream()) {
        for item in [
            quote::quote! { struct M { #inside } },
            quote::quote! { struct M { a: #inside } },
            quote::quote! { impl M { #inside } },
            quote::quote! { impl M { fn f(#inside) -> Scalar { x } } },
            quote::quote! { impl M { fn f(x: Scalar) -> Scalar { #inside } } },
            quote::quote! { impl M { fn f<B: Dim>(x: Tensor<B>) -> #inside { x } } },
        ] {
            let (tree, errors) = read(inside.clone(), item);
            prop_assert!(tree.is_some() || errors > 0);
        }
    }

    #[test]
    fn damaged_models_give_a_tree_or_an_error(
        which in 0..ITEMS.len(),
        places in prop::collection::vec((0_usize..120, damage()), 1..4),
    ) {
        let mut item: TokenStream = ITEMS[which].parse().unwrap();
        for (at, damage) in places {
            item = damaged(item, &mut { at }, &damage);
        }
        let (tree, errors) = read(TokenStream::new(), item);
        prop_assert!(tree.is_some() || errors > 0);
    }
}

#[test]
fn the_items_to_be_damaged_are_correct() {
    for item in ITEMS {
        let (tree, errors) = read(TokenStream::new(), item.parse().unwrap());
        assert!(tree.is_some() && errors == 0, "{item}");
    }
}

//! What the parser is held to: the trees of correct models, the errors of wrong ones with their places, and that
//! no token stream whatever makes it panic.

mod errors;
mod random;
mod tree;

use crate::ast::{Impl, Item, Struct};
use crate::diag::Diagnostics;
use proc_macro2::TokenStream;

fn tokens(source: &str) -> TokenStream {
    source.parse().expect("the source of a test is made of tokens")
}

/// Reads an item that is expected to be correct.
fn accept(source: &str) -> Item {
    let mut diagnostics = Diagnostics::new();
    let item = super::item(TokenStream::new(), tokens(source), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("a correct model was refused: {errors}");
    }
    item.expect("an item without errors has a tree")
}

fn accept_struct(source: &str) -> Struct {
    match accept(source) {
        Item::Struct(structure) => structure,
        Item::Impl(_) => panic!("this is an impl"),
    }
}

fn accept_impl(source: &str) -> Impl {
    match accept(source) {
        Item::Impl(implementation) => implementation,
        Item::Struct(_) => panic!("this is a struct"),
    }
}

/// Reads an item and returns the tree with every error as (the text under it, the message).
fn errors(attr: &str, source: &str) -> (Option<Item>, Vec<(String, String)>) {
    let mut diagnostics = Diagnostics::new();
    let item = super::item(tokens(attr), tokens(source), &mut diagnostics);
    let found = diagnostics.iter().map(|error| {
        let span = error.span();
        let under = span.start.join(span.end).unwrap_or(span.start);
        (under.source_text().unwrap_or_default(), error.text())
    });
    let found = found.collect();
    // The test looks at the errors itself.
    let _ = diagnostics.finish();
    (item, found)
}

#[test]
fn the_parser_refuses_what_the_tables_cannot_hold() {
    assert_eq!(super::types::MAX_AXES, tapeless_runtime::program::MAX_RANK);
}

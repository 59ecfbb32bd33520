//! From tokens to the syntax tree of the language.
//!
//! `syn` reads Rust; this stage takes from it the part that the language has and says, for everything else, what
//! the language has instead. It reports all errors of an item, and returns as much of the tree as could be
//! understood, so that the struct and the signatures of its functions still exist in the user's program.
//!
//! Invariants: no token stream makes it panic or overflow the stack ([`guard`]), and a tree without `Error` nodes
//! comes from an item without errors. It resolves no name and asks no other stage.

mod attributes;
mod dims;
mod expr;
mod function;
mod guard;
mod implementation;
mod names;
mod options;
mod place;
mod refuse;
mod stmt;
mod structure;
mod types;

#[cfg(test)]
mod tests;

pub use guard::check as guard;
pub use implementation::implementation;
pub use structure::structure;
pub use types::dtype;

use crate::ast;
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};

/// Reads whatever `#[model(attr)]` stands on: a struct or an impl.
///
/// Returns `None` if not even the name of the model could be read; there is an error then.
pub fn item(attr: TokenStream, item: TokenStream, diagnostics: &mut Diagnostics) -> Option<ast::Item> {
    let word = item.clone().into_iter().find_map(keyword);
    match word.as_ref().map(Ident::to_string).as_deref() {
        Some("struct") => structure(attr, item, diagnostics).map(ast::Item::Struct),
        Some("impl") => implementation(attr, item, diagnostics).map(ast::Item::Impl),
        _ => {
            let place = word.map_or_else(|| SourceSpan::of(&item), |word| word.span().into());
            let error = Diagnostic::error(place, "`#[model]` stands on a struct or on an impl").help(
                "write `#[model] struct Name { … }` for the layers, `#[model] impl Name { … }` for functions",
            );
            diagnostics.push(error);
            None
        }
    }
}

/// The token as the word that says what kind of item it begins.
fn keyword(tree: TokenTree) -> Option<Ident> {
    const ITEMS: &str = "struct impl enum union fn trait mod type static use const extern macro_rules";
    match tree {
        TokenTree::Ident(ident) if ITEMS.split(' ').any(|item| ident == item) => Some(ident),
        _ => None,
    }
}

/// Runs a `syn` parser; what it finds wrong is reported.
fn read<T>(
    parser: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
    tokens: TokenStream,
    diagnostics: &mut Diagnostics,
) -> Result<T, Reported> {
    parser.parse2(tokens).map_err(|error| diagnostics.push_syn(error))
}

//! `network!`: the short form of a model whose layers stand in a row.
//!
//! It is sugar and nothing more: what is written becomes the tokens of a `#[model] struct` with a field for every layer,
//! and of a `#[model] impl` with `forward`, and with `loss` and `accuracy` where a loss is named. Both go through the same
//! doors as if the user had written them, so layers, sizes, options, other models and errors are what they are there.
//!
//! ```text
//! network! { … }  -> read::Network  -> (struct tokens, impl tokens)  -> door::model, twice
//! ```
//!
//! Invariants:
//!
//! - every generated token has the place of the user's token that it stands for, so an error about a layer points at
//!   that layer;
//! - a mistake in one layer leaves the others and the struct in place, so it is reported once and alone;
//! - the expression form is a block that ends in a constructor without size: it evaluates to the same value in every
//!   place, and its type is named by nobody.

mod fields;
mod loss;
mod output;
mod read;
mod write;

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;

use crate::diag::Diagnostics;
use crate::door;
use crate::parse;

/// The items of `network! { pub struct … }`, or the expression `network![(784) => …]`.
pub fn expand(input: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    if parse::guard(&input, &mut diagnostics).is_err() {
        return errors(diagnostics);
    }
    let read = (|input: syn::parse::ParseStream<'_>| read::network(input, &mut diagnostics)).parse2(input);
    let network = match read {
        Ok(network) => network,
        Err(error) => {
            diagnostics.push_syn(error);
            return errors(diagnostics);
        }
    };
    let written = write::items(&network, &mut diagnostics);
    let items = if diagnostics.is_empty() {
        let structure = door::model(written.attr, written.structure);
        let implementation = door::model(written.impl_attr, written.implementation);
        quote!(#structure #implementation)
    } else {
        door::after_error(&written.impl_attr, &written.structure, &written.implementation)
    };
    let errors = errors(diagnostics);
    let items = quote!(#errors #items);
    if network.is_item() {
        return items;
    }
    let (krate, name) = (written.krate, written.name);
    quote! {{
        #items
        #krate::Network::<#name>::of()
    }}
}

fn errors(diagnostics: Diagnostics) -> TokenStream {
    diagnostics.finish().err().unwrap_or_default()
}

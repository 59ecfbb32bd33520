//! The layers of the library as items: a documented type, and a macro of the same name that answers questions.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::definition::{Body, Entry, Reply};
use crate::door::{ask, names};
use crate::layers::{self, Builtin, Sizes};

/// The most sizes of a layer that takes any number of them. It bounds nothing in a model, where the layer is no Rust
/// type; it is for the type that documents it.
const MAX_TRAILING: usize = 8;

/// The items of every layer, for the crate that users import.
pub fn emit() -> TokenStream {
    layers::all().map(layer).collect()
}

fn layer(layer: &Builtin) -> TokenStream {
    let name = format_ident!("{}", layer.name);
    let key = names::builtin_key(layer.name);
    let doc = layer.doc;
    let (required, optional) = sizes(layer.sizes);
    let all: Vec<_> = required.iter().chain(&optional).collect();
    let parameters = quote!(#(const #required: usize,)* #(const #optional: usize = 1,)*);
    let reply = Reply {
        entries: vec![Entry {
            key,
            name: name.clone(),
            body: Body::Builtin,
        }],
    };
    let rule = ask::rule(&reply);
    let unique = format_ident!("__tapeless_layer_{name}");
    quote! {
        #[doc = #doc]
        #[derive(Debug)]
        pub enum #name<#parameters> {}

        impl<#(const #all: usize),*> #name<#(#all),*> {
            #[doc(hidden)]
            pub const __KEY: u64 = #key;
        }

        #[doc(hidden)]
        #[macro_export]
        macro_rules! #unique {
            #rule
        }
        #[doc(hidden)]
        pub use #unique as #name;
    }
}

/// The names of the sizes that must be written, and of those that may be left out.
fn sizes(sizes: Sizes) -> (Vec<Ident>, Vec<Ident>) {
    let idents = |names: &[&str]| names.iter().map(|name| format_ident!("{name}")).collect();
    match sizes {
        Sizes::Named(names) => (idents(names), Vec::new()),
        Sizes::Between(least, names) => (idents(&names[..least]), idents(&names[least..])),
        Sizes::Trailing(name) => {
            let numbered = |k| format_ident!("{name}{k}");
            (vec![numbered(0)], (1..MAX_TRAILING).map(numbered).collect())
        }
    }
}

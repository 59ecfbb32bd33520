//! The layers of the library as items: a documented type, and a macro of the same name that answers questions.

use proc_macro2::TokenStream;
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
    let (declared, generics) = match layer.sizes {
        Sizes::Named([]) => (TokenStream::new(), TokenStream::new()),
        Sizes::Named(sizes) => {
            let sizes: Vec<_> = sizes.iter().map(|size| format_ident!("{size}")).collect();
            (quote!(<#(const #sizes: usize),*>), quote!(<#(#sizes),*>))
        }
        Sizes::Trailing(size) => {
            let sizes: Vec<_> = (0..MAX_TRAILING).map(|k| format_ident!("{size}{k}")).collect();
            (quote!(<#(const #sizes: usize = 1),*>), quote!(<#(#sizes),*>))
        }
    };
    let without_defaults = match layer.sizes {
        Sizes::Named(_) => declared.clone(),
        Sizes::Trailing(size) => {
            let sizes = (0..MAX_TRAILING).map(|k| format_ident!("{size}{k}"));
            quote!(<#(const #sizes: usize),*>)
        }
    };
    let reply = Reply { entries: vec![Entry { key, name: name.clone(), body: Body::Builtin }] };
    let rule = ask::rule(&reply);
    let unique = format_ident!("__tapeless_layer_{name}");
    quote! {
        #[doc = #doc]
        #[derive(Debug)]
        pub enum #name #declared {}

        impl #without_defaults #name #generics {
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

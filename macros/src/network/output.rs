//! The sizes of the output of an expression that does not name them.
//!
//! Methods, and with them the ranks of their results, are emitted before the model is compiled. So the sizes are read off
//! the last layers whose text tells them; the compiler then checks them as if the user had written them, and a layer of
//! the user's with a name of the library's can only lead to an error, never to a wrong result.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::GenericArgument;
use syn::ext::IdentExt;

use super::read::{Layer, Network};
use super::write::size;

/// The sizes without the batch; `None` if the text of the layers does not tell.
pub fn infer(network: &Network) -> Option<Vec<TokenStream>> {
    let mut dims: Option<Vec<Option<TokenStream>>> =
        Some(network.input.dims.iter().map(|dim| Some(size(dim))).collect());
    for layer in &network.layers {
        dims = after(layer, dims);
    }
    dims?.into_iter().collect()
}

/// The sizes after a layer: nothing where not even their number is known.
fn after(layer: &Layer, dims: Option<Vec<Option<TokenStream>>>) -> Option<Vec<Option<TokenStream>>> {
    let name = layer.path.segments.last()?.ident.unraw().to_string();
    match name.as_str() {
        "Linear" => {
            let mut dims = dims?;
            *dims.last_mut()? = argument(layer, 1);
            Some(dims)
        }
        "Embedding" => {
            let mut dims = dims?;
            dims.push(argument(layer, 1));
            Some(dims)
        }
        "Conv1d" => Some(vec![argument(layer, 1), None]),
        "Conv2d" => Some(vec![argument(layer, 1), None, None]),
        "MaxPool1d" | "AvgPool1d" => {
            let channels = dims?.into_iter().next()?;
            Some(vec![channels, None])
        }
        "AdaptiveAvgPool1d" => {
            let channels = dims?.into_iter().next()?;
            Some(vec![channels, argument(layer, 0)])
        }
        "MaxPool2d" | "AvgPool2d" => {
            let channels = dims?.into_iter().next()?;
            Some(vec![channels, None, None])
        }
        "GlobalAvgPool1d" | "GlobalAvgPool2d" => Some(vec![dims?.into_iter().next()?]),
        "Flatten" if layer.options.is_empty() => match dims {
            Some(dims) if dims.len() == 1 => Some(dims),
            _ => Some(vec![None]),
        },
        name if keeps_shape(name) => dims,
        _ => None,
    }
}

/// Layers of the library whose output has the shape of their input.
fn keeps_shape(name: &str) -> bool {
    const CHANGING: [&str; 11] = [
        "AdaptiveAvgPool2d",
        "AvgPool2d",
        "Conv2d",
        "Embedding",
        "Flatten",
        "GlobalAvgPool2d",
        "Gru",
        "Linear",
        "Lstm",
        "MaxPool2d",
        "Rnn",
    ];
    crate::layers::named(name).is_some() && !CHANGING.contains(&name)
}

/// A size in angle brackets, unless it is `_`.
fn argument(layer: &Layer, position: usize) -> Option<TokenStream> {
    match layer.sizes.as_ref()?.args.iter().nth(position)? {
        GenericArgument::Type(syn::Type::Infer(_)) => None,
        argument => Some(quote!(#argument)),
    }
}

/// Every identifier in the sizes, to make up none of them again.
pub fn mentioned(network: &Network) -> Vec<Ident> {
    fn collect(tokens: TokenStream, into: &mut Vec<Ident>) {
        for tree in tokens {
            match tree {
                proc_macro2::TokenTree::Ident(ident) => into.push(ident),
                proc_macro2::TokenTree::Group(group) => collect(group.stream(), into),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    let sizes = network.output.iter().chain([&network.input]);
    for dim in sizes.flat_map(|sizes| &sizes.dims) {
        collect(dim.to_token_stream(), &mut found);
    }
    for layer in &network.layers {
        collect(layer.path.to_token_stream(), &mut found);
        collect(layer.sizes.to_token_stream(), &mut found);
        collect(layer.count.to_token_stream(), &mut found);
    }
    if let Some(item) = &network.item {
        collect(item.generics.to_token_stream(), &mut found);
    }
    found
}

//! The struct and the impl that a network stands for.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, GenericParam, Meta, Token, Visibility};

use super::loss::{self, Context};
use super::read::{Layer, Network};
use super::{fields, output};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::door::fresh;

/// The two items, and what is named outside of them.
pub struct Written {
    /// The options of the struct.
    pub attr: TokenStream,
    /// The struct.
    pub structure: TokenStream,
    /// The options of the impl.
    pub impl_attr: TokenStream,
    /// The impl.
    pub implementation: TokenStream,
    /// The path of the library.
    pub krate: TokenStream,
    /// The name of the model.
    pub name: Ident,
}

/// Writes both items.
pub fn items(network: &Network, diagnostics: &mut Diagnostics) -> Written {
    let taken = output::mentioned(network);
    let (attrs, attr) = sorted(&network.attrs);
    let crate_option = crate_option(&attr);
    let krate = crate_option
        .as_ref()
        .map_or_else(|| quote!(::tapeless), |(path, _)| path.clone());
    let impl_attr = crate_option.map(|(_, option)| option).unwrap_or_default();
    let (name, vis) = match &network.item {
        Some(item) => (item.name.clone(), item.vis.clone()),
        None => {
            let name = fresh("Network", &taken);
            (
                Ident::new(&name.to_string(), network.input.span.start),
                Visibility::Inherited,
            )
        }
    };
    let generics = network.item.as_ref().map(|item| &item.generics);
    let names = fields::names(&network.layers);
    let declared = network
        .layers
        .iter()
        .zip(&names)
        .map(|(layer, name)| field(layer, name));
    let span = name.span();
    let structure = quote_spanned! {span=>
        #(#attrs)*
        #vis struct #name #generics { #(#declared,)* }
    };
    let functions = functions(network, &names, &krate, &taken, diagnostics);
    let arguments = generics.map(|generics| arguments(&generics.params));
    let implementation = quote_spanned! {span=>
        impl #generics #name #arguments { #functions }
    };
    Written {
        attr,
        structure,
        impl_attr,
        implementation,
        krate,
        name,
    }
}

/// The attributes of the struct, and what stands in `#[model(…)]`.
fn sorted(attrs: &[Attribute]) -> (Vec<&Attribute>, TokenStream) {
    let (model, others): (Vec<_>, Vec<_>) = attrs.iter().partition(|attr| attr.path().is_ident("model"));
    let options = model.into_iter().map(|attr| match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        meta => meta.to_token_stream(),
    });
    (others, quote!(#(#options),*))
}

/// The path in `crate = path`, and that option.
fn crate_option(attr: &TokenStream) -> Option<(TokenStream, TokenStream)> {
    let mut trees = attr
        .clone()
        .into_iter()
        .skip_while(|tree| !matches!(tree, TokenTree::Ident(word) if word == "crate"));
    let (word, equals) = (trees.next()?, trees.next()?);
    if !matches!(&equals, TokenTree::Punct(punct) if punct.as_char() == '=') {
        return None;
    }
    let is_comma = |tree: &TokenTree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ',');
    let path: TokenStream = trees.take_while(|tree| !is_comma(tree)).collect();
    syn::Path::parse_mod_style.parse2(path.clone()).ok()?;
    Some((path.clone(), quote!(#word #equals #path)))
}

/// `<D, H>`
fn arguments(params: &Punctuated<GenericParam, Token![,]>) -> TokenStream {
    let names = params.iter().map(|param| match param {
        GenericParam::Const(param) => param.ident.to_token_stream(),
        GenericParam::Type(param) => param.ident.to_token_stream(),
        GenericParam::Lifetime(param) => param.lifetime.to_token_stream(),
    });
    if params.is_empty() {
        return TokenStream::new();
    }
    quote!(<#(#names),*>)
}

/// `#[layer(padding = 2)] conv2d_1: Conv2d<_, 6, 5>`
fn field(layer: &Layer, name: &Ident) -> TokenStream {
    let Layer {
        attrs,
        path,
        sizes,
        count,
        options,
        ..
    } = layer;
    let span = layer.span.start;
    let options = (!options.is_empty()).then(|| quote_spanned!(span=> #[layer(#(#options),*)]));
    let ty = match count {
        Some(count) => {
            let mut array = Group::new(Delimiter::Bracket, quote!(#path #sizes; #count));
            array.set_span(layer.span.end);
            array.to_token_stream()
        }
        None => quote!(#path #sizes),
    };
    quote_spanned!(span=> #(#attrs)* #options #name: #ty)
}

/// A size as it may stand among generic arguments.
pub fn size(dim: &Expr) -> TokenStream {
    match dim {
        Expr::Lit(_) | Expr::Block(_) => quote!(#dim),
        Expr::Path(path) if path.qself.is_none() => quote!(#dim),
        _ => {
            let span = SourceSpan::of(dim).start;
            quote_spanned!(span=> { #dim })
        }
    }
}

/// `forward`, and what the loss brings.
fn functions(
    network: &Network,
    names: &[Ident],
    krate: &TokenStream,
    taken: &[Ident],
    diagnostics: &mut Diagnostics,
) -> TokenStream {
    let place = network.input.span.start;
    let batch = fresh("B", taken);
    let batch = Ident::new(&batch.to_string(), place);
    let output = match &network.output {
        Some(sizes) => sizes.dims.iter().map(size).collect(),
        None => output::infer(network).unwrap_or_else(|| {
            let error = Diagnostic::error(
                network.input.span,
                "the sizes of the output cannot be read off the layers",
            );
            let help = "name them, without the batch: `network![(784) -> 10 => …]`";
            diagnostics.push(error.help(help));
            Vec::new()
        }),
    };
    let mut context = Context {
        krate,
        batch: &batch,
        input: &TokenStream::new(),
        output: &output,
        n_classes: network.output.as_ref().and_then(|sizes| sizes.dims.first()),
    };
    let dims: Vec<TokenStream> = network.input.dims.iter().map(size).collect();
    let dtype = network.input.dtype.as_ref().map(ToTokens::to_token_stream);
    let input = context.tensor(dtype, &dims, place);
    context.input = &input;
    let result_place = network.output.as_ref().map_or(place, |sizes| sizes.span.start);
    let result = context.tensor(None, &output, result_place);
    let words = context.words(place);
    let body = body(network, names);
    let shown = |dims: &[TokenStream]| {
        let sizes = dims
            .iter()
            .map(|dim| format!(", {}", dim.to_string().trim_matches(['{', '}', ' '])));
        format!("[{batch}{}]", sizes.collect::<String>())
    };
    let doc = format!(
        "Applies the layers in their order to a batch: `{}` -> `{}`.",
        shown(&dims),
        shown(&output)
    );
    let forward = quote_spanned! {place=>
        #[doc = #doc]
        pub fn forward<#batch: #words::Dim>(&self, input: #input) -> #result { #body }
    };
    let loss = network
        .loss
        .as_ref()
        .and_then(|loss| loss::functions(loss, &context, diagnostics));
    quote!(#forward #loss)
}

/// The calls of the layers; every result has the name of its layer, for traces and for emitted code.
fn body(network: &Network, names: &[Ident]) -> TokenStream {
    let mut value = format_ident!("input", span = network.input.span.start);
    let mut statements = TokenStream::new();
    let element = fresh("layer", names);
    for (layer, name) in network.layers.iter().zip(names) {
        let span = layer.span.start;
        let element = Ident::new(&element.to_string(), span);
        let result = Ident::new(&name.to_string(), span);
        let mut call = Group::new(Delimiter::Parenthesis, value.to_token_stream());
        call.set_span(layer.span.end);
        statements.extend(match &layer.count {
            None => quote_spanned!(span=> let #result = self.#result #call;),
            Some(_) => quote_spanned! {span=>
                let mut #result = #value;
                for #element in &self.#result {
                    #result = #element(#result);
                }
            },
        });
        value = result;
    }
    if let Some(output) = &network.output {
        value.set_span(output.span.start);
    }
    quote!(#statements #value)
}

//! The doors: what a user's `#[model]` expands to, and the hidden calls that it leads to.
//!
//! ```text
//! #[model] struct X   =>  struct X, impl Model for X, and a macro that hands out the struct's tokens      [structure]
//! #[model] impl X     =>  the methods, and a call of that macro with `ask` as continuation                [methods]
//! ask!                =>  a call of the macro of each field's type, one after the other                   [ask]
//! compile!            =>  the compiled program, and a macro named X that knows X's definition             [finish]
//! ```
//!
//! Invariants:
//!
//! - Methods are emitted before anything can go wrong in the rest, and a model's macro always, after an error with a
//!   definition that keeps parents silent. So one mistake gives one error.
//! - Everything that is not named by the user lies in `const _: () = { … };`, never in a module: inside a function, a
//!   module would see neither the model nor the constants that it uses.
//! - Emitted code names the library by one absolute path, `::tapeless` or what `#[model(crate = path)]` says.
//! - A struct has one `#[model] impl`, in the same module: a second one defines `__HAS_FUNCTIONS` again.
//!
//! This module speaks to rustc: it knows tokens and names. What a model means is the business of
//! [`compile`](crate::compile).

mod ask;
mod builtin;
mod declaration;
mod finish;
mod methods;
mod names;
mod signature;
mod structure;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};

use crate::ast::{Item, ModelOptions};
use crate::definition::{self, silently};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::parse;

pub use builtin::emit as builtin_layers;
pub use finish::finish;
pub use names::fresh;

/// `#[model(attr)]` on `item`.
pub fn model(attr: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    let read = parse::item(attr.clone(), item.clone(), &mut diagnostics);
    let items = match &read {
        Some(Item::Struct(structure)) => {
            structure::emit(structure, &attr, &item, &crate_path(&structure.options))
        }
        Some(Item::Impl(implementation)) => {
            let krate = crate_path(&implementation.options);
            let methods = methods::emit(implementation, &krate);
            match implementation.self_path.get_ident() {
                Some(name) => {
                    let fields = names::fields_macro(name);
                    quote! {
                        #methods
                        #fields ! { [#krate::__private::ask] { #attr } { #item } }
                    }
                }
                None => {
                    let place = SourceSpan::of(&implementation.self_path);
                    let error = Diagnostic::error(place, "the functions of a model stand beside its struct")
                        .expected("the name of a struct in the same module");
                    diagnostics.push(error.help("move the impl to the module of the struct"));
                    methods
                }
            }
        }
        None => TokenStream::new(),
    };
    with_errors(items, diagnostics)
}

/// A struct and its impl after a mistake that is reported already: types and methods are there, nothing is compiled, and
/// models that have this one as a layer stay silent.
pub fn after_error(attr: &TokenStream, structure: &TokenStream, implementation: &TokenStream) -> TokenStream {
    let structure_read =
        silently(|diagnostics| parse::structure(attr.clone(), structure.clone(), diagnostics));
    let implementation_read =
        silently(|diagnostics| parse::implementation(attr.clone(), implementation.clone(), diagnostics));
    let (Some(parsed), Some(functions)) = (structure_read, implementation_read) else {
        return TokenStream::new();
    };
    let krate = crate_path(&parsed.options);
    let items = structure::emit(&parsed, attr, structure, &krate);
    let methods = methods::emit(&functions, &krate);
    let poison = finish::poison(&parsed, &functions, structure, &krate);
    quote!(#items #methods #poison)
}

/// The continuation with the struct's tokens: asks for the definitions of its layers.
///
/// Input: `{ struct attr } { struct } { impl attr } { impl }`.
pub fn ask(input: TokenStream) -> TokenStream {
    let Ok([struct_attr, structure, impl_attr, implementation]) = sources.parse2(input) else {
        return hidden();
    };
    let place = implementation
        .clone()
        .into_iter()
        .next()
        .map_or_else(proc_macro2::Span::call_site, |tree| tree.span());
    let structure = names::resolved_at(structure, place);
    let struct_attr = names::resolved_at(struct_attr, place);
    let parsed =
        silently(|diagnostics| parse::structure(struct_attr.clone(), structure.clone(), diagnostics));
    let options =
        silently(|diagnostics| parse::implementation(impl_attr.clone(), implementation.clone(), diagnostics))
            .map(|parsed| parsed.options)
            .unwrap_or_default();
    let Some(parsed) = parsed else {
        return TokenStream::new();
    };
    let krate = crate_path(&options);
    let end = quote!(#krate::__private::compile);
    let state = quote!({ #struct_attr } { #structure } { #impl_attr } { #implementation });
    let questions = ask::Questions::of(&parsed);
    let mut diagnostics = Diagnostics::new();
    for path in questions.paths.iter().filter(|path| path.is_ident(&parsed.name)) {
        let message = format!("the model `{}` cannot be a layer of itself", parsed.name);
        diagnostics.push(Diagnostic::error(SourceSpan::of(path), message));
    }
    match diagnostics.finish() {
        Ok(()) => questions.chain(&end, &state),
        // Nobody is asked: the question would wait for its own answer.
        Err(errors) => quote!(#errors #end ! { 0 [] { #state } }),
    }
}

/// Four groups in braces.
fn sources(input: ParseStream<'_>) -> syn::Result<[TokenStream; 4]> {
    Ok([
        definition::group(input)?,
        definition::group(input)?,
        definition::group(input)?,
        definition::group(input)?,
    ])
}

/// The path of the library in emitted code.
fn crate_path(options: &ModelOptions) -> TokenStream {
    match &options.crate_path {
        Some(path) => quote!(#path),
        None => quote!(::tapeless),
    }
}

/// The items, and an item for every error.
fn with_errors(items: TokenStream, diagnostics: Diagnostics) -> TokenStream {
    match diagnostics.finish() {
        Ok(()) => items,
        Err(errors) => quote!(#errors #items),
    }
}

/// What a hidden macro says to somebody who calls it by hand.
fn hidden() -> TokenStream {
    quote!(::core::compile_error! { "this macro belongs to generated code; write `#[model]`" })
}

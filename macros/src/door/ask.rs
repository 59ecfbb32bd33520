//! The questions: how a model that is being compiled collects the definitions of its layers.
//!
//! A type's macro is called with a number, a list of what is to be called after it, and everything that is known so far.
//! It calls the next one directly, with its own definition added under the number:
//!
//! ```text
//! a::Block! { 1 [ 2 [Linear] 0 [::tapeless::__private::compile] ] { model } }
//! Linear!   { 2 [ 0 [::tapeless::__private::compile] ] { model } { 1 reply } }
//! ::tapeless::__private::compile! { 0 [] { model } { 1 reply } { 2 reply } }
//! ```
//!
//! So a type costs one expansion, and rustc's default limit of 128 serves more than 100 types in a model. A reply is
//! bound to the question by its number and never to a name; names are resolved by rustc alone, with its rules for
//! imports, renaming and shadowing.
//!
//! What rustc refuses, and no protocol can mend: names of macros are resolved while some macros are still being expanded,
//! so a module may not have both a macro that came out of an expansion, as a model's does, and another one of that name
//! from a glob import (E0659). For a model that has the name of a layer, in a module with `use tapeless::prelude::*`,
//! or the name of a model in `use zoo::*`:
//!
//! - in its own module, `self::Block` asks a second name of the model, which only that module has;
//! - elsewhere in the crate, its module has to import the library's names one by one; an import of the model by name
//!   (`use mine::Block;`) is then never ambiguous, whatever is imported by glob beside it;
//! - from another crate there is no such conflict.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote};

use crate::ast::Struct;
use crate::definition::layer_path;
use crate::door::names;

/// The distinct paths among the types of the fields, and which of them each field has.
pub struct Questions<'a> {
    /// The paths; the number of a question is the position here, from 1.
    pub paths: Vec<&'a syn::Path>,
    /// For every field, the position of its path.
    pub of_field: Vec<Option<usize>>,
}

impl<'a> Questions<'a> {
    /// Those of a struct. They depend on nothing but its tokens, so that asker and reader agree on the numbers.
    pub fn of(structure: &'a Struct) -> Self {
        let mut paths: Vec<&syn::Path> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        let of_field = structure.fields.iter().map(|field| {
            let path = layer_path(&field.kind)?;
            let text = path.to_token_stream().to_string();
            let position = texts.iter().position(|known| *known == text);
            Some(position.unwrap_or_else(|| {
                paths.push(path);
                texts.push(text);
                paths.len() - 1
            }))
        });
        let of_field = of_field.collect();
        Self { paths, of_field }
    }

    /// The first call of the chain; the last one is that of `end`.
    pub fn chain(&self, end: &TokenStream, state: &TokenStream) -> TokenStream {
        let number = |k: usize| Literal::usize_unsuffixed(k);
        let calls = self
            .paths
            .iter()
            .map(|path| macro_path(path))
            .chain([end.clone()]);
        let numbers = (1..=self.paths.len()).chain([0]).map(number);
        let mut calls = calls.zip(numbers);
        let (first, first_number) = calls.next().unwrap_or_else(|| (end.clone(), number(0)));
        let rest = calls.map(|(call, number)| quote!(#number [#call]));
        quote!(#first ! { #first_number [ #(#rest)* ] { #state } })
    }
}

/// The path of the macro that knows the type at `path`.
fn macro_path(path: &syn::Path) -> TokenStream {
    let mut path = path.clone();
    if path.leading_colon.is_none()
        && path.segments.len() == 2
        && path.segments[0].ident == "self"
        && let Some(last) = path.segments.last_mut()
    {
        let mut own = names::own_macro(&last.ident);
        own.set_span(last.ident.span());
        last.ident = own;
    }
    path.to_token_stream()
}

/// The one rule of a type's macro.
pub fn rule(reply: &impl ToTokens) -> TokenStream {
    quote! {
        ($id:tt [$next_id:tt [$($next:tt)*] $($queue:tt)*] $($known:tt)*) => {
            $($next)* ! { $next_id [$($queue)*] $($known)* { $id #reply } }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::silently;

    #[test]
    fn every_path_is_asked_once_and_hands_on_to_the_next() {
        let tokens = quote! {
            struct Net { a: zoo::Block<2>, b: Linear<_, 3>, c: [zoo::Block<4>; 2], d: self::Own, w: Param<2> }
        };
        let structure =
            silently(|diagnostics| crate::parse::structure(TokenStream::new(), tokens, diagnostics)).unwrap();
        let questions = Questions::of(&structure);
        assert_eq!(questions.of_field, [Some(0), Some(1), Some(0), Some(2), None]);
        let expected = quote! {
            zoo::Block! { 1 [2 [Linear] 3 [self::__tapeless_own_Own] 0 [end]] { state } }
        };
        assert_eq!(
            questions.chain(&quote!(end), &quote!(state)).to_string(),
            expected.to_string()
        );
    }

    #[test]
    fn a_model_without_layers_asks_nobody() {
        let questions = Questions {
            paths: Vec::new(),
            of_field: Vec::new(),
        };
        let expected = quote!(end! { 0 [] { state } });
        assert_eq!(
            questions.chain(&quote!(end), &quote!(state)).to_string(),
            expected.to_string()
        );
    }
}

//! The last call of the chain: every definition is there, and the model is compiled.
//!
//! Emitted at the place of the impl, beside the methods: the program and what the type needs to be a layer of others,
//! and the model's own macro, which answers the questions of its parents.

use crate::map::Map;

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::LitInt;
use syn::parse::{ParseStream, Parser};

use crate::ast;
use crate::compile::{self, Compiled};
use crate::definition::{self, Body, Entry, Library, Reply, Source};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::door::ask::{self, Questions};
use crate::door::names;
use crate::door::structure::Generics;
use crate::door::{crate_path, hidden, sources, with_errors};
use crate::model::{Accessor, Check, Constant, Lowered, Solution};
use crate::parse;

/// What the chain brought.
struct Answers {
    source: Source,
    replies: Vec<(usize, TokenStream)>,
}

/// Input: `0 [] { { struct attr } { struct } { impl attr } { impl } } { 1 reply } { 2 reply }…`.
pub fn finish(input: TokenStream) -> TokenStream {
    let Ok(Answers { source, replies }) = answers.parse2(input) else {
        return hidden();
    };
    let mut parse_errors = Diagnostics::new();
    let structure = parse::structure(
        source.struct_attr.clone(),
        source.structure.clone(),
        &mut parse_errors,
    );
    let implementation = parse::implementation(
        source.impl_attr.clone(),
        source.implementation.clone(),
        &mut parse_errors,
    );
    // The first readers, `#[model]` on the struct and on the impl, have reported these.
    let parsed = parse_errors.finish();
    let (Some(structure), Some(implementation)) = (structure, implementation) else {
        return TokenStream::new();
    };
    let krate = crate_path(&implementation.options);
    let mut diagnostics = Diagnostics::new();
    check_generics(&structure, &implementation, &mut diagnostics);
    let questions = Questions::of(&structure);
    let (library, keys) = collect(&questions, &replies, &mut diagnostics);
    let mut source = source;
    source.children = questions
        .of_field
        .iter()
        .map(|path| path.map_or(0, |path| keys[path]))
        .collect();
    let key = names::Hash::new()
        .tokens(&source.structure)
        .tokens(&source.implementation)
        .finish();
    let model = Model {
        structure: &structure,
        implementation: &implementation,
        key,
        krate: &krate,
    };
    let is_whole = parsed.is_ok()
        && !keys.contains(&0)
        && library.entries().all(|entry| !matches!(entry.body, Body::Poison));
    let compiled = library
        .user_model(&source, None)
        .and_then(|user| compile::model(&user, key, &krate, &mut diagnostics))
        .filter(|_| is_whole && diagnostics.is_empty());
    let type_checks = model.type_checks(&questions, &keys, &library, &source);
    let items = match compiled {
        Some(compiled) => {
            let program = model.program(&compiled);
            let own = model.definition(source, &compiled.lowered);
            let embedded = library.entries().cloned();
            let macros = model.macros(&Reply {
                entries: [own].into_iter().chain(embedded).collect(),
            });
            quote!(#program #type_checks #macros)
        }
        None => {
            let poison = model.poison();
            quote!(#poison #type_checks)
        }
    };
    with_errors(items, diagnostics)
}

/// What stands in for the program of a model that is not compiled, after an error that was reported elsewhere.
pub fn poison(
    structure: &ast::Struct,
    implementation: &ast::Impl,
    tokens: &TokenStream,
    krate: &TokenStream,
) -> TokenStream {
    let key = names::Hash::new().tokens(tokens).finish();
    let model = Model {
        structure,
        implementation,
        key,
        krate,
    };
    model.poison()
}

fn answers(input: ParseStream<'_>) -> syn::Result<Answers> {
    input.parse::<LitInt>()?;
    let end;
    syn::bracketed!(end in input);
    end.parse::<syn::parse::Nothing>()?;
    let [struct_attr, structure, impl_attr, implementation] = sources.parse2(definition::group(input)?)?;
    let mut replies = Vec::new();
    while !input.is_empty() {
        let reply = |input: ParseStream<'_>| {
            Ok((
                input.parse::<LitInt>()?.base10_parse()?,
                input.parse::<TokenStream>()?,
            ))
        };
        replies.push(reply.parse2(definition::group(input)?)?);
    }
    let source = Source {
        struct_attr,
        structure,
        impl_attr,
        implementation,
        accessors: Vec::new(),
        children: Vec::new(),
    };
    Ok(Answers { source, replies })
}

/// The impl may give the const generics other names, but it has as many.
fn check_generics(structure: &ast::Struct, implementation: &ast::Impl, diagnostics: &mut Diagnostics) {
    let (expected, found) = (structure.generics.len(), implementation.self_args.len());
    if expected != found && implementation.error.is_none() && structure.error.is_none() {
        let error = Diagnostic::error(
            implementation.span,
            "the impl has other const generics than the struct",
        );
        diagnostics.push(
            error
                .expected(format_args!("{expected} of them"))
                .found(found)
                .at(structure.span, "the struct is here"),
        );
    }
}

/// Every definition that the replies brought, and for every path the key of its definition; 0 after an error.
fn collect(
    questions: &Questions<'_>,
    replies: &[(usize, TokenStream)],
    diagnostics: &mut Diagnostics,
) -> (Library, Vec<u64>) {
    let mut library = Library::default();
    let mut keys = vec![0; questions.paths.len()];
    for (number, reply) in replies {
        let Some((key, path)) = number
            .checked_sub(1)
            .and_then(|k| keys.get_mut(k).zip(questions.paths.get(k)))
        else {
            continue;
        };
        let written = path.to_token_stream().to_string().replace(' ', "");
        match Reply::read(reply.clone()) {
            Ok(Ok(reply)) => {
                *key = reply.root().key;
                library.add(&reply);
            }
            Ok(Err(other)) => {
                let message = format!("`{written}` was compiled by another version of Tapeless");
                let error = Diagnostic::error(SourceSpan::of(path), message)
                    .expected(format_args!(
                        "tapeless {} (format {})",
                        definition::VERSION,
                        definition::FORMAT
                    ))
                    .found(format_args!(
                        "tapeless {} (format {})",
                        other.version, other.format
                    ));
                diagnostics.push(error.help("let both crates depend on the same version of `tapeless`"));
            }
            Err(_) => {
                let message = format!("the macro `{written}` does not know a type of a layer");
                diagnostics.push(
                    Diagnostic::error(SourceSpan::of(path), message)
                        .expected("a layer of the library, or a struct with `#[model]`"),
                );
            }
        }
    }
    (library, keys)
}

/// The model being compiled, as far as its tokens go.
struct Model<'a> {
    structure: &'a ast::Struct,
    implementation: &'a ast::Impl,
    key: u64,
    krate: &'a TokenStream,
}

impl Model<'_> {
    fn generics(&self) -> Generics {
        Generics::new(self.structure.generics.iter().map(|generic| &generic.name))
    }

    /// `const __KEY`, by which a parent knows that the type and the definition belong together.
    fn key_item(&self) -> TokenStream {
        let key = Literal::u64_unsuffixed(self.key);
        quote! {
            #[doc(hidden)]
            pub const __KEY: ::core::primitive::u64 = #key;
        }
    }

    /// After an error: a model without program, whose parents stay silent.
    fn poison(&self) -> TokenStream {
        let Generics { declared, named, .. } = self.generics();
        let (path, key) = (&self.implementation.self_path, self.key_item());
        let entry = Entry {
            key: self.key,
            name: self.structure.name.clone(),
            body: Body::Poison,
        };
        let macros = self.macros(&Reply { entries: vec![entry] });
        quote! {
            const _: () = {
                impl #declared #path #named {
                    #key
                }
            };
            #macros
        }
    }

    /// The compiled program and the functions for parents.
    fn program(&self, compiled: &Compiled) -> TokenStream {
        let rt = {
            let krate = self.krate;
            quote!(#krate::rt)
        };
        let Generics {
            declared,
            named,
            values,
            ..
        } = self.generics();
        let (path, key) = (&self.implementation.self_path, self.key_item());
        let Compiled { items, lowered } = compiled;
        let is_generic = !values.is_empty();
        let checks = lowered.checks.iter().map(check);
        let (outer, inner) = match is_generic {
            true => (None, Some(quote!(const { #(#checks)* }))),
            false => (Some(quote!(const _: () = { #(#checks)* };)), None),
        };
        let accessors = self.accessors(lowered);
        quote! {
            #[allow(clippy::all, non_snake_case)]
            const _: () = {
                #items
                #outer
                impl #declared #path #named {
                    #key
                    pub(crate) fn __program() -> (
                        &'static #rt::Program,
                        ::std::vec::Vec<::core::primitive::usize>,
                    ) {
                        #inner
                        (program(), __generics(&[#(#values),*]))
                    }
                }
                #accessors
            };
        }
    }

    /// Functions that evaluate the model's constants for its parents, from where its constants are visible.
    ///
    /// They take the values of the const generics as arguments: a generic parent may not write
    /// `<Block<{ 4 * D }>>::SIZE`, but it may write `<Block<0>>::size(4 * D)`.
    fn accessors(&self, lowered: &Lowered) -> Option<TokenStream> {
        if lowered.constants.is_empty() {
            return None;
        }
        // Arguments of other names than the generics: an argument cannot shadow a constant.
        let generics: Vec<_> = (0..self.structure.generics.len())
            .map(|k| format_ident!("__generic_{k}"))
            .collect();
        let values: Vec<_> = (0..generics.len())
            .map(|k| format_ident!("__value_{k}"))
            .collect();
        let Generics { declared, named, .. } = Generics::new(&generics);
        let path = &self.implementation.self_path;
        let functions = lowered.constants.iter().enumerate().map(|(k, constant)| {
            let function = format_ident!("{}", accessor(k));
            let body = self.with_values(constant_tokens(constant), &values);
            quote! {
                #[doc(hidden)]
                #[allow(unused_variables)]
                pub const fn #function(#(#values: ::core::primitive::usize),*) -> ::core::primitive::usize {
                    #body
                }
            }
        });
        Some(quote!(impl #declared #path #named { #(#functions)* }))
    }

    /// Replaces the const generics, by the names of the struct and of the impl, where they are no part of a path.
    fn with_values(&self, tokens: TokenStream, values: &[proc_macro2::Ident]) -> TokenStream {
        let names = self.structure.generics.iter().map(|generic| &generic.name);
        let renamed = &self.implementation.self_args;
        let value = |ident: &proc_macro2::Ident| {
            let position = names.clone().position(|name| name == ident);
            position
                .or_else(|| renamed.iter().position(|name| name == ident))
                .and_then(|k| values.get(k))
        };
        let mut after_separator = false;
        let map = |tree| {
            let replaced = match tree {
                proc_macro2::TokenTree::Ident(ident) => match value(&ident) {
                    Some(value) if !after_separator => value.clone().into(),
                    _ => ident.into(),
                },
                proc_macro2::TokenTree::Group(group) => {
                    proc_macro2::Group::new(group.delimiter(), self.with_values(group.stream(), values))
                        .into()
                }
                other => other,
            };
            after_separator = matches!(
                &replaced,
                proc_macro2::TokenTree::Punct(punct) if [':', '.'].contains(&punct.as_char())
            );
            replaced
        };
        tokens.into_iter().map(map).collect::<TokenStream>()
    }

    /// That the type at every path is the one whose definition the macro at the path returned; and a mention of every
    /// word of the language, as rustc would call imports of them unused.
    fn type_checks(
        &self,
        questions: &Questions<'_>,
        keys: &[u64],
        library: &Library,
        source: &Source,
    ) -> TokenStream {
        let krate = self.krate;
        let mut words = Map::new();
        names::words(&source.structure, &mut words);
        names::words(&source.implementation, &mut words);
        let words = words.into_values();
        let mut checks = TokenStream::new();
        for (path, key) in questions.paths.iter().zip(keys) {
            let Some(ty) = library
                .entry(*key)
                .and_then(|entry| library.type_with_zeros(entry, path))
            else {
                continue;
            };
            let written = path.to_token_stream().to_string().replace(' ', "");
            let message = format!(
                "the type `{written}` and the macro `{written}` are not of the same model: another type or import \
                 shadows one of the two; write the path of the model in full, or import it by name"
            );
            let key = Literal::u64_unsuffixed(*key);
            let span = SourceSpan::of(path).start;
            checks.extend(quote_spanned!(span=> ::core::assert!(<#ty>::__KEY == #key, "{}", #message);));
        }
        quote! {
            #[allow(clippy::all, unused_imports)]
            const _: () = {
                use #krate::rt::Fallback as _;
                #(use #words as _;)*
                #checks
            };
        }
    }

    /// The definition for parents, with every `_` solved.
    fn definition(&self, mut source: Source, lowered: &Lowered) -> Entry {
        source.structure = names::without_docs(solve(source.structure, &lowered.solved));
        source.implementation = names::without_docs(source.implementation);
        source.accessors = lowered
            .constants
            .iter()
            .enumerate()
            .map(|(k, constant)| Accessor {
                source: constant.text.clone(),
                function: accessor(k),
            })
            .collect();
        Entry {
            key: self.key,
            name: self.structure.name.clone(),
            body: Body::Model(Box::new(source)),
        }
    }

    /// The macro that answers with `reply`, as visible as the struct.
    fn macros(&self, reply: &Reply) -> TokenStream {
        let (name, vis) = (&self.structure.name, &self.structure.vis);
        let unique = names::unique_macro("model", name, self.key);
        let own = names::own_macro(name);
        let rule = ask::rule(reply);
        // Only what is public for other crates may be exported, and `pub use` demands it.
        let export = matches!(vis, syn::Visibility::Public(_)).then(|| quote!(#[macro_export]));
        // A `crate` in the struct's types is data for the asker, who never resolves it.
        quote! {
            #[doc(hidden)]
            #[allow(unused_macros, unused_macro_rules, non_local_definitions, clippy::crate_in_macro_def)]
            #export
            macro_rules! #unique {
                #rule
            }
            #[doc(hidden)]
            #[allow(unused_imports, unreachable_pub)]
            #vis use #unique as #name;
            #[doc(hidden)]
            #[allow(unused_imports)]
            use #unique as #own;
        }
    }
}

/// The name of the function that evaluates a constant.
fn accessor(position: usize) -> String {
    format!("__size_{position}")
}

fn constant_tokens(constant: &Constant) -> TokenStream {
    match &constant.tokens {
        Some(tokens) => tokens.clone(),
        None => constant.text.parse().unwrap_or_default(),
    }
}

/// An assertion for rustc, at the user's token.
fn check(check: &Check) -> TokenStream {
    let (left, right, message) = (check.left.to_tokens(), check.right.to_tokens(), &check.message);
    quote_spanned!(check.span.start=> ::core::assert!((#left) == (#right), "{}", #message);)
}

/// The struct with the solutions in the places of its `_`s.
fn solve(structure: TokenStream, solved: &[Solution]) -> TokenStream {
    let Ok(mut item) = syn::parse2::<syn::ItemStruct>(structure.clone()) else {
        return structure;
    };
    for (k, field) in item.fields.iter_mut().enumerate() {
        let mut arguments = arguments_of(&mut field.ty);
        for solution in solved.iter().filter(|solution| solution.field == k) {
            let size = solution.size.to_tokens();
            if let Some(argument) = arguments.get_mut(solution.position)
                && matches!(argument, syn::GenericArgument::Type(syn::Type::Infer(_)))
                && let Ok(size) = syn::parse2(quote!({ #size }))
            {
                **argument = syn::GenericArgument::Const(size);
            }
        }
    }
    item.to_token_stream()
}

/// The generic arguments of a layer's type, or of the layers in an array of them.
fn arguments_of(ty: &mut syn::Type) -> Vec<&mut syn::GenericArgument> {
    match ty {
        syn::Type::Array(array) => arguments_of(&mut array.elem),
        syn::Type::Group(group) => arguments_of(&mut group.elem),
        syn::Type::Paren(paren) => arguments_of(&mut paren.elem),
        syn::Type::Path(path) => {
            let segments = path.path.segments.iter_mut();
            let lists = segments.filter_map(|segment| match &mut segment.arguments {
                syn::PathArguments::AngleBracketed(list) => Some(&mut list.args),
                _ => None,
            });
            lists.flatten().collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Dim;

    #[test]
    fn solutions_take_the_places_of_underscores() {
        let structure = quote!(
            struct Net {
                a: Linear<_, 3>,
                b: [zoo::Block<2, _>; 4],
            }
        );
        let size = Dim::constant("WIDTH");
        let solved = [
            Solution {
                field: 0,
                position: 0,
                size: Dim::lit(7),
            },
            Solution {
                field: 1,
                position: 1,
                size,
            },
        ];
        let expected = quote!(
            struct Net {
                a: Linear<{ 7usize }, 3>,
                b: [zoo::Block<2, { WIDTH }>; 4],
            }
        );
        let found = solve(structure, &solved).to_string().replace("7usize", "7");
        assert_eq!(found, expected.to_string().replace("7usize", "7"));
    }
}

//! Definitions on their way from macro to macro: what a model's macro replies, written and read.
//!
//! ```text
//! reply = 1 "0.1.0" [ entry… ]
//! entry = { key Name builtin }
//!       | { key Name poison }
//!       | { key Name model { attr } { struct } { attr } { impl } [ ("source" function)… ] [ key… ] }
//! ```
//!
//! A reply begins with the number of this format and the version of the crate that wrote it. Its first entry is the
//! type that was asked; the others are the definitions that it is made of, each once. The last list has one key a field,
//! 0 for a field that is no layer. Definitions are known by their keys alone: two paths with one key share one.

use crate::map::Map;
use std::cell::RefCell;
use std::rc::Rc;

use proc_macro2::{Ident, Literal, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{LitInt, LitStr};

use crate::ast::FieldKind;
use crate::diag::Diagnostics;
use crate::layers;
use crate::model::{Accessor, Definition, UserModel, constant_text};
use crate::parse;

/// The number of the format that this version writes, and the only one that it reads.
pub const FORMAT: u64 = 1;

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a type's macro replies.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The definition of the type, and then those that it is made of.
    pub entries: Vec<Entry>,
}

/// A reply in another format.
#[derive(Clone, Debug)]
pub struct OtherFormat {
    /// Its number.
    pub format: u64,
    /// The version of the crate that wrote it.
    pub version: String,
}

/// One definition, not yet parsed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Tells it from every other definition.
    pub key: u64,
    /// The name of the type.
    pub name: Ident,
    /// What it is.
    pub body: Body,
}

/// The forms of an [`Entry`].
#[derive(Clone, Debug)]
pub enum Body {
    /// A layer of the library.
    Builtin,
    /// A model with errors that were reported where it stands.
    Poison,
    /// A model.
    Model(Box<Source>),
}

/// A model as it was written: struct and impl, each with the tokens in `#[model(…)]`.
#[derive(Clone, Debug)]
pub struct Source {
    /// The options on the struct.
    pub struct_attr: TokenStream,
    /// The struct.
    pub structure: TokenStream,
    /// The options on the impl.
    pub impl_attr: TokenStream,
    /// The impl.
    pub implementation: TokenStream,
    /// How parents evaluate its constants.
    pub accessors: Vec<Accessor>,
    /// The key of every field's definition; 0 for a field that is no layer.
    pub children: Vec<u64>,
}

impl ToTokens for Entry {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (key, name) = (Literal::u64_suffixed(self.key), &self.name);
        let body = match &self.body {
            Body::Builtin => quote!(builtin),
            Body::Poison => quote!(poison),
            Body::Model(source) => source.to_token_stream(),
        };
        tokens.extend(quote!({ #key #name #body }));
    }
}

impl ToTokens for Source {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self {
            struct_attr,
            structure,
            impl_attr,
            implementation,
            accessors,
            children,
        } = self;
        let accessors = accessors.iter().map(|accessor| {
            let (source, function) = (&accessor.source, quote::format_ident!("{}", accessor.function));
            quote!((#source #function))
        });
        tokens.extend(quote! {
            model { #struct_attr } { #structure } { #impl_attr } { #implementation }
            [ #(#accessors)* ] [ #(#children)* ]
        });
    }
}

impl ToTokens for Reply {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (format, entries) = (Literal::u64_unsuffixed(FORMAT), &self.entries);
        tokens.extend(quote!(#format #VERSION [ #(#entries)* ]));
    }
}

impl Reply {
    /// Reads a reply of this format.
    ///
    /// # Errors
    ///
    /// The reply has another format; or, as `syn` says it, it is none.
    pub fn read(tokens: TokenStream) -> syn::Result<Result<Self, OtherFormat>> {
        let read = |input: ParseStream<'_>| {
            let format = input.parse::<LitInt>()?.base10_parse()?;
            let version = input.parse::<LitStr>()?.value();
            if format != FORMAT {
                input.parse::<TokenStream>()?;
                return Ok(Err(OtherFormat { format, version }));
            }
            let list;
            syn::bracketed!(list in input);
            let mut entries = vec![list.parse()?];
            while !list.is_empty() {
                entries.push(list.parse()?);
            }
            Ok(Ok(Self { entries }))
        };
        read.parse2(tokens)
    }

    /// The definition of the type that was asked.
    pub fn root(&self) -> &Entry {
        &self.entries[0]
    }
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let entry;
        syn::braced!(entry in input);
        let key = entry.parse::<LitInt>()?.base10_parse()?;
        let name = entry.call(<Ident as syn::ext::IdentExt>::parse_any)?;
        let word: Ident = entry.parse()?;
        let body = match word.to_string().as_str() {
            "builtin" => Body::Builtin,
            "poison" => Body::Poison,
            "model" => Body::Model(Box::new(entry.parse()?)),
            _ => return Err(syn::Error::new(word.span(), "this is no definition")),
        };
        Ok(Self { key, name, body })
    }
}

impl Parse for Source {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (struct_attr, structure) = (group(input)?, group(input)?);
        let (impl_attr, implementation) = (group(input)?, group(input)?);
        let (accessor_list, child_list);
        syn::bracketed!(accessor_list in input);
        syn::bracketed!(child_list in input);
        let mut accessors = Vec::new();
        while !accessor_list.is_empty() {
            let accessor;
            syn::parenthesized!(accessor in accessor_list);
            let source = accessor.parse::<LitStr>()?.value();
            let function = accessor.parse::<Ident>()?.to_string();
            accessors.push(Accessor { source, function });
        }
        let mut children = Vec::new();
        while !child_list.is_empty() {
            children.push(child_list.parse::<LitInt>()?.base10_parse()?);
        }
        Ok(Self {
            struct_attr,
            structure,
            impl_attr,
            implementation,
            accessors,
            children,
        })
    }
}

/// The inside of a pair of braces.
pub fn group(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    match input.parse()? {
        TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => Ok(group.stream()),
        other => Err(syn::Error::new(other.span(), "expected braces")),
    }
}

/// Every definition that the replies brought, by key; what is asked for is parsed once for each name that a parent has
/// for it.
#[derive(Default)]
pub struct Library {
    entries: Map<u64, Entry>,
    parsed: RefCell<Map<(u64, String), Rc<Definition>>>,
}

impl Library {
    /// Takes in the definitions of a reply; those with a known key are the same.
    pub fn add(&mut self, reply: &Reply) {
        for entry in &reply.entries {
            self.entries.get_or_insert_with(entry.key, || entry.clone());
        }
    }

    /// The definition with that key.
    pub fn entry(&self, key: u64) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// All of them, in an order that depends on nothing but the definitions.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// How the definition's type is named with 0 for every size, given its path.
    pub fn type_with_zeros(&self, entry: &Entry, path: &syn::Path) -> Option<TokenStream> {
        let n_sizes = match &entry.body {
            Body::Poison => return None,
            Body::Builtin => match layers::named(&entry.name.to_string())?.sizes {
                layers::Sizes::Named(names) => names.len(),
                layers::Sizes::Between(least, _) => least,
                layers::Sizes::Trailing(_) => 1,
            },
            Body::Model(source) => silently(|diagnostics| {
                parse::structure(source.struct_attr.clone(), source.structure.clone(), diagnostics)
            })?
            .generics
            .len(),
        };
        let zeros = vec![quote!(0); n_sizes];
        Some(if n_sizes == 0 {
            quote!(#path)
        } else {
            quote!(#path < #(#zeros),* >)
        })
    }

    /// The definition with that key as the owner of the field of type `path` sees it. What no reply brought is
    /// [`Definition::Poison`].
    pub fn definition(&self, key: u64, path: &syn::Path) -> Rc<Definition> {
        let known = (key, path.to_token_stream().to_string());
        if let Some(definition) = self.parsed.borrow().get(&known) {
            return Rc::clone(definition);
        }
        let definition = Rc::new(self.parse(key, path));
        self.parsed.borrow_mut().insert(known, Rc::clone(&definition));
        definition
    }

    fn parse(&self, key: u64, path: &syn::Path) -> Definition {
        let entry = self.entries.get(&key);
        let name = entry.map_or_else(String::new, |entry| entry.name.to_string());
        let definition = entry.and_then(|entry| match &entry.body {
            Body::Builtin => layers::named(&name).map(Definition::Builtin),
            Body::Poison => None,
            Body::Model(source) => {
                let type_path = self.type_with_zeros(entry, path)?;
                let type_path = syn::parse2(quote!(<#type_path>::x))
                    .ok()
                    .map(|expr| constant_text(&expr));
                let type_path = type_path.map(|text| text["<".len()..text.len() - ">::x".len()].to_owned());
                self.user_model(source, type_path)
                    .map(|model| Definition::User(Box::new(model)))
            }
        });
        definition.unwrap_or(Definition::Poison)
    }

    /// A model from its source; `None` if it has mistakes, which were reported where it stands.
    pub fn user_model(&self, source: &Source, type_path: Option<String>) -> Option<UserModel> {
        let structure = silently(|diagnostics| {
            parse::structure(source.struct_attr.clone(), source.structure.clone(), diagnostics)
        })?;
        let implementation = silently(|diagnostics| {
            parse::implementation(
                source.impl_attr.clone(),
                source.implementation.clone(),
                diagnostics,
            )
        })?;
        let keys = source.children.iter().copied().chain(std::iter::repeat(0));
        let children = structure.fields.iter().zip(keys).map(|(field, key)| {
            let path = layer_path(&field.kind)?;
            (key != 0).then(|| self.definition(key, path))
        });
        let children = children.collect();
        let accessors = source.accessors.clone();
        Some(UserModel {
            structure,
            implementation,
            children,
            accessors,
            type_path,
        })
    }
}

/// The path of the layer that a field is, or of the elements of an array of layers.
pub fn layer_path(kind: &FieldKind) -> Option<&syn::Path> {
    match kind {
        FieldKind::Layer { path, .. } => Some(path),
        FieldKind::Array { elem, .. } => layer_path(elem),
        FieldKind::Param { .. } | FieldKind::State { .. } | FieldKind::Error(_) => None,
    }
}

/// Parses what was parsed before, and its mistakes reported.
pub fn silently<T>(parse: impl FnOnce(&mut Diagnostics) -> T) -> T {
    let mut diagnostics = Diagnostics::new();
    let parsed = parse(&mut diagnostics);
    // The first reading has reported these.
    let _ = diagnostics.finish();
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(key: u64, name: &str, structure: TokenStream, children: Vec<u64>) -> Entry {
        let ident = quote::format_ident!("{name}");
        let body = Source {
            struct_attr: TokenStream::new(),
            structure,
            impl_attr: TokenStream::new(),
            implementation: quote!(impl #ident { pub fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> { x } }),
            accessors: vec![Accessor {
                source: "4 * D".to_owned(),
                function: "__size_0".to_owned(),
            }],
            children,
        };
        Entry {
            key,
            name: ident,
            body: Body::Model(Box::new(body)),
        }
    }

    fn reply() -> Reply {
        let outer = model(
            1,
            "Outer",
            quote!(
                struct Outer {
                    a: zoo::Inner,
                    b: Inner,
                    w: Param<2>,
                }
            ),
            vec![2, 2, 0],
        );
        let inner = model(
            2,
            "Inner",
            quote!(
                struct Inner {
                    fc: Linear<2, 3>,
                }
            ),
            vec![3],
        );
        let linear = Entry {
            key: 3,
            name: quote::format_ident!("Linear"),
            body: Body::Builtin,
        };
        Reply {
            entries: vec![outer, inner, linear],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let tokens = reply().to_token_stream();
        let read = Reply::read(tokens.clone()).unwrap().unwrap();
        assert_eq!(read.to_token_stream().to_string(), tokens.to_string());
        assert_eq!(read.root().name, "Outer");
    }

    #[test]
    fn another_format_is_told_from_nonsense() {
        let other = Reply::read(quote!(2 "9.9.9" whatever comes))
            .unwrap()
            .unwrap_err();
        assert_eq!((other.format, other.version.as_str()), (2, "9.9.9"));
        for tokens in [
            quote!(),
            quote!(1),
            quote!(1 "0.1.0" []),
            quote!(1 "0.1.0" [{ 7 A nonsense }]),
        ] {
            assert!(Reply::read(tokens).is_err());
        }
    }

    #[test]
    fn definitions_are_found_by_key_and_named_by_path() {
        let mut library = Library::default();
        library.add(&reply());
        let path = |text| syn::parse_str::<syn::Path>(text).unwrap();
        let outer = library.definition(1, &path("Outer"));
        let Definition::User(outer) = &*outer else {
            panic!("it is a user's model")
        };
        let child = |k: usize| match &**outer.children[k].as_ref().unwrap() {
            Definition::User(model) => model.type_path.clone(),
            _ => panic!("its parts are users' models"),
        };
        assert_eq!(child(0).as_deref(), Some("zoo::Inner"));
        assert_eq!(child(1).as_deref(), Some("Inner"));
        assert!(outer.children[2].is_none());
        assert!(matches!(*library.definition(99, &path("X")), Definition::Poison));
    }
}

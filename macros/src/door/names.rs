//! Names that generated code makes up, and keys that tell definitions apart.
//!
//! Every hidden macro has a name that no other one has: a hash of what it holds and of where it was written. It is
//! reached by an import under a name that can be computed from the model's own name.

use crate::map::Map;
use proc_macro2::{Ident, Spacing, Span, TokenStream, TokenTree};
use quote::format_ident;
use syn::ext::IdentExt;

/// FNV-1a, 64 bits (Fowler, Noll and Vo): the same in every build, unlike the hashes of the standard library.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Hash {
    /// The hash of nothing.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Appends text, and a mark of its end.
    pub fn text(self, text: &str) -> Self {
        let bytes = text.bytes().chain([0xff]);
        Self(bytes.fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// Appends tokens: their text, and the place where they begin.
    pub fn tokens(self, tokens: &TokenStream) -> Self {
        let start = tokens
            .clone()
            .into_iter()
            .next()
            .map_or_else(Span::call_site, |tree| tree.span());
        let place = start.start();
        self.text(&start.file())
            .text(&format!("{}:{}", place.line, place.column))
            .text(&tokens.to_string())
    }

    /// The hash; never 0, which stands for "no definition".
    pub fn finish(self) -> u64 {
        self.0.max(1)
    }
}

/// The key of a layer of the library.
pub fn builtin_key(name: &str) -> u64 {
    Hash::new().text("tapeless").text(name).finish()
}

/// The name under which the macro that holds the struct's tokens is imported beside the struct.
pub fn fields_macro(model: &Ident) -> Ident {
    format_ident!("__tapeless_fields_of_{}", model.unraw())
}

/// A second name of a model's macro in its own module. `self::Name` asks it, which can be told from a macro `Name` of
/// a glob import.
pub fn own_macro(model: &Ident) -> Ident {
    format_ident!("__tapeless_own_{}", model.unraw())
}

/// The true name of a hidden macro.
pub fn unique_macro(role: &str, model: &Ident, hash: u64) -> Ident {
    format_ident!("__tapeless_{role}_{}_{hash:016x}", model.unraw())
}

/// An identifier like `wanted` that is none of `taken`.
pub fn fresh(wanted: &str, taken: &[Ident]) -> Ident {
    let mut name = wanted.to_owned();
    while taken.iter().any(|ident| *ident == name) {
        name.push('_');
    }
    format_ident!("{name}")
}

/// The same tokens as if they stood where `place` does, still pointing to where they were written.
///
/// Tokens that come out of a `macro_rules` remember it, and rustc would explain the hidden macro to the user.
pub fn resolved_at(tokens: TokenStream, place: Span) -> TokenStream {
    let map = |mut tree: TokenTree| {
        let span = tree.span().resolved_at(place);
        if let TokenTree::Group(group) = &tree {
            let mut inner = proc_macro2::Group::new(group.delimiter(), resolved_at(group.stream(), place));
            inner.set_span(span);
            return TokenTree::Group(inner);
        }
        tree.set_span(span);
        tree
    };
    tokens.into_iter().map(map).collect()
}

/// The tokens without documentation, which only the first reader of a definition needs.
pub fn without_docs(tokens: TokenStream) -> TokenStream {
    let mut out: Vec<TokenTree> = Vec::new();
    for tree in tokens {
        let TokenTree::Group(group) = &tree else {
            out.push(tree);
            continue;
        };
        let is_doc =
            matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc");
        let is_attribute = matches!(out.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#');
        if is_doc && is_attribute {
            out.pop();
            continue;
        }
        let mut inner = proc_macro2::Group::new(group.delimiter(), without_docs(group.stream()));
        inner.set_span(group.span());
        out.push(TokenTree::Group(inner));
    }
    out.into_iter().collect()
}

/// The words of the language that are items of the library and no layers.
const WORDS: [&str; 6] = ["Dim", "MultipleOf", "Param", "Scalar", "State", "Tensor"];

/// Collects the paths that end in a word of the language, by their text. Those through `__private` were written by
/// `network!` and need no import.
pub fn words(tokens: &TokenStream, found: &mut Map<String, TokenStream>) {
    let mut path = TokenStream::new();
    for tree in tokens.clone() {
        match &tree {
            TokenTree::Group(group) => {
                path = TokenStream::new();
                words(&group.stream(), found);
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                let is_lone = punct.spacing() == Spacing::Alone && !ends_in_colon(&path);
                path.extend([tree]);
                if is_lone {
                    path = TokenStream::new();
                }
            }
            TokenTree::Ident(word) => {
                if !ends_in_colon(&path) {
                    path = TokenStream::new();
                }
                let is_word = WORDS.iter().any(|known| word == known);
                path.extend([tree]);
                if is_word {
                    let text = path.to_string();
                    if text.contains("__private") {
                        path = TokenStream::new();
                        continue;
                    }
                    found.insert(text, std::mem::take(&mut path));
                }
            }
            _ => path = TokenStream::new(),
        }
    }
}

/// Whether the tokens end in a colon: half of a `::`, or all of it.
fn ends_in_colon(path: &TokenStream) -> bool {
    matches!(path.clone().into_iter().last(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn hashes_depend_on_text_and_place() {
        let hash = |tokens: &TokenStream| Hash::new().tokens(tokens).finish();
        let parse = |text: &str| text.parse::<TokenStream>().unwrap();
        let tokens = parse("struct A;");
        assert_eq!(hash(&tokens), hash(&tokens.clone()));
        assert_ne!(hash(&tokens), hash(&parse("struct B;")));
        assert_ne!(hash(&tokens), hash(&parse("\n\nstruct A;")));
        assert_ne!(builtin_key("Linear"), builtin_key("Conv2d"));
    }

    #[test]
    fn documentation_is_stripped_at_every_depth() {
        let tokens = quote! {
            /// Outer.
            #[allow(dead_code)]
            struct A {
                /// Inner.
                x: [doc; 2],
            }
        };
        let expected = quote!(
            #[allow(dead_code)]
            struct A {
                x: [doc; 2],
            }
        );
        assert_eq!(without_docs(tokens).to_string(), expected.to_string());
    }

    #[test]
    fn words_are_found_with_their_paths() {
        let tokens = quote! {
            fn f<B: Dim, H: tapeless::Dim>(x: ::tapeless::Tensor<B>, y: Tensors, dim: [Scalar; 2]) -> Scalar
        };
        let mut found = Map::new();
        words(&tokens, &mut found);
        let found: Vec<String> = found
            .values()
            .map(|path| path.to_string().replace(' ', ""))
            .collect();
        assert_eq!(found, ["::tapeless::Tensor", "Dim", "Scalar", "tapeless::Dim"]);
    }

    #[test]
    fn fresh_names_avoid_the_users() {
        let taken = [format_ident!("work"), format_ident!("work_")];
        assert_eq!(fresh("work", &taken), "work__");
        assert_eq!(fresh("optimizer", &taken), "optimizer");
    }
}

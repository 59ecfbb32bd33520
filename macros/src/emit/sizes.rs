//! Sizes and host scalars in emitted code, and the bindings that they need.

use crate::map::Set;

use proc_macro2::{Literal, TokenStream, TokenTree};
use quote::{format_ident, quote};

use crate::ir::Scalar;
use crate::shape::{Atom, Dim};

/// Names that sizes and scalars of one function may refer to, in the order in which the runtime passes them.
#[derive(Clone, Debug, Default)]
pub(super) struct SizeNames {
    /// Dynamic dimensions of the function.
    pub(super) dims: Vec<String>,
    /// Const generics of the model.
    pub(super) generics: Vec<String>,
    /// Host scalars among the arguments.
    pub(super) scalars: Vec<String>,
}

/// Where the numbers come from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A context `cx`.
    Context,
    /// A context `cx`, by code in its place that `on` gives.
    Inlined,
    /// The const generics, as the slice `__values`.
    Values,
}

/// Spells sizes and remembers which names they use.
pub(super) struct Spelling<'a> {
    names: &'a SizeNames,
    used: Set<String>,
}

impl<'a> Spelling<'a> {
    pub(super) fn new(names: &'a SizeNames) -> Self {
        Self {
            names,
            used: Set::new(),
        }
    }

    /// A `usize` expression.
    pub(super) fn dim(&mut self, dim: &Dim) -> TokenStream {
        for atom in dim.atoms() {
            match atom {
                Atom::Dynamic(symbol) | Atom::Generic(symbol) => {
                    self.used.insert(symbol.name().to_owned());
                }
                Atom::Const(text) => self.note_identifiers(&text),
                _ => {}
            }
        }
        dim.to_tokens()
    }

    /// A size as an operand of arithmetic.
    pub(super) fn operand(&mut self, dim: &Dim) -> TokenStream {
        self.dim(dim);
        dim.to_operand_tokens()
    }

    /// `[a, b]`.
    pub(super) fn dims(&mut self, dims: &[Dim]) -> TokenStream {
        let dims = dims.iter().map(|dim| self.dim(dim));
        quote!([#(#dims),*])
    }

    /// A `usize` expression, where a layout begins; 0 where that would be negative, as of a tensor flipped along an empty axis, of which
    /// nothing is read.
    pub(super) fn offset(&mut self, dim: &Dim) -> TokenStream {
        let (positive, negative) = dim.split_signs();
        if negative.is_zero() {
            return self.dim(dim);
        }
        let (from, less) = (self.dim(&positive), self.dim(&negative));
        quote!((#from).saturating_sub(#less))
    }

    /// An `isize` expression, possibly negative.
    pub(super) fn stride(&mut self, dim: &Dim) -> TokenStream {
        if let Some(n) = dim.as_lit() {
            let digits = proc_macro2::Literal::i64_unsuffixed(n.abs());
            return if n < 0 { quote!(-#digits) } else { quote!(#digits) };
        }
        let (positive, negative) = dim.split_signs();
        let signed = |spelling: &mut Self, dim: &Dim| {
            let dim = spelling.operand(dim);
            quote!(#dim as isize)
        };
        match (positive.is_zero(), negative.is_zero()) {
            (_, true) => signed(self, &positive),
            (true, false) => {
                let negative = signed(self, &negative);
                quote!(-(#negative))
            }
            (false, false) => {
                let (positive, negative) = (signed(self, &positive), signed(self, &negative));
                quote!(#positive - #negative)
            }
        }
    }

    /// An `f64` expression.
    pub(super) fn scalar(&mut self, scalar: &Scalar) -> TokenStream {
        let mut args = Vec::new();
        scalar.args(&mut args);
        self.used.extend(args.iter().map(|name| name.to_string()));
        scalar.dims(&mut |dim| {
            self.dim(dim);
        });
        scalar.to_tokens()
    }

    /// Constants are source text; the const generics that they mention need bindings.
    fn note_identifiers(&mut self, text: &str) {
        let Ok(tokens) = text.parse::<TokenStream>() else {
            return;
        };
        let mut stack: Vec<TokenTree> = tokens.into_iter().collect();
        while let Some(tree) = stack.pop() {
            match tree {
                TokenTree::Ident(ident) => {
                    let name = ident.to_string();
                    if self.names.generics.contains(&name) {
                        self.used.insert(name);
                    }
                }
                TokenTree::Group(group) => stack.extend(group.stream()),
                _ => {}
            }
        }
    }

    /// `let B = cx.dim(0);` for every name that was used.
    pub(super) fn bindings(&self, source: Source) -> TokenStream {
        let mut lets = TokenStream::new();
        let mut bind = |names: &[String], value: &dyn Fn(Literal) -> TokenStream| {
            for (index, name) in names
                .iter()
                .enumerate()
                .filter(|(_, name)| self.used.contains(*name))
            {
                let (name, value) = (format_ident!("{name}"), value(Literal::usize_unsuffixed(index)));
                lets.extend(quote!(let #name = #value;));
            }
        };
        match source {
            Source::Context | Source::Inlined => {
                let read = |what: &str, k: Literal| {
                    let what = format_ident!("{what}");
                    match source {
                        Source::Inlined => quote!(on.#what(cx, #k)),
                        _ => quote!(cx.#what(#k)),
                    }
                };
                bind(&self.names.dims, &|k| read("dim", k));
                bind(&self.names.generics, &|k| read("generic", k));
                bind(&self.names.scalars, &|k| read("scalar", k));
            }
            Source::Values => bind(&self.names.generics, &|k| quote!(__values[#k])),
        }
        lets
    }
}

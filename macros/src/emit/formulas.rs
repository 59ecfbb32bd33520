//! Sizes in the tables: formulas (`runtime/src/program/formula.rs` reads them), and the constants that they mention.

use std::cell::RefCell;

use proc_macro2::TokenStream;
use quote::quote;

use super::sizes::{SizeNames, Source, Spelling};
use crate::shape::{Atom, Dim};

/// The constants that the formulas of a model mention. They are evaluated by emitted code, because only rustc can, when a model is
/// made; the runtime keeps their values behind those of the const generics.
#[derive(Default)]
pub(super) struct Constants {
    sources: RefCell<Vec<String>>,
}

impl Constants {
    /// What a constant is called: its source in backquotes, or its number if that has some itself.
    fn name(&self, source: &str) -> String {
        let mut sources = self.sources.borrow_mut();
        let number = sources
            .iter()
            .position(|known| known == source)
            .unwrap_or_else(|| {
                sources.push(source.to_owned());
                sources.len() - 1
            });
        Self::named(number, source)
    }

    fn named(number: usize, source: &str) -> String {
        match source.contains('`') {
            true => format!("`{number}`"),
            false => format!("`{source}`"),
        }
    }

    /// `fn __generics(values: &[usize]) -> Vec<usize>`: the const generics' values, and those of all constants. The names are such
    /// as users do not give, for the constants stand inside.
    pub(super) fn values(&self, sizes: &SizeNames) -> TokenStream {
        let mut spelling = Spelling::new(sizes);
        let sources = self.sources.borrow();
        let constants: Vec<TokenStream> = sources
            .iter()
            .map(|source| spelling.dim(&Dim::constant(source)))
            .collect();
        let lets = spelling.bindings(Source::Values);
        quote! {
            fn __generics(
                __values: &[::core::primitive::usize],
            ) -> ::std::vec::Vec<::core::primitive::usize> {
                #lets
                [__values, &[#(#constants),*]].concat()
            }
        }
    }
}

/// Writes the formulas of one table.
pub(super) struct Formulas<'a> {
    constants: &'a Constants,
    sizes: SizeNames,
}

impl<'a> Formulas<'a> {
    /// For a table of a function, or of no function, with these names.
    pub(super) fn new(constants: &'a Constants, sizes: SizeNames) -> Self {
        Self { constants, sizes }
    }

    /// The literal of a formula.
    pub(super) fn dim(&self, dim: &Dim) -> TokenStream {
        self.dims(std::slice::from_ref(dim))
    }

    /// The literal of a list of formulas.
    pub(super) fn dims(&self, dims: &[Dim]) -> TokenStream {
        let texts: Result<Vec<String>, TokenStream> = dims.iter().map(|dim| self.text(dim)).collect();
        match texts {
            Ok(texts) => {
                let list = texts.join(", ");
                quote!(#list)
            }
            Err(complaint) => complaint,
        }
    }

    fn text(&self, dim: &Dim) -> Result<String, TokenStream> {
        // What no table knows would be found out when a program runs.
        let stranger = dim.atoms().into_iter().find_map(|atom| match atom {
            Atom::Dynamic(symbol) if !self.sizes.dims.iter().any(|name| name == symbol.name()) => {
                Some(symbol)
            }
            Atom::Generic(symbol) if !self.sizes.generics.iter().any(|name| name == symbol.name()) => {
                Some(symbol)
            }
            _ => None,
        });
        if let Some(symbol) = stranger {
            let complaint =
                format!("the size `{dim}` of a table depends on `{symbol}`: a mistake of the compiler");
            return Err(quote!(::core::compile_error!(#complaint)));
        }
        dim.to_formula(&|source| self.constants.name(source))
    }

    /// The names that formulas use so far: `&["B", "D", "`CLASSES`"]`.
    pub(super) fn names(&self) -> TokenStream {
        let sources = self.constants.sources.borrow();
        let constants = sources
            .iter()
            .enumerate()
            .map(|(k, source)| Constants::named(k, source));
        let names = self
            .sizes
            .dims
            .iter()
            .chain(&self.sizes.generics)
            .cloned()
            .chain(constants);
        quote!(&[#(#names),*])
    }
}

//! Sizes in the tables: formulas (`runtime/src/program/formula.rs` reads them), and the constants that they mention.

use std::cell::RefCell;

use proc_macro2::TokenStream;
use quote::quote;

use super::sizes::{SizeNames, Source, Spelling};
use crate::shape::Dim;

/// Writes formulas and remembers the constants in them. Those are evaluated by emitted code, because only rustc can, when a model
/// is made; the runtime keeps their values behind those of the const generics.
#[derive(Default)]
pub(super) struct Formulas {
    constants: RefCell<Vec<String>>,
}

impl Formulas {
    /// The literal of a formula.
    pub(super) fn dim(&self, dim: &Dim) -> TokenStream {
        self.dims(std::slice::from_ref(dim))
    }

    /// The literal of a list of formulas.
    pub(super) fn dims(&self, dims: &[Dim]) -> TokenStream {
        let texts: Result<Vec<String>, TokenStream> = dims
            .iter()
            .map(|dim| dim.to_formula(&|text| self.name(text)))
            .collect();
        match texts {
            Ok(texts) => {
                let list = texts.join(", ");
                quote!(#list)
            }
            Err(complaint) => complaint,
        }
    }

    /// What a constant is called: its source, in backquotes.
    fn name(&self, source: &str) -> String {
        let mut constants = self.constants.borrow_mut();
        if !constants.iter().any(|known| known == source) {
            constants.push(source.to_owned());
        }
        format!("`{source}`")
    }

    /// The names that formulas use so far: `&["B", "D", "`CLASSES`"]`.
    pub(super) fn names(&self, sizes: &SizeNames) -> TokenStream {
        let constants = self.constants.borrow();
        let constants = constants.iter().map(|source| format!("`{source}`"));
        let names = sizes.dims.iter().chain(&sizes.generics).cloned().chain(constants);
        quote!(&[#(#names),*])
    }

    /// `fn generics(values: &[usize]) -> Vec<usize>`: the const generics' values, and those of all constants.
    pub(super) fn values(&self, sizes: &SizeNames) -> TokenStream {
        let mut spelling = Spelling::new(sizes);
        let constants = self.constants.borrow();
        let constants: Vec<TokenStream> = constants
            .iter()
            .map(|source| spelling.dim(&Dim::constant(source)))
            .collect();
        let lets = spelling.bindings(Source::Values);
        quote! {
            fn generics(values: &[usize]) -> Vec<usize> {
                #lets
                [values, &[#(#constants),*]].concat()
            }
        }
    }
}

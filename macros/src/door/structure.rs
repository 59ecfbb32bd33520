//! What `#[model] struct` emits: the struct, its side of the trait `Model`, and the macro that hands out its tokens.
//!
//! The fields of the emitted struct are handles without size that carry the user's names, so that editors know them;
//! the numbers lie in one further field. The impl that compiles the model is another macro call, which may stand before
//! the struct or after it, or be missing while somebody writes it. So the struct emits nothing that needs it: the trait's
//! `program` calls `Self::__program()`, which is an inherent function where the model was compiled, and otherwise the
//! one of a trait that every type has. (An inherent item is preferred to a trait's.)

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::ast::Struct;
use crate::door::names;

/// The generics of an impl for a model, and the model's type with them.
pub struct Generics {
    /// `<const D: usize>`, or nothing.
    pub declared: TokenStream,
    /// `<D>`, or nothing.
    pub named: TokenStream,
    /// `<0>`, or nothing.
    pub zeros: TokenStream,
    /// `D`
    pub values: Vec<proc_macro2::Ident>,
}

impl Generics {
    /// Those with the given names.
    pub fn new<'a>(generics: impl IntoIterator<Item = &'a proc_macro2::Ident>) -> Self {
        let values: Vec<_> = generics.into_iter().cloned().collect();
        if values.is_empty() {
            let none = TokenStream::new;
            return Self {
                declared: none(),
                named: none(),
                zeros: none(),
                values,
            };
        }
        let zeros = values.iter().map(|_| quote!(0));
        Self {
            declared: quote!(<#(const #values: usize),*>),
            named: quote!(<#(#values),*>),
            zeros: quote!(<#(#zeros),*>),
            values,
        }
    }
}

/// The items for a struct that was read.
pub fn emit(structure: &Struct, attr: &TokenStream, item: &TokenStream, krate: &TokenStream) -> TokenStream {
    let Struct { attrs, vis, name, .. } = structure;
    let generics = Generics::new(structure.generics.iter().map(|generic| &generic.name));
    let declared = &generics.declared;
    let fields = structure.fields.iter().map(|field| {
        let (attrs, vis, name) = (&field.attrs, &field.vis, &field.name);
        quote! {
            #(#attrs)*
            #[doc(hidden)]
            #[allow(dead_code, clippy::allow_attributes)]
            #vis #name: #krate::rt::Handle
        }
    });
    let model = implement_model(structure, &generics, krate);
    let hand_out = fields_macro(structure, attr, item);
    quote! {
        #(#attrs)*
        #vis struct #name #declared {
            #(#fields,)*
            #[doc(hidden)]
            __core: #krate::rt::Core,
        }
        #model
        #hand_out
    }
}

fn implement_model(structure: &Struct, generics: &Generics, krate: &TokenStream) -> TokenStream {
    let name = &structure.name;
    let Generics {
        declared,
        named,
        zeros,
        ..
    } = generics;
    let fields = structure.fields.iter().map(|field| &field.name);
    let missing = format!(
        "the model `{name}` has no functions: write `#[model] impl {name} {{ … }}` beside its struct"
    );
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #declared #krate::rt::Model for #name #named {
                fn from_core(core: #krate::rt::Core) -> Self {
                    Self { #(#fields: #krate::rt::Handle,)* __core: core }
                }
                #[inline]
                fn core(&self) -> &#krate::rt::Core {
                    &self.__core
                }
                #[inline]
                fn core_mut(&mut self) -> &mut #krate::rt::Core {
                    &mut self.__core
                }
                fn program() -> (&'static #krate::rt::Program, ::std::vec::Vec<::core::primitive::usize>) {
                    #[allow(unused_imports)]
                    use #krate::rt::Fallback as _;
                    Self::__program()
                }
            }
            const _: () = {
                #[allow(unused_imports)]
                use #krate::rt::Fallback as _;
                ::core::assert!(<#name #zeros>::__HAS_FUNCTIONS, "{}", #missing);
            };
        };
    }
}

/// The macro that calls whatever it is given with the struct's tokens, and what else it is given.
fn fields_macro(structure: &Struct, attr: &TokenStream, item: &TokenStream) -> TokenStream {
    let name = &structure.name;
    let hash = names::Hash::new().tokens(item).finish();
    let unique = names::unique_macro("fields", name, hash);
    let import = names::fields_macro(name);
    let item = names::without_docs(item.clone());
    let (next, rest) = (format_ident!("next"), format_ident!("rest"));
    quote! {
        #[doc(hidden)]
        #[allow(unused_macros, unused_macro_rules)]
        macro_rules! #unique {
            ([$($#next:tt)*] $($#rest:tt)*) => { $($#next)* ! { { #attr } { #item } $($#rest)* } };
        }
        #[doc(hidden)]
        #[allow(unused_imports)]
        use #unique as #import;
    }
}

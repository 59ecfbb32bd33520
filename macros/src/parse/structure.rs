//! `#[model] struct`.

use crate::ast::{ConstGeneric, Field, FieldKind, Struct};
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::attributes::{self, Place};
use crate::parse::names::Declared;
use crate::parse::{guard, options, place, read, types};
use proc_macro2::TokenStream;
use syn::parse::Parse;
use syn::{GenericParam, ItemStruct, Type};

/// Reads `#[model(attr)] struct …`.
///
/// Returns `None` if there is no name and no list of fields to be read.
pub fn structure(attr: TokenStream, item: TokenStream, diagnostics: &mut Diagnostics) -> Option<Struct> {
    guard::check(&item, diagnostics).ok()?;
    let options = options::model(attr, options::Owner::Model, diagnostics);
    let item = read(<ItemStruct as Parse>::parse, item, diagnostics).ok()?;
    let start = match &item.vis {
        syn::Visibility::Inherited => item.struct_token.span.into(),
        vis => SourceSpan::of(vis),
    };
    let span = start.to(item.ident.span());
    let attrs = attributes::sort(item.attrs, Place::Struct, diagnostics).kept;
    let mut error = None;
    let generics = const_generics(item.generics, Owner::Struct, &mut error, diagnostics);
    let fields = match item.fields {
        syn::Fields::Named(named) => fields(named.named, &mut error, diagnostics),
        syn::Fields::Unit => Vec::new(),
        syn::Fields::Unnamed(unnamed) => {
            error = Some(
                diagnostics.push(
                    Diagnostic::error(SourceSpan::of(&unnamed), "the fields of a model have names")
                        .note("the names make up the paths of the parameters, as in `fc1.weight`")
                        .help(format_args!(
                            "write `struct {} {{ fc1: Linear<784, 128>, … }}`",
                            item.ident
                        )),
                ),
            );
            Vec::new()
        }
    };
    Some(Struct {
        attrs,
        vis: item.vis,
        name: item.ident,
        generics,
        fields,
        options,
        error,
        span,
    })
}

/// Reads the fields; of two with the same name, the first is kept.
fn fields(
    fields: impl IntoIterator<Item = syn::Field>,
    error: &mut Option<Reported>,
    diagnostics: &mut Diagnostics,
) -> Vec<Field> {
    let mut declared = Declared::new("field");
    let mut read = Vec::new();
    for field in fields {
        // A list of named fields holds no other; `syn` has one type for both kinds.
        let Some(name) = field.ident else { continue };
        let span = SourceSpan::from(name.span()).to(place::ty(&field.ty));
        let attributes = attributes::sort(field.attrs, Place::Field, diagnostics);
        let kind = types::field_kind(field.ty, diagnostics);
        if let (Some(weights), FieldKind::Layer { .. } | FieldKind::Param { .. } | FieldKind::State { .. }) = (
            attributes.weights.as_ref().filter(|weights| weights.first > 0),
            &kind,
        ) {
            let error = Diagnostic::error(
                weights.span,
                "`first` is the number of the first element of an array",
            );
            diagnostics.push(error.help("write the number into the name, as in `#[weights(\"h.1\")]`"));
        }
        if let Some((_, value)) = field.default {
            let place = SourceSpan::of(&value);
            let help = "write `#[layer(init = …)]` for the first values of a parameter";
            diagnostics.push(Diagnostic::error(place, "a field of a model has no default").help(help));
        }
        match declared.declare(&name, diagnostics) {
            Ok(()) => read.push(Field {
                attrs: attributes.kept,
                vis: field.vis,
                name,
                kind,
                options: attributes.layer,
                frozen: attributes.freeze,
                weights: attributes.weights,
                recompute: attributes.recompute,
                span,
            }),
            Err(reported) => *error = Some(reported),
        }
    }
    read
}

/// Whose generics are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A struct, where they are declared.
    Struct,
    /// An impl, which names them again.
    Impl,
}

/// Reads the generics of a model: `const D: usize` and nothing else.
pub fn const_generics(
    generics: syn::Generics,
    owner: Owner,
    error: &mut Option<Reported>,
    diagnostics: &mut Diagnostics,
) -> Vec<ConstGeneric> {
    const HELP: &str =
        "write `const D: usize` for a width; device and precision are chosen when the model is made";
    let mut declared = Declared::new("const generic");
    let mut read = Vec::new();
    if let Some(clause) = &generics.where_clause {
        let refused = Diagnostic::error(SourceSpan::of(clause), "a model has no `where` clause");
        *error = Some(
            diagnostics
                .push(refused.help("remove it; what must hold for the sizes is found by the compiler")),
        );
    }
    for param in generics.params {
        let span = SourceSpan::of(&param);
        let refused = match param {
            GenericParam::Const(param) => {
                attributes::sort(param.attrs, Place::Generic, diagnostics);
                if let Some((_, default)) = &param.default {
                    let place = SourceSpan::of(default);
                    let refused =
                        Diagnostic::error(place, format!("`{}` cannot have a default", param.ident));
                    *error = Some(diagnostics.push(refused.help("name the size where the model is used")));
                }
                if !is_usize(&param.ty) {
                    let place = SourceSpan::of(&param.ty);
                    let refused = Diagnostic::error(place, format!("`{}` is no size", param.ident));
                    *error = Some(diagnostics.push(refused.expected("`usize`").help(HELP)));
                }
                match declared.declare(&param.ident, diagnostics) {
                    Ok(()) => read.push(ConstGeneric { name: param.ident }),
                    Err(reported) => *error = Some(reported),
                }
                continue;
            }
            GenericParam::Type(param) if owner == Owner::Impl && has_dim_bound(&param) => Diagnostic::error(
                span,
                format!("the dynamic dimension `{}` belongs to a function", param.ident),
            )
            .help(format_args!("write `fn forward<{}: Dim>(&self, …)`", param.ident)),
            GenericParam::Type(_) => Diagnostic::error(span, "a model has no type parameters").help(HELP),
            GenericParam::Lifetime(_) => Diagnostic::error(span, "a model has no lifetimes").help(HELP),
        };
        *error = Some(diagnostics.push(refused));
    }
    read
}

fn is_usize(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.qself.is_none() && path.path.is_ident("usize"))
}

fn has_dim_bound(param: &syn::TypeParam) -> bool {
    param.bounds.iter().any(|bound| match bound {
        syn::TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|last| last.ident == "Dim")
        }
        _ => false,
    })
}

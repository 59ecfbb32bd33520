//! Sizes as the user writes them, evaluated to polynomials of the model that is compiled.
//!
//! A size in a layer's own source speaks of that layer's const generics and of constants of its module. Seen from the
//! compiled model, a const generic is the argument that was given, and a constant is a call of the layer's accessor,
//! through its parent's accessor, and so on: only the direct parent can name a type's path.

use crate::map::Map;

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};

use crate::ast::{DimExpr, DimExprKind};
use crate::lower::tree::{InstanceId, Kind, Tree};
use crate::model::{Constant, constant_text};
use crate::shape::Dim;

/// Why a size has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// It was not understood, which is reported.
    Reported,
    /// For this reason.
    Because(String),
}

/// What the names in a size stand for.
pub struct Names<'n> {
    /// Const generics and dynamic dimensions.
    pub sizes: &'n Map<String, Dim>,
    /// How the struct calls a const generic that the impl names differently.
    pub renamed: &'n Map<String, Ident>,
}

/// Evaluates a size; `constant` gives the meaning of what is no name of a size.
pub fn evaluate(
    expr: &DimExpr,
    names: &Names<'_>,
    constant: &dyn Fn(&str, TokenStream) -> Result<Dim, SizeError>,
) -> Result<Dim, SizeError> {
    let both = |a: &DimExpr, b: &DimExpr| Ok((evaluate(a, names, constant)?, evaluate(b, names, constant)?));
    match &expr.kind {
        DimExprKind::Lit(value) => match i64::try_from(*value) {
            Ok(value) => Ok(Dim::lit(value)),
            Err(_) => Err(SizeError::Because(format!("the size {value} is too large"))),
        },
        DimExprKind::Name(name) => match names.sizes.get(&name.to_string()) {
            Some(dim) => Ok(dim.clone()),
            None => constant(&name.to_string(), name.to_token_stream()),
        },
        DimExprKind::Add(a, b) => both(a, b).map(|(a, b)| a + b),
        DimExprKind::Sub(a, b) => both(a, b).map(|(a, b)| a - b),
        DimExprKind::Mul(a, b) => both(a, b).map(|(a, b)| a * b),
        DimExprKind::Div(a, b) => match both(a, b)? {
            (a, b) if b.is_zero() => Err(SizeError::Because(format!("the size `{a} / 0` has no value"))),
            (a, b) => Ok(a.floor_div(&b)),
        },
        DimExprKind::Opaque(expr) => {
            let tokens = rename(quote!(#expr), names.renamed);
            match syn::parse2::<syn::Expr>(tokens) {
                Ok(expr) => constant(&constant_text(&expr), expr.to_token_stream()),
                Err(_) => Err(SizeError::Because("this is no expression".to_owned())),
            }
        }
        DimExprKind::Error(_) => Err(SizeError::Reported),
    }
}

/// Replaces identifiers, inside of groups too.
fn rename(tokens: TokenStream, renamed: &Map<String, Ident>) -> TokenStream {
    if renamed.is_empty() {
        return tokens;
    }
    let replace = |tree| match tree {
        TokenTree::Ident(ident) => match renamed.get(&ident.to_string()) {
            Some(name) => TokenTree::Ident(Ident::new(&name.to_string(), ident.span())),
            None => TokenTree::Ident(ident),
        },
        TokenTree::Group(group) => {
            let mut inside = Group::new(group.delimiter(), rename(group.stream(), renamed));
            inside.set_span(group.span());
            TokenTree::Group(inside)
        }
        other => other,
    };
    tokens.into_iter().map(replace).collect()
}

impl Tree<'_> {
    /// Evaluates a size that stands in the source of the model `instance`.
    pub fn size(&self, instance: InstanceId, expr: &DimExpr, names: &Names<'_>) -> Result<Dim, SizeError> {
        evaluate(expr, names, &|text, tokens| {
            self.constant(instance, text, Some(tokens))
        })
    }

    /// A constant of the model `instance`, as the compiled model reaches it.
    pub fn constant(
        &self,
        instance: InstanceId,
        text: &str,
        tokens: Option<TokenStream>,
    ) -> Result<Dim, SizeError> {
        let Some(parent) = self.instances[instance].parent else {
            self.note_constant(text, tokens);
            return Ok(Dim::constant(text));
        };
        let Kind::Model(layer) = &self.instances[instance].kind else {
            return Err(SizeError::Because(format!(
                "the constant `{text}` belongs to no model"
            )));
        };
        let accessor = layer
            .model
            .accessors
            .iter()
            .find(|accessor| accessor.source == text);
        match (accessor, &layer.model.type_path) {
            (Some(accessor), Some(path)) => {
                let values: Vec<String> = layer.outer_generics.iter().map(Dim::to_string).collect();
                let text = format!("<{path}>::{}({})", accessor.function, values.join(", "));
                self.constant(parent, &text, None)
            }
            _ => {
                let model = &self.instances[instance].written;
                Err(SizeError::Because(format!(
                    "the constant `{text}` of `{model}` cannot be reached from here"
                )))
            }
        }
    }

    fn note_constant(&self, text: &str, tokens: Option<TokenStream>) {
        let mut constants = self.constants.borrow_mut();
        if !constants.iter().any(|constant| constant.text == text) {
            constants.push(Constant {
                text: text.to_owned(),
                tokens,
            });
        }
    }
}

//! `#[model] impl`.

use crate::ast::{Function, Impl};
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::attributes::{self, Place};
use crate::parse::names::{self, Declared};
use crate::parse::structure::{Owner, const_generics};
use crate::parse::{function, guard, options, place, read, types};
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, GenericArgument, Generics, Path, Signature, Token, Type, Visibility, WhereClause};

/// An impl whose items are not read yet, so that an error in one of them leaves the others whole.
struct RawImpl {
    attrs: Vec<Attribute>,
    /// Words that may not stand before `impl`, and `!` after it.
    modifiers: Vec<Span>,
    impl_span: Span,
    generics: Generics,
    trait_for: Option<Span>,
    self_ty: Type,
    items: TokenStream,
}

impl Parse for RawImpl {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let mut modifiers = Vec::new();
        while !input.peek(Token![impl]) && !input.is_empty() {
            modifiers.push(input.parse::<TokenTree>()?.span());
        }
        let impl_span = input.parse::<Token![impl]>()?.span;
        let mut generics: Generics = input.parse()?;
        if input.peek(Token![!]) {
            modifiers.push(input.parse::<Token![!]>()?.span);
        }
        let mut self_ty: Type = input.parse()?;
        let mut trait_for = None;
        if input.peek(Token![for]) {
            trait_for = Some(input.parse::<Token![for]>()?.span);
            self_ty = input.parse()?;
        }
        generics.where_clause = input.parse::<Option<WhereClause>>()?;
        let items;
        syn::braced!(items in input);
        let items = items.parse()?;
        Ok(RawImpl {
            attrs,
            modifiers,
            impl_span,
            generics,
            trait_for,
            self_ty,
            items,
        })
    }
}

/// Reads `#[model(attr)] impl …`.
///
/// Returns `None` if there is no type and no list of functions to be read.
pub fn implementation(attr: TokenStream, item: TokenStream, diagnostics: &mut Diagnostics) -> Option<Impl> {
    guard::check(&item, diagnostics).ok()?;
    let options = options::model(attr, options::Owner::Model, diagnostics);
    let raw = read(RawImpl::parse, item, diagnostics).ok()?;
    let span = SourceSpan::from(raw.impl_span).to(SourceSpan::of(&raw.self_ty));
    let mut error = None;
    for modifier in raw.modifiers {
        error = Some(diagnostics.error(modifier, "this cannot be part of the impl of a model"));
    }
    if let Some(trait_for) = raw.trait_for {
        let refused = Diagnostic::error(trait_for, "the impl of a model implements no trait");
        error = Some(diagnostics.push(refused.help("write the impl of the trait without `#[model]`")));
    }
    let attrs = attributes::sort(raw.attrs, Place::Impl, diagnostics).kept;
    let generics = const_generics(raw.generics, Owner::Impl, &mut error, diagnostics);
    let (self_path, args) = self_type(raw.self_ty, diagnostics).ok()?;
    let names: Vec<&Ident> = generics.iter().map(|generic| &generic.name).collect();
    let self_args = match self_arguments(args, &names, span, diagnostics) {
        Ok(args) => args,
        Err(reported) => {
            error = Some(reported);
            generics.iter().map(|generic| generic.name.clone()).collect()
        }
    };
    let mut functions = functions(raw.items, &names, &mut error, diagnostics);
    names::reject_generated(&mut functions, diagnostics);
    if error.is_none() {
        check_dim_values(&options, &functions, diagnostics);
    }
    Some(Impl {
        attrs,
        self_path,
        self_args,
        generics,
        functions,
        options,
        error,
        span,
    })
}

/// Splits the type of the model into its path and its arguments.
fn self_type(ty: Type, diagnostics: &mut Diagnostics) -> Result<(Path, Vec<GenericArgument>), Reported> {
    let span = place::ty(&ty);
    match ty {
        Type::Group(group) => self_type(*group.elem, diagnostics),
        Type::Paren(paren) => self_type(*paren.elem, diagnostics),
        Type::Path(path) if path.qself.is_none() => {
            let mut path = path.path;
            let args = types::take_arguments(&mut path, diagnostics)?;
            Ok((path, args))
        }
        _ => {
            let error = Diagnostic::error(span, "this is not the name of a model");
            Err(diagnostics.push(error.expected("the struct that has `#[model]`, as in `impl Name { … }`")))
        }
    }
}

/// Checks that the model's type has the const generics of the impl as its arguments, each once: a model is
/// compiled for all its sizes, not for some.
fn self_arguments(
    args: Vec<GenericArgument>,
    generics: &[&Ident],
    span: SourceSpan,
    diagnostics: &mut Diagnostics,
) -> Result<Vec<Ident>, Reported> {
    let mut declared = Declared::new("argument");
    let mut names = Vec::new();
    for arg in args {
        let place = SourceSpan::of(&arg);
        let name = match arg {
            GenericArgument::Type(Type::Path(path)) => path.path.get_ident().cloned(),
            _ => None,
        };
        let Some(name) = name.filter(|name| generics.contains(&name)) else {
            let error = Diagnostic::error(place, "the functions of a model are written for all its sizes")
                .expected("a const generic of this impl")
                .help("write `impl<const D: usize> Name<D> { … }`");
            return Err(diagnostics.push(error));
        };
        declared.declare(&name, diagnostics)?;
        names.push(name);
    }
    match generics.iter().find(|generic| !names.contains(generic)) {
        None => Ok(names),
        Some(missing) => {
            let error = Diagnostic::error(
                span,
                format!("the const generic `{missing}` is no size of the model"),
            );
            Err(diagnostics.push(error.help(format_args!(
                "remove it, or write it among the sizes: `Name<{missing}>`"
            ))))
        }
    }
}

/// Reads the items one by one; of two functions with the same name, the first is kept.
fn functions(
    items: TokenStream,
    generics: &[&Ident],
    error: &mut Option<Reported>,
    diagnostics: &mut Diagnostics,
) -> Vec<Function> {
    let mut declared = Declared::new("function");
    let mut functions = Vec::new();
    for tokens in split(items) {
        let result = read(raw_item, tokens, diagnostics).and_then(|raw| match raw {
            RawItem::Function(raw) => function::function(*raw, generics, diagnostics),
            RawItem::Other(span, what) => Err(diagnostics.push(
                Diagnostic::error(span, format!("{what} cannot stand in the impl of a model"))
                    .help("put it into an impl of its own, without `#[model]`, or outside"),
            )),
        });
        let kept = result.and_then(|function| {
            declared.declare(&function.name, diagnostics)?;
            Ok(function)
        });
        match kept {
            Ok(function) => functions.push(function),
            Err(reported) => *error = Some(reported),
        }
    }
    functions
}

/// Splits the inside of an impl into items: each ends with its braces or with a semicolon.
fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let mut items = Vec::new();
    let mut item: Vec<TokenTree> = Vec::new();
    for tree in tokens {
        let is_end = match &tree {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            // Braces inside of angle brackets are sizes: `Tensor<B, { 4 * D }>`.
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && angles(&item) == 0,
            _ => false,
        };
        item.push(tree);
        if is_end {
            items.push(item.drain(..).collect());
        }
    }
    if !item.is_empty() {
        items.push(item.into_iter().collect());
    }
    items
}

/// The number of angle brackets that are open at the end of `tokens`.
fn angles(tokens: &[TokenTree]) -> usize {
    let mut open = 0_usize;
    let mut previous = ' ';
    for tree in tokens {
        let TokenTree::Punct(punct) = tree else {
            previous = ' ';
            continue;
        };
        match punct.as_char() {
            '<' => open += 1,
            '>' if previous != '-' => open = open.saturating_sub(1),
            _ => {}
        }
        previous = punct.as_char();
    }
    open
}

/// An item of an impl.
enum RawItem {
    Function(Box<function::RawFunction>),
    /// Something else, with a word for it.
    Other(SourceSpan, &'static str),
}

fn raw_item(input: ParseStream<'_>) -> syn::Result<RawItem> {
    let start = input.span();
    let attrs = input.call(Attribute::parse_outer)?;
    let vis: Visibility = input.parse()?;
    let is_const_item = input.peek(Token![const])
        && ![
            input.peek2(Token![fn]),
            input.peek2(Token![async]),
            input.peek2(Token![unsafe]),
            input.peek2(Token![extern]),
        ]
        .contains(&true);
    let other = if is_const_item {
        Some("a constant")
    } else if input.peek(Token![type]) {
        Some("a type")
    } else if input.peek(syn::Ident) && (input.peek2(Token![!]) || input.peek2(Token![::])) {
        Some("a macro call")
    } else {
        None
    };
    if let Some(what) = other {
        let rest: TokenStream = input.parse()?;
        return Ok(RawItem::Other(
            SourceSpan::from(start).to(SourceSpan::of(&rest)),
            what,
        ));
    }
    let signature: Signature = input.parse()?;
    let body;
    let brace = syn::braced!(body in input);
    let body = body.parse()?;
    let raw = function::RawFunction {
        attrs,
        vis,
        signature,
        body,
        brace: brace.span,
    };
    Ok(RawItem::Function(Box::new(raw)))
}

/// Checks that the dimensions in `#[model(dims(…))]` on the impl are dimensions of at least one function.
fn check_dim_values(
    options: &crate::ast::ModelOptions,
    functions: &[Function],
    diagnostics: &mut Diagnostics,
) {
    for value in &options.dims {
        let known = functions
            .iter()
            .flat_map(|function| &function.dims)
            .any(|dim| dim.name == value.name);
        if !known {
            let message = format!("no function has a dynamic dimension `{}`", value.name);
            let error = Diagnostic::error(value.name.span(), message);
            diagnostics.push(error.help("name a generic that is bound by `Dim`"));
        }
    }
}

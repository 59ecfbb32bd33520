//! What lowering is held to: the graphs of correct models, and the errors of wrong ones with their places.
//!
//! Tests start from source text. A small stand-in for the hand-over between macros resolves the types of fields by
//! their names: models of the same text first, then the layers of the library.

mod errors;
mod graphs;
mod loop_errors;
mod loops;

use std::rc::Rc;

use proc_macro2::TokenStream;
use quote::quote;

use crate::ast::{self, FieldKind};
use crate::definition::layer_path;
use crate::diag::Diagnostics;
use crate::layers;
use crate::model::{Accessor, Constant, Definition, Lowered, UserModel};
use crate::parse;
use crate::shape::Dim;

/// A struct and its impl for every model of a text, in order; the last one is the compiled model.
fn models(source: &str) -> Vec<(ast::Struct, ast::Impl)> {
    let file: syn::File = syn::parse_str(source).expect("the source of a test is Rust");
    let mut diagnostics = Diagnostics::new();
    let (mut structs, mut impls) = (Vec::new(), Vec::new());
    for item in source_items(&file, source) {
        match parse::item(TokenStream::new(), item, &mut diagnostics) {
            Some(ast::Item::Struct(structure)) => structs.push(structure),
            Some(ast::Item::Impl(implementation)) => impls.push(implementation),
            None => {}
        }
    }
    if let Err(errors) = diagnostics.finish() {
        panic!("the source of a test does not parse: {errors}");
    }
    structs.into_iter().zip(impls).collect()
}

/// The tokens of the items, with places in `source`.
fn source_items(file: &syn::File, source: &str) -> Vec<TokenStream> {
    let tokens: TokenStream = source.parse().expect("it was parsed before");
    let mut items = vec![TokenStream::new()];
    for tree in tokens {
        let ends = match &tree {
            proc_macro2::TokenTree::Group(group) => group.delimiter() == proc_macro2::Delimiter::Brace,
            proc_macro2::TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        items.last_mut().expect("there is a first item").extend([tree]);
        if ends && items.len() < file.items.len() {
            items.push(TokenStream::new());
        }
    }
    items
}

/// Resolves the fields of every model; models that come earlier can be layers of later ones.
pub(crate) fn define(source: &str) -> UserModel {
    let mut known: Vec<(String, Rc<Definition>)> = Vec::new();
    let mut last = None;
    for (structure, implementation) in models(source) {
        let children = structure.fields.iter().map(|field| {
            let path = layer_path(&field.kind)?;
            let name = path.segments.last()?.ident.to_string();
            if name == "Broken" {
                return Some(Rc::new(Definition::Poison));
            }
            let model = known.iter().find(|(known, _)| *known == name);
            model
                .map(|(_, definition)| Rc::clone(definition))
                .or_else(|| Some(Rc::new(Definition::Builtin(layers::named(&name)?))))
        });
        let children = children.collect();
        let zeros = vec!["0"; structure.generics.len()].join(", ");
        let type_path = Some(format!("zoo::{}<{zeros}>", structure.name));
        let name = structure.name.to_string();
        let mut model = UserModel {
            structure,
            implementation,
            children,
            accessors: Vec::new(),
            type_path,
        };
        let compiled = model.clone();
        export(&mut model);
        known.push((name, Rc::new(Definition::User(Box::new(model)))));
        last = Some(compiled);
    }
    last.expect("the source of a test has a model")
}

/// What a model's own expansion would export: a function for every constant that it depends on, and no `_` left.
fn export(model: &mut UserModel) {
    let mut diagnostics = Diagnostics::new();
    let lowered = super::lower(model, &mut diagnostics);
    let _ = diagnostics.finish();
    let Some(Lowered {
        constants, solved, ..
    }) = lowered
    else {
        return;
    };
    let accessor = |(k, constant): (usize, Constant)| Accessor {
        source: constant.text,
        function: format!("__size_{k}"),
    };
    model.accessors = constants.into_iter().enumerate().map(accessor).collect();
    for solution in solved {
        if let FieldKind::Layer { args, .. } = &mut model.structure.fields[solution.field].kind {
            args[solution.position] = argument(&solution.size);
        }
    }
}

/// A size as an argument of a type.
fn argument(size: &Dim) -> ast::DimArg {
    let size = size.to_tokens();
    let mut diagnostics = Diagnostics::new();
    let item = quote!(struct Solved { layer: Layer<{ #size }> });
    let item = parse::item(TokenStream::new(), item, &mut diagnostics);
    diagnostics.finish().expect("sizes print as Rust");
    let Some(ast::Item::Struct(structure)) = item else {
        panic!("it is written as a struct")
    };
    match &structure.fields[0].kind {
        FieldKind::Layer { args, .. } => args[0].clone(),
        _ => panic!("it is written as a layer"),
    }
}

/// Lowers the last model of a text, which is expected to be correct.
fn accept(source: &str) -> Lowered {
    let model = define(source);
    let mut diagnostics = Diagnostics::new();
    let lowered = super::lower(&model, &mut diagnostics);
    let errors: Vec<String> = diagnostics.iter().map(|error| error.text()).collect();
    let _ = diagnostics.finish();
    assert!(
        errors.is_empty(),
        "a correct model was refused: {}",
        errors.join("\n")
    );
    let lowered = lowered.expect("a model without errors is lowered");
    for function in &lowered.functions {
        for graph in [Some(&function.eval), function.train.as_ref()]
            .into_iter()
            .flatten()
        {
            if let Err(violation) = crate::ir::verify::verify(graph) {
                panic!("`{}`: {violation}", function.name);
            }
        }
    }
    lowered
}

/// The errors of the last model of a text: the text under each, and what it says.
fn errors(source: &str) -> Vec<(String, String)> {
    let model = define(source);
    let mut diagnostics = Diagnostics::new();
    let lowered = super::lower(&model, &mut diagnostics);
    assert!(
        lowered.is_none() || diagnostics.is_empty(),
        "a model with errors is not lowered"
    );
    let found = diagnostics.iter().map(|error| {
        let span = error.span();
        let under = span.start.join(span.end).unwrap_or(span.start);
        (under.source_text().unwrap_or_default(), error.text())
    });
    let found = found.collect();
    let _ = diagnostics.finish();
    found
}

/// The graph of a function in eval mode, as text.
fn graph(lowered: &Lowered, function: &str) -> String {
    let function = lowered
        .functions
        .iter()
        .find(|f| f.name == function)
        .expect("the function is public");
    function.eval.to_string()
}

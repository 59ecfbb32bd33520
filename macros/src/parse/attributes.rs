//! The attributes inside of a model: which are understood, which are passed through, which are errors.

use crate::ast::{ModelOptions, OptionArg, WeightsName};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::parse::{expr, options};
use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;

use syn::visit::Visit;
use syn::{Attribute, LitStr, Meta, Token};

/// What an attribute stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The struct itself, below `#[model]`.
    Struct,
    /// A field of the struct.
    Field,
    /// The impl itself, below `#[model]`.
    Impl,
    /// A function of the impl.
    Function,
    /// An argument of a function.
    Arg,
    /// A generic parameter.
    Generic,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Struct => "a model",
            Place::Field => "a field",
            Place::Impl => "the impl of a model",
            Place::Function => "a function of a model",
            Place::Arg => "an argument",
            Place::Generic => "a generic parameter",
        }
    }

    /// The attributes of the language that may stand here.
    fn own(self) -> &'static [&'static str] {
        match self {
            Place::Field => &["layer", "freeze", "recompute", "weights"],
            Place::Function => &["model"],
            Place::Arg => &["grad"],
            Place::Struct | Place::Impl | Place::Generic => &[],
        }
    }
}

/// The attributes of one item, sorted.
#[derive(Default)]
pub struct Attributes {
    /// Those for rustc: documentation, lints.
    pub kept: Vec<Attribute>,
    /// `#[model(…)]` on a function.
    pub model: ModelOptions,
    /// `#[layer(…)]`
    pub layer: Vec<OptionArg>,
    /// `#[freeze]`
    pub freeze: Option<SourceSpan>,
    /// `#[weights("…")]`, `#[weights("…", first = 1)]`
    pub weights: Option<WeightsName>,
    /// `#[recompute]`
    pub recompute: Option<SourceSpan>,
    /// `#[grad]`
    pub grad: Option<SourceSpan>,
}

/// Attributes that mean nothing to the language and are handed on to rustc.
const PASSED: [&str; 9] = [
    "allow",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "warn",
];

/// Sorts the attributes of what stands at `place`.
pub fn sort(attributes: Vec<Attribute>, place: Place, diagnostics: &mut Diagnostics) -> Attributes {
    let mut sorted = Attributes::default();
    for attribute in attributes {
        let path = attribute.path();
        let name = path.get_ident().map(ToString::to_string).unwrap_or_default();
        let first = path
            .segments
            .first()
            .map(|segment| segment.ident.to_string())
            .unwrap_or_default();
        let is_tool = path.segments.len() > 1 && ["clippy", "rustfmt"].contains(&first.as_str());
        if is_tool || PASSED.contains(&name.as_str()) {
            sorted.kept.push(attribute);
        } else if place.own().contains(&name.as_str()) {
            take(&name, &attribute, &mut sorted, diagnostics);
        } else {
            refuse(&name, &attribute, place, diagnostics);
        }
    }
    sorted
}

/// Reads an attribute of the language into `sorted`.
fn take(name: &str, attribute: &Attribute, sorted: &mut Attributes, diagnostics: &mut Diagnostics) {
    let span = SourceSpan::of(attribute);
    match (name, &attribute.meta) {
        ("freeze", Meta::Path(_)) => sorted.freeze = Some(span),
        ("recompute", Meta::Path(_)) => sorted.recompute = Some(span),
        ("grad", Meta::Path(_)) => sorted.grad = Some(span),
        ("freeze" | "recompute" | "grad", _) => {
            diagnostics.push(
                Diagnostic::error(span, format!("`#[{name}]` has no options"))
                    .help(format_args!("write `#[{name}]`")),
            );
        }
        ("layer", Meta::List(list)) => {
            let read = crate::parse::read(
                Punctuated::<syn::Expr, Token![,]>::parse_terminated,
                list.tokens.clone(),
                diagnostics,
            );
            let Ok(arguments) = read else { return };
            let (args, named) = expr::arguments(sorted.layer.drain(..).collect(), arguments, diagnostics);
            sorted.layer = named;
            for arg in args {
                diagnostics.push(
                    Diagnostic::error(arg.span, "the options of a layer have names")
                        .help("write `#[layer(name = value)]`, as in `#[layer(padding = 1, bias = false)]`"),
                );
            }
        }
        ("weights", Meta::List(list)) => sorted.weights = weights(list.tokens.clone(), diagnostics),
        ("weights", _) => {
            diagnostics.push(
                Diagnostic::error(span, "`#[weights]` needs a name in parentheses")
                    .help("write `#[weights(\"h\")]`; `#[weights(\"\")]` leaves the level out"),
            );
        }
        ("model", Meta::List(list)) => {
            sorted.model = options::model(list.tokens.clone(), options::Owner::Function, diagnostics);
        }
        _ => {
            diagnostics.push(
                Diagnostic::error(span, format!("`#[{name}]` needs its options in parentheses"))
                    .help(format_args!("write `#[{name}(name = value)]`")),
            );
        }
    }
}

/// What stands inside of `#[weights(…)]`: `"h"`, or `"h", first = 1`.
struct Weights {
    name: LitStr,
    first: usize,
}

impl Parse for Weights {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        if input.is_empty() {
            return Ok(Self { name, first: 0 });
        }
        input.parse::<Token![,]>()?;
        let option: syn::Ident = input.parse()?;
        if option != "first" {
            let message = format!("`#[weights]` has no option `{option}`: its only option is `first`");
            return Err(syn::Error::new(option.span(), message));
        }
        input.parse::<Token![=]>()?;
        let first: u32 = input.parse::<syn::LitInt>()?.base10_parse()?;
        Ok(Self {
            name,
            first: first as usize,
        })
    }
}

/// Reads the name in `#[weights("…")]`, and the number of the first element.
fn weights(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Option<WeightsName> {
    let Weights { name: text, first } =
        crate::parse::read(<Weights as Parse>::parse, tokens, diagnostics).ok()?;
    let name = text.value();
    let is_part =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || "{}".contains(c));
    if !name.is_empty() && !name.split('.').all(is_part) {
        let error = Diagnostic::error(text.span(), "this is no part of a path")
            .expected("names with dots between them, as in `\"transformer.h\"`, or nothing at all")
            .found(format_args!("`{name:?}`"));
        diagnostics.push(error);
        return None;
    }
    Some(WeightsName {
        name,
        first,
        span: text.span().into(),
    })
}

/// Says why an attribute may not stand at `place`.
fn refuse(name: &str, attribute: &Attribute, place: Place, diagnostics: &mut Diagnostics) {
    let span = SourceSpan::of(attribute);
    let here = place.name();
    let error = match name {
        "cfg" | "cfg_attr" => Diagnostic::error(span, format!("`#[{name}]` cannot stand inside of a model"))
            .note("a model is compiled while its configuration is still unknown")
            .help("put `#[cfg(…)]` on the whole model, above `#[model]`, and write one model for each case"),
        "derive" => Diagnostic::error(span, "`#[derive(…)]` cannot stand on a model")
            .note("the layers of a model are not the fields that the generated struct has")
            .help("remove it; what a model can do is generated by `#[model]`"),
        "model" => Diagnostic::error(span, format!("`#[model]` cannot stand on {here}")).help(
            "`#[model]` stands once on the struct and once on the impl; its options may stand on functions",
        ),
        "layer" | "freeze" | "recompute" | "weights" => {
            Diagnostic::error(span, format!("`#[{name}]` cannot stand on {here}"))
                .help(format_args!("`#[{name}]` stands on a field of a model"))
        }
        "grad" => Diagnostic::error(span, format!("`#[grad]` cannot stand on {here}"))
            .help("`#[grad]` stands on an argument of a function, to get the gradient with respect to it"),
        _ => {
            let own = place
                .own()
                .iter()
                .map(|own| format!("`#[{own}]`, "))
                .collect::<String>();
            let shown = if name.is_empty() {
                "this attribute".to_owned()
            } else {
                format!("`#[{name}]`")
            };
            Diagnostic::error(span, format!("{shown} cannot stand on {here}")).expected(format_args!(
                "{own}documentation or a lint level such as `#[allow(…)]`"
            ))
        }
    };
    diagnostics.push(error);
}

/// Reports every attribute inside the body of a function: expressions and statements have none.
pub fn refuse_in_body(stmts: &[syn::Stmt], diagnostics: &mut Diagnostics) {
    struct Visitor<'a>(&'a mut Diagnostics);
    impl Visit<'_> for Visitor<'_> {
        fn visit_attribute(&mut self, attribute: &Attribute) {
            let span = SourceSpan::of(attribute);
            if attribute.path().is_ident("doc") {
                let error = Diagnostic::error(span, "a documentation comment documents nothing here");
                self.0.push(error.help("write an ordinary comment, `// …`"));
            } else {
                let error =
                    Diagnostic::error(span, "attributes cannot stand inside of a function of a model");
                self.0
                    .push(error.help("put it on the function, or on the model if it is `#[cfg(…)]`"));
            }
        }
    }
    let mut visitor = Visitor(diagnostics);
    for stmt in stmts {
        visitor.visit_stmt(stmt);
    }
}

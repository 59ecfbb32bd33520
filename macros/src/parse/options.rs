//! The options in `#[model(…)]`.

use crate::ast::{DimValue, GradMode, MemoryLimit, ModelOptions};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::parse::{dims, guard, names::Declared, read};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{LitStr, Token};

/// What the options belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A struct or an impl.
    Model,
    /// A function.
    Function,
}

impl Owner {
    /// The options that it has, as they are written.
    fn options(self) -> &'static str {
        match self {
            Owner::Model => "`crate = path`, `max_memory = \"64 MiB\"` or `dims(B = 32)`",
            Owner::Function => "`grad = \"eval\"`, `hvp`, `max_memory = \"64 MiB\"` or `dims(B = 32)`",
        }
    }
}

/// `name = value` or `name(value)`, the value still as tokens.
struct Entry {
    name: Ident,
    form: Form,
    value: TokenStream,
    span: SourceSpan,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `name`
    Alone,
    /// `name = value`
    Equals,
    /// `name(value)`
    Parentheses,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.call(Ident::parse_any)?;
        let form = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Form::Equals
        } else if input.peek(syn::token::Paren) {
            Form::Parentheses
        } else {
            Form::Alone
        };
        let mut value = TokenStream::new();
        while !input.is_empty() && !input.peek(Token![,]) {
            value.extend([input.parse::<TokenTree>()?]);
        }
        if form == Form::Equals && value.is_empty() {
            return Err(input.error(format_args!("expected a value for `{name}`")));
        }
        let span = if value.is_empty() {
            name.span().into()
        } else {
            SourceSpan::from(name.span()).to(SourceSpan::of(&value))
        };
        Ok(Entry {
            name,
            form,
            value,
            span,
        })
    }
}

/// Reads the options of `owner`.
pub fn model(tokens: TokenStream, owner: Owner, diagnostics: &mut Diagnostics) -> ModelOptions {
    let mut options = ModelOptions::default();
    let mut declared = Declared::new("option");
    if guard::check(&tokens, diagnostics).is_err() {
        return options;
    }
    let Ok(entries) = read(
        Punctuated::<Entry, Token![,]>::parse_terminated,
        tokens,
        diagnostics,
    ) else {
        return options;
    };
    for entry in entries {
        if declared.declare(&entry.name, diagnostics).is_ok() {
            set(&mut options, entry, owner, diagnostics);
        }
    }
    options
}

/// Reads one option.
fn set(options: &mut ModelOptions, entry: Entry, owner: Owner, diagnostics: &mut Diagnostics) {
    let name = entry.name.to_string();
    match (name.as_str(), owner, entry.form) {
        ("crate", Owner::Model, Form::Equals) => {
            options.crate_path = read(syn::Path::parse_mod_style, entry.value, diagnostics).ok();
        }
        ("max_memory", _, Form::Equals) => {
            options.max_memory = memory_limit(entry.value, diagnostics);
        }
        ("grad", Owner::Function, Form::Equals) => {
            options.grad = grad_mode(entry.value, diagnostics);
        }
        ("hvp", Owner::Function, Form::Alone) => options.hvp = Some(entry.span),
        ("dims", _, Form::Parentheses) => options.dims = dim_values(entry, diagnostics),
        ("grad", Owner::Model, _) => {
            let error = Diagnostic::error(entry.span, "`grad` is an option of a function, not of a model");
            diagnostics.push(error.help("put `#[model(grad = \"eval\")]` on the function"));
        }
        ("hvp", Owner::Model, _) => {
            let error = Diagnostic::error(entry.span, "`hvp` is an option of a function, not of a model");
            diagnostics.push(error.help("put `#[model(hvp)]` on the function"));
        }
        ("crate", Owner::Function, _) => {
            let error = Diagnostic::error(entry.span, "`crate` is an option of a model, not of a function");
            diagnostics.push(error.help("put `#[model(crate = path)]` on the struct and on the impl"));
        }
        ("crate" | "max_memory" | "grad" | "hvp" | "dims", ..) => {
            let error = Diagnostic::error(
                entry.span,
                format!("the option `{name}` is written in another form"),
            );
            diagnostics.push(error.expected(owner.options()));
        }
        _ => {
            let error = Diagnostic::error(entry.name.span(), format!("`#[model]` has no option `{name}`"));
            diagnostics.push(error.expected(owner.options()));
        }
    }
}

fn grad_mode(value: TokenStream, diagnostics: &mut Diagnostics) -> GradMode {
    let Ok(text) = read(<LitStr as Parse>::parse, value, diagnostics) else {
        return GradMode::default();
    };
    match text.value().as_str() {
        "train" => GradMode::Train,
        "eval" => GradMode::Eval,
        other => {
            let error = Diagnostic::error(text.span(), "the gradient has no such mode");
            diagnostics.push(
                error
                    .expected("`\"train\"` or `\"eval\"`")
                    .found(format_args!("`{other:?}`")),
            );
            GradMode::default()
        }
    }
}

fn memory_limit(value: TokenStream, diagnostics: &mut Diagnostics) -> Option<MemoryLimit> {
    let text = read(<LitStr as Parse>::parse, value, diagnostics).ok()?;
    let bytes = bytes(&text.value());
    if bytes.is_none() {
        diagnostics.push(
            Diagnostic::error(text.span(), "this is no amount of memory")
                .expected(
                    "a number and a unit: B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024)",
                )
                .found(format_args!("`{:?}`", text.value()))
                .help("write for example `max_memory = \"64 MiB\"`"),
        );
    }
    Some(MemoryLimit {
        bytes: bytes?,
        span: text.span().into(),
    })
}

/// The number of bytes that `text` stands for: a decimal number, which may have a fraction, and a unit.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_start = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (number, unit) = text.split_at(unit_start);
    let number: f64 = number.replace('_', "").parse().ok()?;
    let unit: f64 = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => f64::from(1 << 10),
        "MiB" => f64::from(1 << 20),
        "GiB" => f64::from(1 << 30),
        "TiB" => f64::from(1 << 30) * f64::from(1 << 10),
        _ => return None,
    };
    let bytes = (number * unit).round();
    // Above this, an f64 does not hold every whole number; no machine has as much.
    (bytes <= 2_f64.powi(53)).then_some(bytes as u64)
}

/// `(B = 32, T = 128)`
fn dim_values(entry: Entry, diagnostics: &mut Diagnostics) -> Vec<DimValue> {
    struct Value {
        name: Ident,
        value: syn::Expr,
    }
    impl Parse for Value {
        fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
            let name = input.parse()?;
            input.parse::<Token![=]>()?;
            Ok(Value {
                name,
                value: input.parse()?,
            })
        }
    }
    let mut trees = entry.value.into_iter();
    let (Some(TokenTree::Group(group)), None) = (trees.next(), trees.next()) else {
        let error = Diagnostic::error(entry.span, "there is something after the sizes of the dimensions");
        diagnostics.push(error.expected("`dims(B = 32)`"));
        return Vec::new();
    };
    let Ok(values) = read(
        Punctuated::<Value, Token![,]>::parse_terminated,
        group.stream(),
        diagnostics,
    ) else {
        return Vec::new();
    };
    let mut declared = Declared::new("dimension");
    let mut dims = Vec::new();
    for Value { name, value } in values {
        if declared.declare(&name, diagnostics).is_ok() {
            let span = value.span();
            let value = dims::from_expr(value, diagnostics);
            if let crate::ast::DimExprKind::Lit(0) = value.kind {
                diagnostics.error(span, format!("the size of `{name}` must not be 0"));
            }
            dims.push(DimValue { name, value });
        }
    }
    dims
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn amounts_of_memory_are_read_in_decimal_and_binary_units() {
        assert_eq!(bytes("64 MiB"), Some(64 << 20));
        assert_eq!(bytes("1.5GiB"), Some(3 << 29));
        assert_eq!(bytes(" 2_000 kB "), Some(2_000_000));
        assert_eq!(bytes("0 B"), Some(0));
        for wrong in [
            "",
            "64",
            "MiB",
            "64 mib",
            "-1 B",
            "1..5 B",
            "1e3 B",
            "99999999 TiB",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong:?}");
        }
    }
}

//! Names that the compiler generates, and names that are declared twice.

use crate::ast::Function;
use crate::diag::{Diagnostic, Diagnostics, Reported};
use crate::map::Map;
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;

/// The functions that every model gets.
const GENERATED: [&str; 22] = [
    "builder",
    "device",
    "diagram",
    "explain",
    "freeze",
    "gradient",
    "gradients",
    "load",
    "load_partial",
    "new",
    "n_params",
    "param",
    "param_mut",
    "params",
    "precision",
    "save",
    "seed",
    "state",
    "summary",
    "trace",
    "train_step",
    "vector",
];

/// What a function `f` of a model brings along: `f_grad` and so on.
const SUFFIXES: [&str; 7] = [
    "_accumulate",
    "_as",
    "_grad",
    "_hvp",
    "_in",
    "_trace",
    "_workspace",
];

/// Names that were declared so far, to find those declared twice.
pub struct Declared {
    /// "field", "function", …
    what: &'static str,
    seen: Map<String, Span>,
}

impl Declared {
    /// No name yet; `what` is the word for what is declared.
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            seen: Map::new(),
        }
    }

    /// Takes note of a name that was declared, and checked, elsewhere.
    pub fn know(&mut self, name: &Ident) {
        self.seen.insert(name.unraw().to_string(), name.span());
    }

    /// Declares `name`.
    ///
    /// # Errors
    ///
    /// The name was declared before, or begins with the two underscores of generated names.
    pub fn declare(&mut self, name: &Ident, diagnostics: &mut Diagnostics) -> Result<(), Reported> {
        let text = name.unraw().to_string();
        let what = self.what;
        if text.starts_with("__") {
            let message = format!("the {what} `{text}` has a reserved name");
            return Err(diagnostics.push(
                Diagnostic::error(name.span(), message)
                    .note("names that begin with `__` belong to generated code")
                    .help(format_args!(
                        "rename it, for example to `{}`",
                        suggestion(&text, what)
                    )),
            ));
        }
        if let Some(first) = self.seen.get(&text) {
            let message = format!("the {what} `{text}` is declared twice");
            return Err(diagnostics.push(
                Diagnostic::error(name.span(), message)
                    .at(*first, "it is declared here first")
                    .help("rename one of the two"),
            ));
        }
        self.seen.insert(text, name.span());
        Ok(())
    }
}

fn suggestion<'a>(text: &'a str, what: &'a str) -> &'a str {
    match text.trim_start_matches('_') {
        "" => what,
        rest => rest,
    }
}

/// Marks the functions whose names are taken by generated ones.
pub fn reject_generated(functions: &mut [Function], diagnostics: &mut Diagnostics) {
    let names: Vec<String> = functions
        .iter()
        .map(|function| function.name.unraw().to_string())
        .collect();
    for (function, name) in functions.iter_mut().zip(&names) {
        let error = if GENERATED.contains(&name.as_str()) {
            Diagnostic::error(function.name.span(), format!("the name `{name}` is taken"))
                .note(format_args!("every model gets a generated function `{name}`"))
        } else if let Some(base) = base(name).filter(|base| names.iter().any(|other| other == base)) {
            Diagnostic::error(function.name.span(), format!("the name `{name}` is taken"))
                .note(format_args!("it is generated for the function `{base}`"))
        } else {
            continue;
        };
        let help = format!("rename the function, for example to `my_{name}`");
        function.rejected = Some(diagnostics.push(error.help(help)));
    }
}

/// The function for which `name` would be generated.
fn base(name: &str) -> Option<&str> {
    SUFFIXES
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .filter(|base| !base.is_empty())
}

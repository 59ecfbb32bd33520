//! Errors: where they are, what they say, and the sink that collects them.
//!
//! Every stage reports into one [`Diagnostics`], so that a user sees all mistakes of a model at once. Two rules
//! make it hard to lose one:
//!
//! - [`Diagnostics::push`] is the only way to get a [`Reported`], and a stage needs a `Reported` to build the
//!   poison value that stands for what it could not understand. Whatever meets a poison value stays silent.
//! - A sink has to be consumed by [`Diagnostics::finish`]; dropping a full one unseen panics in debug builds.
//!
//! A message is written as one sentence that says what is wrong and names the layer, operation or argument, and
//! is then completed by `expected:`, `found:`, `note:` and `help:` lines (see [`Diagnostic`]).
//!
//! This module renders to `compile_error!` only, because that is what a procedural macro has on stable Rust: one
//! place per error. A second place is therefore given in words, with its line and column.

use crate::map::Set;
use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use std::fmt;

/// A stretch of the user's source, from the start of its first token to the end of its last.
///
/// `Span::join` does not work on stable Rust, so both ends are kept; an error shown for `start..end` underlines all
/// of it.
#[derive(Clone, Copy)]
pub struct SourceSpan {
    /// The first token.
    pub start: Span,
    /// The last token.
    pub end: Span,
}

impl SourceSpan {
    /// The stretch that `tokens` cover; the macro's call site if there are none.
    pub fn of(tokens: &impl ToTokens) -> Self {
        let mut trees = tokens.to_token_stream().into_iter();
        let Some(first) = trees.next() else {
            return Self::call_site();
        };
        let last = trees.last().unwrap_or_else(|| first.clone());
        Self {
            start: opening(&first),
            end: closing(&last),
        }
    }

    /// The whole macro invocation: for errors that belong to no token.
    pub fn call_site() -> Self {
        Span::call_site().into()
    }

    /// From the start of `self` to the end of `last`.
    pub fn to(self, last: impl Into<SourceSpan>) -> Self {
        Self {
            start: self.start,
            end: last.into().end,
        }
    }

    /// The file, line and column as `(file, line, column)`; lines and columns count from 1, as rustc prints them.
    fn place(self) -> (String, usize, usize) {
        let start = self.start.start();
        (self.start.file(), start.line, start.column + 1)
    }
}

/// A group's own span may be its whole extent; its delimiters give the ends on their own.
fn opening(tree: &TokenTree) -> Span {
    match tree {
        TokenTree::Group(group) if group.delimiter() != Delimiter::None => group.span_open(),
        other => other.span(),
    }
}

fn closing(tree: &TokenTree) -> Span {
    match tree {
        TokenTree::Group(group) if group.delimiter() != Delimiter::None => group.span_close(),
        other => other.span(),
    }
}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        Self {
            start: span,
            end: span,
        }
    }
}

/// Prints nothing of the position: printed trees are compared in tests and must not change with the layout.
impl fmt::Debug for SourceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// Proof that an error has been reported; the only content of a poison value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported(());

/// One error: a sentence, its place, and what helps to mend it.
///
/// ```text
/// error: the layer `fc2` cannot take `hidden`
///        expected: a last dimension of 128
///        found: 100
///        help: write `fc2: Linear<_, 10>` to take the size that flows in
/// ```
#[must_use = "an error is only reported once it is pushed into `Diagnostics`"]
#[derive(Clone, Debug)]
pub struct Diagnostic {
    span: SourceSpan,
    message: String,
    lines: Vec<String>,
}

impl Diagnostic {
    /// An error at `span`. `message` is one sentence without a full stop.
    pub fn error(span: impl Into<SourceSpan>, message: impl Into<String>) -> Self {
        Self {
            span: span.into(),
            message: message.into(),
            lines: Vec::new(),
        }
    }

    /// What the language or the operation expected here.
    pub fn expected(self, what: impl fmt::Display) -> Self {
        self.line("expected", what)
    }

    /// What is there instead.
    pub fn found(self, what: impl fmt::Display) -> Self {
        self.line("found", what)
    }

    /// A fact that explains the error.
    pub fn note(self, what: impl fmt::Display) -> Self {
        self.line("note", what)
    }

    /// What the user can write instead.
    pub fn help(self, what: impl fmt::Display) -> Self {
        self.line("help", what)
    }

    /// Names a second place: `label` completes the sentence "line 3, column 5: …".
    pub fn at(self, place: impl Into<SourceSpan>, label: impl fmt::Display) -> Self {
        let here = self.span.place();
        let (file, line, column) = place.into().place();
        let place = if file == here.0 {
            String::new()
        } else {
            format!("{file}, ")
        };
        self.line("note", format!("{place}line {line}, column {column}: {label}"))
    }

    fn line(mut self, kind: &str, what: impl fmt::Display) -> Self {
        self.lines.push(format!("{kind}: {what}"));
        self
    }

    /// Where the error is shown.
    #[cfg(test)]
    pub fn span(&self) -> SourceSpan {
        self.span
    }

    /// The sentence and its further lines, as the user reads them.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        for line in &self.lines {
            text.push('\n');
            text.push_str(line);
        }
        text
    }

    /// `::core::compile_error! { "…" }`, with the spans set so that rustc underlines all of `self.span`: it takes
    /// the start from the path and the end from the braces.
    fn to_compile_error(&self) -> TokenStream {
        let SourceSpan { start, end } = self.span;
        let punct = |char, spacing| {
            let mut punct = Punct::new(char, spacing);
            punct.set_span(start);
            TokenTree::Punct(punct)
        };
        let mut text = Literal::string(&self.text());
        text.set_span(end);
        let mut body = Group::new(Delimiter::Brace, TokenTree::Literal(text).into());
        body.set_span(end);
        TokenStream::from_iter([
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("core", start)),
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("compile_error", start)),
            punct('!', Spacing::Alone),
            TokenTree::Group(body),
        ])
    }
}

/// The sink of all errors of one macro call, in the order in which they were found, without repetitions.
#[must_use = "errors are lost unless `finish` is called"]
#[derive(Debug, Default)]
pub struct Diagnostics {
    errors: Vec<Diagnostic>,
    /// What was said where, to say nothing twice. (Spans cannot be compared; their printed form can.)
    seen: Set<(String, String)>,
}

impl Diagnostics {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports an error. The same text at the same place is reported once.
    pub fn push(&mut self, error: Diagnostic) -> Reported {
        let place = format!("{:?}", error.span.start);
        if self.seen.insert((place, error.message.clone())) {
            self.errors.push(error);
        }
        Reported(())
    }

    /// Reports a short error that needs no further lines.
    pub fn error(&mut self, span: impl Into<SourceSpan>, message: impl Into<String>) -> Reported {
        self.push(Diagnostic::error(span, message))
    }

    /// Reports what `syn` found wrong: the tokens are no Rust.
    pub fn push_syn(&mut self, error: syn::Error) -> Reported {
        for error in error {
            self.push(Diagnostic::error(error.span(), error.to_string()));
        }
        Reported(())
    }

    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors so far.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.errors.iter()
    }

    /// Consumes the sink.
    ///
    /// # Errors
    ///
    /// One `compile_error!` item for every error, to be put beside whatever could still be emitted.
    pub fn finish(mut self) -> Result<(), TokenStream> {
        let errors = std::mem::take(&mut self.errors);
        if errors.is_empty() {
            return Ok(());
        }
        Err(errors.iter().map(Diagnostic::to_compile_error).collect())
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        if cfg!(debug_assertions) && !self.errors.is_empty() && !std::thread::panicking() {
            panic!("{} errors were collected but never emitted", self.errors.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn finish_emits_one_item_for_each_error() {
        let mut diagnostics = Diagnostics::new();
        let _ = diagnostics.error(Span::call_site(), "first");
        let _ = diagnostics.push(
            Diagnostic::error(Span::call_site(), "second")
                .expected("3")
                .found("4")
                .help("write 3"),
        );
        let errors = diagnostics.finish().unwrap_err();
        let expected = quote! {
            ::core::compile_error! { "first" }
            ::core::compile_error! { "second\nexpected: 3\nfound: 4\nhelp: write 3" }
        };
        assert_eq!(errors.to_string(), expected.to_string());
        assert!(Diagnostics::new().finish().is_ok());
    }

    #[test]
    fn the_same_error_at_the_same_place_is_reported_once() {
        let tokens: Vec<TokenTree> = "a b".parse::<TokenStream>().unwrap().into_iter().collect();
        let mut diagnostics = Diagnostics::new();
        for token in [&tokens[0], &tokens[0], &tokens[1]] {
            let _ = diagnostics.error(token.span(), "unknown name");
        }
        assert_eq!(diagnostics.iter().count(), 2);
        assert!(diagnostics.finish().is_err());
    }

    #[test]
    fn a_span_covers_the_tokens_from_first_to_last() {
        let tokens: TokenStream = "self.fc1(image)".parse().unwrap();
        let span = SourceSpan::of(&tokens);
        assert_eq!((span.start.start().column, span.end.end().column), (0, 15));
    }

    #[test]
    fn a_second_place_is_given_by_line_and_column() {
        let tokens: Vec<TokenTree> = "a\n  a".parse::<TokenStream>().unwrap().into_iter().collect();
        let error =
            Diagnostic::error(tokens[0].span(), "`a` is declared twice").at(tokens[1].span(), "again");
        assert_eq!(
            error.text(),
            "`a` is declared twice\nnote: line 2, column 3: again"
        );
    }

    #[test]
    #[should_panic(expected = "never emitted")]
    #[cfg(debug_assertions)]
    fn errors_that_nobody_looks_at_are_a_bug() {
        let mut diagnostics = Diagnostics::new();
        let _ = diagnostics.error(Span::call_site(), "lost");
        drop(diagnostics);
    }
}

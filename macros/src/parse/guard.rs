//! Limits the depth of what is parsed.
//!
//! `syn` and the stages after it are recursive, so a text of ten thousand opening parentheses, or of ten thousand
//! `!`, would overflow the stack of the compiler. The way from the start of a statement to its innermost token may
//! therefore have at most [`LIMIT`] tokens, which bounds the depth of every tree that can be built from it.

use crate::diag::{Diagnostic, Diagnostics, Reported};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The most tokens that may lie between the start of a statement and its innermost token; a delimiter counts as
/// [`DELIMITER`] tokens. Statements of real models have less than a hundred. An unoptimised build needs up to 9 KiB
/// of stack for each, of the 8 MiB that rustc has.
const LIMIT: usize = 400;

/// The weight of a pair of delimiters: that much more stack a nested group needs than an operator.
const DELIMITER: usize = 3;

/// Reports an error if `tokens` could build a tree that is too deep.
pub fn check(tokens: &TokenStream, diagnostics: &mut Diagnostics) -> Result<(), Reported> {
    match deepest(tokens.clone(), LIMIT) {
        Ok(_) => Ok(()),
        Err(tree) => Err(diagnostics.push(
            Diagnostic::error(tree.span(), "this is too long or too deeply nested")
                .expected(format_args!(
                    "at most {LIMIT} tokens from the start of a statement to here"
                ))
                .help("split it with `let`"),
        )),
    }
}

/// The greatest number of tokens on a way from the start of a segment of `tokens` to an innermost token. A segment
/// ends at `;`, at a `,` outside of angle brackets, and after braces that nothing continues.
fn deepest(tokens: TokenStream, limit: usize) -> Result<usize, TokenTree> {
    let (mut deepest_segment, mut len, mut inner, mut angles) = (0, 0, 0, 0_usize);
    let mut previous = ' ';
    let mut trees = tokens.into_iter().peekable();
    while let Some(tree) = trees.next() {
        len += 1;
        if len + inner > limit {
            return Err(tree);
        }
        let mut ends = false;
        match &tree {
            TokenTree::Group(group) => {
                let left = (limit - len).saturating_sub(DELIMITER - 1);
                inner = inner.max(DELIMITER - 1 + deepest(group.stream(), left)?);
                ends = group.delimiter() == Delimiter::Brace && !trees.peek().is_some_and(continues);
            }
            TokenTree::Punct(punct) => {
                match punct.as_char() {
                    '<' => angles += 1,
                    // Not the end of an arrow.
                    '>' if !matches!(previous, '-' | '=') => angles = angles.saturating_sub(1),
                    ';' => ends = true,
                    ',' => ends = angles == 0,
                    _ => {}
                }
                previous = if punct.spacing() == Spacing::Joint {
                    punct.as_char()
                } else {
                    ' '
                };
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
        deepest_segment = deepest_segment.max(len + inner);
        if len + inner > limit {
            return Err(tree);
        }
        if ends {
            (len, inner, angles) = (0, 0, 0);
        }
    }
    Ok(deepest_segment)
}

/// Whether a token after a closing brace goes on with the same expression.
fn continues(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Ident(ident) => ident == "else" || ident == "as",
        TokenTree::Punct(punct) => punct.as_char() != '#',
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

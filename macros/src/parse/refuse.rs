//! The expressions of Rust that the language does not have, and what it has instead.

use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::{expr, stmt};
use proc_macro2::Span;
use syn::Expr;

/// Reports an expression that the language does not have; `whole` is its place.
pub fn expr(expr: Expr, whole: SourceSpan, diagnostics: &mut Diagnostics) -> Reported {
    let reported = diagnostics.push(error(&expr, whole));
    // What is inside is looked at as well, so that all errors of a function are seen at once.
    match expr {
        Expr::Index(index) => drop(expr::expr(*index.expr, diagnostics)),
        Expr::Try(inner) => drop(expr::expr(*inner.expr, diagnostics)),
        Expr::Await(inner) => drop(expr::expr(*inner.base, diagnostics)),
        Expr::While(inner) => drop(stmt::braced(inner.body, diagnostics)),
        Expr::Loop(inner) => drop(stmt::braced(inner.body, diagnostics)),
        Expr::Unsafe(inner) => drop(stmt::braced(inner.block, diagnostics)),
        Expr::Return(inner) => drop(inner.expr.map(|value| expr::expr(*value, diagnostics))),
        _ => {}
    }
    reported
}

fn error(expr: &Expr, whole: SourceSpan) -> Diagnostic {
    if let Expr::Macro(call) = expr {
        return macro_call(&call.mac);
    }
    if let Some((place, word, help)) = control(expr) {
        return Diagnostic::error(place, format!("{word} is not part of the language")).help(help);
    }
    let (place, message, help): (SourceSpan, _, _) = match expr {
        Expr::Index(found) if matches!(*found.expr, Expr::Field(_)) => (
            SourceSpan {
                start: found.bracket_token.span.open(),
                end: found.bracket_token.span.close(),
            },
            "neither tensors nor arrays of layers are indexed with `[…]`",
            "loop over the layers, `for block in &self.blocks`; `x.slice(.., 0..3)` is a part of a tensor",
        ),
        Expr::Index(found) => (
            SourceSpan {
                start: found.bracket_token.span.open(),
                end: found.bracket_token.span.close(),
            },
            "tensors are not indexed with `[…]`",
            "use `x.slice(.., 0..3)` for a part, `x.gather(index)` for chosen elements",
        ),
        Expr::Assign(found) => (
            found.eq_token.span.into(),
            "an assignment has no value",
            "make it a statement of its own: `x = y;`",
        ),
        Expr::Reference(_) | Expr::RawAddr(_) => (
            whole,
            "nothing can be changed through a reference",
            "use the value itself; operations return new tensors",
        ),
        Expr::Infer(_) => (
            whole,
            "`_` is not a value",
            "name the value; only a size can be inferred",
        ),
        Expr::Repeat(found) => (
            found.semi_token.span.into(),
            "`[value; count]` is not part of the language",
            "write a list of numbers out, `[1, 1]`; a scalar fills a shape with `x.broadcast_to(…)`",
        ),
        _ => (
            whole,
            "this expression is not part of the language",
            "a function of a model is made of `let`, operations, calls, `if` and `for`",
        ),
    };
    Diagnostic::error(place, message).help(help)
}

/// The keyword or sign by which a form of control is recognised, its name, and what to write instead.
fn control(expr: &Expr) -> Option<(Span, &'static str, &'static str)> {
    const LOOPS: &str =
        "loop over layers with `for block in &self.blocks`, over time with `for x in xs.steps(axis = 1)`";
    const JUMPS: &str = "loops run to their end; choose values with `select(condition, a, b)`";
    const MATCH: &str =
        "choose between tensors with `select(condition, a, b)`, by an argument of the host with `if`";
    const RETURN: &str = "the value of a function is its last expression, without `;`";
    const CLOSURE: &str = "write a helper function without `self` in the impl; it is inlined";
    const LET: &str = "there is nothing to match; a condition is a `bool`";
    const CONST: &str = "declare a constant outside of the model";
    Some(match expr {
        Expr::Match(found) => (found.match_token.span, "`match`", MATCH),
        Expr::While(found) => (found.while_token.span, "`while`", LOOPS),
        Expr::Loop(found) => (found.loop_token.span, "`loop`", LOOPS),
        Expr::Break(found) => (found.break_token.span, "`break`", JUMPS),
        Expr::Continue(found) => (found.continue_token.span, "`continue`", JUMPS),
        Expr::Return(found) => (found.return_token.span, "`return`", RETURN),
        Expr::Try(found) => (
            found.question_token.span,
            "`?`",
            "remove it; operations cannot fail",
        ),
        Expr::Closure(found) => (found.inputs_begin.span, "a closure", CLOSURE),
        Expr::Unsafe(found) => (
            found.unsafe_token.span,
            "`unsafe`",
            "remove it; nothing here is unsafe",
        ),
        Expr::Async(found) => (found.async_token.span, "`async`", "remove it"),
        Expr::Await(found) => (found.await_token.span, "`await`", "remove it"),
        Expr::Const(found) => (found.const_token.span, "a `const` block", CONST),
        Expr::Let(found) => (found.let_token.span, "`let` in a condition", LET),
        _ => return None,
    })
}

/// Why a macro call is refused.
pub fn macro_call(call: &syn::Macro) -> Diagnostic {
    let name = call
        .path
        .segments
        .last()
        .map(|last| last.ident.to_string())
        .unwrap_or_default();
    let help = match name.as_str() {
        "print" | "println" | "eprint" | "eprintln" | "dbg" => {
            "to see values, call the model's `trace`; it returns every intermediate by its name"
        }
        "vec" => "write a list of numbers as an array: `axes = [2, 3]`",
        "assert" | "assert_eq" | "assert_ne" | "debug_assert" | "todo" | "panic" | "unimplemented" => {
            "remove it; shapes are checked by the compiler"
        }
        _ => "write out what it stands for, or put it into a helper function",
    };
    let message = format!("the macro `{name}!` cannot be called inside of a model");
    Diagnostic::error(SourceSpan::of(call), message)
        .note("a model is compiled before its macros would be expanded")
        .help(help)
}

//! The places of expressions and types, read off their first and last tokens.
//!
//! [`SourceSpan::of`] makes a token stream of a node, which is slow inside of a compiler that asks for the place
//! of every node of a tree. These functions walk down the left and the right edge of the tree instead, and leave
//! to [`SourceSpan::of`] what is rare.

use crate::diag::SourceSpan;
use proc_macro2::Span;
use syn::{Expr, Lit, Member, Type};

/// The place of an expression.
pub fn expr(expr: &Expr) -> SourceSpan {
    match (first(expr), last(expr)) {
        (Some(start), Some(end)) => SourceSpan { start, end },
        _ => SourceSpan::of(expr),
    }
}

/// The place of a type.
pub fn ty(ty: &Type) -> SourceSpan {
    match ty {
        Type::Path(found) if found.qself.is_none() => path(&found.path),
        Type::Infer(found) => found.underscore_token.span.into(),
        _ => SourceSpan::of(ty),
    }
}

/// The place of a path.
pub fn path(path: &syn::Path) -> SourceSpan {
    let start = match (&path.leading_colon, path.segments.first()) {
        (None, Some(segment)) => segment.ident.span(),
        _ => return SourceSpan::of(path),
    };
    let end = match path
        .segments
        .last()
        .map(|segment| (&segment.ident, &segment.arguments))
    {
        Some((ident, syn::PathArguments::None)) => ident.span(),
        Some((_, syn::PathArguments::AngleBracketed(args))) => args.gt_token.span,
        _ => return SourceSpan::of(path),
    };
    SourceSpan { start, end }
}

/// The place of a statement.
pub fn stmt(stmt: &syn::Stmt) -> SourceSpan {
    match stmt {
        syn::Stmt::Local(local) if local.attrs.is_empty() => SourceSpan {
            start: local.let_token.span,
            end: local.semi_token.span,
        },
        syn::Stmt::Expr(value, None) => expr(value),
        syn::Stmt::Expr(value, Some(semi)) => expr(value).to(semi.span),
        _ => SourceSpan::of(stmt),
    }
}

/// The place of a literal that is one token: not a negative number.
fn literal(lit: &Lit) -> Option<Span> {
    match lit {
        Lit::Int(_) | Lit::Float(_) | Lit::Bool(_) | Lit::Str(_) => Some(lit.span()),
        _ => None,
    }
}

/// The first token of an expression, for the forms that the language has.
fn first(expr: &Expr) -> Option<Span> {
    Some(match expr {
        Expr::Array(found) => found.bracket_token.span.open(),
        Expr::Assign(found) => first(&found.left)?,
        Expr::Binary(found) => first(&found.left)?,
        Expr::Block(found) if found.label.is_none() => found.block.brace_token.span.open(),
        Expr::Call(found) => first(&found.func)?,
        Expr::Cast(found) => first(&found.expr)?,
        Expr::Field(found) => first(&found.base)?,
        Expr::ForLoop(found) if found.label.is_none() => found.for_token.span,
        Expr::Group(found) => first(&found.expr)?,
        Expr::If(found) => found.if_token.span,
        Expr::Index(found) => first(&found.expr)?,
        Expr::Lit(found) => literal(&found.lit)?,
        Expr::MethodCall(found) => first(&found.receiver)?,
        Expr::Paren(found) => found.paren_token.span.open(),
        Expr::Path(found) if found.qself.is_none() => path(&found.path).start,
        Expr::Range(found) => match (&found.start, &found.limits) {
            (Some(start), _) => first(start)?,
            (None, syn::RangeLimits::HalfOpen(dots)) => dots.spans[0],
            (None, syn::RangeLimits::Closed(dots)) => dots.spans[0],
        },
        Expr::Reference(found) => found.and_token.span,
        Expr::Tuple(found) => found.paren_token.span.open(),
        Expr::Unary(syn::ExprUnary {
            op: syn::UnOp::Neg(token),
            ..
        }) => token.span,
        Expr::Unary(syn::ExprUnary {
            op: syn::UnOp::Not(token),
            ..
        }) => token.span,
        _ => return None,
    })
}

/// The last token of an expression, for the forms that the language has.
fn last(expr: &Expr) -> Option<Span> {
    Some(match expr {
        Expr::Array(found) => found.bracket_token.span.close(),
        Expr::Assign(found) => last(&found.right)?,
        Expr::Binary(found) => last(&found.right)?,
        Expr::Block(found) => found.block.brace_token.span.close(),
        Expr::Call(found) => found.paren_token.span.close(),
        Expr::Cast(found) => ty(&found.ty).end,
        Expr::Field(found) => match &found.member {
            Member::Named(name) => name.span(),
            Member::Unnamed(index) => index.span,
        },
        Expr::ForLoop(found) => found.body.brace_token.span.close(),
        Expr::Group(found) => last(&found.expr)?,
        Expr::If(found) => match &found.else_branch {
            Some((_, other)) => last(other)?,
            None => found.then_branch.brace_token.span.close(),
        },
        Expr::Index(found) => found.bracket_token.span.close(),
        Expr::Lit(found) => literal(&found.lit)?,
        Expr::MethodCall(found) => found.paren_token.span.close(),
        Expr::Paren(found) => found.paren_token.span.close(),
        Expr::Path(found) if found.qself.is_none() => path(&found.path).end,
        Expr::Range(found) => match (&found.end, &found.limits) {
            (Some(end), _) => last(end)?,
            // A sign of several characters is one token; rustc has given each the place of the whole.
            (None, syn::RangeLimits::HalfOpen(dots)) => dots.spans[1],
            (None, syn::RangeLimits::Closed(dots)) => dots.spans[2],
        },
        Expr::Reference(found) => last(&found.expr)?,
        Expr::Tuple(found) => found.paren_token.span.close(),
        Expr::Unary(found) => last(&found.expr)?,
        _ => return None,
    })
}

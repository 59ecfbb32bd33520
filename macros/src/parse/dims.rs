//! Sizes: `784`, `CLASSES`, `{ 4 * D }`, `_`.

use crate::ast::{DimArg, DimExpr, DimExprKind};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::parse::place;
use syn::{BinOp, Expr, GenericArgument, Lit, Type, UnOp};

/// Reads a list of generic arguments as sizes.
pub fn arguments(
    args: impl IntoIterator<Item = GenericArgument>,
    diagnostics: &mut Diagnostics,
) -> Vec<DimArg> {
    args.into_iter().map(|arg| argument(arg, diagnostics)).collect()
}

/// Reads one generic argument as a size.
pub fn argument(arg: GenericArgument, diagnostics: &mut Diagnostics) -> DimArg {
    let arg = match arg {
        GenericArgument::Const(expr) => return DimArg::Expr(from_expr(expr, diagnostics)),
        GenericArgument::Type(ty) => return from_type(ty, diagnostics),
        arg => arg,
    };
    let span = SourceSpan::of(&arg);
    let error = match arg {
        GenericArgument::AssocType(_) | GenericArgument::AssocConst(_) => {
            let text = quote::quote!(#arg);
            Diagnostic::error(span, "an option cannot stand among the sizes")
                .found(format_args!("`{text}`"))
                .help(format_args!(
                    "put options into an attribute on the field: `#[layer({text})]`"
                ))
        }
        GenericArgument::Lifetime(_) => {
            Diagnostic::error(span, "a lifetime is no size").help("remove it; tensors have no lifetimes")
        }
        _ => Diagnostic::error(span, "this is no size").expected(EXPECTED),
    };
    DimArg::Expr(poison(error, span, diagnostics))
}

const EXPECTED: &str = "a number, a constant, a dynamic dimension, `{ expression }`, or `_` to infer it";

fn poison(error: Diagnostic, span: SourceSpan, diagnostics: &mut Diagnostics) -> DimExpr {
    DimExpr {
        kind: DimExprKind::Error(diagnostics.push(error)),
        span,
    }
}

/// Names look like types to `syn`.
fn from_type(ty: Type, diagnostics: &mut Diagnostics) -> DimArg {
    let span = place::ty(&ty);
    match ty {
        Type::Infer(_) => DimArg::Infer(span),
        Type::Group(group) => from_type(*group.elem, diagnostics),
        Type::Paren(paren) => from_type(*paren.elem, diagnostics),
        Type::Path(path) => {
            let last = path.path.segments.last();
            if path.qself.is_none() && last.is_some_and(|last| !last.arguments.is_none()) {
                let error = Diagnostic::error(span, "a type is no size").expected(EXPECTED);
                return DimArg::Expr(poison(error, span, diagnostics));
            }
            let expr = Expr::Path(syn::ExprPath {
                attrs: path.attrs,
                qself: path.qself,
                path: path.path,
            });
            DimArg::Expr(from_expr(expr, diagnostics))
        }
        _ => {
            let error = Diagnostic::error(span, "a type is no size").expected(EXPECTED);
            DimArg::Expr(poison(error, span, diagnostics))
        }
    }
}

/// Reads an expression as a size. What the shape algebra does not know is kept for rustc to evaluate.
pub fn from_expr(expr: Expr, diagnostics: &mut Diagnostics) -> DimExpr {
    let span = place::expr(&expr);
    let kind = match expr {
        Expr::Group(group) => return from_expr(*group.expr, diagnostics),
        Expr::Paren(paren) => return from_expr(*paren.expr, diagnostics),
        Expr::Block(block) => match only_expr(&block) {
            Some(inner) => return from_expr(inner.clone(), diagnostics),
            None => DimExprKind::Opaque(Box::new(Expr::Block(block))),
        },
        Expr::Lit(lit) => return from_lit(&lit.lit, span, diagnostics),
        Expr::Path(path) => match path.path.get_ident() {
            Some(name) if path.qself.is_none() => DimExprKind::Name(name.clone()),
            _ => DimExprKind::Opaque(Box::new(Expr::Path(path))),
        },
        Expr::Binary(binary) => from_binary(binary, diagnostics),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            let error = Diagnostic::error(span, "a size cannot be negative").expected(EXPECTED);
            return poison(error, span, diagnostics);
        }
        Expr::Infer(_) => {
            let error = Diagnostic::error(span, "`_` cannot be part of an expression").expected(EXPECTED);
            return poison(error, span, diagnostics);
        }
        other => DimExprKind::Opaque(Box::new(other)),
    };
    DimExpr { kind, span }
}

/// The expression in `{ expression }`, if there is nothing else.
fn only_expr(block: &syn::ExprBlock) -> Option<&Expr> {
    match block.block.stmts.as_slice() {
        [syn::Stmt::Expr(expr, None)] if block.label.is_none() => Some(expr),
        _ => None,
    }
}

fn from_binary(binary: syn::ExprBinary, diagnostics: &mut Diagnostics) -> DimExprKind {
    let build = match binary.op {
        BinOp::Add(_) => DimExprKind::Add,
        BinOp::Sub(_) => DimExprKind::Sub,
        BinOp::Mul(_) => DimExprKind::Mul,
        BinOp::Div(_) => DimExprKind::Div,
        _ => return DimExprKind::Opaque(Box::new(Expr::Binary(binary))),
    };
    let left = from_expr(*binary.left, diagnostics);
    let right = from_expr(*binary.right, diagnostics);
    build(Box::new(left), Box::new(right))
}

fn from_lit(lit: &Lit, span: SourceSpan, diagnostics: &mut Diagnostics) -> DimExpr {
    let error = match lit {
        // `syn` takes the sign of a generic argument as a part of the number.
        Lit::Int(int) if int.base10_digits().starts_with('-') => {
            Diagnostic::error(span, "a size cannot be negative").expected(EXPECTED)
        }
        Lit::Int(int) if !matches!(int.suffix(), "" | "usize") => {
            Diagnostic::error(span, "a size is a `usize`")
                .found(format_args!("`{int}`"))
                .help(format_args!("write `{}`", int.base10_digits()))
        }
        Lit::Int(int) => match int.base10_parse() {
            Ok(value) => {
                return DimExpr {
                    kind: DimExprKind::Lit(value),
                    span,
                };
            }
            Err(_) => Diagnostic::error(span, "this size is too large").expected("at most 2^64 - 1"),
        },
        _ => Diagnostic::error(span, "this is no size").expected(EXPECTED),
    };
    poison(error, span, diagnostics)
}

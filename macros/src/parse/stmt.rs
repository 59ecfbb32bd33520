//! Blocks, statements and patterns.

use crate::ast::{AssignTarget, BinaryOp, Block, Expr, ExprKind, Pattern, Stmt};
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::{expr, place, refuse, types};
use syn::{BinOp, Pat};

/// Reads the statements of a block; the last one is its value, if it has no semicolon.
pub fn block(stmts: Vec<syn::Stmt>, span: SourceSpan, diagnostics: &mut Diagnostics) -> Block {
    let mut block = Block {
        stmts: Vec::new(),
        tail: None,
        span,
    };
    let last = stmts.len().saturating_sub(1);
    for (index, stmt) in stmts.into_iter().enumerate() {
        match stmt {
            // A lone semicolon.
            syn::Stmt::Expr(syn::Expr::Verbatim(tokens), _) if tokens.is_empty() => {}
            syn::Stmt::Expr(value, None) if index == last && !is_assignment(&value) => {
                block.tail = Some(Box::new(expr::expr(value, diagnostics)));
            }
            other => block.stmts.push(statement(other, diagnostics)),
        }
    }
    block
}

/// Reads a block with its braces.
pub fn braced(block: syn::Block, diagnostics: &mut Diagnostics) -> Block {
    let brace = block.brace_token.span;
    self::block(
        block.stmts,
        SourceSpan {
            start: brace.open(),
            end: brace.close(),
        },
        diagnostics,
    )
}

fn statement(stmt: syn::Stmt, diagnostics: &mut Diagnostics) -> Stmt {
    let span = place::stmt(&stmt);
    let refused = match stmt {
        syn::Stmt::Local(local) => return local_binding(local, span, diagnostics),
        syn::Stmt::Expr(value, _) => return expression(value, span, diagnostics),
        syn::Stmt::Item(item) => {
            Diagnostic::error(SourceSpan::of(&item), "a function of a model holds no items")
                .help("move it out of the impl, or write a helper function without `self` in the impl")
        }
        syn::Stmt::Macro(stmt) => refuse::macro_call(&stmt.mac),
    };
    Stmt::Expr(Expr {
        kind: ExprKind::Error(diagnostics.push(refused)),
        span,
    })
}

/// Reads `let pattern: ty = value;`.
fn local_binding(local: syn::Local, span: SourceSpan, diagnostics: &mut Diagnostics) -> Stmt {
    let (pat, ty) = match local.pat {
        Pat::Type(typed) => (*typed.pat, Some(*typed.ty)),
        pat => (pat, None),
    };
    let ty = ty.filter(|ty| !matches!(ty, syn::Type::Infer(_)));
    let ty = ty.map(|ty| match ty {
        syn::Type::Tuple(tuple) => {
            let error = Diagnostic::error(
                SourceSpan::of(&tuple),
                "the type of a tuple cannot be written here",
            );
            crate::ast::ValueType::Error(diagnostics.push(error.help("leave the type out; it is known")))
        }
        ty => types::value_type(ty, diagnostics),
    });
    let pattern = pattern(pat, diagnostics);
    let value = match local.init {
        Some(init) => {
            if let Some((token, _)) = init.diverge {
                let error = Diagnostic::error(token.span, "`let … else` is not part of the language");
                diagnostics.push(error.note("every pattern matches, since it can only take tuples apart"));
            }
            expr::expr(*init.expr, diagnostics)
        }
        None => {
            let error = Diagnostic::error(span, "a variable needs a value where it is declared");
            let reported = diagnostics.push(error.help("write `let x = …;`"));
            Expr {
                kind: ExprKind::Error(reported),
                span,
            }
        }
    };
    Stmt::Let { pattern, ty, value }
}

fn is_assignment(value: &syn::Expr) -> bool {
    match value {
        syn::Expr::Assign(_) => true,
        syn::Expr::Binary(binary) => compound(&binary.op).is_some(),
        syn::Expr::Group(group) => is_assignment(&group.expr),
        _ => false,
    }
}

/// Reads an expression in the place of a statement: an assignment, or one without a value.
fn expression(value: syn::Expr, span: SourceSpan, diagnostics: &mut Diagnostics) -> Stmt {
    match value {
        syn::Expr::Group(group) => expression(*group.expr, span, diagnostics),
        syn::Expr::Assign(assign) => {
            let value = expr::expr(*assign.right, diagnostics);
            match target(*assign.left, diagnostics) {
                Ok(target) => Stmt::Assign { target, value, span },
                Err(reported) => Stmt::Expr(Expr {
                    kind: ExprKind::Error(reported),
                    span,
                }),
            }
        }
        syn::Expr::Binary(binary) => match compound(&binary.op) {
            Some(op) => compound_assignment(op, binary, span, diagnostics),
            None => Stmt::Expr(expr::expr(syn::Expr::Binary(binary), diagnostics)),
        },
        other => Stmt::Expr(expr::expr(other, diagnostics)),
    }
}

/// Reads `target op= value` as `target = target op value`.
fn compound_assignment(
    op: BinaryOp,
    binary: syn::ExprBinary,
    span: SourceSpan,
    diagnostics: &mut Diagnostics,
) -> Stmt {
    let op_span = SourceSpan::of(&binary.op);
    let left = expr::expr((*binary.left).clone(), diagnostics);
    let right = expr::expr(*binary.right, diagnostics);
    match target(*binary.left, diagnostics) {
        Ok(target) => {
            let kind = ExprKind::Binary {
                op,
                op_span,
                left: Box::new(left),
                right: Box::new(right),
            };
            Stmt::Assign {
                target,
                value: Expr { kind, span },
                span,
            }
        }
        Err(reported) => Stmt::Expr(Expr {
            kind: ExprKind::Error(reported),
            span,
        }),
    }
}

/// The operator in `+=` and the like.
pub fn compound(op: &BinOp) -> Option<BinaryOp> {
    Some(match op {
        BinOp::AddAssign(_) => BinaryOp::Add,
        BinOp::SubAssign(_) => BinaryOp::Sub,
        BinOp::MulAssign(_) => BinaryOp::Mul,
        BinOp::DivAssign(_) => BinaryOp::Div,
        BinOp::RemAssign(_) => BinaryOp::Rem,
        _ => return None,
    })
}

/// Reads the left side of an assignment.
fn target(left: syn::Expr, diagnostics: &mut Diagnostics) -> Result<AssignTarget, Reported> {
    let span = place::expr(&left);
    let error = Diagnostic::error(span, "this cannot be assigned to");
    let error = match left {
        syn::Expr::Group(group) => return target(*group.expr, diagnostics),
        syn::Expr::Paren(paren) => return target(*paren.expr, diagnostics),
        syn::Expr::Path(path)
            if path.qself.is_none() && path.path.get_ident().is_some_and(|name| name != "self") =>
        {
            let name = path.path.segments.into_iter().next().map(|segment| segment.ident);
            return name
                .map(AssignTarget::Name)
                .ok_or_else(|| diagnostics.push(error));
        }
        syn::Expr::Field(field) => match field.member {
            syn::Member::Named(name) => {
                let base = Box::new(expr::expr(*field.base, diagnostics));
                return Ok(AssignTarget::Field { base, name });
            }
            syn::Member::Unnamed(_) => error.help("make a new tuple: `pair = (a, b)`"),
        },
        syn::Expr::Tuple(_) | syn::Expr::Infer(_) => error.help("bind new variables: `let (a, b) = …;`"),
        syn::Expr::Index(_) => {
            error.help("tensors are values; make a new one, for example with `select` or `concat`")
        }
        _ => error.expected("a variable, or a `State` field of the model"),
    };
    Err(diagnostics.push(error))
}

/// Reads what a `let` or a `for` binds.
pub fn pattern(pat: Pat, diagnostics: &mut Diagnostics) -> Pattern {
    let pat = match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
            return Pattern::Name {
                name: pat.ident,
                mutable: pat.mutability.map(|token| token.span.into()),
            };
        }
        pat => pat,
    };
    let span = SourceSpan::of(&pat);
    let error = Diagnostic::error(span, "this pattern is not part of the language");
    let error = match pat {
        Pat::Paren(paren) => return pattern(*paren.pat, diagnostics),
        Pat::Wild(_) => return Pattern::Wild,
        Pat::Tuple(tuple) => {
            let parts = tuple
                .elems
                .into_iter()
                .map(|part| pattern(part, diagnostics))
                .collect();
            return Pattern::Tuple(parts, span);
        }
        Pat::Ident(_) | Pat::Reference(_) => error.help("write the name alone; tensors are values"),
        Pat::Rest(_) => error.help("name every value of the tuple; `_` for one that is not used"),
        Pat::Type(_) => error.help("write the type after the whole pattern, or leave it out"),
        _ => error.expected("a name, `_`, or a tuple of these"),
    };
    Pattern::Error(diagnostics.push(error))
}

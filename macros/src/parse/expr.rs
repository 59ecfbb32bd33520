//! Expressions.

use crate::ast::{BinaryOp, CastType, Expr, ExprKind, Lit, OptionArg, RangeLimits, TensorDtype, UnaryOp};
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::names::Declared;
use crate::parse::{place, refuse, stmt, types};
use syn::{BinOp, Member, Type, UnOp};

/// Reads an expression.
pub fn expr(expr: syn::Expr, diagnostics: &mut Diagnostics) -> Expr {
    let span = place::expr(&expr);
    let kind = match expr {
        syn::Expr::Group(group) => return self::expr(*group.expr, diagnostics),
        syn::Expr::Paren(paren) => return self::expr(*paren.expr, diagnostics),
        syn::Expr::Reference(reference) if reference.mutability.is_none() => {
            return self::expr(*reference.expr, diagnostics);
        }
        syn::Expr::Lit(lit) => literal(&lit.lit, span, diagnostics).map(ExprKind::Lit),
        syn::Expr::Path(path) => name(path, span, diagnostics),
        syn::Expr::Field(field) => Ok(field_access(field, diagnostics)),
        syn::Expr::Tuple(tuple) => Ok(ExprKind::Tuple(list(tuple.elems, diagnostics))),
        syn::Expr::Array(array) => Ok(ExprKind::Array(list(array.elems, diagnostics))),
        syn::Expr::Unary(unary) => unary_operation(unary, diagnostics),
        syn::Expr::Binary(binary) => binary_operation(binary, diagnostics),
        syn::Expr::MethodCall(call) => Ok(method_call(call, diagnostics)),
        syn::Expr::Call(call) => function_call(call, diagnostics),
        syn::Expr::Range(range) => Ok(range_of(range, diagnostics)),
        syn::Expr::Block(block) => {
            refuse_label(block.label.as_ref(), diagnostics);
            Ok(ExprKind::Block(stmt::braced(block.block, diagnostics)))
        }
        syn::Expr::If(branch) => Ok(branch_of(branch, diagnostics)),
        syn::Expr::Cast(cast) => cast_of(cast, diagnostics),
        syn::Expr::ForLoop(for_loop) => {
            refuse_label(for_loop.label.as_ref(), diagnostics);
            let pattern = stmt::pattern(*for_loop.pat, diagnostics);
            let iter = Box::new(self::expr(*for_loop.expr, diagnostics));
            Ok(ExprKind::For {
                pattern,
                iter,
                body: stmt::braced(for_loop.body, diagnostics),
            })
        }
        other => Err(refuse::expr(other, span, diagnostics)),
    };
    Expr {
        kind: kind.unwrap_or_else(ExprKind::Error),
        span,
    }
}

fn boxed(inner: syn::Expr, diagnostics: &mut Diagnostics) -> Box<Expr> {
    Box::new(expr(inner, diagnostics))
}

fn list(elems: impl IntoIterator<Item = syn::Expr>, diagnostics: &mut Diagnostics) -> Vec<Expr> {
    elems.into_iter().map(|elem| expr(elem, diagnostics)).collect()
}

/// Reads a literal.
fn literal(lit: &syn::Lit, span: SourceSpan, diagnostics: &mut Diagnostics) -> Result<Lit, Reported> {
    let suffix = lit.suffix();
    let error = match lit {
        syn::Lit::Float(float) if matches!(suffix, "" | "f32") => match float.base10_parse() {
            Ok(value) if f64::is_finite(value) => return Ok(Lit::Float(value)),
            _ => Diagnostic::error(span, "this number is too large").expected("a finite number"),
        },
        syn::Lit::Int(int) if matches!(suffix, "" | "usize") => match int.base10_parse() {
            Ok(value) => return Ok(Lit::Int(value)),
            // Only a macro can make such a token; in a source, the sign is an operator.
            Err(_) if int.base10_digits().starts_with('-') => {
                Diagnostic::error(span, "a macro has made a negative literal")
                    .help("write the number in the model")
            }
            Err(_) => Diagnostic::error(span, "this number is too large").expected("at most 2^64 - 1"),
        },
        syn::Lit::Float(_) | syn::Lit::Int(_) => {
            Diagnostic::error(span, format!("a number cannot have the suffix `{suffix}`"))
                .note("a number takes the type and the precision of the tensor that it meets")
                .help("write it without the suffix")
        }
        syn::Lit::Bool(value) => return Ok(Lit::Bool(value.value)),
        syn::Lit::Str(text) if suffix.is_empty() => return Ok(Lit::Str(text.value())),
        _ => Diagnostic::error(span, "this literal is not part of the language")
            .expected("a number, `true`, `false`, or a string"),
    };
    Err(diagnostics.push(error))
}

/// Reads a name or a longer path.
fn name(path: syn::ExprPath, span: SourceSpan, diagnostics: &mut Diagnostics) -> Result<ExprKind, Reported> {
    let has_arguments = path
        .path
        .segments
        .iter()
        .any(|segment| !segment.arguments.is_none());
    if path.qself.is_some() || has_arguments {
        let error = Diagnostic::error(span, "this path is not part of the language");
        return Err(diagnostics.push(
            error.help("give the value a name with `const` outside of the model, and write that name here"),
        ));
    }
    Ok(match path.path.get_ident() {
        Some(name) if name == "self" => ExprKind::SelfRef,
        Some(name) => ExprKind::Name(name.clone()),
        None => ExprKind::Path(path.path),
    })
}

fn field_access(field: syn::ExprField, diagnostics: &mut Diagnostics) -> ExprKind {
    let base = boxed(*field.base, diagnostics);
    match field.member {
        Member::Named(name) => ExprKind::Field { base, name },
        Member::Unnamed(index) => ExprKind::TupleIndex {
            base,
            index: index.index as usize,
        },
    }
}

fn unary_operation(unary: syn::ExprUnary, diagnostics: &mut Diagnostics) -> Result<ExprKind, Reported> {
    let place = SourceSpan::of(&unary.op);
    let operand = boxed(*unary.expr, diagnostics);
    let op = match unary.op {
        UnOp::Neg(_) => UnaryOp::Neg,
        UnOp::Not(_) => UnaryOp::Not,
        _ => {
            let error = Diagnostic::error(place, "there is nothing to dereference");
            return Err(diagnostics.push(error.note("tensors are values").help("remove the `*`")));
        }
    };
    Ok(ExprKind::Unary { op, operand })
}

fn binary_operation(binary: syn::ExprBinary, diagnostics: &mut Diagnostics) -> Result<ExprKind, Reported> {
    let op_span = SourceSpan::of(&binary.op);
    let left = boxed(*binary.left, diagnostics);
    let right = boxed(*binary.right, diagnostics);
    let op = operator(&binary.op).map_err(|help| {
        let operator = &binary.op;
        let text = quote::quote!(#operator);
        let error = Diagnostic::error(op_span, format!("the operator `{text}` cannot stand here"));
        diagnostics.push(error.help(help))
    })?;
    Ok(ExprKind::Binary {
        op,
        op_span,
        left,
        right,
    })
}

/// The operator, or what to write instead of it.
fn operator(op: &BinOp) -> Result<BinaryOp, &'static str> {
    Ok(match op {
        BinOp::Add(_) => BinaryOp::Add,
        BinOp::Sub(_) => BinaryOp::Sub,
        BinOp::Mul(_) => BinaryOp::Mul,
        BinOp::Div(_) => BinaryOp::Div,
        BinOp::Rem(_) => BinaryOp::Rem,
        BinOp::Eq(_) => BinaryOp::Eq,
        BinOp::Ne(_) => BinaryOp::Ne,
        BinOp::Lt(_) => BinaryOp::Lt,
        BinOp::Le(_) => BinaryOp::Le,
        BinOp::Gt(_) => BinaryOp::Gt,
        BinOp::Ge(_) => BinaryOp::Ge,
        BinOp::And(_) => BinaryOp::And,
        BinOp::Or(_) => BinaryOp::Or,
        BinOp::BitAnd(_) => return Err("for boolean tensors write `a && b`"),
        BinOp::BitOr(_) => return Err("for boolean tensors write `a || b`"),
        BinOp::BitXor(_) => {
            return Err("for a power write `x.pow(2.0)`; boolean tensors differ where `a != b`");
        }
        BinOp::Shl(_) | BinOp::Shr(_) => return Err("multiply or divide by a power of two"),
        _ if stmt::compound(op).is_some() => {
            return Err("an assignment is a statement of its own: `x += y;`");
        }
        _ => return Err("use arithmetic, comparisons, `&&` and `||`"),
    })
}

fn method_call(call: syn::ExprMethodCall, diagnostics: &mut Diagnostics) -> ExprKind {
    if let Some(turbofish) = &call.turbofish {
        let error = Diagnostic::error(SourceSpan::of(turbofish), "a call has no generic arguments");
        diagnostics.push(
            error.help("remove them; sizes follow from the shapes, options have names: `x.sum(axis = 1)`"),
        );
    }
    let base = boxed(*call.receiver, diagnostics);
    let (args, options) = arguments(Vec::new(), call.args, diagnostics);
    ExprKind::MethodCall {
        base,
        method: call.method,
        args,
        options,
    }
}

fn function_call(call: syn::ExprCall, diagnostics: &mut Diagnostics) -> Result<ExprKind, Reported> {
    let span = place::expr(&call.func);
    let (args, options) = arguments(Vec::new(), call.args, diagnostics);
    let mut callee = *call.func;
    while let syn::Expr::Group(group) = callee {
        callee = *group.expr;
    }
    let path = match callee {
        syn::Expr::Path(path) => path,
        syn::Expr::Paren(_) => {
            let error = Diagnostic::error(span, "only a name can be called");
            return Err(diagnostics.push(error.help("call a layer as a method of the model: `self.fc1(x)`")));
        }
        other => {
            // Finds what is wrong inside, as an index in `self.blocks[0](x)`.
            let inner = expr(other, diagnostics);
            if let ExprKind::Error(reported) = inner.kind {
                return Err(reported);
            }
            let error = Diagnostic::error(span, "only a name can be called");
            return Err(diagnostics.push(error.help("give the value a name with `let`")));
        }
    };
    match name(path, span, diagnostics)? {
        ExprKind::Name(name) => Ok(ExprKind::Call {
            callee: name.into(),
            args,
            options,
        }),
        ExprKind::Path(callee) => Ok(ExprKind::Call {
            callee,
            args,
            options,
        }),
        _ => {
            let error = Diagnostic::error(span, "the model itself cannot be called");
            Err(diagnostics.push(error.help("name the function: `self.forward(x)`")))
        }
    }
}

/// Splits the arguments of a call into those by position and those by name, `axis = 1`, which follow `options`.
pub fn arguments(
    mut options: Vec<OptionArg>,
    arguments: impl IntoIterator<Item = syn::Expr>,
    diagnostics: &mut Diagnostics,
) -> (Vec<Expr>, Vec<OptionArg>) {
    let mut declared = Declared::new("option");
    for option in &options {
        declared.know(&option.name);
    }
    let mut args = Vec::new();
    for argument in arguments {
        let span = place::expr(&argument);
        let syn::Expr::Assign(assign) = argument else {
            if let Some(option) = options.last() {
                let error =
                    Diagnostic::error(span, "an argument without a name stands after one with a name");
                diagnostics.push(
                    error
                        .at(option.name.span(), format_args!("the option `{}`", option.name))
                        .help("put the options last"),
                );
            }
            args.push(expr(argument, diagnostics));
            continue;
        };
        let name = match *assign.left {
            syn::Expr::Path(path) if path.qself.is_none() => path.path.get_ident().cloned(),
            _ => None,
        };
        let value = expr(*assign.right, diagnostics);
        match name {
            Some(name) => {
                if declared.declare(&name, diagnostics).is_ok() {
                    options.push(OptionArg { name, value, span });
                }
            }
            None => {
                let error = Diagnostic::error(span, "this is no option");
                diagnostics.push(error.expected("`name = value`, as in `x.sum(axis = 1)`"));
            }
        }
    }
    (args, options)
}

fn range_of(range: syn::ExprRange, diagnostics: &mut Diagnostics) -> ExprKind {
    let start = range.start.map(|start| boxed(*start, diagnostics));
    let end = range.end.map(|end| boxed(*end, diagnostics));
    let limits = match range.limits {
        syn::RangeLimits::HalfOpen(_) => RangeLimits::HalfOpen,
        syn::RangeLimits::Closed(_) => RangeLimits::Closed,
    };
    ExprKind::Range { start, end, limits }
}

fn branch_of(branch: syn::ExprIf, diagnostics: &mut Diagnostics) -> ExprKind {
    let cond = boxed(*branch.cond, diagnostics);
    let then = stmt::braced(branch.then_branch, diagnostics);
    let else_ = branch.else_branch.map(|(_, other)| boxed(*other, diagnostics));
    ExprKind::If { cond, then, else_ }
}

fn cast_of(cast: syn::ExprCast, diagnostics: &mut Diagnostics) -> Result<ExprKind, Reported> {
    let ty_span = place::ty(&cast.ty);
    let operand = boxed(*cast.expr, diagnostics);
    let name = match &*cast.ty {
        Type::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    };
    let ty = match name {
        Some(name) if name == "f32" => CastType::Tensor(TensorDtype::Float),
        Some(name) if name == "usize" => CastType::Usize,
        other => match other.and_then(types::dtype) {
            Some(Ok(dtype)) => CastType::Tensor(dtype),
            _ => {
                let error = Diagnostic::error(ty_span, "nothing can be converted to this type")
                    .expected("`f32` for real numbers, `u8`, `u16`, `u32`, `i32`, `i64`, `bool`, or `usize`");
                return Err(diagnostics.push(error));
            }
        },
    };
    Ok(ExprKind::Cast { operand, ty })
}

fn refuse_label(label: Option<&syn::Label>, diagnostics: &mut Diagnostics) {
    if let Some(label) = label {
        let error = Diagnostic::error(SourceSpan::of(label), "a block or loop cannot have a label");
        diagnostics.push(error.note("loops run to their end").help("remove the label"));
    }
}

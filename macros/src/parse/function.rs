//! The functions of a model: signatures, and what is checked of them.

use crate::ast::{
    Arg, Block, DimArg, DimExpr, DimExprKind, DynDim, Expr, ExprKind, Function, ModelOptions, Receiver,
    ReturnType,
};
use crate::ast::{Stmt, TensorDtype, ValueType};
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::attributes::{self, Place};
use crate::parse::names::Declared;
use crate::parse::{dims, place, read, stmt, types};
use proc_macro2::{Ident, Span, TokenStream, extra::DelimSpan};
use syn::{
    FnArg, GenericArgument, GenericParam, Pat, PathArguments, ReceiverKind, Signature, TypeParamBound,
};

/// A function whose body is not read yet, so that an error in it leaves the signature whole.
pub struct RawFunction {
    /// Everything before the visibility.
    pub attrs: Vec<syn::Attribute>,
    /// Who may call it.
    pub vis: syn::Visibility,
    /// From `fn` to the return type.
    pub signature: Signature,
    /// What is between the braces.
    pub body: TokenStream,
    /// The braces.
    pub brace: DelimSpan,
}

/// `#[model(hvp)]` stands on what has a Hessian and methods.
fn check_hvp(
    options: &ModelOptions,
    name: &Ident,
    vis: &syn::Visibility,
    ret: &ReturnType,
    diagnostics: &mut Diagnostics,
) {
    let Some(place) = options.hvp else { return };
    let why = match (ret, vis) {
        (ReturnType::Scalar(_), syn::Visibility::Inherited) => "it is private, and gets no methods",
        (ReturnType::Scalar(_) | ReturnType::Error(_), _) => return,
        _ => "it returns no `Scalar`",
    };
    let error = Diagnostic::error(place, format!("there is no `{name}_hvp`: {why}"));
    diagnostics.push(error.help("`#[model(hvp)]` stands on a public function such as a loss"));
}

/// Reads a function. `generics` are the const generics of the model.
///
/// # Errors
///
/// A part of the signature is missing without which the function could not be called.
pub fn function(
    raw: RawFunction,
    generics: &[&Ident],
    diagnostics: &mut Diagnostics,
) -> Result<Function, Reported> {
    let RawFunction {
        attrs,
        vis,
        signature,
        body,
        brace,
    } = raw;
    let start = match &vis {
        syn::Visibility::Inherited => signature.fn_token.span.into(),
        vis => SourceSpan::of(vis),
    };
    let end = match &signature.output {
        syn::ReturnType::Default => signature.paren_token.span.close().into(),
        syn::ReturnType::Type(_, ty) => place::ty(ty),
    };
    check_qualifiers(&signature, diagnostics);
    let attributes = attributes::sort(attrs, Place::Function, diagnostics);
    let dims = dynamic_dims(signature.generics, generics, diagnostics);
    let (receiver, args) = arguments(signature.inputs, &dims, diagnostics);
    check_dims_occur(&dims, &args, diagnostics);
    let ret = match signature.output {
        syn::ReturnType::Type(_, ty) => types::return_type(*ty, diagnostics),
        syn::ReturnType::Default => {
            let message = format!("the function `{}` returns nothing", signature.ident);
            let error = Diagnostic::error(signature.ident.span(), message)
                .expected("`-> Tensor<…>`, `-> Scalar`, or a tuple of them");
            ReturnType::Error(diagnostics.push(error))
        }
    };
    for value in &attributes.model.dims {
        if !dims.iter().any(|dim| dim.name == value.name) {
            let message = format!("`{}` has no dynamic dimension `{}`", signature.ident, value.name);
            diagnostics.error(value.name.span(), message);
        }
    }
    check_hvp(&attributes.model, &signature.ident, &vis, &ret, diagnostics);
    let body = body_block(&signature.ident, body, brace, diagnostics);
    Ok(Function {
        attrs: attributes.kept,
        options: attributes.model,
        vis,
        name: signature.ident,
        receiver,
        dims,
        args,
        ret,
        body,
        rejected: None,
        span: start.to(end),
    })
}

/// Reads the body; one that is no Rust becomes a single poison value.
fn body_block(name: &Ident, body: TokenStream, brace: DelimSpan, diagnostics: &mut Diagnostics) -> Block {
    let span = SourceSpan {
        start: brace.open(),
        end: brace.close(),
    };
    let poison = |reported| {
        let tail = Some(Box::new(Expr {
            kind: ExprKind::Error(reported),
            span,
        }));
        Block {
            stmts: Vec::new(),
            tail,
            span,
        }
    };
    let stmts = match read(syn::Block::parse_within, body, diagnostics) {
        Ok(stmts) => stmts,
        Err(reported) => return poison(reported),
    };
    attributes::refuse_in_body(&stmts, diagnostics);
    let last = stmts.last().map_or(span, place::stmt);
    let mut block = stmt::block(stmts, span, diagnostics);
    if block.tail.is_none() {
        let kind = match block.stmts.last() {
            // What was refused already, as `return x;`, needs no second message.
            Some(Stmt::Expr(Expr {
                kind: ExprKind::Error(reported),
                ..
            })) => ExprKind::Error(*reported),
            _ => {
                let error = Diagnostic::error(last, format!("the function `{name}` ends without a value"));
                ExprKind::Error(diagnostics.push(error.help("its value is its last expression, without `;`")))
            }
        };
        block.tail = Some(Box::new(Expr { kind, span: last }));
    }
    block
}

/// Refuses what stands before `fn`, and `...` at the end of the arguments.
fn check_qualifiers(signature: &Signature, diagnostics: &mut Diagnostics) {
    let mut refuse = |span: Span, what: &str, help: &str| {
        let error = Diagnostic::error(span, format!("a function of a model cannot be {what}"));
        diagnostics.push(error.help(help));
    };
    if let Some(token) = signature.constness {
        refuse(
            token.span,
            "`const`",
            "remove `const`; it is compiled to a plain method",
        );
    }
    if let Some(token) = signature.asyncness {
        refuse(
            token.span,
            "`async`",
            "remove `async`; to wait for a result elsewhere, call it from a thread",
        );
    }
    match signature.safety {
        syn::Safety::Unsafe(token) => refuse(
            token.span,
            "`unsafe`",
            "remove `unsafe`; nothing unsafe is generated",
        ),
        syn::Safety::Safe(token) => refuse(token.span, "`safe`", "remove `safe`"),
        syn::Safety::Default => {}
    }
    if let Some(abi) = &signature.abi {
        refuse(
            abi.extern_token.span,
            "`extern`",
            "remove `extern`; write a function that calls the model",
        );
    }
    if let Some(variadic) = &signature.variadic {
        let span = variadic.dots.spans[0];
        refuse(span, "variadic", "give every argument a name and a type");
    }
}

/// Reads the generics of a function: dynamic dimensions and nothing else.
fn dynamic_dims(generics: syn::Generics, outer: &[&Ident], diagnostics: &mut Diagnostics) -> Vec<DynDim> {
    let mut declared = Declared::new("dimension");
    for generic in outer {
        declared.know(generic);
    }
    let has_where = generics.where_clause.is_some();
    if let Some(clause) = &generics.where_clause {
        let error = Diagnostic::error(
            SourceSpan::of(clause),
            "a function of a model has no `where` clause",
        );
        diagnostics.push(
            error.help("write the bounds where the dimension is declared: `<B: Dim + MultipleOf<16>>`"),
        );
    }
    let mut dims = Vec::new();
    for param in generics.params {
        match param {
            GenericParam::Type(param) => {
                if declared.declare(&param.ident, diagnostics).is_ok() {
                    dims.push(dynamic_dim(param, has_where, diagnostics));
                }
            }
            GenericParam::Const(param) => {
                let message = format!("the const generic `{}` belongs to the model", param.ident);
                diagnostics.push(Diagnostic::error(param.ident.span(), message).help(format_args!(
                    "write `impl<const {0}: usize> …`, or make it a dynamic dimension: `<{0}: Dim>`",
                    param.ident
                )));
            }
            GenericParam::Lifetime(param) => {
                let error =
                    Diagnostic::error(param.lifetime.span(), "a function of a model has no lifetimes");
                diagnostics.push(error.help("remove it; tensors are values"));
            }
        }
    }
    dims
}

/// Reads `B: Dim` or `B: Dim + MultipleOf<16>`. The bounds may be missing if a `where` clause was refused.
fn dynamic_dim(param: syn::TypeParam, has_where: bool, diagnostics: &mut Diagnostics) -> DynDim {
    let name = param.ident;
    attributes::sort(param.attrs, Place::Generic, diagnostics);
    if let Some((_, default)) = &param.default {
        diagnostics.error(
            SourceSpan::of(default),
            format!("the dimension `{name}` cannot have a default"),
        );
    }
    let (mut is_dim, mut refused, mut multiple_of) = (has_where, false, None);
    for bound in param.bounds {
        let span = SourceSpan::of(&bound);
        let last = match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.into_iter().last(),
            _ => None,
        };
        match last {
            Some(last) if last.ident == "Dim" && last.arguments.is_none() => is_dim = true,
            Some(last) if last.ident == "MultipleOf" => {
                multiple_of = Some(divisor(last.arguments, span, diagnostics));
            }
            _ => {
                refused = true;
                let error = Diagnostic::error(span, format!("`{name}` cannot have this bound"));
                diagnostics.push(
                    error
                        .expected("`Dim`, or `Dim + MultipleOf<16>`")
                        .note("precision and device are chosen when the model is made"),
                );
            }
        }
    }
    if !is_dim && !refused {
        let error = Diagnostic::error(name.span(), format!("`{name}` is not declared as a dimension"));
        diagnostics.push(error.help(format_args!("write `{name}: Dim`")));
    }
    DynDim { name, multiple_of }
}

/// Reads what is inside of `MultipleOf<…>`.
fn divisor(arguments: PathArguments, span: SourceSpan, diagnostics: &mut Diagnostics) -> DimExpr {
    let args: Vec<GenericArgument> = match arguments {
        PathArguments::AngleBracketed(args) => args.args.into_iter().collect(),
        _ => Vec::new(),
    };
    let error = match <[GenericArgument; 1]>::try_from(args) {
        Ok([arg]) => match dims::argument(arg, diagnostics) {
            DimArg::Expr(DimExpr {
                kind: DimExprKind::Lit(0),
                ..
            }) => Diagnostic::error(span, "no size is a multiple of 0 alone"),
            DimArg::Expr(expr) => return expr,
            DimArg::Infer(_) => Diagnostic::error(span, "the divisor of a bound cannot be inferred"),
        },
        Err(_) => Diagnostic::error(span, "`MultipleOf` has one argument"),
    };
    let reported = diagnostics.push(error.help("write for example `MultipleOf<16>`"));
    DimExpr {
        kind: DimExprKind::Error(reported),
        span,
    }
}

/// Reads `&self` and the arguments; of two with the same name, the first is kept.
fn arguments(
    inputs: impl IntoIterator<Item = FnArg>,
    dims: &[DynDim],
    diagnostics: &mut Diagnostics,
) -> (Receiver, Vec<Arg>) {
    let mut receiver = Receiver::None;
    let mut declared = Declared::new("argument");
    let mut args = Vec::new();
    for input in inputs {
        match input {
            FnArg::Receiver(found) => {
                self_argument(found, diagnostics);
                receiver = Receiver::SelfRef;
            }
            FnArg::Typed(typed) => {
                let Ok(arg) = argument(typed, diagnostics) else {
                    continue;
                };
                if let Some(dim) = dims.iter().find(|dim| dim.name == arg.name) {
                    let message = format!("the argument `{}` has the name of a dimension", arg.name);
                    let error = Diagnostic::error(arg.name.span(), message);
                    diagnostics.push(
                        error
                            .at(dim.name.span(), "the dimension")
                            .help("rename one of the two"),
                    );
                }
                if declared.declare(&arg.name, diagnostics).is_ok() {
                    args.push(arg);
                }
            }
        }
    }
    (receiver, args)
}

/// Checks that the model is taken as `&self`, and returns the place of it.
fn self_argument(receiver: syn::Receiver, diagnostics: &mut Diagnostics) {
    let span = SourceSpan::of(&receiver);
    attributes::sort(receiver.attrs, Place::Arg, diagnostics);
    let is_plain = matches!(receiver.kind, ReceiverKind::Reference(_, None, None));
    if !is_plain || receiver.mutability.is_some() {
        diagnostics.push(
            Diagnostic::error(span, "a function of a model takes the model as `&self`")
                .note("training changes the parameters through `_grad` and an optimizer, not in the function")
                .help("write `&self`"),
        );
    }
}

/// Reads one argument.
fn argument(typed: syn::PatType, diagnostics: &mut Diagnostics) -> Result<Arg, Reported> {
    let attributes = attributes::sort(typed.attrs, Place::Arg, diagnostics);
    let end = place::ty(&typed.ty);
    let place = SourceSpan::of(&typed.pat);
    let ty = types::value_type(*typed.ty, diagnostics);
    let (name, mutable) = match *typed.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
            (pat.ident, pat.mutability.map(|token| token.span.into()))
        }
        _ => {
            let error = Diagnostic::error(place, "an argument is a name");
            return Err(diagnostics.push(error.help("name it, and take it apart with `let` in the function")));
        }
    };
    let is_real = match &ty {
        ValueType::Tensor(tensor) => tensor.dtype == TensorDtype::Float,
        ValueType::Host(..) => false,
        ValueType::Error(_) => true,
    };
    if let (Some(grad), false) = (attributes.grad, is_real) {
        let error = Diagnostic::error(grad, format!("`{name}` can have no gradient"));
        diagnostics.push(
            error
                .note("only tensors of real numbers have one")
                .help(format_args!(
                    "make it a `Scalar` or a `Tensor<…>` without dtype, or remove `#[grad]`"
                )),
        );
    }
    Ok(Arg {
        span: SourceSpan::from(name.span()).to(end),
        name,
        ty,
        grad: attributes.grad,
        mutable,
    })
}

/// Checks that every dynamic dimension stands alone in the shape of an argument, from which its size is read when
/// the function is called.
fn check_dims_occur(dims: &[DynDim], args: &[Arg], diagnostics: &mut Diagnostics) {
    // A type that was not understood may have held it.
    if args.iter().any(|arg| matches!(arg.ty, ValueType::Error(_))) {
        return;
    }
    let occurs = |name: &Ident| {
        args.iter().any(|arg| match &arg.ty {
            ValueType::Tensor(tensor) => tensor.dims.iter().any(|dim| match dim {
                DimArg::Expr(DimExpr {
                    kind: DimExprKind::Name(found),
                    ..
                }) => found == name,
                _ => false,
            }),
            _ => false,
        })
    };
    for dim in dims.iter().filter(|dim| !occurs(&dim.name)) {
        let message = format!(
            "the size of `{}` cannot be known when the function is called",
            dim.name
        );
        let error = Diagnostic::error(dim.name.span(), message);
        diagnostics.push(error.expected(format_args!(
            "`{0}` alone as a dimension of an argument: `x: Tensor<{0}>`",
            dim.name
        )));
    }
}

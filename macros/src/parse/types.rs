//! The types of the language: tensors, scalars, numbers of the host, and what a field can be.

use crate::ast::{DimArg, FieldKind, HostType, ReturnType, TensorDtype, TensorType, ValueType};
use crate::diag::{Diagnostic, Diagnostics, Reported, SourceSpan};
use crate::parse::{dims, place};
use proc_macro2::Ident;
use syn::{AngleBracketedGenericArguments, GenericArgument, Path, PathArguments, Type};

/// Whether `path` is the language's own `name`: written alone, in full as `tapeless::name`, or by `network!` with
/// `__private` before it. Under any other path it is somebody else's.
fn is_builtin(path: &Path, name: &str) -> bool {
    let n_segments = path.segments.len();
    path.segments.last().is_some_and(|last| last.ident == name)
        && (n_segments == 1
            || path.segments[0].ident == "tapeless"
            || path.segments[n_segments - 2].ident == "__private")
}

/// The dtype that a name stands for, with the help for those that tensors do not have.
pub fn dtype(name: &Ident) -> Option<Result<TensorDtype, &'static str>> {
    const PRECISION: &str = "real tensors name no dtype, `Tensor<B, 10>`: their precision is chosen when the \
                             model is made, with `Model::builder(&device).precision(Precision::F64)`";
    const INTEGERS: &str = "tensors have the integers `u8`, `u16`, `u32`, `i32` and `i64`";
    Some(match name.to_string().as_str() {
        "u8" => Ok(TensorDtype::U8),
        "u16" => Ok(TensorDtype::U16),
        "u32" => Ok(TensorDtype::U32),
        "i32" => Ok(TensorDtype::I32),
        "i64" => Ok(TensorDtype::I64),
        "bool" => Ok(TensorDtype::Bool),
        "f16" | "f32" | "f64" | "f128" | "bf16" => Err(PRECISION),
        "i8" | "i16" | "i128" | "isize" | "u64" | "u128" | "usize" | "char" | "str" => Err(INTEGERS),
        _ => return None,
    })
}

/// The type without the reference, parentheses and invisible groups around it.
fn bare(ty: Type) -> Type {
    match ty {
        Type::Group(group) => bare(*group.elem),
        Type::Paren(paren) => bare(*paren.elem),
        Type::Reference(reference) if reference.mutability.is_none() => bare(*reference.elem),
        other => other,
    }
}

/// Reads the type of an argument or of a `let`.
pub fn value_type(ty: Type, diagnostics: &mut Diagnostics) -> ValueType {
    let span = place::ty(&ty);
    let ty = bare(ty);
    if let Some(tensor) = tensor_type(&ty, span, diagnostics) {
        return tensor.map_or_else(ValueType::Error, ValueType::Tensor);
    }
    let name = match &ty {
        Type::Path(path) if path.qself.is_none() => path.path.get_ident().map(ToString::to_string),
        _ => None,
    };
    let error = match name.as_deref() {
        Some("f32") => return ValueType::Host(HostType::F32, span),
        Some("bool") => return ValueType::Host(HostType::Bool, span),
        Some("usize") => return ValueType::Host(HostType::Usize, span),
        Some("f64") => Diagnostic::error(span, "a number is given as `f32`").help("write `f32`"),
        _ => Diagnostic::error(span, "this type is not part of the language")
            .expected("`Tensor<…>`, `Scalar`, `f32`, `bool` or `usize`")
            .found(format_args!("`{}`", source(&ty))),
    };
    ValueType::Error(diagnostics.push(error))
}

/// Reads what a function returns.
pub fn return_type(ty: Type, diagnostics: &mut Diagnostics) -> ReturnType {
    let span = place::ty(&ty);
    let ty = bare(ty);
    if let Type::Path(path) = &ty
        && path.qself.is_none()
        && is_builtin(&path.path, "Scalar")
        && path
            .path
            .segments
            .iter()
            .all(|segment| segment.arguments.is_none())
    {
        return ReturnType::Scalar(span);
    }
    if let Some(tensor) = tensor_type(&ty, span, diagnostics) {
        return tensor.map_or_else(ReturnType::Error, ReturnType::Tensor);
    }
    let error = Diagnostic::error(span, "a function of a model cannot return this")
        .expected("`Tensor<…>`, `Scalar`, or a tuple of them");
    let error = match ty {
        Type::Tuple(tuple) if !tuple.elems.is_empty() => {
            let parts = tuple
                .elems
                .into_iter()
                .map(|part| return_type(part, diagnostics))
                .collect();
            return ReturnType::Tuple(parts, span);
        }
        Type::Path(path) if path.path.is_ident("f32") || path.path.is_ident("f64") => error
            .found(format_args!("`{}`", source(&path)))
            .help("a single real number is a `Scalar`"),
        other => error.found(format_args!("`{}`", source(&other))),
    };
    ReturnType::Error(diagnostics.push(error))
}

/// Reads `Tensor<…>` or `Scalar`; `None` if the type is neither.
fn tensor_type(
    ty: &Type,
    span: SourceSpan,
    diagnostics: &mut Diagnostics,
) -> Option<Result<TensorType, Reported>> {
    let Type::Path(path) = ty else { return None };
    if path.qself.is_some() {
        return None;
    }
    let last = path.path.segments.last()?;
    if is_builtin(&path.path, "Scalar") {
        if last.arguments.is_none() {
            return Some(Ok(TensorType {
                dtype: TensorDtype::Float,
                dims: Vec::new(),
                span,
            }));
        }
        let error = Diagnostic::error(span, "`Scalar` has no dimensions");
        return Some(Err(
            diagnostics.push(error.help("write `Scalar`, or `Tensor<…>` with the dimensions"))
        ));
    }
    if !is_builtin(&path.path, "Tensor") {
        return None;
    }
    let PathArguments::AngleBracketed(args) = &last.arguments else {
        let error = Diagnostic::error(span, "`Tensor` needs its dimensions");
        return Some(Err(diagnostics.push(error.help(
            "write for example `Tensor<B, 10>`, or `Scalar` for a single real number",
        ))));
    };
    Some(tensor_args(args, span, diagnostics))
}

/// The most axes of an argument or result: as many as the runtime's tables hold (`MAX_RANK` in `runtime/src/program.rs`).
pub(super) const MAX_AXES: usize = 8;

/// Reads what is inside of `Tensor<…>`: first a dtype, if there is one, then the dimensions.
fn tensor_args(
    args: &AngleBracketedGenericArguments,
    span: SourceSpan,
    diagnostics: &mut Diagnostics,
) -> Result<TensorType, Reported> {
    let mut rest = args.args.iter().cloned().peekable();
    let mut tensor_dtype = Ok(TensorDtype::Float);
    if let Some(found) = rest.peek().and_then(dtype_argument) {
        tensor_dtype = found.map_err(|(name, help)| {
            let message = format!("`{name}` is no dtype of a tensor");
            diagnostics.push(Diagnostic::error(name.span(), message).help(help))
        });
        rest.next();
    }
    let dims = dims::arguments(rest, diagnostics);
    if dims.len() > MAX_AXES {
        let error = Diagnostic::error(span, format!("a tensor has at most {MAX_AXES} axes"))
            .found(format_args!("{} axes", dims.len()))
            .help("merge some of them: `Tensor<B, { H * W }>`");
        return Err(diagnostics.push(error));
    }
    Ok(TensorType {
        dtype: tensor_dtype?,
        dims,
        span,
    })
}

/// The dtype that a generic argument names; an error comes with the name and the help for it.
fn dtype_argument(arg: &GenericArgument) -> Option<Result<TensorDtype, (Ident, &'static str)>> {
    let GenericArgument::Type(Type::Path(path)) = arg else {
        return None;
    };
    let name = path.path.get_ident()?;
    Some(dtype(name)?.map_err(|help| (name.clone(), help)))
}

/// Reads what a field is.
pub fn field_kind(ty: Type, diagnostics: &mut Diagnostics) -> FieldKind {
    let span = place::ty(&ty);
    match ty {
        Type::Group(group) => field_kind(*group.elem, diagnostics),
        Type::Paren(paren) => field_kind(*paren.elem, diagnostics),
        Type::Array(array) => {
            let elem = Box::new(field_kind(*array.elem, diagnostics));
            let count = dims::from_expr(array.len, diagnostics);
            FieldKind::Array { elem, count }
        }
        Type::Path(path) if path.qself.is_none() => {
            path_field(path.path, span, diagnostics).unwrap_or_else(FieldKind::Error)
        }
        Type::Slice(_) => {
            let error = Diagnostic::error(span, "the number of layers is missing");
            FieldKind::Error(diagnostics.push(error.help("write an array, `[Block<D>; 4]`")))
        }
        other => {
            let error = Diagnostic::error(span, "a field of a model is a layer or a tensor")
                .expected(FIELD)
                .found(format_args!("`{}`", source(&other)));
            FieldKind::Error(diagnostics.push(error))
        }
    }
}

const FIELD: &str =
    "a layer such as `Linear<784, 128>`, a model, `Param<…>`, `State<…>`, or an array of layers";

/// Reads the type of a field that is a path: the name of a layer, in the end.
fn path_field(
    mut path: Path,
    span: SourceSpan,
    diagnostics: &mut Diagnostics,
) -> Result<FieldKind, Reported> {
    if let Some(help) = path
        .get_ident()
        .and_then(no_layer)
        .or_else(|| no_layer(generic_name(&path)?))
    {
        let error = Diagnostic::error(span, "a field of a model is a layer or a tensor");
        return Err(diagnostics.push(error.expected(FIELD).help(help)));
    }
    let is_param = is_builtin(&path, "Param");
    let is_state = is_builtin(&path, "State");
    let args = take_arguments(&mut path, diagnostics)?;
    if is_param || is_state {
        if let Some(Ok(_) | Err(_)) = args.first().and_then(dtype_argument) {
            let error = Diagnostic::error(span, "the tensors of a model are real numbers").help(
                "name the dimensions only, as in `Param<D, H>`; precision is chosen when the model is made",
            );
            return Err(diagnostics.push(error));
        }
        let dims = dims::arguments(args, diagnostics);
        return Ok(if is_param {
            FieldKind::Param { dims }
        } else {
            FieldKind::State { dims }
        });
    }
    let args: Vec<DimArg> = dims::arguments(args, diagnostics);
    Ok(FieldKind::Layer { path, args })
}

/// The name in `Name<…>`.
fn generic_name(path: &Path) -> Option<&Ident> {
    (path.segments.len() == 1).then(|| &path.segments[0].ident)
}

/// What to write instead of a type that one could take for a layer.
fn no_layer(name: &Ident) -> Option<&'static str> {
    Some(match name.to_string().as_str() {
        "Tensor" | "Scalar" => "a trained tensor is `Param<…>`, one that is carried along is `State<…>`",
        "Vec" => "several layers of one kind are an array, `[Block<D>; 4]`",
        "Option" => "whether a layer is there is decided by writing two models",
        "Box" | "Rc" | "Arc" => "write the layer itself",
        "f32" | "f64" | "bool" | "usize" | "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64"
        | "String" => "sizes are const generics of the model; other numbers are arguments of its functions",
        _ => return None,
    })
}

/// Takes the generic arguments out of a path, which may stand at its last segment only.
pub fn take_arguments(
    path: &mut Path,
    diagnostics: &mut Diagnostics,
) -> Result<Vec<GenericArgument>, Reported> {
    let span = place::path(path);
    let mut taken = Vec::new();
    let last = path.segments.len().saturating_sub(1);
    for (index, segment) in path.segments.iter_mut().enumerate() {
        match std::mem::replace(&mut segment.arguments, PathArguments::None) {
            PathArguments::None => {}
            PathArguments::AngleBracketed(args) if index == last => taken.extend(args.args),
            PathArguments::AngleBracketed(_) | PathArguments::Parenthesized(_) => {
                let error = Diagnostic::error(span, "this is not the name of a model");
                return Err(
                    diagnostics.push(error.expected("a path with sizes at its end, as `zoo::Block<64>`"))
                );
            }
        }
    }
    Ok(taken)
}

/// The source of a node, for messages.
fn source(node: &impl quote::ToTokens) -> String {
    node.to_token_stream().to_string()
}

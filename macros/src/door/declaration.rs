//! The signature of a function as the language has it, for its documentation: Rust's own knows ranks, but no sizes.

use quote::ToTokens;
use syn::ext::IdentExt;

use crate::ast::{
    Arg, DimArg, DimExpr, DimExprKind, Function, HostType, ReturnType, TensorDtype, TensorType, ValueType,
};

/// `logits(image: Tensor<B, 1, 28, 28>) -> Tensor<B, 10>`
pub fn declaration(function: &Function) -> String {
    let args: Vec<String> = function.args.iter().map(arg).collect();
    let name = function.name.unraw();
    format!("{name}({}) -> {}", args.join(", "), ret(&function.ret))
}

fn arg(arg: &Arg) -> String {
    let name = arg.name.unraw();
    match &arg.ty {
        ValueType::Tensor(ty) => format!("{name}: {}", tensor(ty)),
        ValueType::Host(HostType::F32, _) => format!("{name}: f32"),
        ValueType::Host(HostType::Bool, _) => format!("{name}: bool"),
        ValueType::Host(HostType::Usize, _) => format!("{name}: usize"),
        ValueType::Error(_) => format!("{name}: ?"),
    }
}

fn ret(ty: &ReturnType) -> String {
    match ty {
        ReturnType::Tensor(ty) => tensor(ty),
        ReturnType::Scalar(_) => "Scalar".to_owned(),
        ReturnType::Tuple(parts, _) => {
            let parts: Vec<String> = parts.iter().map(ret).collect();
            format!("({})", parts.join(", "))
        }
        ReturnType::Error(_) => "?".to_owned(),
    }
}

fn tensor(ty: &TensorType) -> String {
    let dtype = match ty.dtype {
        TensorDtype::Float if ty.dims.is_empty() => return "Scalar".to_owned(),
        TensorDtype::Float => None,
        TensorDtype::U8 => Some("u8"),
        TensorDtype::U16 => Some("u16"),
        TensorDtype::U32 => Some("u32"),
        TensorDtype::I32 => Some("i32"),
        TensorDtype::I64 => Some("i64"),
        TensorDtype::Bool => Some("bool"),
    };
    let dims = ty.dims.iter().map(|dim| match dim {
        DimArg::Infer(_) => "_".to_owned(),
        DimArg::Expr(expr) if matches!(expr.kind, DimExprKind::Lit(_) | DimExprKind::Name(_)) => size(expr),
        DimArg::Expr(expr) => format!("{{ {} }}", size(expr)),
    });
    let parts: Vec<String> = dtype.map(str::to_owned).into_iter().chain(dims).collect();
    format!("Tensor<{}>", parts.join(", "))
}

fn size(expr: &DimExpr) -> String {
    let sum = |expr: &DimExpr| match expr.kind {
        DimExprKind::Add(..) | DimExprKind::Sub(..) => format!("({})", size(expr)),
        _ => size(expr),
    };
    // What is divided by, or taken away, keeps its parentheses.
    let whole = |expr: &DimExpr| match expr.kind {
        DimExprKind::Lit(_) | DimExprKind::Name(_) => size(expr),
        _ => format!("({})", size(expr)),
    };
    match &expr.kind {
        DimExprKind::Lit(n) => n.to_string(),
        DimExprKind::Name(name) => name.unraw().to_string(),
        DimExprKind::Add(a, b) => format!("{} + {}", size(a), size(b)),
        DimExprKind::Sub(a, b) => format!("{} - {}", size(a), sum(b)),
        DimExprKind::Mul(a, b) => format!("{} * {}", sum(a), whole(b)),
        DimExprKind::Div(a, b) => format!("{} / {}", sum(a), whole(b)),
        DimExprKind::Opaque(expr) => expr.to_token_stream().to_string(),
        DimExprKind::Error(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::define;

    #[test]
    fn signatures_read_as_they_were_written() {
        let source = "
            struct Net<const D: usize> { fc: Linear<D, D> }
            impl<const D: usize> Net<D> {
                pub fn both<B: Dim, T: Dim>(
                    &self, x: Tensor<B, { 2 * (D - 1) }, T>, ids: Tensor<u32, B>, rate: f32, on: bool
                ) -> (Tensor<B, { T / 2 }>, Scalar) {
                    (x.sum(axis = 1), x.sum())
                }
            }";
        let model = define(source);
        let function = &model.implementation.functions[0];
        assert_eq!(
            declaration(function),
            "both(x: Tensor<B, { 2 * (D - 1) }, T>, ids: Tensor<u32, B>, rate: f32, on: bool) -> (Tensor<B, { T / 2 }>, Scalar)"
        );
    }
}

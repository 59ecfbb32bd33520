//! The Rust signatures of a model's functions: host arrays where the language has tensors.

use crate::map::Set;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::ast::{Arg, Function, HostType, ReturnType, TensorDtype, TensorType, ValueType};
use crate::door::names;

/// The most axes for which `ndarray` has a type of its own.
const MAX_STATIC_RANK: usize = 6;

/// A function of the language in terms of Rust.
pub struct Signature<'a> {
    /// As it was written.
    pub function: &'a Function,
    /// `image: impl Arg<kind::Float, Ix4>`, …
    pub params: Vec<TokenStream>,
    /// The arguments that are arrays, as the runtime takes them.
    pub arrays: Vec<TokenStream>,
    /// The arguments that are numbers, as `f64`.
    pub scalars: Vec<TokenStream>,
    /// The dynamic dimensions as fields or arguments: `b`.
    pub sizes: Vec<Ident>,
    /// The names of the arguments.
    pub taken: Vec<Ident>,
}

impl<'a> Signature<'a> {
    /// That of `function`; `rt` is the path of the runtime's module for emitted code.
    pub fn new(function: &'a Function, rt: &TokenStream) -> Self {
        let mut signature = Self {
            function,
            params: Vec::new(),
            arrays: Vec::new(),
            scalars: Vec::new(),
            sizes: sizes(function),
            taken: function.args.iter().map(|arg| arg.name.clone()).collect(),
        };
        for arg in &function.args {
            signature.add(arg, rt);
        }
        signature
    }

    fn add(&mut self, arg: &Arg, rt: &TokenStream) {
        let name = &arg.name;
        match &arg.ty {
            ValueType::Tensor(tensor) => {
                let (kind, dim) = (format_ident!("{}", kind(tensor.dtype)), dimension(tensor, rt));
                let bound = quote!(#rt::Arg<#rt::kind::#kind, #dim>);
                self.params.push(quote!(#name: impl #bound));
                self.arrays
                    .push(quote!(#rt::Arg::<#rt::kind::#kind, #dim>::arg(&#name)));
            }
            ValueType::Host(ty, _) => {
                let (ty, value) = match ty {
                    HostType::F32 => (quote!(f32), quote!(::core::primitive::f64::from(#name))),
                    HostType::Bool => (
                        quote!(bool),
                        quote!(::core::primitive::f64::from(::core::primitive::u8::from(#name))),
                    ),
                    HostType::Usize => (quote!(usize), quote!(#name as ::core::primitive::f64)),
                };
                self.params.push(quote!(#name: ::core::primitive::#ty));
                self.scalars.push(value);
            }
            // Any argument will do, so that calls of the function show no second error.
            ValueType::Error(_) => self.params.push(quote!(#name: impl ::core::marker::Sized)),
        }
    }

    /// The arguments of a call of the runtime: the arrays, and the numbers.
    pub fn call_args(&self) -> TokenStream {
        let Self { arrays, scalars, .. } = self;
        quote!(&[#(#arrays),*], &[#(#scalars),*])
    }

    /// A name for an argument of ours.
    pub fn fresh(&self, wanted: &str) -> Ident {
        names::fresh(wanted, &self.taken)
    }
}

/// The dynamic dimensions in lower case, as Rust names fields; as they are where two would be the same.
fn sizes(function: &Function) -> Vec<Ident> {
    let lower = |name: &Ident| name.unraw().to_string().to_lowercase();
    let all: Set<String> = function.dims.iter().map(|dim| lower(&dim.name)).collect();
    let is_unique = all.len() == function.dims.len();
    let name = |name: &Ident| match syn::parse_str::<Ident>(&lower(name)) {
        Ok(lower) if is_unique => lower,
        _ => name.clone(),
    };
    function.dims.iter().map(|dim| name(&dim.name)).collect()
}

/// The marker of a kind of elements.
fn kind(dtype: TensorDtype) -> &'static str {
    match dtype {
        TensorDtype::Float => "Float",
        TensorDtype::U8 => "U8",
        TensorDtype::U16 => "U16",
        TensorDtype::U32 => "U32",
        TensorDtype::I32 => "I32",
        TensorDtype::I64 => "I64",
        TensorDtype::Bool => "Bool",
    }
}

/// `Ix4`
fn dimension(tensor: &TensorType, rt: &TokenStream) -> TokenStream {
    let name = match tensor.dims.len() {
        rank @ 0..=MAX_STATIC_RANK => format_ident!("Ix{rank}"),
        _ => format_ident!("IxDyn"),
    };
    quote!(#rt::ndarray::#name)
}

/// The element type of a result.
fn element(dtype: TensorDtype) -> Ident {
    match dtype {
        TensorDtype::Float => format_ident!("f32"),
        TensorDtype::Bool => format_ident!("bool"),
        _ => format_ident!("i64"),
    }
}

/// The type of a result; floats have elements of type `float`, or f32.
pub fn result_type(ret: &ReturnType, float: Option<&Ident>, rt: &TokenStream) -> TokenStream {
    match ret {
        ReturnType::Scalar(_) | ReturnType::Error(_) => quote!(::core::primitive::f64),
        ReturnType::Tensor(tensor) => {
            let element = match (tensor.dtype, float) {
                (TensorDtype::Float, Some(float)) => quote!(#float),
                (dtype, _) => {
                    let element = element(dtype);
                    quote!(::core::primitive::#element)
                }
            };
            let name = match tensor.dims.len() {
                rank @ 0..=MAX_STATIC_RANK => format_ident!("Array{rank}"),
                _ => format_ident!("ArrayD"),
            };
            quote!(#rt::ndarray::#name<#element>)
        }
        ReturnType::Tuple(parts, _) => {
            let parts = parts.iter().map(|part| result_type(part, float, rt));
            quote!((#(#parts,)*))
        }
    }
}

/// The expression that makes a `Result` of all results in `outputs`.
pub fn take_results(ret: &ReturnType, outputs: &Ident) -> TokenStream {
    match ret {
        ReturnType::Scalar(_) | ReturnType::Error(_) => quote!(#outputs.scalar(0)),
        ReturnType::Tensor(_) => quote!(#outputs.array(0)),
        ReturnType::Tuple(..) => {
            let value = take_result(ret, outputs, &mut 0);
            quote!(::core::result::Result::Ok(#value))
        }
    }
}

/// The expression that takes a result, or the results of a tuple, from `outputs`; `next` is the first one's position.
fn take_result(ret: &ReturnType, outputs: &Ident, next: &mut usize) -> TokenStream {
    let position = Literal::usize_unsuffixed(*next);
    match ret {
        ReturnType::Scalar(_) | ReturnType::Error(_) => {
            *next += 1;
            quote!(#outputs.scalar(#position)?)
        }
        ReturnType::Tensor(_) => {
            *next += 1;
            quote!(#outputs.array(#position)?)
        }
        ReturnType::Tuple(parts, _) => {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| take_result(part, outputs, next))
                .collect();
            quote!((#(#parts,)*))
        }
    }
}

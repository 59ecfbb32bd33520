//! The samples of the op table as one model: what tests and benches of operations are made of.
//!
//! `op_samples!()` expands to a model `OpSamples` without parameters and a table `SAMPLES`. For a sample
//!
//! ```text
//! softmax: fn<B: Dim, N: Dim>(x: Tensor<B, N>) -> Tensor<B, N> { x.softmax(axis = 1) }
//! ```
//!
//! the model has a function `softmax`, which is the operation, and, where it has a derivative, `softmax_probed`: the sum of
//! the result weighted by a random tensor, whose gradient with respect to every float argument is checked against finite
//! differences.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use crate::ir::{Sample, SampleGradient};
use crate::ops;

/// The expansion of `op_samples!()`.
pub fn expand() -> TokenStream {
    let samples = ops::samples();
    let functions = samples.iter().map(functions);
    let rows = samples.iter().map(row);
    quote! {
        /// Every sample of the op table, as functions of one model.
        #[model]
        pub struct OpSamples {}

        #[model]
        impl OpSamples {
            #(#functions)*
        }

        /// The samples: name, sizes of the dynamic dimensions, domain of float arguments, whether there is a gradient.
        pub const SAMPLES: &[(&str, &[&[usize]], (f64, f64), bool)] = &[#(#rows),*];
    }
}

fn parsed(text: &str, what: &str, sample: &Sample) -> TokenStream {
    text.parse()
        .unwrap_or_else(|_| panic!("the {what} of sample `{}` is not Rust: {text}", sample.name))
}

/// The name of a sample's function: not its own, which may be that of the function that it calls.
fn function_name(sample: &Sample) -> String {
    format!("sample_{}", sample.name)
}

/// The functions of a sample: the operation, and the probed one where it has a derivative.
pub fn functions(sample: &Sample) -> TokenStream {
    let name = format_ident!("{}", function_name(sample));
    let generics = match sample.dims {
        "" => TokenStream::new(),
        dims => {
            let dims = parsed(dims, "dims", sample);
            quote!(<#dims>)
        }
    };
    let (args, ret, body) = (
        parsed(sample.args, "args", sample),
        parsed(sample.ret, "ret", sample),
        parsed(sample.body, "body", sample),
    );
    let doc = format!(" `{}`", sample.body);
    let plain = quote! {
        #[doc = #doc]
        pub fn #name #generics(&self, #args) -> #ret { #body }
    };
    if sample.gradient == SampleGradient::None {
        return plain;
    }
    let probed = format_ident!("{name}_probed");
    let marked: TokenStream = sample
        .args
        .split_inclusive(">,")
        .map(|arg| mark(arg, sample))
        .collect();
    let (probe, weighted) = match sample.ret {
        "Scalar" => (quote!(), quote!(value)),
        _ => (quote!(, probe: #ret), quote!((value * probe).sum())),
    };
    quote! {
        #plain

        #[doc = #doc]
        pub fn #probed #generics(&self, #marked #probe) -> Scalar {
            let value = #body;
            #weighted
        }
    }
}

/// `x: Tensor<B, N>,` as `#[grad] x: Tensor<B, N>,`; integer and bool arguments have no gradient.
fn mark(arg: &str, sample: &Sample) -> TokenStream {
    let tokens = parsed(arg, "args", sample);
    let is_float = arg.contains("Tensor<")
        && !["i64", "bool", "u8"]
            .iter()
            .any(|ty| arg.contains(&format!("Tensor<{ty}")));
    if is_float { quote!(#[grad] #tokens) } else { tokens }
}

fn row(sample: &Sample) -> TokenStream {
    let sizes = sample.sizes.iter().map(|row| {
        let row = row.iter().map(|n| Literal::usize_unsuffixed(*n));
        quote!(&[#(#row),*])
    });
    let (name, (low, high)) = (function_name(sample), sample.domain);
    let checked = sample.gradient == SampleGradient::Checked;
    quote!((#name, &[#(#sizes),*], (#low, #high), #checked))
}

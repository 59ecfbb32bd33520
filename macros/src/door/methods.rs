//! What `#[model] impl` emits at once: the methods of the model.
//!
//! They are made from the signatures alone and call the runtime with the position of their function, so they exist
//! whatever the compilation of the bodies finds.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::ast::{Function, Impl, Receiver, ReturnType, TensorDtype};
use crate::door::declaration::declaration;
use crate::door::signature::{Signature, result_type, take_results};
use crate::door::structure::Generics;

/// Whether a function is one that users of the model call; others are only inlined.
pub fn is_public(function: &Function) -> bool {
    matches!(function.receiver, Receiver::SelfRef)
        && !matches!(function.vis, syn::Visibility::Inherited)
        && function.rejected.is_none()
}

/// The impl with the methods of every public function, and the types that they mention.
pub fn emit(implementation: &Impl, krate: &TokenStream) -> TokenStream {
    let Impl {
        attrs,
        self_path,
        self_args,
        ..
    } = implementation;
    let declared = Generics::new(implementation.generics.iter().map(|generic| &generic.name)).declared;
    let named = Generics::new(self_args).named;
    let rt = quote!(#krate::rt);
    let name = self_path.segments.last().map(|last| last.ident.unraw());
    let families = implementation
        .functions
        .iter()
        .filter(|function| is_public(function))
        .enumerate()
        .map(|(position, function)| Family {
            signature: Signature::new(function, &rt),
            position: Literal::usize_unsuffixed(position),
            model: name.as_ref().map(Ident::to_string).unwrap_or_default(),
            rt: &rt,
        });
    let families: Vec<Family<'_>> = families.collect();
    let structs = families.iter().map(Family::sizes_struct);
    let methods = families.iter().map(Family::methods);
    quote! {
        #(#structs)*
        #(#attrs)*
        #[allow(dead_code, clippy::too_many_arguments)]
        impl #declared #self_path #named {
            #[doc(hidden)]
            pub const __HAS_FUNCTIONS: ::core::primitive::bool = true;
            #(#methods)*
        }
    }
}

/// A function with everything that is generated for it.
struct Family<'a> {
    signature: Signature<'a>,
    /// Its position among the public functions: its number in the compiled program.
    position: Literal,
    model: String,
    rt: &'a TokenStream,
}

impl Family<'_> {
    fn function(&self) -> &Function {
        self.signature.function
    }

    /// `loss` with an ending, at the place of the user's name.
    fn name(&self, ending: &str) -> Ident {
        let name = &self.function().name;
        match ending {
            "" => name.clone(),
            ending => format_ident!("{}{ending}", name.unraw(), span = name.span()),
        }
    }

    /// The documentation of a generated method: what it is for, and what the user says of the function.
    fn docs(&self, what: &str) -> TokenStream {
        let attrs = self.function().attrs.iter();
        let own: Vec<_> = attrs.filter(|attr| attr.path().is_ident("doc")).collect();
        let between = (!own.is_empty()).then(|| quote!(#[doc = ""]));
        quote!(#[doc = #what] #between #(#own)*)
    }

    /// The core of the model, as a receiver of calls.
    fn core(&self) -> TokenStream {
        let rt = self.rt;
        quote!(#rt::Model::core(self))
    }

    fn methods(&self) -> TokenStream {
        let mut methods = vec![self.plain(), self.plain_in(), self.workspace(), self.trace()];
        methods.extend(self.plain_as());
        if matches!(self.function().ret, ReturnType::Scalar(_)) {
            methods.extend([self.grad(), self.accumulate(), self.train_step()]);
            methods.extend(self.function().options.hvp.map(|_| self.hvp()));
        }
        methods.into_iter().collect()
    }

    /// `logits(&self, image) -> Result<Array2<f32>>`
    fn plain(&self) -> TokenStream {
        let Self { position, rt, .. } = self;
        let Function {
            attrs,
            vis,
            name,
            ret,
            ..
        } = self.function();
        let (params, core) = (&self.signature.params, self.core());
        let (args, outputs) = (self.signature.call_args(), format_ident!("outputs"));
        let (ty, value) = (result_type(ret, None, rt), take_results(ret, &outputs));
        let is_documented = attrs.iter().any(|attr| attr.path().is_ident("doc"));
        let between = is_documented.then(|| quote!(#[doc = ""]));
        let declaration = format!("```text\n{}\n```", declaration(self.function()));
        quote! {
            #(#attrs)*
            #between
            #[doc = #declaration]
            #vis fn #name(&self, #(#params),*) -> #rt::Result<#ty> {
                let #outputs = #core.call(#position, #args)?;
                #value
            }
        }
    }

    /// `logits_as::<f64>(&self, image) -> Result<Array2<f64>>`, where the result is an array of real numbers.
    fn plain_as(&self) -> Option<TokenStream> {
        let Self { position, rt, .. } = self;
        let Function { vis, name, ret, .. } = self.function();
        if !matches!(ret, ReturnType::Tensor(tensor) if tensor.dtype == TensorDtype::Float) {
            return None;
        }
        let (params, core) = (&self.signature.params, self.core());
        let (args, outputs) = (self.signature.call_args(), format_ident!("outputs"));
        let float = format_ident!("Element");
        let (ty, value) = (result_type(ret, Some(&float), rt), take_results(ret, &outputs));
        let doc = format!("[`{name}`](Self::{name}) with elements of another type: `f64`, or `f32`.");
        let (method, docs) = (self.name("_as"), self.docs(&doc));
        Some(quote! {
            #docs
            #vis fn #method<#float: #rt::Real + #rt::OutputElement>(
                &self, #(#params),*
            ) -> #rt::Result<#ty> {
                let #outputs = #core.call(#position, #args)?;
                #value
            }
        })
    }

    /// `logits_in(&self, &mut work, image) -> Result<Outputs<'_>>`; a `Scalar` is returned as it is.
    fn plain_in(&self) -> TokenStream {
        let Self { position, rt, .. } = self;
        let Function { vis, name, ret, .. } = self.function();
        let (params, args, core) = (&self.signature.params, self.signature.call_args(), self.core());
        let (method, work) = (self.name("_in"), self.signature.fresh("work"));
        let doc = format!(
            "[`{name}`](Self::{name}) in a workspace from [`{name}_workspace`](Self::{name}_workspace): after the first \
             call it allocates nothing."
        );
        let docs = self.docs(&doc);
        let call = quote!(#core.call_in(#position, #work, #args));
        let (lifetime, result, body) = match ret {
            ReturnType::Scalar(_) => (None, quote!(::core::primitive::f64), quote!(#call?.scalar(0))),
            _ => (Some(quote!(<'work>)), quote!(#rt::Outputs<'work>), call),
        };
        let reference = lifetime.as_ref().map(|_| quote!('work));
        quote! {
            #docs
            #vis fn #method #lifetime(
                &self, #work: & #reference mut #rt::Workspace, #(#params),*
            ) -> #rt::Result<#result> {
                #body
            }
        }
    }

    /// `loss_workspace(&self, max_b) -> Result<Workspace>`
    fn workspace(&self) -> TokenStream {
        let Self { position, rt, .. } = self;
        let Function { vis, name, dims, .. } = self.function();
        let core = self.core();
        let method = self.name("_workspace");
        let sizes = &self.signature.sizes;
        let (param, values) = match sizes.as_slice() {
            [] => (None, quote!(&[])),
            [size] => {
                let size = format_ident!("max_{}", size.unraw());
                (Some(quote!(#size: ::core::primitive::usize)), quote!(&[#size]))
            }
            sizes => {
                let ty = self.sizes_name();
                (Some(quote!(max: #ty)), quote!(&[#(max.#sizes),*]))
            }
        };
        let limits = match dims.as_slice() {
            [] => String::new(),
            [dim] => format!(" with `{}` up to `max_{}`", dim.name, sizes[0]),
            _ => " with sizes up to `max`".to_owned(),
        };
        let docs = self.docs(&format!(
            "Every buffer of [`{name}`](Self::{name}){limits}, planned once."
        ));
        quote! {
            #docs
            #vis fn #method(&self, #param) -> #rt::Result<#rt::Workspace> {
                #core.workspace(#position, #values)
            }
        }
    }

    /// `loss_trace(&self, image, label) -> Result<Trace>`
    fn trace(&self) -> TokenStream {
        let Self { position, rt, .. } = self;
        let Function { vis, name, .. } = self.function();
        let (params, args, core) = (&self.signature.params, self.signature.call_args(), self.core());
        let method = self.name("_trace");
        let doc =
            format!("Runs [`{name}`](Self::{name}) unfused and returns every named intermediate value.");
        let docs = self.docs(&doc);
        quote! {
            #docs
            #vis fn #method(&self, #(#params),*) -> #rt::Result<#rt::Trace> {
                #core.trace(#position, #args)
            }
        }
    }

    /// `loss_grad(&mut self, &mut work, image, label) -> Result<f64>`
    fn grad(&self) -> TokenStream {
        let name = &self.function().name;
        let doc = format!(
            "The value of [`{name}`](Self::{name}) and its gradients, which replace those in the workspace."
        );
        self.grad_method(&self.name("_grad"), &doc, &format_ident!("Overwrite"))
    }

    /// `loss_accumulate(&mut self, &mut work, image, label) -> Result<f64>`
    fn accumulate(&self) -> TokenStream {
        let name = &self.function().name;
        let doc = format!(
            "The value of [`{name}`](Self::{name}) and its gradients, which are added to those in the workspace."
        );
        self.grad_method(&self.name("_accumulate"), &doc, &format_ident!("Add"))
    }

    /// `loss_hvp(&self, &mut work, &direction, &mut product, image, label) -> Result<f64>`
    fn hvp(&self) -> TokenStream {
        let Self { position, rt, .. } = self;
        let Function { vis, name, .. } = self.function();
        let (params, args, core) = (&self.signature.params, self.signature.call_args(), self.core());
        let [work, direction, product] =
            ["work", "direction", "product"].map(|name| self.signature.fresh(name));
        let doc = format!(
            "The value of [`{name}`](Self::{name}), and the product of its matrix of second derivatives by the parameters with \
             `{direction}`, which goes to `{product}`; in the mode of [`{name}_grad`](Self::{name}_grad). Gradients by \
             parameters, carried tensors and the step stay as they are."
        );
        let (method, docs) = (self.name("_hvp"), self.docs(&doc));
        quote! {
            #docs
            #vis fn #method(
                &self,
                #work: &mut #rt::Workspace,
                #direction: &#rt::ParamVector,
                #product: &mut #rt::ParamVector,
                #(#params),*
            ) -> #rt::Result<::core::primitive::f64> {
                #core.hvp(#position, #work, (#direction, #product), #args)
            }
        }
    }

    fn grad_method(&self, method: &Ident, doc: &str, accumulate: &Ident) -> TokenStream {
        let Self { position, rt, .. } = self;
        let vis = &self.function().vis;
        let (params, args) = (&self.signature.params, self.signature.call_args());
        let (work, docs) = (self.signature.fresh("work"), self.docs(doc));
        quote! {
            #docs
            #vis fn #method(
                &mut self, #work: &mut #rt::Workspace, #(#params),*
            ) -> #rt::Result<::core::primitive::f64> {
                #rt::Model::core_mut(self).grad(#position, #work, #args, #rt::Accumulate::#accumulate)
            }
        }
    }

    /// `train_step(&mut self, &mut work, &mut optimizer, image, label) -> Result<f64>`
    fn train_step(&self) -> TokenStream {
        let Self { position, rt, .. } = self;
        let Function { vis, name, .. } = self.function();
        let (params, args) = (&self.signature.params, self.signature.call_args());
        let (work, optimizer) = (self.signature.fresh("work"), self.signature.fresh("optimizer"));
        let method = match name.unraw().to_string().as_str() {
            "loss" => format_ident!("train_step", span = name.span()),
            other => format_ident!("train_step_{other}", span = name.span()),
        };
        let doc = format!(
            "One step of training: the value of [`{name}`](Self::{name}), its gradients, and the optimizer's update."
        );
        let docs = self.docs(&doc);
        quote! {
            #docs
            #vis fn #method(
                &mut self, #work: &mut #rt::Workspace, #optimizer: &mut impl #rt::Optimizer, #(#params),*
            ) -> #rt::Result<::core::primitive::f64> {
                let value =
                    #rt::Model::core_mut(self).grad(#position, #work, #args, #rt::Accumulate::Overwrite)?;
                #rt::Optimizer::step(#optimizer, self, #work)?;
                ::core::result::Result::Ok(value)
            }
        }
    }

    fn sizes_name(&self) -> Ident {
        let function = self.function().name.unraw().to_string();
        let words = function.split('_').map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect::<String>())
                .unwrap_or_default()
        });
        format_ident!(
            "{}{}Dims",
            self.model,
            words.collect::<String>(),
            span = self.function().name.span()
        )
    }

    /// The struct of the dynamic dimensions, where there are several.
    fn sizes_struct(&self) -> Option<TokenStream> {
        let Function { vis, name, dims, .. } = self.function();
        if dims.len() < 2 {
            return None;
        }
        let ty = self.sizes_name();
        let doc = format!("The dynamic dimensions of [`{}::{name}`].", self.model);
        let fields = self.signature.sizes.iter().zip(dims).map(|(size, dim)| {
            let doc = format!("`{}`", dim.name);
            quote!(#[doc = #doc] pub #size: ::core::primitive::usize)
        });
        Some(quote! {
            #[doc = #doc]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #vis struct #ty { #(#fields),* }
        })
    }
}

//! The tables: what the runtime has to know of a compiled model (`runtime/src/program.rs` is their vocabulary).

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::code::{self, Rows, Surroundings};
use super::flops::{flops_in, one_sample};
use super::group::GroupTypes;
use super::names::snake;
use super::sizes::{SizeNames, Source, Spelling};
use crate::ast::TensorDtype;
use crate::ir::{Demand, OutputKind, Phase, Type, Value};
use crate::model::{InitSpec, InputDecl, LayerRow, Lowered, LoweredFunction, TensorDecl};
use crate::plan::{Kernel, Place, Plan};
use crate::shape::{self, Dim};

/// A function with its plans.
pub struct EmitFunction<'a> {
    /// Names, arguments, results.
    pub lowered: &'a LoweredFunction,
    /// Eval mode.
    pub eval: Plan,
    /// Loss and gradient in train mode.
    pub train: Option<Plan>,
    /// The product of the Hessian with a direction, where it is asked for.
    pub product: Option<Plan>,
    /// The unfused forward sweep.
    pub trace: Plan,
}

/// Everything that is emitted for a model.
pub struct Emission<'a> {
    /// Path of the runtime: `rt`.
    pub rt: &'a TokenStream,
    /// Name of the struct.
    pub name: String,
    /// Key of the definition.
    pub key: u64,
    /// Const generics of the struct.
    pub generics: Vec<String>,
    /// Tensors and summary.
    pub lowered: &'a Lowered,
    /// Functions, in the order of the source.
    pub functions: Vec<EmitFunction<'a>>,
}

impl Emission<'_> {
    /// Names that emitted types must not take: the model's own, and whatever constants of the user's mention.
    fn reserved(&self) -> Vec<String> {
        let words = self.lowered.constants.iter().flat_map(|constant| {
            constant
                .text
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        words.chain([self.name.clone()]).collect()
    }
}

/// The items of a model: groups, sweeps, tables, and `fn program() -> &'static rt::Program`.
///
/// The program is no `static`: rustc compiles a static and all that it mentions even where nothing uses it, so that a model which
/// is only a layer of another would cost as much as one that runs.
pub fn program(emission: &Emission<'_>) -> TokenStream {
    let rt = emission.rt;
    let mut groups = GroupTypes::new(rt.clone(), emission.reserved());
    let tables = Tables {
        emission,
        params: names(&emission.lowered.params),
        states: names(&emission.lowered.states),
    };
    let mut items = TokenStream::new();
    let functions: Vec<TokenStream> = emission
        .functions
        .iter()
        .map(|f| tables.function(f, &mut groups, &mut items))
        .collect();
    let (params, states) = (
        tables.tensors("params", &emission.lowered.params),
        tables.tensors("states", &emission.lowered.states),
    );
    let layers = tables.layers();
    let (name, key, groups) = (
        &emission.name,
        Literal::u64_unsuffixed(emission.key),
        groups.into_items(),
    );
    quote! {
        #groups
        #items
        #params
        #states
        #layers
        fn program() -> &'static #rt::Program {
            const {
                &#rt::Program {
                    name: #name,
                    key: #key,
                    params,
                    states,
                    layers,
                    functions: &[#(#functions),*],
                }
            }
        }
    }
}

/// What tensors are called in emitted code.
fn names(tensors: &[TensorDecl]) -> Vec<String> {
    tensors.iter().map(TensorDecl::name).collect()
}

struct Tables<'a> {
    emission: &'a Emission<'a>,
    params: Vec<String>,
    states: Vec<String>,
}

impl Tables<'_> {
    fn size_names(&self, function: Option<&LoweredFunction>) -> SizeNames {
        SizeNames {
            dims: function.map_or_else(Vec::new, |f| f.dims.iter().map(|d| d.name.clone()).collect()),
            generics: self.emission.generics.clone(),
            scalars: function.map_or_else(Vec::new, |f| {
                f.scalars.iter().map(|(name, _)| name.clone()).collect()
            }),
        }
    }

    /// `fn params(sizes) -> Vec<TensorSpec>`.
    fn tensors(&self, name: &str, tensors: &[TensorDecl]) -> TokenStream {
        let rt = self.emission.rt;
        let names = self.size_names(None);
        let mut spelling = Spelling::new(&names);
        let specs: Vec<TokenStream> = tensors
            .iter()
            .map(|tensor| {
                let (path, shape) = (&tensor.path, spelling.dims(&tensor.shape));
                if let InitSpec::LinearBias { fan_in } = &tensor.init {
                    spelling.dim(fan_in);
                }
                let init = tensor.init.to_tokens(&quote!(#rt::init));
                if tensor.repeats.is_empty() {
                    return quote!(#rt::TensorSpec::new(#path, &#shape, #init));
                }
                let repeats = spelling.dims(&tensor.repeats);
                quote!(#rt::TensorSpec::repeated(#path, &#repeats, &#shape, #init))
            })
            .collect();
        self.sizes_fn(
            &format_ident!("{name}"),
            &spelling,
            quote!(Vec<#rt::TensorSpec>),
            quote!(vec![#(#specs),*]),
        )
    }

    /// `fn name(sizes: &rt::Sizes<'_>) -> ty { let B = sizes.dims[0]; body }`.
    fn sizes_fn(
        &self,
        name: &Ident,
        spelling: &Spelling<'_>,
        ty: TokenStream,
        body: TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        let lets = spelling.bindings(Source::Sizes);
        let arg = if lets.is_empty() {
            format_ident!("_sizes")
        } else {
            format_ident!("sizes")
        };
        quote!(fn #name(#arg: &#rt::Sizes<'_>) -> #ty { #lets #body })
    }

    /// The same as a closure for a table.
    fn sizes_closure(&self, spelling: &Spelling<'_>, body: &TokenStream) -> TokenStream {
        let lets = spelling.bindings(Source::Sizes);
        let arg = if lets.is_empty() {
            format_ident!("_sizes")
        } else {
            format_ident!("sizes")
        };
        quote!(|#arg| { #lets #body })
    }

    /// Rows of the summary.
    fn layers(&self) -> TokenStream {
        let rt = self.emission.rt;
        let names = self.size_names(None);
        let mut spelling = Spelling::new(&names);
        let rows: Vec<TokenStream> = self
            .emission
            .lowered
            .rows
            .iter()
            .map(|row| self.layer(row, &mut spelling))
            .collect();
        let ty = quote!(Vec<#rt::LayerRow>);
        self.sizes_fn(&format_ident!("layers"), &spelling, ty, quote!(vec![#(#rows),*]))
    }

    fn layer(&self, row: &LayerRow, spelling: &mut Spelling<'_>) -> TokenStream {
        let rt = self.emission.rt;
        let output = row
            .output
            .as_ref()
            .map_or_else(String::new, |dims| shape::display(dims));
        let flops = spelling.offset(&self.flops_of(&row.path));
        let (path, kind, params) = (&row.path, &row.kind, spelling.dim(&row.params));
        quote!(#rt::LayerRow::new(#path, #kind, #output, #params, #flops))
    }

    /// Forward operations of a layer and of the layers inside it for one sample, in the first function that uses it.
    fn flops_of(&self, path: &str) -> Dim {
        // Scopes do not say which layer of an array.
        let path = path.replace(".{}", "");
        let mut functions = self.emission.functions.iter().map(|function| function.lowered);
        let flops = functions.find_map(|function| {
            let flops = flops_in(&function.eval, &path)?;
            Some(one_sample(&flops, &function.demands))
        });
        flops.unwrap_or_else(Dim::zero)
    }

    fn function(
        &self,
        function: &EmitFunction<'_>,
        groups: &mut GroupTypes,
        items: &mut TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        let lowered = function.lowered;
        let name = &lowered.name;
        let dims = lowered.dims.iter().map(|dim| {
            let (name, multiple) = (&dim.name, Literal::i64_unsuffixed(dim.multiple));
            let (arg, axis) = (
                Literal::usize_unsuffixed(dim.bare.0),
                Literal::usize_unsuffixed(dim.bare.1),
            );
            quote!(#rt::DimSpec { name: #name, multiple_of: |_| #multiple, bare: (#arg, #axis) })
        });
        let inputs = self.inputs(lowered);
        let scalars = lowered.scalars.iter().map(|(name, _)| name);
        let results = self.results(lowered, &function.eval);
        let demands = lowered.demands.iter().map(|demand| self.demand(lowered, demand));
        let eval = self.code(lowered, &function.eval, "eval", groups, items);
        let mut optional = |plan: &Option<Plan>, mode| match plan {
            Some(plan) => {
                let code = self.code(lowered, plan, mode, groups, items);
                quote!(Some(#code))
            }
            None => quote!(None),
        };
        let train = optional(&function.train, "train");
        let product = optional(&function.product, "hvp");
        let trace = self.trace(lowered, &function.trace, groups, items);
        quote! {
            #rt::Function {
                name: #name,
                dims: &[#(#dims),*],
                inputs: &[#(#inputs),*],
                scalars: &[#(#scalars),*],
                results: &[#(#results),*],
                demands: &[#(#demands),*],
                eval: #eval,
                train: #train,
                product: #product,
                trace: #trace,
            }
        }
    }

    /// `rt::InputSpec { .. }` of every argument that is a tensor.
    fn inputs(&self, function: &LoweredFunction) -> Vec<TokenStream> {
        let rt = self.emission.rt;
        let spec = |input: &InputDecl| {
            let (name, kind, rank) = (
                &input.name,
                input_kind(rt, input.dtype),
                Literal::usize_unsuffixed(input.shape.len()),
            );
            let shape = self.shape(function, &input.shape);
            quote!(#rt::InputSpec { name: #name, kind: #kind, rank: #rank, shape: #shape })
        };
        function.inputs.iter().map(spec).collect()
    }

    /// `rt::ResultSpec { .. }` of every result.
    fn results(&self, function: &LoweredFunction, plan: &Plan) -> Vec<TokenStream> {
        let rt = self.emission.rt;
        let spec = |ty: &Type| {
            let (dtype, rank) = (code::dtype(rt, ty.dtype), ty.rank());
            let shape = self.shape(function, &ty.shape);
            quote!(#rt::ResultSpec { dtype: #dtype, rank: #rank, shape: #shape })
        };
        plan.results.iter().map(|(_, ty)| spec(ty)).collect()
    }

    /// `rt::Demand { sizes: |sizes| [H + 2, 3], message: ".." }`.
    fn demand(&self, function: &LoweredFunction, demand: &Demand) -> TokenStream {
        let rt = self.emission.rt;
        let names = self.size_names(Some(function));
        let mut spelling = Spelling::new(&names);
        // Nothing is subtracted, so that no size falls below zero.
        let (left, right) = (&demand.larger - &demand.smaller).split_signs();
        let sizes = spelling.dims(&[left, right]);
        let (sizes, message) = (self.sizes_closure(&spelling, &sizes), &demand.message);
        quote!(#rt::Demand { sizes: #sizes, message: #message })
    }

    /// `|sizes| rt::shape([..])`.
    fn shape(&self, function: &LoweredFunction, dims: &[Dim]) -> TokenStream {
        let rt = self.emission.rt;
        let names = self.size_names(Some(function));
        let mut spelling = Spelling::new(&names);
        let dims = spelling.dims(dims);
        self.sizes_closure(&spelling, &quote!(#rt::shape(#dims)))
    }

    /// The code of one mode: sweeps go to `items`, the table entry comes back.
    fn code(
        &self,
        function: &LoweredFunction,
        plan: &Plan,
        mode: &str,
        groups: &mut GroupTypes,
        items: &mut TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        let stem = format!("{}_{mode}", snake(&function.name));
        let [forward, backward, slots, kernels] =
            ["forward", "backward", "slots", "kernels"].map(|part| format_ident!("{stem}_{part}"));
        items.extend(self.sweep(
            function,
            plan,
            0..plan.n_forward,
            &forward,
            "Forward sweep",
            mode,
            groups,
        ));
        let has_backward = plan.n_forward < plan.kernels.len();
        let backward_entry = if has_backward {
            let range = plan.n_forward..plan.kernels.len();
            items.extend(self.sweep(function, plan, range, &backward, "Backward sweep", mode, groups));
            quote!(Some(#backward))
        } else {
            quote!(None)
        };
        items.extend(self.slots(function, plan, &slots));
        items.extend(self.kernels(function, plan, &kernels));
        let loops = self.loops(function, plan, &format_ident!("{stem}_loops"), items);
        let slot = |value: &Value| match plan.places[value] {
            Place::Slot(slot) => Literal::usize_unsuffixed(slot),
            other => unreachable!("a result lies in the workspace, not in {other:?}"),
        };
        let results = plan.results.iter().map(|(value, _)| slot(value));
        let input_grads = plan.outputs.iter().filter_map(|o| match o.kind {
            OutputKind::InputGrad(id) => Some((Literal::usize_unsuffixed(id.index()), slot(&o.value))),
            _ => None,
        });
        let input_grads = input_grads.map(|(input, slot)| quote!((#input, #slot)));
        let trained = plan.outputs.iter().filter_map(|o| match o.kind {
            OutputKind::ParamGrad(id) => Some(Literal::usize_unsuffixed(id.index())),
            _ => None,
        });
        let updates = plan.outputs.iter().filter_map(|o| match o.kind {
            OutputKind::State(id) => Some(Literal::usize_unsuffixed(id.index())),
            _ => None,
        });
        quote! {
            #rt::Code {
                slots: #slots,
                results: &[#(#rt::ResultSlot { slot: #results }),*],
                forward: #forward,
                backward: #backward_entry,
                kernels: #kernels,
                loops: #loops,
                input_grads: &[#(#input_grads),*],
                trained: &[#(#trained),*],
                updates: &[#(#updates),*],
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn sweep(
        &self,
        function: &LoweredFunction,
        plan: &Plan,
        kernels: std::ops::Range<usize>,
        name: &Ident,
        what: &str,
        mode: &str,
        groups: &mut GroupTypes,
    ) -> TokenStream {
        let sizes = self.size_names(Some(function));
        let inputs: Vec<String> = function.inputs.iter().map(|input| input.name.clone()).collect();
        let around = Surroundings {
            rt: self.emission.rt,
            sizes: &sizes,
            inputs: &inputs,
            params: &self.params,
            states: &self.states,
            rows: if mode == "trace" {
                Rows::All
            } else {
                Rows::OfTensors
            },
        };
        let doc = format!(" {what} of `{}`, {mode} mode.", function.name);
        code::sweep(&around, plan, kernels, name, &doc, groups)
    }

    /// `fn slots(sizes, slots)`: one line a slot.
    fn slots(&self, function: &LoweredFunction, plan: &Plan, name: &Ident) -> TokenStream {
        let rt = self.emission.rt;
        let names = self.size_names(Some(function));
        let mut spelling = Spelling::new(&names);
        let specs: Vec<TokenStream> = plan
            .slots
            .iter()
            .map(|slot| {
                let (dtype, len) = (code::dtype(rt, slot.dtype), spelling.dim(&slot.len));
                let first = Literal::usize_unsuffixed(slot.first);
                let last = match slot.last {
                    usize::MAX => quote!(usize::MAX),
                    last => {
                        let last = Literal::usize_unsuffixed(last);
                        quote!(#last)
                    }
                };
                quote!(#rt::SlotSpec::new(#dtype, #len, #first, #last))
            })
            .collect();
        let lets = spelling.bindings(Source::Sizes);
        let arg = if lets.is_empty() {
            format_ident!("_sizes")
        } else {
            format_ident!("sizes")
        };
        quote! {
            fn #name(#arg: &#rt::Sizes<'_>, slots: &mut Vec<#rt::SlotSpec>) {
                #lets
                slots.extend_from_slice(&[#(#specs),*]);
            }
        }
    }

    /// `fn kernels(sizes) -> Vec<KernelRow>`, for `explain`.
    fn kernels(&self, function: &LoweredFunction, plan: &Plan, name: &Ident) -> TokenStream {
        let rt = self.emission.rt;
        let names = self.size_names(Some(function));
        let mut spelling = Spelling::new(&names);
        let rows: Vec<TokenStream> = plan
            .kernels
            .iter()
            .enumerate()
            .map(|(k, kernel)| self.kernel(plan, k, kernel, &mut spelling))
            .collect();
        self.sizes_fn(
            name,
            &spelling,
            quote!(Vec<#rt::KernelRow>),
            quote!(vec![#(#rows),*]),
        )
    }

    /// `fn loops(sizes) -> Vec<LoopRow>`, where there are any; the path of the function.
    fn loops(
        &self,
        function: &LoweredFunction,
        plan: &Plan,
        name: &Ident,
        items: &mut TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        if plan.loops.is_empty() {
            return quote!(#rt::no_loops);
        }
        let names = self.size_names(Some(function));
        let mut spelling = Spelling::new(&names);
        let rows: Vec<TokenStream> = plan
            .loops
            .iter()
            .map(|row| {
                let [first, end] = [row.kernels.start, row.kernels.end].map(Literal::usize_unsuffixed);
                let (name, count) = (&*row.name, spelling.dim(&row.count));
                quote!(#rt::LoopRow::new(#name, #first, #end, #count))
            })
            .collect();
        let ty = quote!(Vec<#rt::LoopRow>);
        items.extend(self.sizes_fn(name, &spelling, ty, quote!(vec![#(#rows),*])));
        quote!(#name)
    }

    /// A row of `explain`; of a kernel in a loop, the work of all steps.
    fn kernel(&self, plan: &Plan, k: usize, kernel: &Kernel, spelling: &mut Spelling<'_>) -> TokenStream {
        let rt = self.emission.rt;
        let phase = match kernel.phase {
            Phase::Forward => "forward",
            Phase::Backward => "backward",
        };
        let written = &kernel.writes[0];
        let moved = kernel.reads.iter().map(|r| r.layout.n_read());
        let moved = moved
            .chain(kernel.writes.iter().map(|w| w.ty.numel()))
            .collect::<Vec<_>>();
        let around = plan.loops_around(k);
        let steps = around.fold(Dim::one(), |steps, around| steps * &around.count);
        let elements = spelling.dim(&(Dim::sum(moved) * &steps));
        let flops = spelling.dim(&(&kernel.flops * &steps));
        let slot = match plan.places[&written.value] {
            Place::Slot(slot) => {
                let slot = Literal::usize_unsuffixed(slot);
                quote!(Some(#slot))
            }
            _ => quote!(None),
        };
        // Gradients of parameters go by the parameter's path: every layer has a `weight_grad`.
        let value = match plan.places[&written.value] {
            Place::Grad(k) => format!("{}.grad", self.params[k]),
            _ => written.name.to_string(),
        };
        let (title, shapes) = (&kernel.title, shape::display(&written.ty.shape));
        quote!(#rt::KernelRow::new(#title, #value, #phase, #shapes, [#flops, #elements], #slot))
    }

    fn trace(
        &self,
        function: &LoweredFunction,
        plan: &Plan,
        groups: &mut GroupTypes,
        items: &mut TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        let [run, slots] =
            ["run", "slots"].map(|part| format_ident!("{}_trace_{part}", snake(&function.name)));
        items.extend(self.sweep(
            function,
            plan,
            0..plan.kernels.len(),
            &run,
            "Every value",
            "trace",
            groups,
        ));
        items.extend(self.slots(function, plan, &slots));
        let values = plan.named.iter().map(|(name, value, ty)| {
            let Place::Slot(slot) = plan.places[value] else {
                unreachable!("named values lie in the workspace")
            };
            let (dtype, rank, shape) = (
                code::dtype(rt, ty.dtype),
                ty.rank(),
                self.shape(function, &ty.shape),
            );
            let name = &**name;
            quote!(#rt::TraceValue { name: #name, slot: #slot, dtype: #dtype, rank: #rank, shape: #shape })
        });
        quote!(#rt::TraceCode { slots: #slots, run: #run, values: &[#(#values),*] })
    }
}

fn input_kind(rt: &TokenStream, dtype: TensorDtype) -> TokenStream {
    let name = match dtype {
        TensorDtype::Float => "Float",
        TensorDtype::U8 => "U8",
        TensorDtype::U16 => "U16",
        TensorDtype::U32 => "U32",
        TensorDtype::I32 => "I32",
        TensorDtype::I64 => "I64",
        TensorDtype::Bool => "Bool",
    };
    let name = format_ident!("{name}");
    quote!(#rt::InputKind::#name)
}

//! The tables: what the runtime has to know of a compiled model (`runtime/src/program.rs` is their vocabulary).

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::code::{self, Rows, Surroundings};
use super::flops::{flops_in, one_sample};
use super::formulas::{Constants, Formulas};
use super::group::GroupTypes;
use super::names::snake;
use super::sizes::SizeNames;
use crate::ast::TensorDtype;
use crate::ir::{Demand, OutputKind, PackForm, Phase, Type, Value};
use crate::model::{InputDecl, LayerRow, Lowered, LoweredFunction, TensorDecl};
use crate::plan::{Kernel, Lasts, Loop, Operand, Pack, Place, Plan, Slot};
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
        constants: Constants::default(),
    };
    let mut items = TokenStream::new();
    let functions: Vec<TokenStream> = emission
        .functions
        .iter()
        .map(|f| tables.function(f, &mut groups, &mut items))
        .collect();
    let [params, states] =
        [&emission.lowered.params, &emission.lowered.states].map(|tensors| tables.tensors(tensors));
    let layers = tables.layers();
    let names = tables.formulas(None).names();
    let generics = tables.constants.values(&tables.size_names(None));
    let (name, key, groups) = (
        &emission.name,
        Literal::u64_unsuffixed(emission.key),
        groups.into_items(),
    );
    quote! {
        #groups
        #items
        #generics
        fn program() -> &'static #rt::Program {
            const {
                &#rt::Program {
                    name: #name,
                    key: #key,
                    params: &[#(#params),*],
                    states: &[#(#states),*],
                    layers: &[#(#layers),*],
                    functions: &[#(#functions),*],
                    names: #names,
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
    constants: Constants,
}

impl Tables<'_> {
    /// The formulas of a function's tables, or of those of no function.
    fn formulas(&self, function: Option<&LoweredFunction>) -> Formulas<'_> {
        Formulas::new(&self.constants, self.size_names(function))
    }

    fn size_names(&self, function: Option<&LoweredFunction>) -> SizeNames {
        SizeNames {
            dims: function.map_or_else(Vec::new, |f| f.dims.iter().map(|d| d.name.clone()).collect()),
            generics: self.emission.generics.clone(),
            scalars: function.map_or_else(Vec::new, |f| {
                f.scalars.iter().map(|(name, _)| name.clone()).collect()
            }),
        }
    }

    /// A row for every tensor.
    fn tensors(&self, tensors: &[TensorDecl]) -> Vec<TokenStream> {
        let (rt, formulas) = (self.emission.rt, self.formulas(None));
        let entry = |tensor: &TensorDecl| {
            let [repeats, shape] = [&tensor.repeats, &tensor.shape].map(|dims| formulas.dims(dims));
            let path = &tensor.path;
            match tensor.init.to_tokens(&quote!(#rt::init)) {
                Ok(init) => quote!(#rt::TensorEntry::new(#path, #repeats, #shape, #init)),
                Err(fan_in) => {
                    let fan_in = formulas.dim(fan_in);
                    quote!(#rt::TensorEntry::bias(#path, #repeats, #shape, #fan_in))
                }
            }
        };
        tensors.iter().map(entry).collect()
    }

    /// Rows of the summary.
    fn layers(&self) -> Vec<TokenStream> {
        let (rows, formulas) = (&self.emission.lowered.rows, self.formulas(None));
        rows.iter().map(|row| self.layer(row, &formulas)).collect()
    }

    fn layer(&self, row: &LayerRow, formulas: &Formulas<'_>) -> TokenStream {
        let rt = self.emission.rt;
        let output = row
            .output
            .as_ref()
            .map_or_else(String::new, |dims| shape::display(dims));
        let [params, flops] = [&row.params, &self.flops_of(&row.path)].map(|dim| formulas.dim(dim));
        let (path, kind) = (&row.path, &row.kind);
        quote!(#rt::LayerEntry::new(#path, #kind, #output, #params, #flops))
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
        // Windows that fit nowhere would make it negative.
        let flops = flops.filter(|flops| !flops.split_signs().0.is_zero());
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
            quote!(#rt::DimSpec { name: #name, multiple_of: #multiple, bare: (#arg, #axis) })
        });
        let formulas = self.formulas(Some(lowered));
        let inputs = self.inputs(lowered, &formulas);
        let scalars = lowered.scalars.iter().map(|(name, _)| name);
        let results = self.results(&function.eval, &formulas);
        let demands: Vec<_> = lowered
            .demands
            .iter()
            .map(|demand| self.demand(demand, &formulas))
            .collect();
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
        let names = formulas.names();
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
                names: #names,
            }
        }
    }

    /// `rt::InputSpec { .. }` of every argument that is a tensor.
    fn inputs(&self, function: &LoweredFunction, formulas: &Formulas<'_>) -> Vec<TokenStream> {
        let rt = self.emission.rt;
        let spec = |input: &InputDecl| {
            let (name, kind, rank) = (
                &input.name,
                input_kind(rt, input.dtype),
                Literal::usize_unsuffixed(input.shape.len()),
            );
            let shape = formulas.dims(&input.shape);
            quote!(#rt::InputSpec { name: #name, kind: #kind, rank: #rank, shape: #shape })
        };
        function.inputs.iter().map(spec).collect()
    }

    /// `rt::ResultSpec { .. }` of every result.
    fn results(&self, plan: &Plan, formulas: &Formulas<'_>) -> Vec<TokenStream> {
        let rt = self.emission.rt;
        let spec = |ty: &Type| {
            let (dtype, shape) = (code::dtype(rt, ty.dtype), formulas.dims(&ty.shape));
            quote!(#rt::ResultSpec { dtype: #dtype, shape: #shape })
        };
        plan.results.iter().map(|(_, ty)| spec(ty)).collect()
    }

    /// `rt::Demand { sizes: ["H + 2", "3"], message: ".." }`.
    fn demand(&self, demand: &Demand, formulas: &Formulas<'_>) -> TokenStream {
        let rt = self.emission.rt;
        // Nothing is subtracted, so that no size falls below zero.
        let (left, right) = (&demand.larger - &demand.smaller).split_signs();
        let [left, right] = [left, right].map(|dim| formulas.dim(&dim));
        let message = &demand.message;
        quote!(#rt::Demand { sizes: [#left, #right], message: #message })
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
        let [forward, backward] = ["forward", "backward"].map(|part| format_ident!("{stem}_{part}"));
        let sizes = self.size_names(Some(function));
        let inputs: Vec<String> = function.inputs.iter().map(|input| input.name.clone()).collect();
        let around = self.surroundings(&sizes, &inputs, Rows::OfTensors);
        let doc = |what: &str| format!(" {what} of `{}`, {mode} mode.", function.name);
        let mut sweep = |kernels, name: &Ident, what: &str| {
            items.extend(code::sweep(&around, plan, kernels, name, &doc(what), groups));
        };
        sweep(0..plan.n_forward, &forward, "Forward sweep");
        let backward_entry = if plan.n_forward < plan.kernels.len() {
            sweep(plan.n_forward..plan.kernels.len(), &backward, "Backward sweep");
            quote!(Some(#backward))
        } else {
            quote!(None)
        };
        let whole = self.whole(&around, plan, (mode, &stem), groups, items);
        let formulas = self.formulas(Some(function));
        let (slots, loops) = (self.slots(plan, &formulas), self.loops(plan, &formulas));
        let kernels = self.kernels(plan, &formulas);
        let results = plan.results.iter().map(|(value, _)| slot_of(plan, value));
        let input_grads = plan.outputs.iter().filter_map(|o| match o.kind {
            OutputKind::InputGrad(id) => {
                Some((Literal::usize_unsuffixed(id.index()), slot_of(plan, &o.value)))
            }
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
                slots: &[#(#slots),*],
                results: &[#(#rt::ResultSlot { slot: #results }),*],
                forward: #forward,
                backward: #backward_entry,
                whole: #whole,
                kernels: &[#(#kernels),*],
                loops: &[#(#loops),*],
                input_grads: &[#(#input_grads),*],
                trained: &[#(#trained),*],
                updates: &[#(#updates),*],
            }
        }
    }

    /// The code of one mode in one piece, where it is small.
    fn whole(
        &self,
        around: &Surroundings<'_>,
        plan: &Plan,
        (mode, stem): (&str, &str),
        groups: &mut GroupTypes,
        items: &mut TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        let loss = match plan.results.first().map(|(value, _)| plan.places[value]) {
            Some(Place::Slot(slot)) if mode != "eval" => Some(slot),
            _ => None,
        };
        match code::whole::emit(around, plan, &code::whole::Mode { stem, loss }, groups) {
            Some((name, whole)) => {
                items.extend(whole);
                quote!(Some(#rt::small::call::<#name>))
            }
            None => quote!(None),
        }
    }

    fn surroundings<'s>(
        &'s self,
        sizes: &'s SizeNames,
        inputs: &'s [String],
        rows: Rows,
    ) -> Surroundings<'s> {
        Surroundings {
            rt: self.emission.rt,
            sizes,
            inputs,
            params: &self.params,
            states: &self.states,
            rows,
        }
    }

    /// A row for every slot.
    fn slots(&self, plan: &Plan, formulas: &Formulas<'_>) -> Vec<TokenStream> {
        let rt = self.emission.rt;
        let entry = |slot: &Slot| {
            if let Some(pack) = &slot.pack {
                return self.packed_slot(slot, pack, formulas);
            }
            let (dtype, len) = (code::dtype(rt, slot.dtype), formulas.dim(&slot.len));
            let first = Literal::usize_unsuffixed(slot.first);
            if slot.last == usize::MAX {
                return quote!(#rt::SlotEntry::kept(#dtype, #len, #first));
            }
            let last = Literal::usize_unsuffixed(slot.last);
            quote!(#rt::SlotEntry::new(#dtype, #len, #first, #last))
        };
        plan.slots.iter().map(entry).collect()
    }

    /// `rt::SlotEntry::packed(rt::PackForm::Factor, "64 * T, 9216, 128, 4, 1", 3, 7)`: what decides how much room there must be, and its life.
    fn packed_slot(&self, slot: &Slot, pack: &Pack, formulas: &Formulas<'_>) -> TokenStream {
        let rt = self.emission.rt;
        let [k, n] = &pack.packing.shape;
        let sizes = [
            &pack.packing.rows,
            k,
            n,
            &pack.count,
            &pack.packing.form.elements(),
        ]
        .map(Dim::clone);
        let sizes = formulas.dims(&sizes);
        let form = match pack.packing.form {
            PackForm::Factor(_) => quote!(#rt::PackForm::Factor),
            PackForm::Window(_) => quote!(#rt::PackForm::Window),
        };
        match pack.lasts {
            Lasts::Calls => quote!(#rt::SlotEntry::lasting(#form, #sizes)),
            Lasts::Loop => {
                let [first, last] = [slot.first, slot.last].map(Literal::usize_unsuffixed);
                quote!(#rt::SlotEntry::packed(#form, #sizes, #first, #last))
            }
        }
    }

    /// A row for every loop.
    fn loops(&self, plan: &Plan, formulas: &Formulas<'_>) -> Vec<TokenStream> {
        let rt = self.emission.rt;
        let entry = |row: &Loop| {
            let [first, end] = [row.kernels.start, row.kernels.end].map(Literal::usize_unsuffixed);
            let (name, count) = (&*row.name, formulas.dim(&row.count));
            quote!(#rt::LoopEntry::new(#name, #first, #end, #count))
        };
        plan.loops.iter().map(entry).collect()
    }

    /// A row for every kernel.
    fn kernels(&self, plan: &Plan, formulas: &Formulas<'_>) -> Vec<TokenStream> {
        let numbered = plan.kernels.iter().enumerate();
        numbered
            .map(|(k, kernel)| self.kernel(plan, k, kernel, formulas))
            .collect()
    }

    /// A row of `explain`; of a kernel in a loop, the work of all steps.
    fn kernel(&self, plan: &Plan, k: usize, kernel: &Kernel, formulas: &Formulas<'_>) -> TokenStream {
        let rt = self.emission.rt;
        let phase = match kernel.phase {
            Phase::Forward => "forward",
            Phase::Backward => "backward",
        };
        let written = &kernel.writes[0];
        // What is packed is read in place of what it was packed from.
        let moved = kernel
            .reads
            .iter()
            .filter(|r| !is_packed(plan, r))
            .map(|r| r.layout.n_read());
        let moved = moved
            .chain(kernel.writes.iter().map(|w| w.ty.numel()))
            .collect::<Vec<_>>();
        let around = plan.loops_around(k);
        let steps = around.fold(Dim::one(), |steps, around| steps * &around.count);
        let elements = formulas.dim(&(Dim::sum(moved) * &steps));
        let flops = formulas.dim(&(&kernel.flops * &steps));
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
        quote!(#rt::KernelEntry::new(#title, #value, #phase, #shapes, [#flops, #elements], #slot))
    }

    fn trace(
        &self,
        function: &LoweredFunction,
        plan: &Plan,
        groups: &mut GroupTypes,
        items: &mut TokenStream,
    ) -> TokenStream {
        let rt = self.emission.rt;
        let run = format_ident!("{}_trace_run", snake(&function.name));
        let sizes = self.size_names(Some(function));
        let inputs: Vec<String> = function.inputs.iter().map(|input| input.name.clone()).collect();
        let around = self.surroundings(&sizes, &inputs, Rows::All);
        let doc = format!(" Every value of `{}`, trace mode.", function.name);
        items.extend(code::sweep(
            &around,
            plan,
            0..plan.kernels.len(),
            &run,
            &doc,
            groups,
        ));
        let formulas = self.formulas(Some(function));
        let slots = self.slots(plan, &formulas);
        let values = plan.named.iter().map(|named| {
            let Place::Slot(slot) = plan.places[&named.value] else {
                unreachable!("named values lie in the workspace")
            };
            let (dtype, shape) = (code::dtype(rt, named.ty.dtype), formulas.dims(&named.ty.shape));
            let (name, slot) = (&*named.name, Literal::usize_unsuffixed(slot));
            let order = named.order.iter().map(|order| {
                let axes = order.iter().map(|axis| Literal::usize_unsuffixed(*axis));
                quote!(.in_order(&[#(#axes),*]))
            });
            quote!(#rt::TraceValue::new(#name, #slot, #dtype, #shape) #(#order)*)
        });
        quote!(#rt::TraceCode { slots: &[#(#slots),*], run: #run, values: &[#(#values),*] })
    }
}

/// Whether an operand is what was packed of another.
fn is_packed(plan: &Plan, operand: &Operand) -> bool {
    matches!(plan.places[&operand.value], Place::Slot(slot) if plan.slots[slot].pack.is_some())
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

/// The slot of a result.
fn slot_of(plan: &Plan, value: &Value) -> Literal {
    match plan.places[value] {
        Place::Slot(slot) => Literal::usize_unsuffixed(slot),
        other => unreachable!("a result lies in the workspace, not in {other:?}"),
    }
}

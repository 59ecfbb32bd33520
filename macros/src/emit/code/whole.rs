//! Calls of small networks, in one piece.
//!
//! Where the products of a function are so small that calling a kernel takes longer than it computes, its sweeps are emitted a second
//! time: as code that rustc inlines into one function, with the sizes as constants. The runtime runs it where the dynamic sizes are
//! small as well, and the ordinary functions elsewhere; the bits are the same. The way back follows in the same function, so that a buffer's place is found out once, and numbers that both ways use may stay in registers.
//!
//! ```text
//! struct LossTrain;
//! impl rt::small::InOnePiece for LossTrain {
//!     const N_DIMS: usize = 1;
//!     type Room = rt::small::Room<192>;
//!     fn fits<T: rt::small::Number, L: rt::small::Vectors<T>, const ONE: bool>(
//!         cx: &mut rt::Cx<'_>, on: rt::small::On<T, L, ONE>,
//!     ) -> bool {
//!         let B = on.dim(cx, 0);
//!         rt::small::is_few([B, 8, 4])
//!     }
//!     fn run<T: rt::small::Number, L: rt::small::Vectors<T>, const ONE: bool>(
//!         cx: &mut rt::Cx<'_>, on: rt::small::On<T, L, ONE>,
//!     ) -> Option<f64> {
//!         let at = &rt::small::Places::<5, 4>::new(cx);
//!         loss_train_inlined_1(cx, on, at);
//!         let value = on.loss(cx, on.local(at, 3, 128, rt::Dtype::Float, 1))?;
//!         loss_train_inlined_2(cx, on, at);
//!         on.done(cx, value)
//!     }
//! }
//! fn loss_train_inlined_1<..>(cx: &mut rt::Cx<'_>, on: rt::small::On<T, L, ONE>, at: &rt::small::Places<5, 4>) {
//!     let B = on.dim(cx, 0);
//!     let x = on.input(0, rt::Dtype::Float, 4 * B);
//!     let hidden = on.local(at, 0, 64, rt::Dtype::Float, 8 * B);
//!     ..
//!     on.half().matmul::<64>(cx, rt::small::rows(x, [B, 4]), rt::small::turned(fc1_weight, [8, 4]), hidden, ..);
//! }
//! ```
//!
//! What decides (a model of the time that rustc takes): every product has two literal sizes of at most [`LITERAL`] (and no larger third
//! one), there are at most [`PRODUCTS`] of them among at most [`KERNELS`] kernels for each sweep, no loops, nothing that stays packed, and
//! no more kernels without an inlined form ([`FORMS`]) than products. Where a kernel is not small even if all dynamic sizes are 1,
//! nothing is emitted twice.

use std::ops::Range;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::{Access, Buffers, LINES, Part, Surroundings, formatted_lines};
use crate::emit::group::{GroupTypes, KINDS, passed_scalars};
use crate::emit::names::camel;
use crate::emit::sizes::{Source, Spelling};
use crate::ir::{Call, CallArg, DType, Layout, Type};
use crate::map::Set;
use crate::plan::{Epilogue, Group, Kernel, Operand, Place, Plan, Task};
use crate::shape::{Atom, Dim};

/// The largest literal size of a product.
const LITERAL: i64 = 64;
/// The most products of a sweep, of all sweeps together: rustc takes more than twice as long for twelve, as one function of both sweeps.
const PRODUCTS: usize = 4;
/// The most kernels of a sweep, likewise.
const KERNELS: usize = 12;
/// The most multiply-adds of a product, and elements of a factor: `small::is_few` of the runtime.
const FEW: (i64, i64) = (1 << 15, 1 << 12);
/// Numbers in half of the longest vectors: `Lanes::Half` of the runtime.
const HALF: i64 = 8;
/// Rooms for second factors that are turned, beside that of the largest.
const ROOMS: [usize; 2] = [64, 1024];
/// The most bytes of slots on the stack, and of one of them: a register. Numbers of a longer one are read from memory faster than they are
/// picked out of several registers (a prediction of 16-48-3 took 15 % longer).
const ROOM: usize = 2048;
const REGISTER: usize = 64;
/// The number of elements from which sums are taken in parts, by threads: `small::is_short` of the runtime.
const LONG: i64 = 1 << 15;
/// The most inputs and outputs of a group.
const GROUP: (usize, usize) = (6, 2);

/// Kernels of the runtime that have an inlined form.
const FORMS: &[(&str, Form)] = &[("matmul", Form::Product), ("reduce", Form::Sum)];

#[derive(Copy, Clone, PartialEq, Eq)]
enum Form {
    /// Two matrices, the result, an epilogue.
    Product,
    /// The kind of reduction, a tensor, the result, its shape, the axes.
    Sum,
}

/// A kernel in its inlined form.
enum Inlined<'p> {
    /// A product: the sizes of its result and the inner one.
    Product(&'p Epilogue, [&'p Dim; 3]),
    /// A sum over the first axes: how many numbers, and how many results.
    Sum([Dim; 2]),
    /// A group.
    Group(&'p Group),
}

/// The kernel, where it has an inlined form.
fn inlined<'p>(plan: &Plan, kernel: &'p Kernel) -> Option<Inlined<'p>> {
    match &kernel.task {
        Task::Copy | Task::Pack(_) => None,
        Task::Group(group) => is_plain(plan, kernel, group).then_some(Inlined::Group(group)),
        Task::Call(call, epilogue) => {
            let (_, form) = FORMS.iter().find(|(function, _)| *function == call.function)?;
            match form {
                Form::Product => product(kernel, call).map(|sizes| Inlined::Product(epilogue, sizes)),
                Form::Sum => sum(call).map(Inlined::Sum),
            }
        }
    }
}

/// Whether a group is one of floats that lie as the iteration goes.
fn is_plain(plan: &Plan, kernel: &Kernel, group: &Group) -> bool {
    let is_float = |dtype: DType| dtype == DType::Float;
    let reads = kernel.reads.iter().all(|operand| {
        let is_inside = in_place(plan, kernel, operand).is_some();
        is_float(operand.dtype) && (is_inside || operand.layout.is_contiguous())
    });
    reads
        && kernel.writes.iter().all(|written| is_float(written.ty.dtype))
        && kernel.reads.len() <= GROUP.0
        && kernel.writes.len() <= GROUP.1
        && group.results.len() == kernel.writes.len()
}

/// The output of a group in whose memory an input lies.
fn in_place(plan: &Plan, kernel: &Kernel, operand: &Operand) -> Option<usize> {
    let mut writes = kernel.writes.iter();
    writes.position(|written| plan.is_same_memory(written.value, operand.value))
}

/// `m`, `n` and `k` of a product of matrices that are dense in one direction, where they are small.
fn product<'p>(kernel: &'p Kernel, call: &Call) -> Option<[&'p Dim; 3]> {
    let [
        CallArg::InView(a),
        CallArg::InView(b),
        CallArg::Out(0),
        CallArg::Epilogue { .. },
    ] = call.args.as_slice()
    else {
        return None;
    };
    let (a, b) = (&kernel.reads[*a].layout, &kernel.reads[*b].layout);
    let ([m, k], [_, n]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return None;
    };
    let sizes = [m, n, k];
    let literals: Vec<i64> = sizes.iter().filter_map(|size| size.as_lit()).collect();
    let small = literals.len() >= 2 && literals.iter().all(|size| (1..=LITERAL).contains(size));
    // Kernels may add up inner products of any length in another order.
    let is_chain = k.as_lit().is_some() || !lie_along_k(a, b);
    (small && is_chain && is_dense(a) && is_dense(b)).then_some(sizes)
}

/// Whether the numbers of two factors that are multiplied may follow each other in memory.
fn lie_along_k(a: &Layout, b: &Layout) -> bool {
    let is_one = |size: &Dim| size.as_lit() == Some(1);
    (is_one(&a.strides[1]) || is_one(&a.shape[0])) && (is_one(&b.strides[0]) || is_one(&b.shape[1]))
}

/// Whether rows or columns of a matrix lie one after the other.
fn is_dense(layout: &Layout) -> bool {
    layout.is_contiguous() || transposed(layout).is_contiguous()
}

fn transposed(layout: &Layout) -> Layout {
    let mut layout = layout.clone();
    layout.shape.swap(0, 1);
    layout.strides.swap(0, 1);
    layout
}

/// Rows and columns, where a call sums over its first axes.
fn sum(call: &Call) -> Option<[Dim; 2]> {
    let [
        CallArg::Constant("Reduction::Sum"),
        CallArg::In(0),
        CallArg::Out(0),
        CallArg::Sizes(shape),
        CallArg::Sizes(axes),
    ] = call.args.as_slice()
    else {
        return None;
    };
    let in_order = axes.iter().zip(0..).all(|(axis, k)| axis.as_lit() == Some(k));
    let (summed, kept) = shape.split_at_checked(axes.len())?;
    in_order.then(|| [Dim::product(summed), Dim::product(kept)])
}

/// What a call in one piece is emitted for.
pub(in crate::emit) struct Mode<'a> {
    /// Its name among the functions that are emitted: `loss_train`.
    pub stem: &'a str,
    /// The slot of the loss, where that is what comes back.
    pub loss: Option<usize>,
}

/// A call in one piece, and the name of its type, where all its sweeps are small.
pub(in crate::emit) fn emit(
    around: &Surroundings<'_>,
    plan: &Plan,
    mode: &Mode<'_>,
    groups: &mut GroupTypes,
) -> Option<(Ident, TokenStream)> {
    let (n_forward, n) = (plan.n_forward, plan.kernels.len());
    let sweeps = [0..n_forward, n_forward..n].into_iter();
    let sweeps: Vec<_> = sweeps.filter(|range| !range.is_empty()).collect();
    if !is_small(around, plan, sweeps.len()) {
        return None;
    }
    let rt = around.rt;
    let name = groups.name(&format_ident!("{}", mode.stem), &camel(mode.stem));
    let [slots, params] = [plan.slots.len(), around.params.len()].map(Literal::usize_unsuffixed);
    let places = quote!(#rt::small::Places<#slots, #params>);
    let numbers = quote!(<T: #rt::small::Number, L: #rt::small::Vectors<T>, const ONE: bool>);
    let signature = quote!(cx: &mut #rt::Cx<'_>, on: #rt::small::On<T, L, ONE>);
    let (locals, room) = locals(plan, mode);
    let room = Literal::usize_unsuffixed(room);
    let (body, functions) = bodies(around, plan, (mode, &locals), (sweeps, groups));
    let functions = functions.into_iter().map(|(function, code)| {
        quote! {
            #[inline(always)]
            fn #function #numbers(#signature, at: &#places) { #code }
        }
    });
    let (n_dims, fits) = (
        Literal::usize_unsuffixed(around.sizes.dims.len()),
        fits(around, plan),
    );
    let doc = format!(" `{}` in one piece.", mode.stem);
    let items = quote! {
        #[doc = #doc]
        struct #name;
        impl #rt::small::InOnePiece for #name {
            const N_DIMS: usize = #n_dims;
            type Room = #rt::small::Room<#room>;
            #[inline(always)]
            fn fits #numbers(#signature) -> bool { #fits }
            #[inline(always)]
            fn run #numbers(#signature) -> Option<f64> {
                let at = &<#places>::new(cx);
                #body
                on.done(cx, value)
            }
        }
        #(#functions)*
    };
    Some((name, items))
}

/// Where slots lie on the stack if all dynamic sizes are 1, and how many bytes that takes. What is read after the call lies in the
/// workspace, the loss excepted, which is given back; and what is too long, or of a length that only rustc knows.
fn locals(plan: &Plan, mode: &Mode<'_>) -> (Vec<Option<usize>>, usize) {
    let mut bytes = 0;
    let places = plan.slots.iter().enumerate().map(|(k, slot)| {
        let is_read_later = slot.last == usize::MAX && mode.loss != Some(k);
        let len = slot
            .len
            .eval(&|atom| matches!(atom, Atom::Dynamic(_)).then_some(1));
        let width = match slot.dtype {
            DType::Float => 4,
            DType::Int => 8,
            DType::Bool => 1,
        };
        let len = len.and_then(|len| usize::try_from(len).ok()?.checked_mul(width))?;
        let may_be_local = len <= REGISTER && bytes + REGISTER <= ROOM;
        if !may_be_local || is_read_later || slot.pack.is_some() {
            return None;
        }
        let start = bytes;
        bytes += REGISTER;
        Some(start)
    });
    (places.collect(), bytes)
}

/// The body of `run`, which ends with its value, and the functions that it calls with theirs.
fn bodies(
    around: &Surroundings<'_>,
    plan: &Plan,
    (mode, locals): (&Mode<'_>, &[Option<usize>]),
    (sweeps, groups): (Vec<Range<usize>>, &mut GroupTypes),
) -> (TokenStream, Vec<(Ident, TokenStream)>) {
    let (mut body, mut functions) = (TokenStream::new(), Vec::new());
    for range in sweeps {
        for part in parts((around, plan, locals), range.clone(), groups) {
            let function = format_ident!("{}_inlined_{}", mode.stem, functions.len() + 1);
            body.extend(quote!(#function(cx, on, at);));
            functions.push((function, part.body()));
        }
        // The way back is for a loss that is finite.
        if let (0, Some(slot)) = (range.start, mode.loss) {
            let mut part = Part::inlining(around, plan, locals);
            let loss = part.place(Place::Slot(slot), &Type::new(DType::Float, Vec::new()));
            body.extend(quote!(let value = on.loss(cx, #loss)?;));
        }
    }
    if mode.loss.is_none() {
        body.extend(quote!(let value = 0.0;));
    }
    (body, functions)
}

/// The functions of a sweep.
fn parts<'a>(
    (around, plan, locals): (&'a Surroundings<'a>, &'a Plan, &'a [Option<usize>]),
    range: Range<usize>,
    groups: &mut GroupTypes,
) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for k in range {
        if parts.last().is_none_or(|part| part.lines >= LINES) {
            parts.push(Part::inlining(around, plan, locals));
        }
        let Some(part) = parts.last_mut() else { continue };
        match inlined(plan, &plan.kernels[k]) {
            Some(form) => part.inlined(k, &form, groups),
            None => part.kernel(k, groups),
        }
    }
    parts
}

/// What the dynamic sizes have to be like: the body of `fits`.
fn fits(around: &Surroundings<'_>, plan: &Plan) -> TokenStream {
    let (mut fits, mut spelling) = (Vec::new(), Spelling::new(around.sizes));
    let (mut asked, bounded) = (Set::default(), bounded(plan));
    for kernel in &plan.kernels {
        if let Some(form) = inlined(plan, kernel) {
            let fit = condition(&form, &bounded, &mut spelling, around.rt);
            fits.extend(fit.filter(|fit| asked.insert(fit.to_string())));
        }
    }
    let lets = spelling.bindings(Source::Inlined);
    if lets.is_empty() {
        return quote!(let _ = (cx, on); #(#fits)&&*);
    }
    quote!(#lets #(#fits)&&*)
}

/// Whether a call of so many sweeps is worth the time that it takes to compile in one piece.
fn is_small(around: &Surroundings<'_>, plan: &Plan, n_sweeps: usize) -> bool {
    let sizes = around.sizes;
    let names_taken = [&sizes.dims, &sizes.generics, &sizes.scalars]
        .into_iter()
        .any(|names| names.iter().any(|name| name == "on" || name == "at"));
    if names_taken || !plan.loops.is_empty() || plan.kernels.len() > n_sweeps * KERNELS {
        return false;
    }
    let (mut products, mut others) = (0, 0);
    for kernel in &plan.kernels {
        match inlined(plan, kernel) {
            Some(form) if !may_fit(&form) => return false,
            Some(Inlined::Product(..)) => products += 1,
            Some(_) => {}
            None if matches!(&kernel.task, Task::Pack(_)) => return false,
            None if matches!(&kernel.task, Task::Call(call, _) if call.function == "matmul") => return false,
            None => others += 1,
        }
    }
    (1..=n_sweeps * PRODUCTS).contains(&products) && others <= products
}

/// The least value of a size's atoms: that of a dynamic one is its multiple.
fn least_of(atom: &Atom) -> Option<i64> {
    Some(match atom {
        Atom::Dynamic(symbol) => symbol.multiple(),
        _ => 1,
    })
}

/// Whether a kernel is small at some sizes: if dynamic ones are as small as they can be.
fn may_fit(form: &Inlined<'_>) -> bool {
    let least = |size: &Dim| size.eval(&least_of).unwrap_or(1).max(0);
    match form {
        Inlined::Product(_, sizes) => {
            let [m, n, k] = sizes.map(least);
            let all = m.saturating_mul(n).saturating_mul(k);
            all <= FEW.0 && m.saturating_mul(k) <= FEW.1 && k.saturating_mul(n) <= FEW.1
        }
        Inlined::Sum([rows, cols]) => least(rows).saturating_mul(least(cols)) < LONG,
        Inlined::Group(group) => {
            let all = group.shape.iter().map(least).fold(1, i64::saturating_mul);
            all < LONG
        }
    }
}

/// The vectors of a kernel with so many columns: half as long where that is enough.
fn vectors(columns: &Dim) -> TokenStream {
    match columns.as_lit() {
        Some(..=HALF) => quote!(on.half()),
        _ => quote!(on),
    }
}

/// Numbers that the second factor of a product takes if it is turned, as one of the rooms that there are; 0 if it is read where it lies.
fn room(layout: &Layout, [_, n, k]: &[&Dim; 3]) -> usize {
    if layout.is_contiguous() {
        return 0;
    }
    let numbers = Dim::product([*k, *n])
        .as_lit()
        .and_then(|len| usize::try_from(len).ok());
    let rooms = ROOMS.into_iter();
    rooms
        .filter(|&room| numbers.is_some_and(|numbers| numbers <= room))
        .min()
        .unwrap_or(FEW.1 as usize)
}

/// What dynamic sizes have to be like for a kernel to be small: `bounded` are the numbers of elements that products ask for already.
fn condition(
    form: &Inlined<'_>,
    bounded: &[Dim],
    spelling: &mut Spelling<'_>,
    rt: &TokenStream,
) -> Option<TokenStream> {
    match form {
        Inlined::Product(_, sizes) => {
            let sizes = sizes.map(|size| spelling.dim(size));
            Some(quote!(#rt::small::is_few([#(#sizes),*])))
        }
        Inlined::Sum(sizes) => {
            let sizes = spelling.dims(sizes);
            Some(quote!(#rt::small::is_short(#sizes)))
        }
        Inlined::Group(group) => {
            let len = Dim::product(&group.shape);
            let is_bounded = len.as_lit().is_some() || bounded.contains(&len);
            (!is_bounded).then(|| {
                let len = spelling.dim(&len);
                quote!(#rt::small::is_short([#len, 1]))
            })
        }
    }
}

/// Elements of the factors and results of products, which are few where the products are small.
fn bounded(plan: &Plan) -> Vec<Dim> {
    let kernels = plan.kernels.iter();
    let products = kernels.filter_map(|kernel| match inlined(plan, kernel) {
        Some(Inlined::Product(_, sizes)) => Some(sizes),
        _ => None,
    });
    products.flat_map(|[m, n, k]| [m * n, m * k, k * n]).collect()
}

impl<'a> Part<'a> {
    /// A function whose buffers are got at by code in its place.
    fn inlining(around: &'a Surroundings<'a>, plan: &'a Plan, locals: &'a [Option<usize>]) -> Self {
        let mut part = Self::new(around, plan, &[]);
        part.access = Access::Inlined(locals);
        part
    }

    /// A kernel in its inlined form.
    fn inlined(&mut self, k: usize, form: &Inlined<'_>, groups: &mut GroupTypes) {
        let buffers = self.buffers(k);
        let out = &buffers.writes[0];
        let call = match form {
            Inlined::Product(epilogue, sizes) => {
                let (a, b) = (self.matrix(&buffers, 0), self.matrix(&buffers, 1));
                let epilogue = self.epilogue_fields(epilogue, &buffers);
                let room = Literal::usize_unsuffixed(room(&buffers.kernel.reads[1].layout, sizes));
                let on = vectors(sizes[1]);
                quote!(#on.matmul::<#room>(cx, #a, #b, #out, #epilogue))
            }
            Inlined::Sum(sizes) => {
                let (on, x) = (vectors(&sizes[1]), self.buffer(&buffers, 0));
                let sizes = self.spelling.dims(sizes);
                quote!(#on.sum(cx, #x, #out, #sizes))
            }
            Inlined::Group(group) => self.inlined_group(group, &buffers, groups),
        };
        self.lines += formatted_lines(&call);
        self.body.extend(quote!(#call;));
    }

    /// `rt::small::rows(x, [B, 8])`, or `turned` where columns are dense.
    fn matrix(&mut self, buffers: &Buffers<'_>, k: usize) -> TokenStream {
        let (rt, layout) = (self.around.rt, &buffers.kernel.reads[k].layout);
        let buffer = self.buffer(buffers, k);
        if layout.is_contiguous() {
            let shape = self.spelling.dims(&layout.shape);
            return quote!(#rt::small::rows(#buffer, #shape));
        }
        let shape = self.spelling.dims(&transposed(layout).shape);
        quote!(#rt::small::turned(#buffer, #shape))
    }

    /// An epilogue as a value: its builder is a call.
    fn epilogue_fields(&mut self, epilogue: &Epilogue, buffers: &Buffers<'_>) -> TokenStream {
        let rt = self.around.rt;
        let [bias, residual] = [epilogue.bias, epilogue.residual].map(|read| match read {
            Some(k) => {
                let buffer = self.buffer(buffers, k);
                quote!(Some(#buffer))
            }
            None => quote!(None),
        });
        let activation = format_ident!("{}", epilogue.activation.unwrap_or("None"));
        quote!(#rt::Epilogue { bias: #bias, residual: #residual, activation: #rt::Activation::#activation })
    }

    fn inlined_group(
        &mut self,
        group: &Group,
        buffers: &Buffers<'_>,
        groups: &mut GroupTypes,
    ) -> TokenStream {
        let rt = self.around.rt;
        let name = groups.get(buffers.kernel, group);
        let len = self.spelling.dim(&Dim::product(&group.shape));
        let reads = buffers.kernel.reads.iter().enumerate();
        let ins: Vec<TokenStream> = reads
            .map(
                |(k, operand)| match in_place(self.plan, buffers.kernel, operand) {
                    Some(output) => {
                        let output = Literal::usize_unsuffixed(output);
                        quote!(#rt::small::In::InPlace(#output))
                    }
                    None => {
                        let buffer = self.buffer(buffers, k);
                        quote!(#rt::small::In::Dense(#buffer))
                    }
                },
            )
            .collect();
        let outs = buffers.outs_of(KINDS[0]).map(|k| &buffers.writes[k]);
        let outs = quote!([#(#outs),*]);
        let scalars: Vec<TokenStream> = passed_scalars(group)
            .into_iter()
            .map(|scalar| self.spelling.scalar(scalar))
            .collect();
        quote!(on.pointwise(cx, #name, #len, [#(#ins),*], #outs, [#(#scalars),*]))
    }
}

#[cfg(test)]
mod tests {
    use tapeless_runtime::rt::small;

    use super::*;

    /// The limits are those of the runtime.
    #[test]
    fn the_runtime_calls_small_what_may_fit() {
        let product = |m: usize, n: usize, k: usize| {
            let sizes = [m, n, k].map(|size| Dim::lit(size as i64));
            let [m_dim, n_dim, k_dim] = &sizes;
            let may = may_fit(&Inlined::Product(&Epilogue::default(), [m_dim, n_dim, k_dim]));
            assert_eq!(may, small::is_few([m, n, k]), "{m} x {n} x {k}");
            may
        };
        assert!(product(32, 32, 32) && !product(33, 32, 32));
        assert!(product(64, 8, 64) && !product(65, 1, 64) && !product(1, 65, 64));
        // What has a literal inner size is one chain in kernels, too.
        assert!(!small::is_deep([1, 1, LITERAL as usize]));
        for [rows, cols] in [[1, 32767], [1, 32768], [128, 256], [127, 258]] {
            let sizes = [rows, cols].map(|size| Dim::lit(size as i64));
            assert_eq!(may_fit(&Inlined::Sum(sizes)), small::is_short([rows, cols]));
        }
    }
}

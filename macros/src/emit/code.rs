//! The sweeps: straight-line calls of the runtime.
//!
//! ```text
//! fn loss_forward(cx: &mut rt::Cx<'_>) {
//!     let B = cx.dim(0);
//!     let image = cx.input(0, rt::Dtype::Float, B * 784);
//!     let fc1_weight = cx.param(0, 100352);
//!     let fc1_bias = cx.param(1, 128);
//!     let hidden = cx.slot(0, rt::Dtype::Float, B * 128);
//!     rt::matmul(cx, rt::View::contiguous(image, [B, 784]), rt::View::contiguous(fc1_weight, [128, 784]).t(), hidden, ..);
//! }
//! ```
//!
//! A long sweep becomes several functions called one after the other, so that each can be read on a screen. The step of a loop is
//! a function of its own, called with the index:
//!
//! ```text
//!     for i in 0..4 { loss_forward_blocks(cx, i); }
//! ```

mod epilogue;
mod place;
mod row;
pub(super) mod whole;

use std::ops::Range;
use std::rc::Rc;

use proc_macro2::{Ident, Literal, TokenStream, TokenTree};
use quote::{format_ident, quote};

use super::group::{GroupTypes, KINDS, Single, passed_scalars};
use super::names::{Names, mentions, snake};
use super::sizes::{SizeNames, Source, Spelling};
use crate::ir::{Call, CallArg, DType, PackForm};
use crate::ops::scan::Order;
use crate::plan::{Epilogue, Group, Kernel, Lasts, Loop, Operand, Pack, Plan, Task};
use crate::shape::Dim;

use place::{Access, Binding};
pub(super) use row::Rows;

/// Lines after which an emitted function takes no further kernel; the last one may be some 30 lines long.
const LINES: usize = 28;

/// What a sweep needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    /// Path of the runtime: `rt`.
    pub(super) rt: &'a TokenStream,
    /// Names of sizes and scalars.
    pub(super) sizes: &'a SizeNames,
    /// Names of the arguments.
    pub(super) inputs: &'a [String],
    /// Paths of the parameters.
    pub(super) params: &'a [String],
    /// Paths of the carried tensors.
    pub(super) states: &'a [String],
    /// Which groups have no type of their own.
    pub(super) rows: Rows,
}

/// Emits the functions of `kernels` (indices into the plan); the one to call has the given name.
pub(super) fn sweep(
    around: &Surroundings<'_>,
    plan: &Plan,
    kernels: Range<usize>,
    name: &Ident,
    doc: &str,
    groups: &mut GroupTypes,
) -> TokenStream {
    let mut loops = TokenStream::new();
    let region = Sequence {
        around,
        plan,
        indices: &[],
        name,
        doc,
    };
    let functions = region.emit(kernels, 0, groups, &mut loops);
    quote!(#functions #loops)
}

/// Kernels one after the other: those of a sweep, or of the step of a loop.
struct Sequence<'a> {
    around: &'a Surroundings<'a>,
    plan: &'a Plan,
    /// The indices of the loops around it, outermost first.
    indices: &'a [Rc<str>],
    name: &'a Ident,
    doc: &'a str,
}

impl<'a> Sequence<'a> {
    /// The functions of the sequence. Loops from position `first_loop` on stand inside of it; their steps go to `steps`.
    fn emit(
        &self,
        kernels: Range<usize>,
        first_loop: usize,
        groups: &mut GroupTypes,
        steps: &mut TokenStream,
    ) -> TokenStream {
        let mut parts = vec![self.part()];
        let mut k = kernels.start;
        while k < kernels.end {
            if parts.last().is_some_and(|part| part.lines >= LINES) {
                parts.push(self.part());
            }
            let part = parts.last_mut().expect("there is a part");
            match self.loop_at(k, kernels.end, first_loop) {
                Some(position) => {
                    let inner = &self.plan.loops[position];
                    let step = self.step_name(position);
                    part.repeat(inner, &step);
                    steps.extend(self.step(position, &step, groups));
                    k = inner.kernels.end;
                }
                None => {
                    part.kernel(k, groups);
                    k += 1;
                }
            }
        }
        self.functions(&parts)
    }

    fn part(&self) -> Part<'a> {
        Part::new(self.around, self.plan, self.indices)
    }

    /// The loop that begins at kernel `k`, the outermost if there are several.
    fn loop_at(&self, k: usize, end: usize, first: usize) -> Option<usize> {
        let loops = self.plan.loops.iter().enumerate().skip(first);
        let mut starting =
            loops.filter(|(_, l)| l.kernels.start == k && (k + 1..=end).contains(&l.kernels.end));
        starting.next().map(|(position, _)| position)
    }

    /// `loss_train_forward_blocks` for the steps of a loop called `blocks`, `loss_train_forward_blocks2` for the second one. (What
    /// ends in `_2` is the second part of a function.)
    fn step_name(&self, position: usize) -> Ident {
        let name = |l: &Loop| snake(&l.name);
        let loops = &self.plan.loops;
        let own = name(&loops[position]);
        match loops[..position].iter().filter(|l| name(l) == own).count() {
            0 => format_ident!("{}_{own}", self.name),
            n => format_ident!("{}_{own}{}", self.name, n + 1),
        }
    }

    /// The functions of one step of a loop.
    fn step(&self, position: usize, name: &Ident, groups: &mut GroupTypes) -> TokenStream {
        let inner = &self.plan.loops[position];
        let indices: Vec<Rc<str>> = self.indices.iter().chain([&inner.index]).cloned().collect();
        let doc = format!(" Step `{}` of the loop over {} steps.", inner.index, inner.count);
        let sequence = Sequence {
            around: self.around,
            plan: self.plan,
            indices: &indices,
            name,
            doc: &doc,
        };
        let mut steps = TokenStream::new();
        let functions = sequence.emit(inner.kernels.clone(), position + 1, groups, &mut steps);
        quote!(#functions #steps)
    }

    fn functions(&self, parts: &[Part<'_>]) -> TokenStream {
        let (rt, name, doc) = (self.around.rt, self.name, self.doc);
        let all: Vec<Ident> = self
            .indices
            .iter()
            .map(|index| format_ident!("{}", &**index))
            .collect();
        if let [only] = parts {
            let body = only.body();
            let (cx, indices) = self.params(&body);
            return quote! {
                #[doc = #doc]
                fn #name(#cx: &mut #rt::Cx<'_> #(, #indices: usize)*) { #body }
            };
        }
        let args = quote!(#(, #all)*);
        let names: Vec<Ident> = (1..=parts.len()).map(|n| format_ident!("{name}_{n}")).collect();
        let functions = parts.iter().zip(&names).map(|(part, name)| {
            let body = part.body();
            let (cx, indices) = self.params(&body);
            quote!(fn #name(#cx: &mut #rt::Cx<'_> #(, #indices: usize)*) { #body })
        });
        let functions: TokenStream = functions.collect();
        quote! {
            #[doc = #doc]
            fn #name(cx: &mut #rt::Cx<'_> #(, #all: usize)*) {
                #(#names(cx #args);)*
            }
            #functions
        }
    }

    /// The names of the parameters; those that the body does not use begin with `_`.
    fn params(&self, body: &TokenStream) -> (Ident, Vec<Ident>) {
        let name = |name: &str| {
            if mentions(body, name) {
                format_ident!("{name}")
            } else {
                format_ident!("_{name}")
            }
        };
        (name("cx"), self.indices.iter().map(|index| name(index)).collect())
    }
}

/// One emitted function of a sweep.
struct Part<'a> {
    around: &'a Surroundings<'a>,
    plan: &'a Plan,
    indices: &'a [Rc<str>],
    names: Names<Binding>,
    spelling: Spelling<'a>,
    access: Access<'a>,
    body: TokenStream,
    lines: usize,
}

impl<'a> Part<'a> {
    fn new(around: &'a Surroundings<'a>, plan: &'a Plan, indices: &'a [Rc<str>]) -> Self {
        let sizes = around.sizes;
        let reserved = sizes
            .dims
            .iter()
            .chain(&sizes.generics)
            .chain(&sizes.scalars)
            .cloned()
            .chain(indices.iter().map(|index| index.to_string()));
        Self {
            around,
            plan,
            indices,
            names: Names::avoiding(reserved),
            spelling: Spelling::new(sizes),
            access: Access::Called,
            body: TokenStream::new(),
            lines: 0,
        }
    }

    fn body(&self) -> TokenStream {
        let source = match self.access {
            Access::Called => Source::Context,
            Access::Inlined(_) => Source::Inlined,
        };
        let (lets, body) = (self.spelling.bindings(source), &self.body);
        quote!(#lets #body)
    }

    /// `for i in 0..n { step(cx, i); }`
    fn repeat(&mut self, inner: &Loop, step: &Ident) {
        let index = format_ident!("{}", &*inner.index);
        let outer = self.indices.iter().map(|index| format_ident!("{}", &**index));
        let count = self.spelling.operand(&inner.count);
        let range = match inner.order {
            Order::Ascending => quote!(0..#count),
            Order::Descending => quote!((0..#count).rev()),
        };
        self.lines += 3;
        self.body
            .extend(quote!(for #index in #range { #step(cx, #(#outer,)* #index); }));
    }

    fn buffers(&mut self, k: usize) -> Buffers<'a> {
        let kernel = &self.plan.kernels[k];
        let reads: Vec<Ident> = kernel.reads.iter().map(|operand| self.read(operand)).collect();
        let writes: Vec<Ident> = kernel
            .writes
            .iter()
            .map(|written| self.value(written.value, &written.name, &written.ty))
            .collect();
        let scratch: Vec<Ident> = (0..kernel.scratch.len()).map(|n| self.scratch(k, n)).collect();
        Buffers {
            k,
            kernel,
            reads,
            writes,
            scratch,
        }
    }

    fn kernel(&mut self, k: usize, groups: &mut GroupTypes) {
        let buffers = self.buffers(k);
        let call = match &buffers.kernel.task {
            Task::Call(call, epilogue) => self.call(call, epilogue, &buffers),
            Task::Group(group) => self.group(group, &buffers, groups),
            Task::Copy => {
                let (rt, from, to) = (self.around.rt, self.view(&buffers, 0), &buffers.writes[0]);
                quote!(#rt::copy(cx, #from, #to))
            }
            Task::Pack(pack) => self.pack(pack, &buffers),
        };
        self.lines += formatted_lines(&call);
        self.body.extend(quote!(#call;));
    }

    /// `rt::pack(cx, view, packed, rows, lasts)`, or `rt::pack_window(cx, weights, packed, spec, lasts)`.
    fn pack(&mut self, pack: &Pack, buffers: &Buffers<'_>) -> TokenStream {
        let (rt, packed) = (self.around.rt, &buffers.writes[0]);
        let lasts = match pack.lasts {
            Lasts::Loop => quote!(#rt::Lasts::Loop),
            Lasts::Calls => quote!(#rt::Lasts::Calls),
        };
        match &pack.packing.form {
            PackForm::Factor(_) => {
                let plain = pack.packing.form.plain(0);
                let factor = self.arg(&plain, &Epilogue::default(), buffers);
                let rows = self.spelling.operand(&pack.packing.rows);
                quote!(#rt::pack(cx, #factor, #packed, #rows, #lasts))
            }
            PackForm::Window(spec) => {
                let (weights, spec) = (
                    self.buffer(buffers, 0),
                    self.arg(spec, &Epilogue::default(), buffers),
                );
                quote!(#rt::pack_window(cx, #weights, #packed, #spec, #lasts))
            }
        }
    }

    fn call(&mut self, call: &Call, epilogue: &Epilogue, buffers: &Buffers<'_>) -> TokenStream {
        let args: Vec<TokenStream> = call
            .args
            .iter()
            .map(|arg| self.arg(arg, epilogue, buffers))
            .collect();
        let (rt, function) = (self.around.rt, format_ident!("{}", call.function));
        quote!(#rt::#function(cx, #(#args),*))
    }

    fn arg(&mut self, arg: &CallArg, epilogue: &Epilogue, buffers: &Buffers<'_>) -> TokenStream {
        let rt = self.around.rt;
        match arg {
            CallArg::In(k) => self.buffer(buffers, *k),
            CallArg::Ins(all) => {
                let all = all.iter().map(|k| self.buffer(buffers, *k));
                quote!([#(#all),*])
            }
            CallArg::InView(k) => self.view(buffers, *k),
            CallArg::Interleaved(k, runs) => {
                let (view, runs) = (self.view(buffers, *k), self.spelling.operand(runs));
                quote!(#view.interleaved(#runs))
            }
            CallArg::Packable(..) => unreachable!("fusion decides what is packed"),
            CallArg::Packed(input) => {
                let plain = self.arg(&input.form.plain(input.input), epilogue, buffers);
                let packed = self.buffer(buffers, input.packed);
                let index = self.spelling.dim(&input.index);
                quote!(#plain.packed(#packed, #index))
            }
            CallArg::Out(k) => {
                let out = &buffers.writes[*k];
                quote!(#out)
            }
            CallArg::Scratch(k) => {
                let scratch = &buffers.scratch[*k];
                quote!(#scratch)
            }
            CallArg::Size(dim) => self.spelling.dim(dim),
            CallArg::Sizes(dims) => self.spelling.dims(dims),
            CallArg::Scalar(scalar) => self.spelling.scalar(scalar),
            CallArg::Constant(path) => {
                let path: TokenStream = path.parse().expect("constants of calls are Rust paths");
                quote!(#rt::#path)
            }
            CallArg::Struct(name, fields) => {
                let name = format_ident!("{name}");
                let names = fields.iter().map(|(field, _)| format_ident!("{field}"));
                let values: Vec<_> = fields
                    .iter()
                    .map(|(_, arg)| self.arg(arg, epilogue, buffers))
                    .collect();
                quote!(#rt::#name { #(#names: #values),* })
            }
            CallArg::Present(arg) => {
                let arg = self.arg(arg, epilogue, buffers);
                quote!(Some(#arg))
            }
            CallArg::Absent => quote!(None),
            CallArg::Stream(key) => {
                let loops = self.plan.loops_around(buffers.k).filter(|l| l.is_repeated());
                let steps = loops.map(|l| format_ident!("{}", &*l.index));
                steps.fold(quote!(#key), |key, step| quote!(#rt::step_stream(#key, #step)))
            }
            CallArg::Epilogue { .. } => self.epilogue(epilogue, buffers),
        }
    }

    /// A contiguous operand: its whole buffer, or a part of it.
    fn buffer(&mut self, buffers: &Buffers<'_>, k: usize) -> TokenStream {
        self.piece(&buffers.reads[k], &buffers.kernel.reads[k])
    }

    /// The buffer of an operand that lies in one piece, which is all of its value or a part.
    fn piece(&mut self, name: &Ident, operand: &Operand) -> TokenStream {
        if operand.layout.offset.is_zero() && self.plan.is_whole(operand) {
            return quote!(#name);
        }
        let start = self.spelling.offset(&operand.layout.offset);
        let len = self.spelling.dim(&Dim::product(&operand.layout.shape));
        quote!(#name.at(#start, #len))
    }

    /// A strided operand.
    fn view(&mut self, buffers: &Buffers<'_>, k: usize) -> TokenStream {
        let rt = self.around.rt;
        let layout = &buffers.kernel.reads[k].layout;
        let name = &buffers.reads[k];
        let rank = layout.shape.len();
        let mut dense = layout.clone();
        let mut turn = TokenStream::new();
        if rank >= 2 && !layout.is_contiguous() {
            dense.shape.swap(rank - 1, rank - 2);
            dense.strides.swap(rank - 1, rank - 2);
            turn = quote!(.t());
        }
        if dense.is_contiguous() {
            let buffer = self.buffer(buffers, k);
            let shape = self.spelling.dims(&dense.shape);
            return quote!(#rt::View::contiguous(#buffer, #shape)#turn);
        }
        let (offset, shape) = (
            self.spelling.offset(&layout.offset),
            self.spelling.dims(&layout.shape),
        );
        let strides: Vec<_> = layout
            .strides
            .iter()
            .map(|stride| self.spelling.stride(stride))
            .collect();
        quote!(#rt::View { buf: #name, offset: #offset, shape: #shape, strides: [#(#strides),*] })
    }

    fn group(&mut self, group: &Group, buffers: &Buffers<'_>, groups: &mut GroupTypes) -> TokenStream {
        let rt = self.around.rt;
        if let Some(single) = Single::of(group)
            && (self.around.rows == Rows::All || single.is_of_tensors(group))
        {
            return self.row(&single, group, buffers);
        }
        let name = groups.get(buffers.kernel, group);
        let shape = self.spelling.dims(&group.shape);
        let ins = KINDS.map(|kind| {
            let of_kind = (0..buffers.reads.len()).filter(|&k| buffers.kernel.reads[k].dtype == kind);
            let ins: Vec<TokenStream> = of_kind.map(|k| self.group_input(buffers, k)).collect();
            quote!([#(#ins),*])
        });
        let outs = KINDS.map(|kind| {
            let outs = buffers.outs_of(kind).map(|k| &buffers.writes[k]);
            quote!([#(#outs),*])
        });
        let scalars: Vec<TokenStream> = passed_scalars(group)
            .into_iter()
            .map(|scalar| self.spelling.scalar(scalar))
            .collect();
        let ([f, i, b], [fo, io, bo]) = (ins, outs);
        quote! {
            #rt::pointwise(
                cx, #name, #shape,
                #rt::Ins { floats: #f, ints: #i, bools: #b },
                #rt::Outs { floats: #fo, ints: #io, bools: #bo },
                [#(#scalars),*],
            )
        }
    }

    fn group_input(&mut self, buffers: &Buffers<'_>, k: usize) -> TokenStream {
        let rt = self.around.rt;
        let operand = &buffers.kernel.reads[k];
        let same_kind: Vec<usize> = buffers.outs_of(operand.dtype).collect();
        let written = same_kind.iter().position(|&w| {
            self.plan
                .is_same_memory(buffers.kernel.writes[w].value, operand.value)
        });
        if let Some(w) = written {
            let w = Literal::usize_unsuffixed(w);
            return quote!(#rt::In::in_place(#w));
        }
        if operand.layout.is_contiguous() {
            let buffer = self.buffer(buffers, k);
            return quote!(#rt::In::dense(#buffer));
        }
        let (name, offset) = (&buffers.reads[k], self.spelling.offset(&operand.layout.offset));
        let strides: Vec<_> = operand
            .layout
            .strides
            .iter()
            .map(|stride| self.spelling.stride(stride))
            .collect();
        quote!(#rt::In::strided(#name, #offset, [#(#strides),*]))
    }
}

/// About how many lines a formatter makes of an expression: one if it is short, else one for every argument and field.
fn formatted_lines(tokens: &TokenStream) -> usize {
    if tokens.to_string().len() <= 70 {
        return 1;
    }
    let nested = tokens.clone().into_iter().map(|tree| match tree {
        TokenTree::Group(group) if group.stream().is_empty() => 0,
        TokenTree::Group(group) => 1 + formatted_lines(&group.stream()),
        TokenTree::Punct(punct) if punct.as_char() == ',' => 1,
        _ => 0,
    });
    1 + nested.sum::<usize>()
}

/// The bindings of one kernel's buffers.
struct Buffers<'a> {
    k: usize,
    kernel: &'a Kernel,
    reads: Vec<Ident>,
    writes: Vec<Ident>,
    scratch: Vec<Ident>,
}

impl Buffers<'_> {
    fn outs_of(&self, kind: DType) -> impl Iterator<Item = usize> {
        (0..self.writes.len()).filter(move |&k| self.kernel.writes[k].ty.dtype == kind)
    }
}

/// `rt::Dtype::Float`.
pub(super) fn dtype(rt: &TokenStream, dtype: DType) -> TokenStream {
    let name = match dtype {
        DType::Float => format_ident!("Float"),
        DType::Int => format_ident!("Int"),
        DType::Bool => format_ident!("Bool"),
    };
    quote!(#rt::Dtype::#name)
}

//! Calls of the runtime's functions, by name.

use tapeless_runtime::cx::Cx;
use tapeless_runtime::rt;

use super::super::world::World;
use super::arguments::{AnyView, Argument, Arguments, Factor, array};
use super::attention;
use super::images;
use super::memory::Names;
use crate::ir::{Call, CallArg, PackForm, Rows};
use crate::plan::{Epilogue, Lasts, Pack, Plan};

type Function = fn(&mut Cx<'_>, &mut Arguments);

/// Calls a function that has the rank in its type.
macro_rules! ranked {
    ($rank:expr, $r:ident => $call:expr; $($n:literal)*) => {
        match $rank {
            $($n => { const $r: usize = $n; $call })*
            rank => panic!("a call of rank {rank}"),
        }
    };
    ($rank:expr, $r:ident => $call:expr) => { ranked!($rank, $r => $call; 0 1 2 3 4 5 6 7 8) };
}

/// The functions that emitted code may call.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("arg", arg),
    ("attention", attention::forward),
    ("attention_grad", attention::gradient),
    ("avg_pool2d_grad", images::avg_pool2d_grad),
    ("batch_norm", batch_norm),
    ("batch_norm_grad", batch_norm_grad),
    ("concat", |cx, a| {
        let (parts, y, outer, blocks) = (a.bufs(), a.buf(), a.size(), a.sizes());
        ranked!(parts.len(), N => rt::concat::<N>(cx, array(&parts), y, outer, array(&blocks)); 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    }),
    ("conv2d", images::conv2d),
    ("conv2d_pool2d", images::conv2d_pool2d),
    ("conv2d_input_grad", images::conv2d_input_grad),
    ("conv2d_weight_grad", images::conv2d_weight_grad),
    ("cross_entropy", cross_entropy),
    ("cross_entropy_grad", cross_entropy_grad),
    ("ctc", ctc),
    ("ctc_curvature", ctc_curvature),
    ("ctc_grad", ctc_grad),
    ("cumsum", cumsum),
    ("dropout", |cx, a| {
        rt::dropout(cx, a.buf(), a.buf(), a.scalar(), a.stream())
    }),
    ("dropout_channels", |cx, a| {
        rt::dropout_channels(cx, a.buf(), a.buf(), a.scalar(), a.stream(), a.size())
    }),
    ("gather", |cx, a| {
        rt::gather(cx, a.buf(), a.buf(), a.buf(), gather_shape(a))
    }),
    ("layer_norm", layer_norm),
    ("layer_norm_grad", layer_norm_grad),
    ("matmul", matmul),
    ("max_pool2d_grad", images::max_pool2d_grad),
    ("max_pool2d_pick", images::max_pool2d_pick),
    ("one_hot", |cx, a| rt::one_hot(cx, a.buf(), a.buf(), a.size())),
    ("pad", pad),
    ("pool2d", images::pool2d),
    ("reduce", reduce),
    ("rotary", attention::rotary),
    ("scatter", |cx, a| {
        rt::scatter(cx, a.buf(), a.buf(), a.buf(), gather_shape(a))
    }),
    ("sinusoid", |cx, a| {
        rt::sinusoid(cx, a.buf(), a.size(), a.scalar())
    }),
    ("softmax", |cx, a| {
        rt::softmax(
            cx,
            softmax_kind(a),
            a.buf(),
            a.buf(),
            a.size(),
            a.size(),
            a.size(),
        )
    }),
    ("softmax_grad", |cx, a| {
        rt::softmax_grad(
            cx,
            softmax_kind(a),
            a.buf(),
            a.buf(),
            a.buf(),
            a.size(),
            a.size(),
            a.size(),
        )
    }),
    ("take", |cx, a| {
        rt::take(cx, a.buf(), a.buf(), a.buf(), table(a), lookup(a))
    }),
    ("take_grad", |cx, a| {
        rt::take_grad(cx, a.buf(), a.buf(), a.buf(), table(a), a.optional_scalar())
    }),
];

fn arg(cx: &mut Cx<'_>, a: &mut Arguments) {
    let known = [
        ("Extremum::Max", rt::Extremum::Max),
        ("Extremum::Min", rt::Extremum::Min),
    ];
    rt::arg(
        cx,
        a.constant(&known),
        a.buf(),
        a.buf(),
        a.size(),
        a.size(),
        a.size(),
    );
}

fn gather_shape(a: &mut Arguments) -> rt::Gather {
    let mut f = a.fields("Gather", &["outer", "size", "picks", "inner"]);
    rt::Gather {
        outer: f.size(),
        size: f.size(),
        picks: f.size(),
        inner: f.size(),
    }
}

fn table(a: &mut Arguments) -> rt::Table {
    let mut f = a.fields("Table", &["outer", "rows", "inner"]);
    rt::Table {
        outer: f.size(),
        rows: f.size(),
        inner: f.size(),
    }
}

fn lookup(a: &mut Arguments) -> rt::Lookup {
    a.constant(&[
        ("Lookup::Embedding", rt::Lookup::Embedding),
        ("Lookup::Take", rt::Lookup::Take),
    ])
}

fn cumsum(cx: &mut Cx<'_>, a: &mut Arguments) {
    let known = [
        ("Direction::Forward", rt::Direction::Forward),
        ("Direction::Backward", rt::Direction::Backward),
    ];
    rt::cumsum(
        cx,
        a.constant(&known),
        a.buf(),
        a.buf(),
        a.size(),
        a.size(),
        a.size(),
    );
}

fn softmax_kind(a: &mut Arguments) -> rt::Softmax {
    a.constant(&[
        ("Softmax::Probabilities", rt::Softmax::Probabilities),
        ("Softmax::Logarithms", rt::Softmax::Logarithms),
    ])
}

fn matmul(cx: &mut Cx<'_>, a: &mut Arguments) {
    /// A call that is not inlined, so that the packing buffers of all ranks do not lie on the stack together.
    #[inline(never)]
    fn of_rank<const R: usize>(
        cx: &mut Cx<'_>,
        a: &AnyView,
        b: &AnyView,
        y: rt::Buf,
        epilogue: rt::Epilogue,
    ) {
        rt::matmul::<R>(cx, a.ranked(), b.ranked::<R>(), y, epilogue);
    }
    let (left, right) = (a.view(), a.factor());
    let (y, epilogue) = (a.buf(), a.epilogue());
    let right = match right {
        Factor::Matrix(right) => return rt::matmul(cx, left.ranked::<2>(), right, y, epilogue),
        Factor::View(right) => right,
    };
    ranked!(left.shape.len(), R => of_rank::<R>(cx, &left, &right, y, epilogue));
}

fn reduce(cx: &mut Cx<'_>, a: &mut Arguments) {
    let kind = a.constant(&[
        ("Reduction::Sum", rt::Reduction::Sum),
        ("Reduction::Max", rt::Reduction::Max),
        ("Reduction::Min", rt::Reduction::Min),
        ("Reduction::Prod", rt::Reduction::Prod),
    ]);
    let (x, y, shape, axes) = (a.buf(), a.buf(), a.sizes(), a.sizes());
    ranked!(shape.len(), R => ranked!(axes.len(), A => {
        rt::reduce::<R, A>(cx, kind, x, y, array(&shape), array(&axes));
    }));
}

fn pad(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, y) = (a.buf(), a.buf());
    let [from, to, starts, steps] = [a.sizes(), a.sizes(), a.sizes(), a.sizes()];
    let value = a.scalar();
    ranked!(from.len(), R => {
        rt::pad::<R>(cx, x, y, array(&from), array(&to), array(&starts), array(&steps), value);
    });
}

fn layer_norm(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, weight, bias, y) = (a.buf(), a.optional(), a.optional(), a.buf());
    rt::layer_norm(
        cx,
        x,
        weight,
        bias,
        y,
        a.optional(),
        a.buf(),
        a.size(),
        a.scalar(),
    );
}

fn layer_norm_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, weight, mean, rstd, g) = (a.buf(), a.optional(), a.optional(), a.buf(), a.buf());
    let (dx, dweight, dbias, partials) = (a.buf(), a.optional(), a.optional(), a.optional());
    rt::layer_norm_grad(
        cx,
        x,
        weight,
        mean,
        rstd,
        g,
        dx,
        dweight,
        dbias,
        partials,
        a.size(),
    );
}

fn channels(a: &mut Arguments) -> rt::Channels {
    let mut f = a.fields("Channels", &["outer", "count", "inner"]);
    rt::Channels {
        outer: f.size(),
        count: f.size(),
        inner: f.size(),
    }
}

fn batch_norm(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, weight, bias, y) = (a.buf(), a.optional(), a.optional(), a.buf());
    let (mean, var, rstd, factors) = (a.buf(), a.buf(), a.buf(), a.buf());
    rt::batch_norm(
        cx,
        x,
        weight,
        bias,
        y,
        mean,
        var,
        rstd,
        factors,
        channels(a),
        a.scalar(),
    );
}

fn batch_norm_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, weight, mean, rstd, g) = (a.buf(), a.optional(), a.buf(), a.buf(), a.buf());
    let (dx, dweight, dbias, factors) = (a.buf(), a.buf(), a.buf(), a.buf());
    rt::batch_norm_grad(
        cx,
        x,
        weight,
        mean,
        rstd,
        g,
        dx,
        dweight,
        dbias,
        factors,
        channels(a),
    );
}

fn cross_entropy(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (scores, labels, weight) = (a.buf(), a.buf(), a.optional());
    let (losses, loss, lse, divisor) = (a.buf(), a.optional(), a.buf(), a.buf());
    rt::cross_entropy(
        cx,
        scores,
        labels,
        weight,
        losses,
        loss,
        lse,
        divisor,
        cross_entropy_spec(a),
    );
}

fn cross_entropy_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (scores, labels, weight) = (a.buf(), a.buf(), a.optional());
    let (lse, divisor, g, dx) = (a.buf(), a.buf(), a.buf(), a.buf());
    rt::cross_entropy_grad(
        cx,
        scores,
        labels,
        weight,
        lse,
        divisor,
        g,
        dx,
        cross_entropy_spec(a),
    );
}

const REDUCTIONS: &[(&str, rt::LossReduction)] = &[
    ("LossReduction::Mean", rt::LossReduction::Mean),
    ("LossReduction::Sum", rt::LossReduction::Sum),
    ("LossReduction::None", rt::LossReduction::None),
];

fn ctc(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, targets, frames, lengths) = (a.buf(), a.buf(), a.buf(), a.buf());
    let (losses, loss, scratch) = (a.buf(), a.optional(), a.buf());
    rt::ctc(
        cx,
        x,
        targets,
        frames,
        lengths,
        losses,
        loss,
        scratch,
        ctc_spec(a),
    );
}

fn ctc_grad(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, targets, frames, lengths) = (a.buf(), a.buf(), a.buf(), a.buf());
    let (g, dx, scratch) = (a.buf(), a.buf(), a.buf());
    rt::ctc_grad(cx, x, targets, frames, lengths, g, dx, scratch, ctc_spec(a));
}

fn ctc_curvature(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, targets, frames, lengths) = (a.buf(), a.buf(), a.buf(), a.buf());
    let (g, direction, dx, scratch) = (a.buf(), a.buf(), a.buf(), a.buf());
    rt::ctc_curvature(
        cx,
        x,
        targets,
        frames,
        lengths,
        g,
        direction,
        dx,
        scratch,
        ctc_spec(a),
    );
}

fn ctc_spec(a: &mut Arguments) -> rt::Ctc {
    let order = [
        "batch",
        "frames",
        "classes",
        "labels",
        "blank",
        "impossible",
        "reduction",
    ];
    let mut f = a.fields("Ctc", &order);
    rt::Ctc {
        batch: f.size(),
        frames: f.size(),
        classes: f.size(),
        labels: f.size(),
        blank: f.size(),
        impossible: f.constant(&[
            ("Impossible::Infinite", rt::Impossible::Infinite),
            ("Impossible::Zero", rt::Impossible::Zero),
        ]),
        reduction: f.constant(REDUCTIONS),
    }
}

fn cross_entropy_spec(a: &mut Arguments) -> rt::CrossEntropy {
    let order = [
        "outer",
        "classes",
        "inner",
        "smoothing",
        "ignore_index",
        "scores",
        "reduction",
    ];
    let mut f = a.fields("CrossEntropy", &order);
    rt::CrossEntropy {
        outer: f.size(),
        classes: f.size(),
        inner: f.size(),
        smoothing: f.scalar(),
        ignore_index: f.scalar(),
        scores: f.constant(&[
            ("Scores::Logits", rt::Scores::Logits),
            ("Scores::LogProbabilities", rt::Scores::LogProbabilities),
        ]),
        reduction: f.constant(REDUCTIONS),
    }
}

/// One kernel of a plan and where its numbers come from.
pub(super) struct Site<'a> {
    pub(super) plan: &'a Plan,
    pub(super) world: &'a World,
    pub(super) machine: &'a Names<'a>,
    pub(super) k: usize,
}

/// Runs a call.
pub(super) fn call(cx: &mut Cx<'_>, site: &Site<'_>, call: &Call, epilogue: &Epilogue) {
    let name = call.function;
    let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
        panic!("`rt::{name}` has no entry in oracle/execute/call.rs");
    };
    let arguments = call
        .args
        .iter()
        .map(|arg| site.argument(cx, arg, epilogue))
        .collect();
    let mut arguments = Arguments::new(arguments);
    function(cx, &mut arguments);
    arguments.finish(name);
}

/// Packs factors.
pub(super) fn pack(cx: &mut Cx<'_>, site: &Site<'_>, pack: &Pack) {
    let (to, lasts) = (site.out(cx, 0), lasts(pack));
    match &pack.packing.form {
        PackForm::Factor(order) => {
            let (from, rows) = (site.view(cx, 0), site.world.size(&pack.packing.rows));
            let runs = match order {
                Rows::InOrder => 1,
                Rows::Interleaved(runs) => site.world.size(runs),
            };
            ranked!(from.shape.len(), R => {
                rt::pack(cx, from.ranked::<R>().interleaved(runs), to, rows, lasts);
            });
        }
        PackForm::Window(spec) => {
            let spec = site.argument(cx, spec, &Epilogue::default());
            let spec = images::conv_spec(&mut Arguments::new(vec![spec]));
            rt::pack_window(cx, site.buffer(cx, 0), to, spec, lasts);
        }
    }
}

/// For how long factors are packed, as the runtime names it.
pub(super) fn lasts(pack: &Pack) -> rt::Lasts {
    match pack.lasts {
        Lasts::Loop => rt::Lasts::Loop,
        Lasts::Calls => rt::Lasts::Calls,
    }
}

/// Lays a strided operand out row-major.
pub(super) fn copy(cx: &mut Cx<'_>, site: &Site<'_>) {
    let (from, to) = (site.view(cx, 0), site.out(cx, 0));
    ranked!(from.shape.len(), R => rt::copy(cx, from.ranked::<R>(), to));
}

impl Site<'_> {
    fn argument(&self, cx: &Cx<'_>, arg: &CallArg, epilogue: &Epilogue) -> Argument {
        match arg {
            CallArg::In(k) => Argument::Buf(self.buffer(cx, *k)),
            CallArg::Ins(all) => Argument::Bufs(all.iter().map(|k| self.buffer(cx, *k)).collect()),
            CallArg::InView(k) => Argument::View(self.view(cx, *k)),
            CallArg::Interleaved(k, runs) => Argument::Interleaved(self.view(cx, *k), self.world.size(runs)),
            CallArg::Packable(..) => unreachable!("fusion decides what is packed"),
            CallArg::Packed(input) => {
                let plain = self.argument(cx, &input.form.plain(input.input), epilogue);
                let packed = self.plan.kernels[self.k].reads[input.packed].value;
                let packed = self.machine.stored(cx, self.plan, packed);
                Argument::Packed(Box::new(plain), packed, self.world.size(&input.index))
            }
            CallArg::Out(k) => Argument::Buf(self.out(cx, *k)),
            CallArg::Scratch(k) => {
                let (dtype, len) = &self.plan.kernels[self.k].scratch[*k];
                let place = crate::plan::Place::Slot(self.plan.scratch[self.k][*k]);
                Argument::Buf(self.machine.buffer(cx, place, *dtype, self.world.size(len)))
            }
            CallArg::Size(dim) => Argument::Size(self.world.size(dim)),
            CallArg::Sizes(dims) => Argument::Sizes(self.world.shape(dims)),
            CallArg::Scalar(scalar) => Argument::Scalar(self.world.scalar(scalar)),
            CallArg::Constant(path) => Argument::Constant(path),
            CallArg::Struct(name, fields) => {
                let field = |(name, arg): &(&'static str, CallArg)| (*name, self.argument(cx, arg, epilogue));
                Argument::Struct(name, fields.iter().map(field).collect())
            }
            CallArg::Present(arg) => Argument::Present(Box::new(self.argument(cx, arg, epilogue))),
            CallArg::Absent => Argument::Absent,
            CallArg::Stream(key) => {
                let steps = self.world.steps.iter();
                Argument::Stream(steps.fold(*key, |key, &step| rt::step_stream(key, step)))
            }
            CallArg::Epilogue { .. } => Argument::Epilogue(rt::Epilogue {
                bias: epilogue.bias.map(|k| self.buffer(cx, k)),
                residual: epilogue.residual.map(|k| self.buffer(cx, k)),
                activation: activation(epilogue.activation),
            }),
        }
    }

    /// A contiguous operand: its whole buffer, or a part of it.
    fn buffer(&self, cx: &Cx<'_>, k: usize) -> rt::Buf {
        let operand = &self.plan.kernels[self.k].reads[k];
        assert!(operand.layout.is_contiguous(), "operand {k} of a call is strided");
        let len = self.world.shape(&operand.layout.shape).iter().product();
        let stored = self.machine.stored(cx, self.plan, operand.value);
        stored.at(self.world.offset(&operand.layout.offset), len)
    }

    fn view(&self, cx: &Cx<'_>, k: usize) -> AnyView {
        let operand = &self.plan.kernels[self.k].reads[k];
        let strides = operand
            .layout
            .strides
            .iter()
            .map(|s| self.world.number(s) as isize);
        AnyView {
            buf: self.machine.stored(cx, self.plan, operand.value),
            offset: self.world.offset(&operand.layout.offset),
            shape: self.world.shape(&operand.layout.shape),
            strides: strides.collect(),
        }
    }

    fn out(&self, cx: &Cx<'_>, k: usize) -> rt::Buf {
        let value = self.plan.kernels[self.k].writes[k].value;
        self.machine.stored(cx, self.plan, value)
    }
}

fn activation(name: Option<&str>) -> rt::Activation {
    match name {
        None => rt::Activation::None,
        Some("Relu") => rt::Activation::Relu,
        Some("Tanh") => rt::Activation::Tanh,
        Some("Sigmoid") => rt::Activation::Sigmoid,
        Some(other) => panic!("`rt::Activation::{other}` is not known here"),
    }
}

#[test]
fn activations_of_the_pointwise_table_exist() {
    for row in crate::ops::pointwise::rows().filter(|row| row.activation.is_some()) {
        assert_ne!(activation(row.activation), rt::Activation::None, "`{}`", row.name);
    }
}

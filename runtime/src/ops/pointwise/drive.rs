//! The part of a pointwise call that does not depend on the group: binding, cutting into tasks and tiles, gathering.
//!
//! Nothing here is generic over the group, so that a hundred groups instantiate it no more often than one.

use std::sync::{Mutex, PoisonError};

use super::few;
use super::gather::{Axes, Walk, gather};
use super::{In, Int, LANES, MAX_INPUTS, MAX_OUTPUTS, Source, TILE};
use crate::arena::{Binder, Buf};
use crate::cpu::isa::Isa;
use crate::cx::Cx;
use crate::dtype::{Element, Float};
use crate::program::MAX_RANK;
use crate::real::Real;

/// Elements below which a call stays on the caller's thread, where it does no more than arithmetic: a thread takes longer to wake.
const SERIAL: usize = 1 << 14;

/// Elements a task takes at least, likewise.
const TASK: usize = 1 << 13;

/// How many elements' arithmetic takes as long as one function such as the exponential: both limits fall accordingly.
const FUNCTION: usize = 8;

/// The most tasks of a call, which bounds what it keeps on the stack.
const MAX_TASKS: usize = 64;

/// A call of a group, its type forgotten.
pub(super) struct Problem<'p> {
    pub(super) shape: &'p [usize],
    pub(super) floats: &'p [In],
    pub(super) ints: &'p [In],
    pub(super) bools: &'p [In],
    pub(super) out_floats: &'p [Buf],
    pub(super) out_ints: &'p [Buf],
    pub(super) out_bools: &'p [Buf],
    pub(super) scalars: &'p [f64],
    /// Functions such as the exponential that an element takes.
    pub(super) functions: usize,
    pub(super) bodies: Bodies,
}

/// The loops of a group.
pub(super) enum Bodies {
    /// One for each precision.
    Each {
        f32: Body<f32>,
        #[cfg(feature = "f64")]
        f64: Body<f64>,
    },
    /// One for both: the group neither takes nor gives floats.
    Exact(Body<f32>),
}

/// The group's loop over one tile.
pub(super) type Body<T> = fn(Isa, Tile<'_, T>);

/// Consecutive elements of all inputs and outputs, as blocks of [`LANES`].
pub(super) struct Tile<'t, T> {
    pub(super) blocks: usize,
    pub(super) floats: &'t [&'t [[T; LANES]]],
    pub(super) ints: &'t [&'t [[i64; LANES]]],
    pub(super) bools: &'t [&'t [[u8; LANES]]],
    pub(super) out_floats: &'t mut [&'t mut [[T; LANES]]],
    pub(super) out_ints: &'t mut [&'t mut [[i64; LANES]]],
    pub(super) out_bools: &'t mut [&'t mut [[u8; LANES]]],
    pub(super) scalars: &'t [f64],
}

/// Runs a call in the precision of the context.
pub(super) fn run(cx: &mut Cx<'_>, problem: &Problem<'_>) {
    match (&problem.bodies, cx.env.precision.float()) {
        #[cfg(feature = "f64")]
        (Bodies::Each { f64, .. }, Float::F64) => evaluate(cx, problem, *f64),
        (Bodies::Each { f32, .. }, Float::F32) | (Bodies::Exact(f32), _) => evaluate(cx, problem, *f32),
    }
}

fn evaluate<T: Real + Element>(cx: &mut Cx<'_>, problem: &Problem<'_>, body: Body<T>) {
    let len: usize = problem.shape.iter().product();
    if few::serves(problem, len) {
        few::evaluate(cx, problem, len, body);
    } else {
        many(cx, problem, len, body);
    }
}

/// Evaluates any group.
#[inline(never)]
fn many<T: Real + Element>(cx: &mut Cx<'_>, problem: &Problem<'_>, len: usize, body: Body<T>) {
    let env = cx.env;
    let all = problem.floats.iter().chain(problem.ints).chain(problem.bools);
    let axes = Axes::new(problem.shape, all.filter_map(In::strides));
    let mut bind = cx.bind();
    let mut outs = Parts {
        floats: bind_outs(&mut bind, problem.out_floats, len),
        ints: bind_outs(&mut bind, problem.out_ints, len),
        bools: bind_outs(&mut bind, problem.out_bools, len),
    };
    if len == 0 {
        return;
    }
    let call = Call {
        isa: env.isa,
        body,
        axes,
        scalars: problem.scalars,
        floats: Lanes::bind(&mut bind, problem.floats, &axes, len),
        ints: Lanes::bind(&mut bind, problem.ints, &axes, len),
        bools: Lanes::bind(&mut bind, problem.bools, &axes, len),
    };
    let weight = 1 + FUNCTION * problem.functions;
    if len < (SERIAL / weight).max(1) {
        return call.part(0, len, &mut outs);
    }
    let task = len.div_ceil(MAX_TASKS).max(TASK / weight).next_multiple_of(TILE);
    let parts: [_; MAX_TASKS] = std::array::from_fn(|_| Mutex::new(outs.split_off(task)));
    env.team.run(len.div_ceil(task), &|k| {
        let mut part = parts[k].lock().unwrap_or_else(PoisonError::into_inner);
        call.part(k * task, task.min(len - k * task), &mut part);
    });
}

/// No output. (Making this with a closure is a call for each element in some builds.)
fn no_outs<'t, E>() -> [&'t mut [E]; MAX_OUTPUTS] {
    [
        &mut [],
        &mut [],
        &mut [],
        &mut [],
        &mut [],
        &mut [],
        &mut [],
        &mut [],
    ]
}

fn bind_outs<'b, E: Element>(
    bind: &mut Binder<'b, '_>,
    bufs: &[Buf],
    len: usize,
) -> [&'b mut [E]; MAX_OUTPUTS] {
    let mut outs: [&mut [E]; MAX_OUTPUTS] = no_outs();
    for (out, buf) in outs.iter_mut().zip(bufs) {
        assert_eq!(
            buf.len, len,
            "an output of a group has as many elements as its shape"
        );
        *out = bind.write(*buf);
    }
    outs
}

impl In {
    pub(super) fn strides(&self) -> Option<&[isize; MAX_RANK]> {
        match &self.0 {
            Source::Strided { strides, .. } => Some(strides),
            Source::Dense(_) | Source::InPlace(_) | Source::Number(_) => None,
        }
    }
}

/// An input, bound.
#[derive(Copy, Clone)]
enum Lane<'a, E> {
    Dense(&'a [E]),
    InPlace(usize),
    Number(E),
    Strided(&'a [E], Walk),
}

/// Elements that a number of the host can stand for.
trait Number: Element {
    /// The number as an element: integers cut fractions off, as [`Int`] does; truth values ask whether it is zero.
    fn number(value: f64) -> Self;
}

impl<T: Real + Element> Number for T {
    fn number(value: f64) -> Self {
        T::from_f64(value)
    }
}

impl Number for i64 {
    fn number(value: f64) -> Self {
        Int::from(value).0
    }
}

impl Number for u8 {
    fn number(value: f64) -> Self {
        u8::from(value != 0.0)
    }
}

/// Consecutive elements of every output.
struct Parts<'a, T> {
    floats: [&'a mut [T]; MAX_OUTPUTS],
    ints: [&'a mut [i64]; MAX_OUTPUTS],
    bools: [&'a mut [u8]; MAX_OUTPUTS],
}

impl<'a, T> Parts<'a, T> {
    /// Takes away the first `len` elements, or as many as there are.
    fn split_off(&mut self, len: usize) -> Self {
        Self {
            floats: split_off(&mut self.floats, len),
            ints: split_off(&mut self.ints, len),
            bools: split_off(&mut self.bools, len),
        }
    }
}

fn split_off<'a, E>(slices: &mut [&'a mut [E]; MAX_OUTPUTS], len: usize) -> [&'a mut [E]; MAX_OUTPUTS] {
    slices.each_mut().map(|slice| {
        let len = len.min(slice.len());
        slice.split_off_mut(..len).unwrap_or_default()
    })
}

/// A call with its inputs bound: what every task needs.
struct Call<'c, T> {
    isa: Isa,
    body: Body<T>,
    axes: Axes,
    scalars: &'c [f64],
    floats: Lanes<'c, T>,
    ints: Lanes<'c, i64>,
    bools: Lanes<'c, u8>,
}

/// The inputs of one kind.
struct Lanes<'c, E> {
    all: [Lane<'c, E>; MAX_INPUTS],
    count: usize,
    /// Those that are not read where they lie.
    staged: usize,
}

/// A stretch of the iteration: where it starts in the whole, where in the task's part, and how long it is.
#[derive(Copy, Clone)]
struct Span {
    whole: usize,
    part: usize,
    len: usize,
}

impl<'c, E: Number> Lanes<'c, E> {
    fn bind<'b: 'c>(bind: &mut Binder<'b, '_>, ins: &[In], axes: &Axes, len: usize) -> Self {
        let mut lanes = Self {
            all: [Lane::Dense(&[]); MAX_INPUTS],
            count: ins.len(),
            staged: 0,
        };
        for (lane, input) in lanes.all.iter_mut().zip(ins) {
            *lane = Lane::bind(bind, input, axes, len);
        }
        lanes.staged = lanes
            .used()
            .iter()
            .filter(|lane| !matches!(lane, Lane::Dense(_)))
            .count();
        lanes
    }

    fn used(&self) -> &[Lane<'c, E>] {
        &self.all[..self.count]
    }

    /// The elements of a span: read in place, or copied to a buffer where they do not lie in order.
    #[inline(never)]
    fn stage<'t>(
        &'t self,
        axes: &Axes,
        span: Span,
        outs: &[&mut [E]],
        buffers: &'t mut [[E; TILE]],
    ) -> [&'t [[E; LANES]]; MAX_INPUTS] {
        let mut slices: [&[[E; LANES]]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        let mut free = buffers.iter_mut();
        for (slice, lane) in slices.iter_mut().zip(self.used()) {
            let elements = match lane {
                Lane::Dense(x) => &x[span.whole..span.whole + span.len],
                _ => {
                    let buffer = free.next().expect("there is a buffer for every staged input");
                    let is_constant = match lane {
                        Lane::Number(_) => true,
                        Lane::Strided(_, walk) => walk.repeats(axes),
                        _ => false,
                    };
                    // The later tiles of a part, none of which is longer, find it filled: an input has the same buffer in all of them.
                    if span.part == 0 || !is_constant {
                        lane.copy(axes, span, outs, &mut buffer[..span.len]);
                    }
                    &buffer[..span.len]
                }
            };
            *slice = elements.as_chunks().0;
        }
        slices
    }

    /// Copies the elements of a span shorter than a block.
    #[inline(never)]
    fn copy(&self, axes: &Axes, span: Span, outs: &[&mut [E]], buffers: &mut [[E; LANES]]) {
        for (buffer, lane) in buffers.iter_mut().zip(self.used()) {
            lane.copy(axes, span, outs, &mut buffer[..span.len]);
        }
    }
}

impl<'a, E: Number> Lane<'a, E> {
    /// An input of a call for `len` elements.
    fn bind<'b: 'a>(bind: &mut Binder<'b, '_>, input: &In, axes: &Axes, len: usize) -> Self {
        match &input.0 {
            Source::Dense(buf) => {
                assert!(
                    buf.len == len,
                    "a dense input of a group has as many elements as its shape"
                );
                Lane::Dense(bind.read(*buf))
            }
            Source::InPlace(k) => Lane::InPlace(*k),
            Source::Number(value) => Lane::Number(E::number(*value)),
            Source::Strided { buf, offset, strides } => {
                Lane::Strided(bind.read(*buf), Walk::new(axes, *offset, strides, buf.len))
            }
        }
    }
}

impl<E: Element> Lane<'_, E> {
    fn copy(&self, axes: &Axes, span: Span, outs: &[&mut [E]], to: &mut [E]) {
        match self {
            Lane::Dense(x) => to.copy_from_slice(&x[span.whole..span.whole + span.len]),
            Lane::InPlace(k) => to.copy_from_slice(&outs[*k][span.part..span.part + span.len]),
            Lane::Number(value) => to.fill(*value),
            Lane::Strided(source, walk) => gather(source, walk, axes, span.whole, to),
        }
    }
}

impl<T: Real + Element> Call<'_, T> {
    /// Computes `len` elements from `start` on, which are all that `outs` holds. The stack holds no more buffers than
    /// about as many as are needed, because they are cleared for every task.
    fn part(&self, start: usize, len: usize, outs: &mut Parts<'_, T>) {
        let whole = len / LANES * LANES;
        match self.floats.staged.max(self.ints.staged).max(self.bools.staged) {
            _ if whole == 0 => {}
            0 => self.tiles::<0>(start, whole, outs),
            1..=2 => self.tiles::<2>(start, whole, outs),
            3..=4 => self.tiles::<4>(start, whole, outs),
            _ => self.tiles::<MAX_INPUTS>(start, whole, outs),
        }
        let rest = Span {
            whole: start + whole,
            part: whole,
            len: len - whole,
        };
        match self.floats.count.max(self.ints.count).max(self.bools.count) {
            _ if rest.len == 0 => {}
            0..=2 => self.rest::<2>(rest, outs),
            3..=4 => self.rest::<4>(rest, outs),
            _ => self.rest::<MAX_INPUTS>(rest, outs),
        }
    }

    /// Whole blocks, a tile at a time.
    fn tiles<const N: usize>(&self, start: usize, len: usize, outs: &mut Parts<'_, T>) {
        let mut floats = [[T::ZERO; TILE]; N];
        let mut ints = [[0; TILE]; N];
        let mut bools = [[0; TILE]; N];
        let tile = self.axes.tile;
        for part in (0..len).step_by(tile) {
            let span = Span {
                whole: start + part,
                part,
                len: tile.min(len - part),
            };
            let floats = self.floats.stage(&self.axes, span, &outs.floats, &mut floats);
            let ints = self.ints.stage(&self.axes, span, &outs.ints, &mut ints);
            let bools = self.bools.stage(&self.axes, span, &outs.bools, &mut bools);
            let tile = Tile {
                blocks: span.len / LANES,
                floats: &floats[..self.floats.count],
                ints: &ints[..self.ints.count],
                bools: &bools[..self.bools.count],
                out_floats: &mut blocks_mut(&mut outs.floats, span),
                out_ints: &mut blocks_mut(&mut outs.ints, span),
                out_bools: &mut blocks_mut(&mut outs.bools, span),
                scalars: self.scalars,
            };
            (self.body)(self.isa, tile);
        }
    }

    /// The last elements, fewer than a block: copied into one whose other lanes are computed for nothing.
    fn rest<const N: usize>(&self, span: Span, outs: &mut Parts<'_, T>) {
        let mut floats = [[T::ZERO; LANES]; N];
        let mut ints = [[0; LANES]; N];
        let mut bools = [[0; LANES]; N];
        self.floats.copy(&self.axes, span, &outs.floats, &mut floats);
        self.ints.copy(&self.axes, span, &outs.ints, &mut ints);
        self.bools.copy(&self.axes, span, &outs.bools, &mut bools);
        let mut ys = [[T::ZERO; LANES]; MAX_OUTPUTS];
        let mut ns = [[0; LANES]; MAX_OUTPUTS];
        let mut bs = [[0; LANES]; MAX_OUTPUTS];
        let tile = Tile {
            blocks: 1,
            floats: &one_block(&floats)[..self.floats.count],
            ints: &one_block(&ints)[..self.ints.count],
            bools: &one_block(&bools)[..self.bools.count],
            out_floats: &mut each_block(&mut ys),
            out_ints: &mut each_block(&mut ns),
            out_bools: &mut each_block(&mut bs),
            scalars: self.scalars,
        };
        (self.body)(self.isa, tile);
        store(&mut outs.floats, &ys, span);
        store(&mut outs.ints, &ns, span);
        store(&mut outs.bools, &bs, span);
    }
}

fn blocks_mut<'t, E>(
    outs: &'t mut [&mut [E]; MAX_OUTPUTS],
    span: Span,
) -> [&'t mut [[E; LANES]]; MAX_OUTPUTS] {
    let mut blocks = no_outs();
    for (j, out) in outs.iter_mut().enumerate() {
        if let Some(elements) = out.get_mut(span.part..span.part + span.len) {
            blocks[j] = elements.as_chunks_mut().0;
        }
    }
    blocks
}

fn each_block<E>(blocks: &mut [[E; LANES]; MAX_OUTPUTS]) -> [&mut [[E; LANES]]; MAX_OUTPUTS] {
    let mut slices = no_outs();
    for (j, block) in blocks.iter_mut().enumerate() {
        slices[j] = std::slice::from_mut(block);
    }
    slices
}

fn one_block<E, const N: usize>(buffers: &[[E; LANES]; N]) -> [&[[E; LANES]]; MAX_INPUTS] {
    let mut slices: [&[[E; LANES]]; MAX_INPUTS] = [&[]; MAX_INPUTS];
    slices
        .iter_mut()
        .zip(buffers)
        .for_each(|(slice, buffer)| *slice = std::slice::from_ref(buffer));
    slices
}

fn store<E: Element>(outs: &mut [&mut [E]], blocks: &[[E; LANES]], span: Span) {
    for (out, block) in outs.iter_mut().zip(blocks).filter(|(out, _)| !out.is_empty()) {
        out[span.part..span.part + span.len].copy_from_slice(&block[..span.len]);
    }
}

//! Calls of networks so small that calling a kernel takes longer than what it computes.
//!
//! For such a function the compiler emits, beside the ordinary sweeps, a call [`InOnePiece`]: the same kernels in the same order, but as
//! code that is inlined into one function, compiled for each instruction set where the model is. The instruction set is asked for once,
//! sizes that the compiler knows are constants there, and where a buffer lies is found out once for both sweeps. Sizes and precision
//! alone decide which of the two runs; the bits are those of the ordinary kernels: products as in [`gemm::is_few`], the same scalar code
//! of groups, sums in the same order.
//!
//! Everything here is `#[inline(always)]`, as the rules of [`Kernel`](crate::cpu::isa::Kernel) ask for.
//!
//! Not here: kernels of other kinds, which a sweep calls as any other does; and the choice of what is small, which is the compiler's.

#![expect(
    clippy::manual_memcpy,
    reason = "adaptors, and copies of any length, are calls in some profiles"
)]

mod places;

use std::marker::PhantomData;

use crate::arena::{Buf, Place};
use crate::call::Call;
use crate::cpu::gemm::{self, Arithmetic, Ending, Few, Lanes, Matrix, OnVectors, Operands, SmallProduct};
use crate::cpu::isa::Isa;
use crate::cx::Cx;
use crate::dtype::{Dtype, Precision, stored};
use crate::ops::epilogue::Epilogue;
use crate::ops::pointwise::Pointwise;
use crate::ops::reduce::{self, Sum};
use crate::ops::view::View;

pub use crate::cpu::gemm::{Lanes as Vectors, SmallProduct as Number, is_deep, is_few};
pub use places::{Local, Places, Room};

/// A call in one piece: the forward sweep, and the way back where there is one.
pub trait InOnePiece {
    /// The number of dynamic sizes.
    const N_DIMS: usize;

    /// Memory for its slots where all dynamic sizes are 1.
    type Room: Local;

    /// Whether all that is computed is small at the sizes of a call.
    fn fits<T: SmallProduct, L: Lanes<T>, const ONE: bool>(cx: &mut Cx<'_>, on: On<T, L, ONE>) -> bool;

    /// Computes everything; with `ONE`, all dynamic sizes are 1. Gives the loss, where the call has one, and `None` where something went
    /// wrong.
    fn run<T: SmallProduct, L: Lanes<T>, const ONE: bool>(cx: &mut Cx<'_>, on: On<T, L, ONE>) -> Option<f64>;
}

/// A function that runs a call in one piece, where it is small, and gives what [`InOnePiece::run`] does. `None` says that it was not done:
/// the ordinary sweeps do it, and find what is wrong, if anything is.
pub type Whole = fn(&mut Call<'_>) -> Option<f64>;

/// Whether products on these instructions and in this precision are those of [`InOnePiece`]: whatever rounds operands packs them.
pub(crate) fn serves(precision: Precision, isa: Isa) -> bool {
    Arithmetic::new(precision, isa).operands() == Operands::Exact
}

/// The [`Whole`] of a call.
#[inline(never)]
pub fn call<S: InOnePiece>(call: &mut Call<'_>) -> Option<f64> {
    let isa = call.core().device().isa();
    stored!(call.core().precision(), T => T::on_vectors(isa, Run::<'_, '_, S> { call, piece: PhantomData }))
}

struct Run<'r, 'c, S> {
    call: &'r mut Call<'c>,
    piece: PhantomData<S>,
}

impl<T: SmallProduct, S: InOnePiece> OnVectors<T> for Run<'_, '_, S> {
    type Output = Option<f64>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Option<f64> {
        // Made here, where everything that reads it is inlined: what nobody reads is not even loaded.
        let mut failure = None;
        let mut room = S::Room::new();
        let mut cx = self.call.context(&mut failure, room.region());
        let numbers = PhantomData;
        // One sample at a time is what is left of a small network's time where a batch has none: compiled apart, every loop over the
        // batch is gone. Not for vectors that nobody's time depends on.
        if L::ARE_FAST && (S::N_DIMS == 0 || all_ones::<S>(cx.sizes.dims)) {
            piece::<T, L, S, true>(&mut cx, On { lanes, numbers })
        } else {
            piece::<T, L, S, false>(&mut cx, On { lanes, numbers })
        }
    }
}

#[inline(always)]
fn piece<T: SmallProduct, L: Lanes<T>, S: InOnePiece, const ONE: bool>(
    cx: &mut Cx<'_>,
    on: On<T, L, ONE>,
) -> Option<f64> {
    if S::fits(cx, on) { S::run(cx, on) } else { None }
}

#[inline(always)]
fn all_ones<S: InOnePiece>(dims: &[usize]) -> bool {
    let mut all = dims.len() == S::N_DIMS;
    let mut k = 0;
    while k < S::N_DIMS {
        all = all && dims[k] == 1;
        k += 1;
    }
    all
}

/// Numbers and vectors that a sweep computes with, and whether all its dynamic sizes are 1. Its methods are the kernels.
pub struct On<T, L, const ONE: bool> {
    lanes: L,
    numbers: PhantomData<T>,
}

impl<T, L: Copy, const ONE: bool> Copy for On<T, L, ONE> {}

impl<T, L: Copy, const ONE: bool> Clone for On<T, L, ONE> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

/// Where an input of a group is read.
#[derive(Copy, Clone, Debug)]
pub enum In {
    /// A buffer with as many elements as there are results.
    Dense(Buf),
    /// What an output holds before.
    InPlace(usize),
}

/// Whether `rows x cols` numbers are so few that their sums are computed at once.
#[inline]
pub fn is_short([rows, cols]: [usize; 2]) -> bool {
    rows.saturating_mul(cols) < reduce::TASK
}

/// Room for any second factor of a small product.
const LARGEST_ROOM: usize = gemm::FACTOR;

/// Inputs and outputs of a group that is computed here, at most.
const MAX_OUTS: usize = 2;

/// A buffer that may be missing: none of its elements, if it is.
#[inline(always)]
fn present<T>(buf: Option<Buf>) -> Buf {
    match buf {
        Some(buf) => buf,
        None => Buf {
            place: Place::Param,
            offset: 0,
            len: 0,
            width: size_of::<T>(),
        },
    }
}

/// A row-major matrix.
#[inline(always)]
pub fn rows(buf: Buf, shape: [usize; 2]) -> View<2> {
    View {
        buf,
        offset: 0,
        shape,
        strides: [shape[1] as isize, 1],
    }
}

/// A row-major matrix, transposed: `shape` is that of the buffer.
#[inline(always)]
pub fn turned(buf: Buf, shape: [usize; 2]) -> View<2> {
    View {
        buf,
        offset: 0,
        shape: [shape[1], shape[0]],
        strides: [1, shape[1] as isize],
    }
}

impl<T: SmallProduct, L: Lanes<T>, const ONE: bool> On<T, L, ONE> {
    /// As [`Cx::dim`].
    #[inline(always)]
    pub fn dim(self, cx: &Cx<'_>, index: usize) -> usize {
        if ONE { 1 } else { cx.sizes.dims[index] }
    }

    /// As [`Cx::generic`].
    #[inline(always)]
    pub fn generic(self, cx: &Cx<'_>, index: usize) -> usize {
        cx.sizes.generics[index]
    }

    /// As [`Cx::scalar`].
    #[inline(always)]
    pub fn scalar(self, cx: &Cx<'_>, index: usize) -> f64 {
        cx.scalars[index]
    }

    /// The loss in a buffer of one number, if it is finite and nothing has failed.
    #[inline(always)]
    pub fn loss(self, cx: &mut Cx<'_>, buf: Buf) -> Option<f64> {
        let ([loss], []) = cx.memory.lend::<T, 1, 0>([buf], []);
        let loss = loss[0].to_f64();
        if loss.is_finite() && cx.failure.is_none() {
            Some(loss)
        } else {
            None
        }
    }

    /// A value, if nothing has failed.
    #[inline(always)]
    pub fn done(self, cx: &Cx<'_>, value: f64) -> Option<f64> {
        if cx.failure.is_none() { Some(value) } else { None }
    }

    /// As [`Cx::slot`].
    #[inline(always)]
    pub fn slot<const S: usize, const P: usize>(
        self,
        at: &Places<S, P>,
        index: usize,
        dtype: Dtype,
        len: usize,
    ) -> Buf {
        self.buf(Place::Arena, at.slots[index], dtype, len)
    }

    /// The same for one that nobody reads after the call: where all dynamic sizes are 1, it lies on the stack, from byte `local` on.
    #[inline(always)]
    pub fn local<const S: usize, const P: usize>(
        self,
        at: &Places<S, P>,
        index: usize,
        local: usize,
        dtype: Dtype,
        len: usize,
    ) -> Buf {
        if ONE {
            self.buf(Place::Local, local, dtype, len)
        } else {
            self.slot(at, index, dtype, len)
        }
    }

    /// As [`Cx::param`].
    #[inline(always)]
    pub fn param<const S: usize, const P: usize>(self, at: &Places<S, P>, index: usize, len: usize) -> Buf {
        self.float(Place::Param, at.params[index], len)
    }

    /// As [`Cx::grad`].
    #[inline(always)]
    pub fn grad<const S: usize, const P: usize>(self, at: &Places<S, P>, index: usize, len: usize) -> Buf {
        self.float(Place::Grad, at.params[index], len)
    }

    /// As [`Cx::direction`].
    #[inline(always)]
    pub fn direction<const S: usize, const P: usize>(
        self,
        at: &Places<S, P>,
        index: usize,
        len: usize,
    ) -> Buf {
        self.float(Place::Direction, at.params[index], len)
    }

    /// As [`Cx::state`].
    #[inline(always)]
    pub fn state(self, cx: &Cx<'_>, index: usize, len: usize) -> Buf {
        self.float(Place::State, cx.states[index], len)
    }

    /// As [`Cx::new_state`].
    #[inline(always)]
    pub fn new_state(self, cx: &Cx<'_>, index: usize, len: usize) -> Buf {
        self.float(Place::NewState, cx.states[index], len)
    }

    /// As [`Cx::input`].
    #[inline(always)]
    pub fn input(self, index: u8, dtype: Dtype, len: usize) -> Buf {
        self.buf(Place::Input(index), 0, dtype, len)
    }

    #[inline(always)]
    fn float(self, place: Place, offset: usize, len: usize) -> Buf {
        self.buf(place, offset, Dtype::Float, len)
    }

    /// A buffer whose width is a constant.
    #[inline(always)]
    fn buf(self, place: Place, offset: usize, dtype: Dtype, len: usize) -> Buf {
        Buf {
            place,
            offset,
            len,
            width: dtype.width_beside(size_of::<T>()),
        }
    }

    /// As [`matmul`](crate::ops::matmul::matmul), of matrices that lie dense in rows or columns. The second one is turned into room for
    /// `ROOM` numbers, on the stack, where its rows do not lie dense.
    ///
    /// # Panics
    /// Where there is not enough of it.
    #[inline(always)]
    pub fn matmul<const ROOM: usize>(
        self,
        cx: &mut Cx<'_>,
        a: View<2>,
        b: View<2>,
        y: Buf,
        epilogue: Epilogue,
    ) {
        let more = [epilogue.bias, epilogue.residual];
        let reads = [a.buf, b.buf, present::<T>(more[0]), present::<T>(more[1])];
        let ([a_numbers, b_numbers, bias, residual], [y]) = cx.memory.lend::<T, 4, 1>(reads, [y]);
        let a = Matrix::new(a_numbers, a.offset, a.shape, a.strides);
        let b = Matrix::new(b_numbers, b.offset, b.shape, b.strides);
        let ending = Ending {
            bias: if more[0].is_some() { Some(bias) } else { None },
            residual: if more[1].is_some() { Some(residual) } else { None },
            activation: epilogue.activation,
        };
        let product = Few { a, b, y, ending };
        if const { ROOM == LARGEST_ROOM } {
            product.run(self.lanes);
        } else {
            gemm::compute(self.lanes, product, &mut [T::ZERO; ROOM]);
        }
    }

    /// The same on vectors of half the length, for kernels with no more columns than these have lanes.
    #[inline(always)]
    pub fn half(self) -> On<T, L::Half, ONE> {
        On {
            lanes: self.lanes.half(),
            numbers: PhantomData,
        }
    }

    /// Sums of the columns of `rows x cols` numbers: as [`reduce`](crate::ops::reduce::reduce) over the first axis of two, or over both
    /// where there is one column.
    #[inline(always)]
    pub fn sum(self, cx: &mut Cx<'_>, x: Buf, y: Buf, [rows, cols]: [usize; 2]) {
        let ([x], [y]) = cx.memory.lend::<T, 1, 1>([x], [y]);
        let (x, y) = (&x[..rows * cols], &mut y[..cols]);
        if rows == 1 {
            return sums_of_one(self.lanes, x, y);
        }
        if cols == 1 {
            y[0] = T::from_f64(reduce::fold_run::<T, Sum>(x));
            return;
        }
        sums_of_columns(self.lanes, x, [rows, cols], y);
    }

    /// As [`pointwise`](crate::ops::pointwise::pointwise), of floats that lie as the iteration goes.
    #[inline(always)]
    pub fn pointwise<P, const F: usize, const FO: usize, const S: usize>(
        self,
        cx: &mut Cx<'_>,
        group: P,
        len: usize,
        ins: [In; F],
        outs: [Buf; FO],
        scalars: [f64; S],
    ) where
        P: Pointwise<F, 0, 0, FO, 0, 0, S>,
    {
        const { assert!(FO <= MAX_OUTS, "too many outputs for a small group") };
        let _ = group;
        // What lies in an output is not borrowed a second time.
        let (mut reads, mut of) = ([present::<T>(None); F], [0; F]);
        for j in 0..F {
            match ins[j] {
                In::Dense(buf) => reads[j] = buf,
                In::InPlace(k) => of[j] = 1 + k,
            }
        }
        let (mut from, mut written) = cx.memory.lend::<T, F, FO>(reads, outs);
        let mut to: [&mut [T]; MAX_OUTS] = [&mut [], &mut []];
        for j in 0..FO {
            to[j] = &mut std::mem::take(&mut written[j])[..len];
        }
        for j in 0..F {
            if of[j] == 0 {
                from[j] = &from[j][..len];
            }
        }
        let mut at = 0;
        while at + 16 <= len {
            block::<P, T, 16, F, FO, S>((&from, &of), &mut to, at, &scalars);
            at += 16;
        }
        if at + 8 <= len {
            block::<P, T, 8, F, FO, S>((&from, &of), &mut to, at, &scalars);
            at += 8;
        }
        if at + 4 <= len {
            block::<P, T, 4, F, FO, S>((&from, &of), &mut to, at, &scalars);
            at += 4;
        }
        while at < len {
            block::<P, T, 1, F, FO, S>((&from, &of), &mut to, at, &scalars);
            at += 1;
        }
    }
}

/// Sums of the columns of one row. As every sum, from zero on: a negative zero becomes a positive one. Whole vectors are written as such,
/// since what reads them next would wait for its parts to reach the cache.
#[inline(always)]
fn sums_of_one<T: SmallProduct, L: Lanes<T>>(lanes: L, x: &[T], y: &mut [T]) {
    let (one, zero) = (lanes.splat(T::ONE), lanes.splat(T::ZERO));
    let mut k = 0;
    while k + L::LANES <= x.len() {
        let sums = lanes.mul_add(lanes.load(&x[k..]), one, zero);
        lanes.store(sums, &mut y[k..]);
        k += L::LANES;
    }
    while k < x.len() {
        y[k] = T::ZERO + x[k];
        k += 1;
    }
}

/// Sums of all columns of `rows x cols` numbers.
#[inline(always)]
fn sums_of_columns<T: SmallProduct, L: Lanes<T>>(lanes: L, x: &[T], [rows, cols]: [usize; 2], y: &mut [T]) {
    let mut col = 0;
    while col < cols {
        let width = (cols - col).min(L::LANES);
        let y = &mut y[col..col + width];
        if rows <= reduce::ROWS {
            let sums = sums_of_rows(lanes, x, cols, [0, rows], col);
            if width == L::LANES {
                lanes.store(sums, y);
            } else {
                lanes.store_part(sums, y);
            }
        } else {
            sums_of_blocks(lanes, x, [rows, cols], col, y);
        }
        col += width;
    }
}

/// Sums of the columns from `col` on, as many as a register has, over rows `from..to`.
#[inline(always)]
fn sums_of_rows<T: SmallProduct, L: Lanes<T>>(
    lanes: L,
    x: &[T],
    cols: usize,
    [from, to]: [usize; 2],
    col: usize,
) -> L::Vector {
    let width = (cols - col).min(L::LANES);
    let one = lanes.splat(T::ONE);
    let mut sums = lanes.splat(T::ZERO);
    let mut row = from;
    while row < to {
        let part = &x[row * cols + col..][..width];
        let part = match width == L::LANES {
            true => lanes.load(part),
            false => lanes.load_part(part),
        };
        // Exact: a sum of two.
        sums = lanes.mul_add(part, one, sums);
        row += 1;
    }
    sums
}

/// The same over so many rows that sums of blocks of them are added in f64, as [`reduce`] does.
#[inline(always)]
fn sums_of_blocks<T: SmallProduct, L: Lanes<T>>(
    lanes: L,
    x: &[T],
    [rows, cols]: [usize; 2],
    col: usize,
    y: &mut [T],
) {
    // No set has longer vectors.
    let mut totals = [0.0; 16];
    let mut row = 0;
    while row < rows {
        let end = (row + reduce::ROWS).min(rows);
        let sums = sums_of_rows(lanes, x, cols, [row, end], col);
        let mut numbers = [T::ZERO; 16];
        lanes.store(sums, &mut numbers);
        for k in 0..y.len() {
            totals[k] += numbers[k].to_f64();
        }
        row = end;
    }
    for k in 0..y.len() {
        y[k] = T::from_f64(totals[k]);
    }
}

/// Computes `N` results of a group from element `at` on. An input that is not in `from` is the output before the one of its number.
#[inline(always)]
fn block<P, T: SmallProduct, const N: usize, const F: usize, const FO: usize, const S: usize>(
    (from, of): (&[&[T]; F], &[usize; F]),
    to: &mut [&mut [T]; MAX_OUTS],
    at: usize,
    scalars: &[f64; S],
) where
    P: Pointwise<F, 0, 0, FO, 0, 0, S>,
{
    let mut xs = [[T::ZERO; N]; F];
    for j in 0..F {
        let x = match of[j] {
            0 => &from[j][at..at + N],
            k => &to[k - 1][at..at + N],
        };
        for k in 0..N {
            xs[j][k] = x[k];
        }
    }
    let mut ys = [[T::ZERO; N]; FO];
    for k in 0..N {
        let mut f = [T::ZERO; F];
        for j in 0..F {
            f[j] = xs[j][k];
        }
        let (y, _, _) = P::eval::<T>(f, [], [], scalars);
        for j in 0..FO {
            ys[j][k] = y[j];
        }
    }
    for j in 0..FO {
        let y = &mut to[j][at..at + N];
        for k in 0..N {
            y[k] = ys[j][k];
        }
    }
}

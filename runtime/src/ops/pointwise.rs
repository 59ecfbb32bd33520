//! Fused pointwise groups: one scalar function of several tensors, evaluated for every element.
//!
//! # The emitted form
//!
//! A group is a type with one generic function. The compiler emits it once, however often it is used, and calls
//! [`pointwise`] with the shape that is iterated, the inputs and outputs by kind (floats, integers, truth values), and
//! the host scalars:
//!
//! ```
//! use tapeless_runtime::rt;
//!
//! /// `select(y > 0, g, 0) * s`
//! struct ReluGrad;
//!
//! // Numbers of: float, integer and bool inputs; float, integer and bool outputs; scalars.
//! impl rt::Pointwise<2, 0, 0, 1, 0, 0, 1> for ReluGrad {
//!     #[inline(always)]
//!     fn eval<T: rt::Real>(
//!         f: [T; 2],
//!         _: [rt::Int; 0],
//!         _: [bool; 0],
//!         s: &[f64; 1],
//!     ) -> ([T; 1], [rt::Int; 0], [bool; 0]) {
//!         let [y, g] = f;
//!         let positive = y > T::ZERO;
//!         let passed = T::select(positive, g, T::ZERO);
//!         let scaled = passed * T::from_f64(s[0]);
//!         ([scaled], [], [])
//!     }
//! }
//!
//! /// `y_bar[b, j] = select(y[b, j] > 0, g[j], 0) * scale`, written over `y`.
//! fn backward(cx: &mut rt::Cx<'_>, y: rt::Buf, g: rt::Buf, batch: usize, width: usize, scale: f64) {
//!     rt::pointwise(
//!         cx,
//!         ReluGrad,
//!         [batch, width],
//!         rt::Ins { floats: [rt::In::in_place(0), rt::In::strided(g, 0, [0, 1])], ints: [], bools: [] },
//!         rt::Outs { floats: [y], ints: [], bools: [] },
//!         [scale],
//!     );
//! }
//! # let _ = backward;
//! ```
//!
//! Every operation of the compiler's pointwise table is a method of [`Real`], an operator, or a method of [`Int`].
//! Integers are [`Int`] in a group, so that their arithmetic wraps instead of panicking.
//!
//! # How it runs
//!
//! The iteration space is the flat, row-major index of `shape`; outputs are contiguous. It is walked in tiles of
//! [`TILE`] elements. A dense input is read where it lies; any other is first gathered into a buffer on the stack; so
//! the group's own code, the part that is compiled once for each group, precision and instruction set, is a loop over
//! blocks of [`LANES`] consecutive elements and nothing else. Everything around it is compiled once. Groups of a single
//! operation need no type of their own: they are [`Row`]s, compiled in this crate.
//!
//! # Invariants
//!
//! - Every element is computed by the same instructions wherever it stands, whichever thread takes it.
//! - An output is never an input at the same time, [`In::in_place`] excepted, which reads element `i` of an output before
//!   element `i` is written.
//!
//! Not here: reductions, and the choice of what is fused.

mod drive;
mod few;
mod gather;
mod int;
mod row;
#[cfg(test)]
mod tests;

use crate::arena::Buf;
use crate::cpu::isa::{Isa, Kernel};
use crate::cx::Cx;
use crate::dtype::Element;
use crate::program::MAX_RANK;
use crate::real::Real;

use drive::{Bodies, Problem, Tile};
pub use int::Int;
pub use row::{Row, row};

/// The most inputs of one kind that a group may have.
pub const MAX_INPUTS: usize = 16;

/// The most outputs of one kind that a group may have.
pub const MAX_OUTPUTS: usize = 8;

/// Elements that the inner loop of a group computes at a time: four of the widest vectors of `f32`.
const LANES: usize = 64;

/// Elements of a block that are computed at a time: the widest vector of `f32`.
///
/// A group's code is a single vector long: four in a row would hide no more latency, since the CPU looks ahead further than that, and
/// their results would not stay in registers where a group has many.
const VECTOR: usize = 16;

/// Elements that are gathered at a time.
const TILE: usize = 512;

/// A fused group: a function of `F` floats, `I` integers, `B` truth values and `S` host scalars, with `FO` floats, `IO`
/// integers and `BO` truth values as results.
///
/// `eval` must be `#[inline(always)]`, or it is compiled without the instruction set that was chosen.
pub trait Pointwise<
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
>
{
    /// How many functions such as the exponential it computes for an element: what decides for how many elements other threads
    /// are asked for help.
    const FUNCTIONS: usize = 0;

    /// The results at one element. Host scalars are in `f64`, to be converted (`T::from_f64(s[0])`) where they are used.
    fn eval<T: Real>(
        floats: [T; F],
        ints: [Int; I],
        bools: [bool; B],
        scalars: &[f64; S],
    ) -> ([T; FO], [Int; IO], [bool; BO]);
}

/// Where an input of a group is read.
#[derive(Copy, Clone, Debug)]
pub struct In(Source);

#[derive(Copy, Clone, Debug)]
enum Source {
    Dense(Buf),
    InPlace(usize),
    Number(f64),
    Strided {
        buf: Buf,
        offset: usize,
        strides: [isize; MAX_RANK],
    },
}

impl In {
    /// A buffer with the elements of the iterated shape, in row-major order.
    pub fn dense(buf: Buf) -> Self {
        Self(Source::Dense(buf))
    }

    /// What output number `k` of the same kind holds before the call: the output replaces this input.
    pub fn in_place(k: usize) -> Self {
        Self(Source::InPlace(k))
    }

    /// A number in the place of a tensor, the same for every element: converted to the kind of the input.
    pub fn number(value: f64) -> Self {
        Self(Source::Number(value))
    }

    /// Element `offset + sum(i[k] * strides[k])` of a buffer for element `i` of the iterated shape. Strides are counted in
    /// elements: zero along broadcast axes, negative along flipped ones.
    pub fn strided<const R: usize>(buf: Buf, offset: usize, strides: [isize; R]) -> Self {
        let mut padded = [0; MAX_RANK];
        padded[..R].copy_from_slice(&strides);
        Self(Source::Strided {
            buf,
            offset,
            strides: padded,
        })
    }
}

/// The inputs of a group, by kind.
pub struct Ins<const F: usize, const I: usize, const B: usize> {
    /// Float tensors.
    pub floats: [In; F],
    /// Integer tensors.
    pub ints: [In; I],
    /// Tensors of truth values.
    pub bools: [In; B],
}

/// The outputs of a group, by kind: contiguous buffers of the iterated shape.
pub struct Outs<const F: usize, const I: usize, const B: usize> {
    /// Float tensors.
    pub floats: [Buf; F],
    /// Integer tensors.
    pub ints: [Buf; I],
    /// Tensors of truth values.
    pub bools: [Buf; B],
}

/// Evaluates a group for every element of `shape`.
///
/// # Panics
/// Where an output has another number of elements than `shape`, or a strided input reaches outside its buffer: mistakes of
/// the compiler.
pub fn pointwise<
    P,
    const R: usize,
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
>(
    cx: &mut Cx<'_>,
    _group: P,
    shape: [usize; R],
    ins: Ins<F, I, B>,
    outs: Outs<FO, IO, BO>,
    scalars: [f64; S],
) where
    P: Pointwise<F, I, B, FO, IO, BO, S>,
{
    const {
        assert!(
            F <= MAX_INPUTS && I <= MAX_INPUTS && B <= MAX_INPUTS,
            "too many inputs for one group"
        )
    };
    const {
        assert!(
            FO <= MAX_OUTPUTS && IO <= MAX_OUTPUTS && BO <= MAX_OUTPUTS,
            "too many outputs for one group"
        )
    };
    const { assert!(R <= MAX_RANK, "too many axes") };
    let problem = Problem {
        shape: &shape,
        floats: &ins.floats,
        ints: &ins.ints,
        bools: &ins.bools,
        out_floats: &outs.floats,
        out_ints: &outs.ints,
        out_bools: &outs.bools,
        scalars: &scalars,
        functions: P::FUNCTIONS,
        bodies: Bodies::Each {
            f32: single::<P, F, I, B, FO, IO, BO, S>,
            #[cfg(feature = "f64")]
            f64: portable::<P, f64, F, I, B, FO, IO, BO, S>,
        },
    };
    drive::run(cx, &problem);
}

/// The loop over a tile in f32, compiled for every instruction set.
fn single<
    P,
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
>(
    isa: Isa,
    tile: Tile<'_, f32>,
) where
    P: Pointwise<F, I, B, FO, IO, BO, S>,
{
    isa.run(Group::<'_, P, f32, F, I, B, FO, IO, BO, S>::new(tile));
}

/// The loop over a tile, compiled once: for f64, which exists for checks, and for what needs no vectors of floats.
fn portable<
    P,
    T,
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
>(
    _: Isa,
    tile: Tile<'_, T>,
) where
    P: Pointwise<F, I, B, FO, IO, BO, S>,
    T: Real + Element,
{
    Group::<'_, P, T, F, I, B, FO, IO, BO, S>::new(tile).run();
}

/// A tile whose numbers of inputs and outputs are known.
struct Group<
    'a,
    P,
    T,
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
> {
    tile: Tile<'a, T>,
    group: std::marker::PhantomData<P>,
}

impl<
    'a,
    P,
    T,
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
> Group<'a, P, T, F, I, B, FO, IO, BO, S>
{
    #[inline(always)]
    fn new(tile: Tile<'a, T>) -> Self {
        Self {
            tile,
            group: std::marker::PhantomData,
        }
    }
}

impl<
    P,
    T,
    const F: usize,
    const I: usize,
    const B: usize,
    const FO: usize,
    const IO: usize,
    const BO: usize,
    const S: usize,
> Kernel for Group<'_, P, T, F, I, B, FO, IO, BO, S>
where
    P: Pointwise<F, I, B, FO, IO, BO, S>,
    T: Real + Element,
{
    type Output = ();

    /// Results are collected in local arrays of a fixed length: the compiler then knows that they overlap no input and
    /// how many there are, and vectorises without checks and without a second loop for the rest.
    ///
    /// Arrays are filled by `for` loops, not by `array::from_fn`: every closure would be a new instance of some twenty
    /// functions of the standard library, in each group, precision and instruction set.
    #[expect(
        clippy::needless_range_loop,
        clippy::manual_memcpy,
        reason = "every iterator adaptor would be a new instance, too"
    )]
    #[inline(always)]
    fn run(self) {
        let tile = self.tile;
        let scalars: &[f64; S] = tile
            .scalars
            .first_chunk()
            .expect("the call passes as many scalars as the group has");
        let (no_floats, no_ints, no_bools) = ([T::ZERO; LANES], [0; LANES], [0; LANES]);
        for block in 0..tile.blocks {
            // Of a fixed length, since the vectoriser gives up on a long body in which an index is compared; and taken out of the tile
            // block by block, since with all slices at hand it took blocks for lanes, and gathered.
            let mut floats: [&[T; LANES]; F] = [&no_floats; F];
            let mut ints: [&[i64; LANES]; I] = [&no_ints; I];
            let mut bools: [&[u8; LANES]; B] = [&no_bools; B];
            for j in 0..F {
                floats[j] = &tile.floats[j][block];
            }
            for j in 0..I {
                ints[j] = &tile.ints[j][block];
            }
            for j in 0..B {
                bools[j] = &tile.bools[j][block];
            }
            for part in 0..LANES / VECTOR {
                let first = part * VECTOR;
                let mut ys = [[T::ZERO; VECTOR]; FO];
                let mut ns = [[0i64; VECTOR]; IO];
                let mut bs = [[0u8; VECTOR]; BO];
                for k in 0..VECTOR {
                    let (mut f, mut i, mut b) = ([T::ZERO; F], [Int(0); I], [false; B]);
                    for j in 0..F {
                        f[j] = floats[j][first + k];
                    }
                    for j in 0..I {
                        i[j] = Int(ints[j][first + k]);
                    }
                    for j in 0..B {
                        b[j] = bools[j][first + k] != 0;
                    }
                    let (y, n, b) = P::eval::<T>(f, i, b, scalars);
                    for j in 0..FO {
                        ys[j][k] = y[j];
                    }
                    for j in 0..IO {
                        ns[j][k] = n[j].0;
                    }
                    for j in 0..BO {
                        bs[j][k] = u8::from(b[j]);
                    }
                }
                for j in 0..FO {
                    let out = &mut tile.out_floats[j][block];
                    for k in 0..VECTOR {
                        out[first + k] = ys[j][k];
                    }
                }
                for j in 0..IO {
                    let out = &mut tile.out_ints[j][block];
                    for k in 0..VECTOR {
                        out[first + k] = ns[j][k];
                    }
                }
                for j in 0..BO {
                    let out = &mut tile.out_bools[j][block];
                    for k in 0..VECTOR {
                        out[first + k] = bs[j][k];
                    }
                }
            }
        }
    }
}

//! Floats that can be multiplied, and what every product does on each instruction set.

use std::marker::PhantomData;

use super::inner::{InnerProducts, Sides};
use super::lanes::{self, Lanes, Portable, SQUARE};
use super::method::{Arithmetic, Method, Operands};
use super::micro::lines;
use super::strips::PackStrip;
use super::tile::{BlockProduct, MAX_ROWS, Packing, with_rooms};
use super::{Block, Factor, pairs};
use crate::cpu::isa::{self, Isa, Kernel};
use crate::dtype::Element;
use crate::ops::epilogue::Finish;
use crate::real::Real;

/// Whether a product replaces what was there or adds to it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// `c = a b`; the old contents are not read.
    Overwrite,
    /// `c += a b`.
    Accumulate,
}

/// Floats that can be multiplied as matrices.
pub trait Product: Real + Element {
    /// `c = a b` or `c += a b`; the sizes fit together.
    fn product(
        method: Method,
        a: Factor<'_, Self>,
        b: Factor<'_, Self>,
        c: &mut Block<'_, Self>,
        start: Start,
    );

    /// Elements of a register of an instruction set.
    fn lanes(isa: Isa) -> usize;

    /// Rows of the largest tile of an instruction set: of a product with so many rows, or fewer, the second factor is read where it lies.
    fn rows(isa: Isa) -> usize;

    /// Packs columns `cols` of a second factor as one strip for products by a method: see [`strips`](super::strips).
    fn pack_strip(method: Method, b: Factor<'_, Self>, cols: std::ops::Range<usize>, out: &mut [Self]);

    /// Rounds numbers to bf16, where that is what a precision may ask for.
    fn round_operands(numbers: &mut [Self]);

    /// Rows become columns.
    fn transpose(rows: [&[Self; SQUARE]; SQUARE]) -> [[Self; SQUARE]; SQUARE];

    /// Applies an epilogue to a block whose first row is line `line` of the result, and whose columns are channels from `first` on.
    fn finish_columns(
        isa: Isa,
        c: &mut Block<'_, Self>,
        finish: Finish<'_, Self>,
        [line, first]: [usize; 2],
    ) {
        let channels = Channels::Columns { line };
        Self::run(
            isa,
            FinishBlock {
                c,
                finish,
                first,
                channels,
            },
        );
    }

    /// Applies an epilogue to a block whose rows are channels from `first` on.
    fn finish_rows(isa: Isa, c: &mut Block<'_, Self>, finish: Finish<'_, Self>, first: usize) {
        let channels = Channels::Rows;
        Self::run(
            isa,
            FinishBlock {
                c,
                finish,
                first,
                channels,
            },
        );
    }
}

macro_rules! products {
    ($($t:ident $transpose:path, $pairs:path, $pack:path, $round:path, $($arch:literal $set:pat => $lanes:expr),*;)*) => {$(
        impl Product for $t {
            fn product(method: Method, a: Factor<'_, $t>, b: Factor<'_, $t>, c: &mut Block<'_, $t>, start: Start) {
                let (isa, operands) = match method {
                    Method::Lanes(isa, operands) => (isa, operands),
                    Method::Inner(isa, operands, short) => {
                        let Some(sides) = Sides::new(short, &a, &b) else {
                            return Self::product(Method::Lanes(isa, operands), a, b, c, start);
                        };
                        return match isa.vectors() {
                            $(#[cfg(target_arch = $arch)]
                            $set => {
                                let lanes = $lanes;
                                lanes.run(InnerProducts { lanes, operands, sides, c, start })
                            })*
                            _ => isa::run_portable(InnerProducts { lanes: Portable, operands, sides, c, start }),
                        };
                    }
                    Method::Pairs(unit, parts) => return $pairs(unit, parts, a, b, c, start),
                };
                let packed = match lines(&a, c.cols(), Self::lanes(isa), operands) {
                    Some(_) => MAX_ROWS,
                    None => c.rows(),
                };
                with_rooms([packed, a.size()[1]], |rooms| match isa.vectors() {
                    $(#[cfg(target_arch = $arch)]
                    $set => {
                        let lanes = $lanes;
                        let product = BlockProduct { lanes, operands, a, b, c, start };
                        lanes.run(Packing { product, rooms })
                    })*
                    _ => {
                        let product = BlockProduct { lanes: Portable, operands, a, b, c, start };
                        isa::run_portable(Packing { product, rooms })
                    }
                });
            }

            fn lanes(isa: Isa) -> usize {
                match isa.vectors() {
                    $(#[cfg(target_arch = $arch)]
                    $set => width::<$t, _>($lanes),)*
                    _ => width::<$t, _>(Portable),
                }
            }

            fn rows(isa: Isa) -> usize {
                match isa.vectors() {
                    $(#[cfg(target_arch = $arch)]
                    $set => height::<$t, _>($lanes),)*
                    _ => height::<$t, _>(Portable),
                }
            }

            fn pack_strip(method: Method, b: Factor<'_, $t>, cols: std::ops::Range<usize>, out: &mut [$t]) {
                let (isa, operands) = match method {
                    Method::Lanes(isa, operands) | Method::Inner(isa, operands, _) => (isa, operands),
                    Method::Pairs(unit, parts) => return $pack(unit, parts, b, cols, out),
                };
                match isa.vectors() {
                    $(#[cfg(target_arch = $arch)]
                    $set => {
                        let lanes = $lanes;
                        lanes.run(PackStrip { lanes: of(lanes), operands, b, cols, out })
                    })*
                    _ => isa::run_portable(PackStrip { lanes: of(Portable), operands, b, cols, out }),
                }
            }

            #[inline(always)]
            fn transpose(rows: [&[$t; SQUARE]; SQUARE]) -> [[$t; SQUARE]; SQUARE] {
                $transpose(rows)
            }

            #[inline(always)]
            fn round_operands(numbers: &mut [$t]) {
                $round(numbers)
            }
        }
    )*};
}
products! {
    f32 lanes::transpose, pairs::product, pairs::pack_strip, pairs::round, "x86_64" Isa::Avx512(lanes) => lanes, "x86_64" Isa::Avx2(lanes) => lanes, "aarch64" Isa::Neon(lanes) => lanes;
}
/// Elements of a register.
fn width<T, L: Lanes<T>>(_: L) -> usize {
    L::LANES
}

/// Rows of the largest tile.
fn height<T, L: Lanes<T>>(_: L) -> usize {
    L::ROWS
}

/// The set of a proof, without the proof.
fn of<L>(_: L) -> PhantomData<L> {
    PhantomData
}

// Products are the part of a gradient check that takes long, so that f64 has one instruction set of vectors.
#[cfg(feature = "f64")]
products! {
    f64 lanes::transpose_any, in_full, pack_in_full, keep, "x86_64" Isa::Avx512(lanes) => lanes.avx2(), "x86_64" Isa::Avx2(lanes) => lanes, "aarch64" Isa::Neon(lanes) => lanes;
}

/// Products of `f64` are computed in full: kernels that know only an instruction set may choose units of `f32` for them.
#[cfg(feature = "f64")]
fn in_full(
    unit: super::Unit,
    _: super::Parts,
    a: Factor<'_, f64>,
    b: Factor<'_, f64>,
    c: &mut Block<'_, f64>,
    start: Start,
) {
    f64::product(Method::Lanes(unit.vectors(), Operands::Exact), a, b, c, start);
}

/// Strips for the same.
#[cfg(feature = "f64")]
fn pack_in_full(
    unit: super::Unit,
    _: super::Parts,
    b: Factor<'_, f64>,
    cols: std::ops::Range<usize>,
    out: &mut [f64],
) {
    f64::pack_strip(Method::Lanes(unit.vectors(), Operands::Exact), b, cols, out);
}

/// Rounds nothing: bf16 is a precision of `f32` models.
#[cfg(feature = "f64")]
#[inline(always)]
fn keep(_: &mut [f64]) {}

/// Does to the operands of a product what an arithmetic asks for where a kernel computes the product itself, on vectors.
pub fn prepare<T: Product>(arithmetic: Arithmetic, numbers: &mut [T]) {
    match arithmetic.operands() {
        Operands::Exact => (),
        Operands::Rounded => T::run(arithmetic.isa(), Rounding(numbers)),
    }
}

struct Rounding<'a, T>(&'a mut [T]);

impl<T: Product> Kernel for Rounding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        T::round_operands(self.0);
    }
}

struct FinishBlock<'c, 'a, 'f, T> {
    c: &'c mut Block<'a, T>,
    finish: Finish<'f, T>,
    first: usize,
    channels: Channels,
}

/// What the channels of a result are.
enum Channels {
    /// Columns, of rows from this line of the result on.
    Columns {
        line: usize,
    },
    Rows,
}

impl<T: Real> Kernel for FinishBlock<'_, '_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for i in 0..self.c.rows() {
            match self.channels {
                Channels::Columns { line } => {
                    self.finish
                        .along_channels(self.c.row_mut(i), line + i, self.first);
                }
                Channels::Rows => self.finish.within_channel(self.c.row_mut(i), self.first + i),
            }
        }
    }
}

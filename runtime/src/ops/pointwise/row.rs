//! Pointwise operations by themselves: groups of one operation, compiled here once for all models.
//!
//! A traced function runs unfused, operation by operation. Were each of them a group type of the model, a user's crate would
//! compile its own copy for every instruction set; a [`Row`] is a name for a copy that this crate has. Numbers among the
//! operands are inputs as any other ([`In::number`]), so that no operation needs an instance for each place of a number.
//!
//! Not here: groups of several operations, which are compiled where the model is.

use super::drive::{self, Bodies, Problem};
use super::{In, Int, Pointwise, portable, single};
use crate::arena::Buf;
use crate::cx::Cx;
use crate::dtype::Dtype;
use crate::real::Real;

/// The loops of a row, and what it takes and gives.
struct Entry {
    bodies: Bodies,
    /// Numbers of float, integer and bool operands.
    operands: [usize; 3],
    result: Dtype,
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: [$f:tt, $i:tt, $b:tt] -> $kind:ident,
        |$fs:pat_param, $is:pat_param, $bs:pat_param| $y:expr;)*
    ) => {
        /// A pointwise operation of the compiler's table, at one kind of operands: floats where the name says nothing else.
        ///
        /// Each variant's text is its formula; `a`, `b` are its operands in order, `c` a truth value that comes before them.
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Row {
            $($(#[$doc])* $name,)*
        }

        impl Row {
            /// Every row.
            pub const ALL: &[Row] = &[$(Row::$name),*];

            /// Numbers of float, integer and bool operands, and the kind of the result.
            pub fn signature(self) -> ([usize; 3], Dtype) {
                let entry = self.entry();
                (entry.operands, entry.result)
            }

            fn entry(self) -> Entry {
                match self {
                    $(Row::$name => Entry {
                        bodies: rows!(@bodies $name [$f, $i, $b] $kind),
                        operands: [$f, $i, $b],
                        result: Dtype::$kind,
                    },)*
                }
            }
        }

        $(
            struct $name;
            rows!(@group $name [$f, $i, $b] $kind, |$fs, $is, $bs| $y);
        )*
    };
    (@group $name:ident [$f:tt, $i:tt, $b:tt] Float, |$fs:pat_param, $is:pat_param, $bs:pat_param| $y:expr) => {
        impl Pointwise<$f, $i, $b, 1, 0, 0, 0> for $name {
            #[inline(always)]
            fn eval<T: Real>(
                $fs: [T; $f], $is: [Int; $i], $bs: [bool; $b], _: &[f64; 0],
            ) -> ([T; 1], [Int; 0], [bool; 0]) {
                ([$y], [], [])
            }
        }
    };
    (@group $name:ident [$f:tt, $i:tt, $b:tt] Int, |$fs:pat_param, $is:pat_param, $bs:pat_param| $y:expr) => {
        impl Pointwise<$f, $i, $b, 0, 1, 0, 0> for $name {
            #[inline(always)]
            fn eval<T: Real>(
                $fs: [T; $f], $is: [Int; $i], $bs: [bool; $b], _: &[f64; 0],
            ) -> ([T; 0], [Int; 1], [bool; 0]) {
                ([], [$y], [])
            }
        }
    };
    (@group $name:ident [$f:tt, $i:tt, $b:tt] Bool, |$fs:pat_param, $is:pat_param, $bs:pat_param| $y:expr) => {
        impl Pointwise<$f, $i, $b, 0, 0, 1, 0> for $name {
            #[inline(always)]
            fn eval<T: Real>(
                $fs: [T; $f], $is: [Int; $i], $bs: [bool; $b], _: &[f64; 0],
            ) -> ([T; 0], [Int; 0], [bool; 1]) {
                ([], [], [$y])
            }
        }
    };
    // Without floats on one side there is nothing to gain from longer vectors: such a row is compiled for the baseline
    // alone, and without floats on either side once for both precisions.
    (@bodies $name:ident [0, $i:tt, $b:tt] Int) => {
        Bodies::Exact(portable::<$name, f32, 0, $i, $b, 0, 1, 0, 0>)
    };
    (@bodies $name:ident [0, $i:tt, $b:tt] Bool) => {
        Bodies::Exact(portable::<$name, f32, 0, $i, $b, 0, 0, 1, 0>)
    };
    (@bodies $name:ident [0, $i:tt, $b:tt] Float) => {
        Bodies::Each {
            f32: portable::<$name, f32, 0, $i, $b, 1, 0, 0, 0>,
            #[cfg(feature = "f64")]
            f64: portable::<$name, f64, 0, $i, $b, 1, 0, 0, 0>,
        }
    };
    (@bodies $name:ident [$f:tt, $i:tt, $b:tt] Int) => {
        Bodies::Each {
            f32: portable::<$name, f32, $f, $i, $b, 0, 1, 0, 0>,
            #[cfg(feature = "f64")]
            f64: portable::<$name, f64, $f, $i, $b, 0, 1, 0, 0>,
        }
    };
    (@bodies $name:ident [$f:tt, $i:tt, $b:tt] Bool) => {
        Bodies::Each {
            f32: portable::<$name, f32, $f, $i, $b, 0, 0, 1, 0>,
            #[cfg(feature = "f64")]
            f64: portable::<$name, f64, $f, $i, $b, 0, 0, 1, 0>,
        }
    };
    (@bodies $name:ident [$f:tt, $i:tt, $b:tt] Float) => {
        Bodies::Each {
            f32: single::<$name, $f, $i, $b, 1, 0, 0, 0>,
            #[cfg(feature = "f64")]
            f64: portable::<$name, f64, $f, $i, $b, 1, 0, 0, 0>,
        }
    };
}

rows! {
    /// `a + b`.
    Add: [2, 0, 0] -> Float, |[a, b], [], []| a + b;
    /// `a - b`.
    Sub: [2, 0, 0] -> Float, |[a, b], [], []| a - b;
    /// `a b`.
    Mul: [2, 0, 0] -> Float, |[a, b], [], []| a * b;
    /// `a / b`.
    Div: [2, 0, 0] -> Float, |[a, b], [], []| a / b;
    /// `-a`.
    Neg: [1, 0, 0] -> Float, |[a], [], []| -a;
    /// `1 / a`.
    Recip: [1, 0, 0] -> Float, |[a], [], []| a.recip();
    /// `a` to the power `b`.
    Pow: [2, 0, 0] -> Float, |[a, b], [], []| a.pow(b);
    /// `|a|`.
    Abs: [1, 0, 0] -> Float, |[a], [], []| a.abs();
    /// -1, 0 or 1.
    Sign: [1, 0, 0] -> Float, |[a], [], []| a.sign();
    /// The next whole number below.
    Floor: [1, 0, 0] -> Float, |[a], [], []| a.floor();
    /// The next whole number above.
    Ceil: [1, 0, 0] -> Float, |[a], [], []| a.ceil();
    /// The nearest whole number, of two the even one.
    Round: [1, 0, 0] -> Float, |[a], [], []| a.round();
    /// The larger.
    Maximum: [2, 0, 0] -> Float, |[a, b], [], []| a.max(b);
    /// The smaller.
    Minimum: [2, 0, 0] -> Float, |[a, b], [], []| a.min(b);
    /// `max(a, 0)`.
    Relu: [1, 0, 0] -> Float, |[a], [], []| a.relu();
    /// `a`, through which no gradient flows.
    Detach: [1, 0, 0] -> Float, |[a], [], []| a;
    /// The square root.
    Sqrt: [1, 0, 0] -> Float, |[a], [], []| a.sqrt();
    /// `1 / sqrt(a)`.
    Rsqrt: [1, 0, 0] -> Float, |[a], [], []| a.rsqrt();
    /// `exp(a)`.
    Exp: [1, 0, 0] -> Float, |[a], [], []| a.exp();
    /// `exp(a) - 1`.
    Expm1: [1, 0, 0] -> Float, |[a], [], []| a.expm1();
    /// `ln(a)`.
    Log: [1, 0, 0] -> Float, |[a], [], []| a.log();
    /// `ln(1 + a)`.
    Log1p: [1, 0, 0] -> Float, |[a], [], []| a.log1p();
    /// `sin(a)`.
    Sin: [1, 0, 0] -> Float, |[a], [], []| a.sin();
    /// `cos(a)`.
    Cos: [1, 0, 0] -> Float, |[a], [], []| a.cos();
    /// `tan(a)`.
    Tan: [1, 0, 0] -> Float, |[a], [], []| a.tan();
    /// `tanh(a)`.
    Tanh: [1, 0, 0] -> Float, |[a], [], []| a.tanh();
    /// `1 / (1 + exp(-a))`.
    Sigmoid: [1, 0, 0] -> Float, |[a], [], []| a.sigmoid();
    /// The error function.
    Erf: [1, 0, 0] -> Float, |[a], [], []| a.erf();
    /// `ln(1 + exp(a))`.
    Softplus: [1, 0, 0] -> Float, |[a], [], []| a.softplus();
    /// `a + b`.
    AddInt: [0, 2, 0] -> Int, |[], [a, b], []| a + b;
    /// `a - b`.
    SubInt: [0, 2, 0] -> Int, |[], [a, b], []| a - b;
    /// `a b`.
    MulInt: [0, 2, 0] -> Int, |[], [a, b], []| a * b;
    /// `-a`.
    NegInt: [0, 1, 0] -> Int, |[], [a], []| -a;
    /// `|a|`.
    AbsInt: [0, 1, 0] -> Int, |[], [a], []| a.abs();
    /// -1, 0 or 1.
    SignInt: [0, 1, 0] -> Int, |[], [a], []| a.sign();
    /// The larger.
    MaximumInt: [0, 2, 0] -> Int, |[], [a, b], []| a.max(b);
    /// The smaller.
    MinimumInt: [0, 2, 0] -> Int, |[], [a, b], []| a.min(b);
    /// `a == b`.
    Eq: [2, 0, 0] -> Bool, |[a, b], [], []| a == b;
    /// `a == b`.
    EqInt: [0, 2, 0] -> Bool, |[], [a, b], []| a == b;
    /// `a == b`, false being less than true.
    EqBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a == b;
    /// `a != b`.
    Ne: [2, 0, 0] -> Bool, |[a, b], [], []| a != b;
    /// `a != b`.
    NeInt: [0, 2, 0] -> Bool, |[], [a, b], []| a != b;
    /// `a != b`, false being less than true.
    NeBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a != b;
    /// `a < b`.
    Lt: [2, 0, 0] -> Bool, |[a, b], [], []| a < b;
    /// `a < b`.
    LtInt: [0, 2, 0] -> Bool, |[], [a, b], []| a < b;
    /// `a < b`, false being less than true.
    LtBool: [0, 0, 2] -> Bool, |[], [], [a, b]| !a & b;
    /// `a <= b`.
    Le: [2, 0, 0] -> Bool, |[a, b], [], []| a <= b;
    /// `a <= b`.
    LeInt: [0, 2, 0] -> Bool, |[], [a, b], []| a <= b;
    /// `a <= b`, false being less than true.
    LeBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a <= b;
    /// `a > b`.
    Gt: [2, 0, 0] -> Bool, |[a, b], [], []| a > b;
    /// `a > b`.
    GtInt: [0, 2, 0] -> Bool, |[], [a, b], []| a > b;
    /// `a > b`, false being less than true.
    GtBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a & !b;
    /// `a >= b`.
    Ge: [2, 0, 0] -> Bool, |[a, b], [], []| a >= b;
    /// `a >= b`.
    GeInt: [0, 2, 0] -> Bool, |[], [a, b], []| a >= b;
    /// `a >= b`, false being less than true.
    GeBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a >= b;
    /// Both hold.
    AndBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a & b;
    /// At least one holds.
    OrBool: [0, 0, 2] -> Bool, |[], [], [a, b]| a | b;
    /// `a` does not hold.
    NotBool: [0, 0, 1] -> Bool, |[], [], [a]| !a;
    /// `a` where `c` holds, else `b`.
    Select: [2, 0, 1] -> Float, |[a, b], [], [c]| if c { a } else { b };
    /// `a` where `c` holds, else `b`.
    SelectInt: [0, 2, 1] -> Int, |[], [a, b], [c]| if c { a } else { b };
    /// `a` where `c` holds, else `b`.
    SelectBool: [0, 0, 3] -> Bool, |[], [], [c, a, b]| if c { a } else { b };
    /// The integer as a float.
    ToFloatInt: [0, 1, 0] -> Float, |[], [a], []| T::from_i64(i64::from(a));
    /// 1 where `a` holds, else 0.
    ToFloatBool: [0, 0, 1] -> Float, |[], [], [a]| T::from_i64(i64::from(a));
    /// The whole part, fractions cut off.
    ToInt: [1, 0, 0] -> Int, |[a], [], []| Int::from(a);
    /// 1 where `a` holds, else 0.
    ToIntBool: [0, 0, 1] -> Int, |[], [], [a]| Int::from(a);
    /// `a`: a number everywhere.
    Fill: [1, 0, 0] -> Float, |[a], [], []| a;
    /// `a`: an integer everywhere.
    FillInt: [0, 1, 0] -> Int, |[], [a], []| a;
    /// `a`: a truth value everywhere.
    FillBool: [0, 0, 1] -> Bool, |[], [], [a]| a;
}

/// Evaluates a row for every element of `shape`: operands by kind, each kind in the order of the operation's operands.
///
/// # Panics
/// Where the numbers of operands are not those of the row, the output has another number of elements than `shape`, or a
/// strided input reaches outside its buffer: mistakes of the compiler.
pub fn row(cx: &mut Cx<'_>, row: Row, shape: &[usize], operands: [&[In]; 3], out: Buf) {
    let entry = row.entry();
    let [floats, ints, bools] = operands;
    assert_eq!(
        [floats.len(), ints.len(), bools.len()],
        entry.operands,
        "{row:?} takes so many float, integer and bool operands"
    );
    let outs = [out];
    let of_kind = |kind| if kind == entry.result { &outs[..] } else { &[] };
    let problem = Problem {
        shape,
        floats,
        ints,
        bools,
        out_floats: of_kind(Dtype::Float),
        out_ints: of_kind(Dtype::Int),
        out_bools: of_kind(Dtype::Bool),
        scalars: &[],
        functions: 0,
        bodies: entry.bodies,
    };
    drive::run(cx, &problem);
}

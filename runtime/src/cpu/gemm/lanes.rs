//! Vectors of one instruction set, as far as the micro-kernel needs them.
//!
//! A value that proves that the instructions exist (see [`isa`](crate::cpu::isa)) is the receiver of every method, so that
//! they are safe to call; being inlined, they become single instructions in a function compiled for that set.
//!
//! Loops over registers are `for` loops over indices, never `array::from_fn`, `array::map` or another function of the
//! standard library that takes a closure. Whether such a function is inlined depends on the profile that a program is built
//! with (`lto`, `codegen-units`), and where it is not, its body lacks the instruction set.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::product::Product;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::{Avx2, Avx512};
use crate::real::Real;

/// Vectors of `T` on one instruction set.
pub trait Lanes<T>: Copy {
    /// A register.
    type Vector: Copy;
    /// Vectors of half as many elements, where the set has them; else the same ones.
    type Half: Lanes<T>;
    /// Elements in a register.
    const LANES: usize;
    /// Rows of the largest tile: with two vectors a row, the tile and its operands fill the registers.
    const ROWS: usize;
    /// Rows of the tiles that are compiled, ascending, [`ROWS`](Self::ROWS) the last: the more there are, the less is computed for
    /// nothing at the lower edge of a result, and the longer it takes to compile.
    const HEIGHTS: &'static [usize];
    /// Rows of the tiles of convolutions: no more than there are registers for the places where rows are read.
    const PLACES: usize;
    /// The most vectors of columns of such tiles.
    const MOST_VECTORS: usize;
    /// Whether speed is wanted of them: they have large tiles, which those of the portable path and of `f64` do not. What is compiled
    /// once more for nothing else is left out for these.
    const ARE_FAST: bool = Self::ROWS * Self::LANES >= 48;

    /// The vectors of half as many elements: for results that fill no more of a register. Part of a register is written under a mask,
    /// and what reads it next has to wait until that has reached the cache.
    fn half(self) -> Self::Half;

    /// `x` everywhere.
    fn splat(self, x: T) -> Self::Vector;

    /// The first elements of `from`.
    fn load(self, from: &[T]) -> Self::Vector;

    /// The elements of `from`, fewer than a register has, and zeros.
    fn load_part(self, from: &[T]) -> Self::Vector;

    /// Writes the elements to the front of `to`.
    fn store(self, x: Self::Vector, to: &mut [T]);

    /// Writes the first elements to `to`, which is shorter than a register.
    fn store_part(self, x: Self::Vector, to: &mut [T]);

    /// Asks for the line of the cache of number `at` of `numbers`, which need not exist, to be brought into the second level: nothing
    /// waits for it. Does nothing where there is no such instruction.
    #[inline(always)]
    fn request(self, numbers: &[T], at: usize) {
        let _ = (numbers, at);
    }

    /// `a * b + c`, fused where the set has that instruction.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The elements above zero, and those that are no numbers; zeros for the others.
    fn relu(self, x: Self::Vector) -> Self::Vector;

    /// The sum of the elements: halves are added until one number is left.
    fn sum(self, x: Self::Vector) -> T;

    /// Turns a square: `to[k * LANES + r] = from[min(r, last) * step + k]` for all `r` and `k` of a register.
    #[inline(always)]
    fn turn(self, from: &[T], step: usize, last: usize, to: &mut [T])
    where
        T: Product,
    {
        turn_in_squares(from, step, last, to, Self::LANES);
    }
}

/// Turns a square of `width` numbers in smaller ones.
#[inline(always)]
fn turn_in_squares<T: Product>(from: &[T], step: usize, last: usize, to: &mut [T], width: usize) {
    for r in (0..width).step_by(SQUARE) {
        for k in (0..width).step_by(SQUARE) {
            let zeros = [T::ZERO; SQUARE];
            let mut rows = [&zeros; SQUARE];
            for i in 0..SQUARE {
                let from = &from[(r + i).min(last) * step + k..];
                rows[i] = from.first_chunk().expect("four numbers");
            }
            let columns = T::transpose(rows);
            for j in 0..SQUARE {
                let to = &mut to[(k + j) * width + r..];
                *to.first_chunk_mut().expect("four numbers") = columns[j];
            }
        }
    }
}

/// What every CPU can do: four numbers at a time, products rounded before they are added.
#[derive(Copy, Clone, Debug)]
pub struct Portable;

macro_rules! array_lanes {
    ($($(#[$cfg:meta])? $t:ident)*) => {$(
        $(#[$cfg])?
        impl Lanes<$t> for Portable {
            type Vector = [$t; 4];
            type Half = Self;
            const LANES: usize = 4;
            const ROWS: usize = 4;
            const HEIGHTS: &'static [usize] = &[1, 4];
            const PLACES: usize = 4;
            const MOST_VECTORS: usize = 2;

            #[inline(always)]
            fn half(self) -> Self {
                self
            }

            #[inline(always)]
            fn splat(self, x: $t) -> [$t; 4] {
                [x; 4]
            }

            #[inline(always)]
            fn load(self, from: &[$t]) -> [$t; 4] {
                from[..4].try_into().expect("four elements")
            }

            #[inline(always)]
            fn load_part(self, from: &[$t]) -> [$t; 4] {
                let mut x = [0.0; 4];
                for (x, from) in x.iter_mut().zip(from) {
                    *x = *from;
                }
                x
            }

            #[inline(always)]
            fn store(self, x: [$t; 4], to: &mut [$t]) {
                to[..4].copy_from_slice(&x);
            }

            #[inline(always)]
            fn store_part(self, x: [$t; 4], to: &mut [$t]) {
                for (to, x) in to.iter_mut().zip(x) {
                    *to = x;
                }
            }

            #[inline(always)]
            fn mul_add(self, a: [$t; 4], b: [$t; 4], c: [$t; 4]) -> [$t; 4] {
                [
                    a[0] * b[0] + c[0],
                    a[1] * b[1] + c[1],
                    a[2] * b[2] + c[2],
                    a[3] * b[3] + c[3],
                ]
            }

            #[inline(always)]
            fn add(self, a: [$t; 4], b: [$t; 4]) -> [$t; 4] {
                [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
            }

            #[inline(always)]
            fn sub(self, a: [$t; 4], b: [$t; 4]) -> [$t; 4] {
                [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
            }

            #[inline(always)]
            fn relu(self, x: [$t; 4]) -> [$t; 4] {
                [x[0].relu(), x[1].relu(), x[2].relu(), x[3].relu()]
            }

            #[inline(always)]
            fn sum(self, x: [$t; 4]) -> $t {
                (x[0] + x[2]) + (x[1] + x[3])
            }
        }
    )*};
}

// Vectors of the baseline are registers where it has some: arrays of `f32` are vectors only after much analysis.
array_lanes! {
    #[cfg(not(target_arch = "x86_64"))] f32
    f64
}

/// So many numbers are read and written one by one, in vectors as well: what reads them soon after need not wait until they have reached
/// the cache, as it does for what was written under a mask.
#[cfg(target_arch = "x86_64")]
const SINGLE: usize = 2;

macro_rules! x86_lanes {
    ($($proof:ident $t:ident $vector:ident $half:ident $make_half:path, $lanes:literal [$($height:literal)* | $rows:literal] $splat:ident $load:ident $store:ident $fma:path, $sum:path, $part:path, $store_part:path, $max:path, $add:ident $sub:ident $(, $turn:path)?;)*) => {$(
        #[cfg(target_arch = "x86_64")]
        impl Lanes<$t> for $proof {
            type Vector = std::arch::x86_64::$vector;
            type Half = $half;
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;
            const HEIGHTS: &'static [usize] = &[$($height,)* $rows];
            const PLACES: usize = if $rows < 8 { $rows } else { 8 };
            const MOST_VECTORS: usize = if $rows < 8 { 2 } else { 3 };

            #[inline(always)]
            fn half(self) -> $half {
                $make_half(self)
            }

            #[inline(always)]
            fn splat(self, x: $t) -> Self::Vector {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { std::arch::x86_64::$splat(x) }
            }

            #[inline(always)]
            fn load(self, from: &[$t]) -> Self::Vector {
                let from = &from[..$lanes];
                // SAFETY: `self` proves that the CPU has the instruction, which reads `LANES` elements without alignment;
                // the slice has that many.
                unsafe { std::arch::x86_64::$load(from.as_ptr()) }
            }

            #[inline(always)]
            fn load_part(self, from: &[$t]) -> Self::Vector {
                let from = &from[..from.len().min($lanes)];
                if from.len() <= SINGLE {
                    let mut numbers = [0.0; $lanes];
                    for k in 0..from.len() {
                        numbers[k] = from[k];
                    }
                    // SAFETY: an array of as many numbers has the bits of the register.
                    return unsafe { std::mem::transmute::<[$t; $lanes], Self::Vector>(numbers) };
                }
                // SAFETY: `self` proves that the CPU has the instructions, which read what the slice has.
                unsafe { $part(from.as_ptr(), from.len()) }
            }

            #[inline(always)]
            fn store(self, x: Self::Vector, to: &mut [$t]) {
                let to = &mut to[..$lanes];
                // SAFETY: as in `load`, writing.
                unsafe { std::arch::x86_64::$store(to.as_mut_ptr(), x) }
            }

            #[inline(always)]
            fn request(self, numbers: &[$t], at: usize) {
                // SAFETY: SSE belongs to every x86-64 CPU; the instruction reads nothing that a program could see, whatever lies there.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(numbers.as_ptr().wrapping_add(at).cast()) }
            }

            #[inline(always)]
            fn store_part(self, x: Self::Vector, to: &mut [$t]) {
                let len = to.len().min($lanes);
                if len <= SINGLE {
                    // SAFETY: as above.
                    let numbers = unsafe { std::mem::transmute::<Self::Vector, [$t; $lanes]>(x) };
                    for k in 0..len {
                        to[k] = numbers[k];
                    }
                    return;
                }
                // SAFETY: `self` proves that the CPU has the instructions, which write no more than the slice has.
                unsafe { $store_part(to.as_mut_ptr(), x, len) }
            }

            #[inline(always)]
            fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                // SAFETY: `self` proves that the CPU has the instructions.
                unsafe { $fma(a, b, c) }
            }

            #[inline(always)]
            fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { std::arch::x86_64::$add(a, b) }
            }

            #[inline(always)]
            fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { std::arch::x86_64::$sub(a, b) }
            }

            #[inline(always)]
            fn relu(self, x: Self::Vector) -> Self::Vector {
                let zero = <Self as Lanes<$t>>::splat(self, 0.0);
                let one = <Self as Lanes<$t>>::splat(self, 1.0);
                // SAFETY: `self` proves that the CPU has the instruction. Of two zeros, or where one is no number, it gives the
                // second: the sum with zero makes a negative zero positive, as `Real::relu` does.
                let x = unsafe { $max(zero, x) };
                <Self as Lanes<$t>>::mul_add(self, one, x, zero)
            }

            #[inline(always)]
            fn sum(self, x: Self::Vector) -> $t {
                // SAFETY: `self` proves that the CPU has the instructions.
                unsafe { $sum(x) }
            }

            $(#[inline(always)]
            fn turn(self, from: &[$t], step: usize, last: usize, to: &mut [$t]) {
                // SAFETY: `self` proves that the CPU has the instructions.
                unsafe { $turn(from, step, last, to) }
            })?
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _MM_HINT_T1, _mm_max_ps, _mm_prefetch, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_max_pd, _mm256_max_ps,
    _mm512_fmadd_ps, _mm512_max_ps,
};
#[cfg(target_arch = "x86_64")]
use x86::{halves, parts, squares};

/// Vectors that have no half.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn same<L>(lanes: L) -> L {
    lanes
}

// `Portable` needs no proof: every CPU of the architecture has SSE2.
x86_lanes! {
    Avx512 f32 __m512 Avx2 Avx512::avx2, 16 [1 2 4 6 8 | 12] _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_fmadd_ps, halves::sum_16, parts::load_16, parts::store_16, _mm512_max_ps, _mm512_add_ps _mm512_sub_ps, squares::turn_16;
    Avx2 f32 __m256 Avx2 same, 8 [1 2 4 | 6] _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_fmadd_ps, halves::sum_8, parts::load_8, parts::store_8, _mm256_max_ps, _mm256_add_ps _mm256_sub_ps, squares::turn_8;
    Portable f32 __m128 Portable same, 4 [1 | 4] _mm_set1_ps _mm_loadu_ps _mm_storeu_ps halves::mul_add, halves::sum_4, parts::load_4, parts::store_4, _mm_max_ps, _mm_add_ps _mm_sub_ps;
    Avx2 f64 __m256d Avx2 same, 4 [1 | 6] _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_fmadd_pd, halves::sum_4d, parts::load_4d, parts::store_4d, _mm256_max_pd, _mm256_add_pd _mm256_sub_pd;
}

/// Rows and columns of the squares that [`transpose`] turns.
pub(crate) const SQUARE: usize = 4;

/// Rows become columns, in four registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn transpose(rows: [&[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    use std::arch::x86_64::{
        _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    let mut columns = [[0.0; SQUARE]; SQUARE];
    let [first, second, third, fourth] = &mut columns;
    // SAFETY: SSE belongs to every x86-64 CPU; each reference is to the four elements that are read or written.
    unsafe {
        let (a, b) = (_mm_loadu_ps(rows[0].as_ptr()), _mm_loadu_ps(rows[1].as_ptr()));
        let (c, d) = (_mm_loadu_ps(rows[2].as_ptr()), _mm_loadu_ps(rows[3].as_ptr()));
        let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        _mm_storeu_ps(first.as_mut_ptr(), _mm_movelh_ps(ab_low, cd_low));
        _mm_storeu_ps(second.as_mut_ptr(), _mm_movehl_ps(cd_low, ab_low));
        _mm_storeu_ps(third.as_mut_ptr(), _mm_movelh_ps(ab_high, cd_high));
        _mm_storeu_ps(fourth.as_mut_ptr(), _mm_movehl_ps(cd_high, ab_high));
    }
    columns
}

/// Rows become columns, in four registers.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn transpose(rows: [&[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    // SAFETY: Advanced SIMD belongs to the baseline of every AArch64 target that has a standard library.
    unsafe { neon::squares::transpose(rows) }
}

/// Rows become columns.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
pub(crate) fn transpose(rows: [&[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    transpose_any(rows)
}

/// Rows become columns, of any numbers.
#[cfg(any(feature = "f64", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
pub(super) fn transpose_any<T: crate::real::Real>(rows: [&[T; SQUARE]; SQUARE]) -> [[T; SQUARE]; SQUARE] {
    let mut columns = [[T::ZERO; SQUARE]; SQUARE];
    for i in 0..SQUARE {
        for j in 0..SQUARE {
            columns[j][i] = rows[i][j];
        }
    }
    columns
}

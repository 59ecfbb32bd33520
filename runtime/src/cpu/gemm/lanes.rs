//! Vectors of one instruction set, as far as the micro-kernel needs them.
//!
//! A value that proves that the instructions exist (see [`isa`](crate::cpu::isa)) is the receiver of every method, so that
//! they are safe to call; being inlined, they become single instructions in a function compiled for that set.
//!
//! Loops over registers are `for` loops over indices, never `array::from_fn`, `array::map` or another function of the
//! standard library that takes a closure. Whether such a function is inlined depends on the profile that a program is built
//! with (`lto`, `codegen-units`), and where it is not, its body lacks the instruction set.

use crate::cpu::isa::{Avx2, Avx512};

/// Vectors of `T` on one instruction set.
pub(super) trait Lanes<T>: Copy {
    /// A register.
    type Vector: Copy;
    /// Elements in a register.
    const LANES: usize;
    /// Rows of the largest tile: with two vectors a row, the tile and its operands fill the registers.
    const ROWS: usize;
    /// Rows of the tiles that are compiled, ascending, [`ROWS`](Self::ROWS) the last: the more there are, the less is computed for
    /// nothing at the lower edge of a result, and the longer it takes to compile.
    const HEIGHTS: &'static [usize];

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

    /// `a * b + c`, fused where the set has that instruction.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The sum of the elements: halves are added until one number is left.
    fn sum(self, x: Self::Vector) -> T;
}

/// What every CPU can do: four numbers at a time, products rounded before they are added.
#[derive(Copy, Clone, Debug)]
pub(super) struct Portable;

macro_rules! array_lanes {
    ($($(#[$cfg:meta])? $t:ident)*) => {$(
        $(#[$cfg])?
        impl Lanes<$t> for Portable {
            type Vector = [$t; 4];
            const LANES: usize = 4;
            const ROWS: usize = 4;
            const HEIGHTS: &'static [usize] = &[1, 4];

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

macro_rules! x86_lanes {
    ($($proof:ident $t:ident $vector:ident $lanes:literal [$($height:literal)* | $rows:literal] $splat:ident $load:ident $store:ident $fma:path, $sum:path, $part:path, $store_part:path;)*) => {$(
        #[cfg(target_arch = "x86_64")]
        impl Lanes<$t> for $proof {
            type Vector = std::arch::x86_64::$vector;
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;
            const HEIGHTS: &'static [usize] = &[$($height,)* $rows];

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
            fn store_part(self, x: Self::Vector, to: &mut [$t]) {
                let len = to.len().min($lanes);
                // SAFETY: `self` proves that the CPU has the instructions, which write no more than the slice has.
                unsafe { $store_part(to.as_mut_ptr(), x, len) }
            }

            #[inline(always)]
            fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                // SAFETY: `self` proves that the CPU has the instructions.
                unsafe { $fma(a, b, c) }
            }

            #[inline(always)]
            fn sum(self, x: Self::Vector) -> $t {
                // SAFETY: `self` proves that the CPU has the instructions.
                unsafe { $sum(x) }
            }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_mm256_fmadd_pd, _mm256_fmadd_ps, _mm512_fmadd_ps};

// `Portable` needs no proof: every CPU of the architecture has SSE2.
x86_lanes! {
    Avx512 f32 __m512 16 [1 2 4 6 8 | 12] _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_fmadd_ps, halves::sum_16, parts::load_16, parts::store_16;
    Avx2 f32 __m256 8 [1 2 4 | 6] _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_fmadd_ps, halves::sum_8, parts::load_8, parts::store_8;
    Portable f32 __m128 4 [1 | 4] _mm_set1_ps _mm_loadu_ps _mm_storeu_ps halves::mul_add, halves::sum_4, parts::load_4, parts::store_4;
    Avx2 f64 __m256d 4 [1 | 6] _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_fmadd_pd, halves::sum_4d, parts::load_4d, parts::store_4d;
}

/// The sums of the elements of vectors. The order is written down, so that it is the same wherever they are inlined.
///
/// Safe where the CPU has AVX2, and AVX-512 for the vectors of that set.
#[cfg(target_arch = "x86_64")]
mod halves {
    use std::arch::x86_64::{
        __m128, __m256, __m256d, __m512, _mm_add_pd, _mm_add_ps, _mm_add_sd, _mm_add_ss, _mm_cvtsd_f64,
        _mm_cvtss_f32, _mm_movehl_ps, _mm_mul_ps, _mm_shuffle_ps, _mm_unpackhi_pd, _mm256_add_ps,
        _mm256_castpd_ps, _mm256_castpd256_pd128, _mm256_castps256_ps128, _mm256_extractf128_pd,
        _mm256_extractf128_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_extractf64x4_pd,
    };

    #[inline(always)]
    pub(super) unsafe fn sum_16(x: __m512) -> f32 {
        // SAFETY: the caller says that the CPU has the instructions.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            sum_8(_mm256_add_ps(_mm512_castps512_ps256(x), high))
        }
    }

    #[inline(always)]
    pub(super) unsafe fn sum_8(x: __m256) -> f32 {
        // SAFETY: as above.
        unsafe {
            sum_4(_mm_add_ps(
                _mm256_castps256_ps128(x),
                _mm256_extractf128_ps::<1>(x),
            ))
        }
    }

    #[inline(always)]
    pub(super) unsafe fn sum_4(four: __m128) -> f32 {
        // SAFETY: as above; SSE belongs to every x86-64 CPU.
        unsafe {
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    /// `a * b + c`, rounded twice.
    #[inline(always)]
    pub(super) unsafe fn mul_add(a: __m128, b: __m128, c: __m128) -> __m128 {
        // SAFETY: SSE belongs to every x86-64 CPU.
        unsafe { _mm_add_ps(_mm_mul_ps(a, b), c) }
    }

    #[inline(always)]
    pub(super) unsafe fn sum_4d(x: __m256d) -> f64 {
        // SAFETY: as above.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
}

/// Loads and stores of fewer elements than a vector has.
///
/// Safe where the pointer is good for `len` elements, `len` is at most the number of lanes, and the CPU has AVX2, and AVX-512 for
/// the vectors of that set.
#[cfg(target_arch = "x86_64")]
mod parts {
    use std::arch::x86_64::{
        __m128, __m256, __m256d, __m256i, __m512, _mm_loadu_ps, _mm_storeu_ps, _mm256_loadu_si256,
        _mm256_maskload_pd, _mm256_maskload_ps, _mm256_maskstore_pd, _mm256_maskstore_ps,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    };

    /// Ones and as many zeros: the masks of all numbers of 32-bit lanes are eight neighbours of these.
    static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    /// The mask of the first `len` lanes of eight.
    #[inline(always)]
    unsafe fn mask(len: usize) -> __m256i {
        // SAFETY: the caller says that the CPU has the instruction; eight of sixteen numbers from `8 - len`, at most 8, on exist.
        unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - len.min(8)).cast()) }
    }

    #[inline(always)]
    pub(super) unsafe fn load_16(from: *const f32, len: usize) -> __m512 {
        // SAFETY: the caller says so; lanes beyond the mask are not read.
        unsafe { _mm512_maskz_loadu_ps(((1u32 << len) - 1) as u16, from) }
    }

    #[inline(always)]
    pub(super) unsafe fn load_8(from: *const f32, len: usize) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_maskload_ps(from, mask(len)) }
    }

    #[inline(always)]
    pub(super) unsafe fn load_4d(from: *const f64, len: usize) -> __m256d {
        // SAFETY: as above; a lane of 64 bits has two lanes of the mask.
        unsafe { _mm256_maskload_pd(from, mask(2 * len)) }
    }

    #[inline(always)]
    pub(super) unsafe fn load_4(from: *const f32, len: usize) -> __m128 {
        let mut four = [0.0; 4];
        // SAFETY: as above, and `four` has at least as many elements.
        unsafe {
            four.as_mut_ptr().copy_from_nonoverlapping(from, len);
            _mm_loadu_ps(four.as_ptr())
        }
    }

    #[inline(always)]
    pub(super) unsafe fn store_4(to: *mut f32, x: __m128, len: usize) {
        let mut four = [0.0; 4];
        // SAFETY: the caller says so, and `four` has at least as many elements.
        unsafe {
            _mm_storeu_ps(four.as_mut_ptr(), x);
            to.copy_from_nonoverlapping(four.as_ptr(), len);
        }
    }

    #[inline(always)]
    pub(super) unsafe fn store_16(to: *mut f32, x: __m512, len: usize) {
        // SAFETY: the caller says so; lanes beyond the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to, ((1u32 << len) - 1) as u16, x) }
    }

    #[inline(always)]
    pub(super) unsafe fn store_8(to: *mut f32, x: __m256, len: usize) {
        // SAFETY: as above.
        unsafe { _mm256_maskstore_ps(to, mask(len), x) }
    }

    #[inline(always)]
    pub(super) unsafe fn store_4d(to: *mut f64, x: __m256d, len: usize) {
        // SAFETY: as above.
        unsafe { _mm256_maskstore_pd(to, mask(2 * len), x) }
    }
}

/// Rows and columns of the squares that [`transpose`] turns.
pub(super) const SQUARE: usize = 4;

/// Rows become columns, in four registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn transpose(rows: [&[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
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

/// Rows become columns.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn transpose(rows: [&[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    transpose_any(rows)
}

/// Rows become columns, of any numbers.
#[cfg(any(feature = "f64", not(target_arch = "x86_64")))]
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

//! Vectors of AArch64: 32 registers of 128 bits, and a fused multiply-add that takes one factor from any lane of a register.
//!
//! So a number that a whole row of a tile is multiplied by needs no register of its own: four lie in one, loaded together. Twelve rows
//! of two vectors are 24 sums, beside which two vectors of columns and three of such numbers find room.
//!
//! `unsafe` here is the instructions themselves; each group of functions says what a caller must know.

use std::arch::aarch64::{
    float32x4_t, float64x2_t, vaddq_f32, vaddq_f64, vdupq_n_f32, vdupq_n_f64, vfmaq_f32, vfmaq_f64,
    vld1q_f32, vld1q_f64, vmaxq_f32, vmaxq_f64, vst1q_f32, vst1q_f64, vsubq_f32, vsubq_f64,
};

use super::Lanes;
use crate::cpu::isa::Neon;

macro_rules! neon_lanes {
    ($($t:ident $vector:ident, $lanes:literal [$($height:literal)* | $rows:literal] $splat:path, $load:path, $store:path, $fma:path, $max:path, $add:path, $sub:path, $sum:path, $part:path, $store_part:path $(, $turn:path)?;)*) => {$(
        impl Lanes<$t> for Neon {
            type Vector = $vector;
            type Half = Self;
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;
            const HEIGHTS: &'static [usize] = &[$($height,)* $rows];
            const PLACES: usize = 8;
            const MOST_VECTORS: usize = 2;

            #[inline(always)]
            fn half(self) -> Self {
                self
            }

            #[inline(always)]
            fn splat(self, x: $t) -> $vector {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { $splat(x) }
            }

            #[inline(always)]
            fn load(self, from: &[$t]) -> $vector {
                let from = &from[..$lanes];
                // SAFETY: `self` proves that the CPU has the instruction, which reads `LANES` elements without alignment; the
                // slice has that many.
                unsafe { $load(from.as_ptr()) }
            }

            #[inline(always)]
            fn load_part(self, from: &[$t]) -> $vector {
                // SAFETY: `self` proves that the CPU has the instructions, which read what the slice has.
                unsafe { $part(from.as_ptr(), from.len()) }
            }

            #[inline(always)]
            fn store(self, x: $vector, to: &mut [$t]) {
                let to = &mut to[..$lanes];
                // SAFETY: as in `load`, writing.
                unsafe { $store(to.as_mut_ptr(), x) }
            }

            #[inline(always)]
            fn store_part(self, x: $vector, to: &mut [$t]) {
                // SAFETY: `self` proves that the CPU has the instructions, which write no more than the slice has.
                unsafe { $store_part(to.as_mut_ptr(), x, to.len()) }
            }

            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { $fma(c, a, b) }
            }

            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: as above.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            fn sub(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: as above.
                unsafe { $sub(a, b) }
            }

            #[inline(always)]
            fn relu(self, x: $vector) -> $vector {
                // SAFETY: as above. The instruction takes a positive zero for larger than a negative one, and what is no number for
                // larger than any: as `Real::relu` does.
                unsafe { $max(x, $splat(0.0)) }
            }

            #[inline(always)]
            fn sum(self, x: $vector) -> $t {
                // SAFETY: as above.
                unsafe { $sum(x) }
            }

            $(#[inline(always)]
            fn turn(self, from: &[$t], step: usize, last: usize, to: &mut [$t]) {
                // SAFETY: as above.
                unsafe { $turn(from, step, last, to) }
            })?
        }
    )*};
}

neon_lanes! {
    f32 float32x4_t, 4 [1 2 4 6 8 | 12] vdupq_n_f32, vld1q_f32, vst1q_f32, vfmaq_f32, vmaxq_f32, vaddq_f32, vsubq_f32, halves::sum_4, parts::load_4, parts::store_4;
    f64 float64x2_t, 2 [1 4 | 12] vdupq_n_f64, vld1q_f64, vst1q_f64, vfmaq_f64, vmaxq_f64, vaddq_f64, vsubq_f64, halves::sum_2d, parts::load_2d, parts::store_2d, squares::turn_2d;
}

/// The sums of the elements of vectors, in the order that other sets have.
///
/// Safe on a CPU with the instructions.
mod halves {
    use std::arch::aarch64::{
        float32x4_t, float64x2_t, vadd_f32, vget_high_f32, vget_low_f32, vpaddd_f64, vpadds_f32,
    };

    #[inline(always)]
    pub(super) unsafe fn sum_4(four: float32x4_t) -> f32 {
        // SAFETY: the caller says that the CPU has the instructions.
        unsafe { vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four))) }
    }

    #[inline(always)]
    pub(super) unsafe fn sum_2d(two: float64x2_t) -> f64 {
        // SAFETY: as above.
        unsafe { vpaddd_f64(two) }
    }
}

/// Loads and stores of as many elements as there are, at most those of a vector: each by its own instructions, since there are no masks,
/// and a vector that is put together in memory has to wait until all of it has been written.
///
/// Safe where the pointer is good for `len` elements, on a CPU with the instructions.
mod parts {
    use std::arch::aarch64::{
        float32x4_t, float64x2_t, vcombine_f32, vdup_n_f32, vdupq_n_f32, vdupq_n_f64, vget_low_f32, vld1_f32,
        vld1q_f32, vld1q_f64, vld1q_lane_f32, vld1q_lane_f64, vst1_f32, vst1q_f32, vst1q_f64, vst1q_lane_f32,
        vst1q_lane_f64,
    };

    #[inline(always)]
    pub(super) unsafe fn load_4(from: *const f32, len: usize) -> float32x4_t {
        // SAFETY: the caller says that the CPU has the instructions, and that there are `len` elements: as many are read.
        unsafe {
            if len >= 4 {
                return vld1q_f32(from);
            }
            if len & 2 == 0 {
                return match len {
                    0 => vdupq_n_f32(0.0),
                    _ => vld1q_lane_f32::<0>(from, vdupq_n_f32(0.0)),
                };
            }
            let two = vcombine_f32(vld1_f32(from), vdup_n_f32(0.0));
            match len {
                2 => two,
                _ => vld1q_lane_f32::<2>(from.add(2), two),
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn store_4(to: *mut f32, x: float32x4_t, len: usize) {
        // SAFETY: as above, writing.
        unsafe {
            if len >= 4 {
                return vst1q_f32(to, x);
            }
            if len & 2 == 0 {
                if len == 1 {
                    vst1q_lane_f32::<0>(to, x);
                }
                return;
            }
            vst1_f32(to, vget_low_f32(x));
            if len == 3 {
                vst1q_lane_f32::<2>(to.add(2), x);
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn load_2d(from: *const f64, len: usize) -> float64x2_t {
        // SAFETY: as above.
        unsafe {
            match len {
                0 => vdupq_n_f64(0.0),
                1 => vld1q_lane_f64::<0>(from, vdupq_n_f64(0.0)),
                _ => vld1q_f64(from),
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn store_2d(to: *mut f64, x: float64x2_t, len: usize) {
        // SAFETY: as above.
        unsafe {
            match len {
                0 => (),
                1 => vst1q_lane_f64::<0>(to, x),
                _ => vst1q_f64(to, x),
            }
        }
    }
}

/// Squares that are turned in registers.
///
/// Safe on a CPU with the instructions.
pub(super) mod squares {
    use std::arch::aarch64::{
        vld1q_f32, vld1q_f64, vreinterpretq_f32_f64, vreinterpretq_f64_f32, vst1q_f32, vst1q_f64, vtrn1q_f32,
        vtrn1q_f64, vtrn2q_f32, vtrn2q_f64,
    };

    use crate::cpu::gemm::SQUARE;

    /// Rows become columns: numbers of two rows change places, then pairs of them.
    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn transpose(rows: [&[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
        let mut columns = [[0.0; SQUARE]; SQUARE];
        let [first, second, third, fourth] = &mut columns;
        // SAFETY: the caller says that the CPU has the instructions; each reference is to the four elements that are read or written.
        unsafe {
            let (a, b) = (vld1q_f32(rows[0].as_ptr()), vld1q_f32(rows[1].as_ptr()));
            let (c, d) = (vld1q_f32(rows[2].as_ptr()), vld1q_f32(rows[3].as_ptr()));
            let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
            let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
            let (ab_even, ab_odd) = (vreinterpretq_f64_f32(ab_even), vreinterpretq_f64_f32(ab_odd));
            let (cd_even, cd_odd) = (vreinterpretq_f64_f32(cd_even), vreinterpretq_f64_f32(cd_odd));
            let (one, two) = (vtrn1q_f64(ab_even, cd_even), vtrn1q_f64(ab_odd, cd_odd));
            let (three, four) = (vtrn2q_f64(ab_even, cd_even), vtrn2q_f64(ab_odd, cd_odd));
            vst1q_f32(first.as_mut_ptr(), vreinterpretq_f32_f64(one));
            vst1q_f32(second.as_mut_ptr(), vreinterpretq_f32_f64(two));
            vst1q_f32(third.as_mut_ptr(), vreinterpretq_f32_f64(three));
            vst1q_f32(fourth.as_mut_ptr(), vreinterpretq_f32_f64(four));
        }
        columns
    }

    #[inline(always)]
    pub(super) unsafe fn turn_2d(from: &[f64], step: usize, last: usize, to: &mut [f64]) {
        let from = &from[..1.min(last) * step + 2];
        let to = &mut to[..4];
        // SAFETY: the caller says that the CPU has the instructions. Both rows lie inside `from`, whose last has two numbers, and two
        // columns of two inside `to`.
        unsafe {
            let (a, b) = (
                vld1q_f64(from.as_ptr()),
                vld1q_f64(from.as_ptr().add(1.min(last) * step)),
            );
            vst1q_f64(to.as_mut_ptr(), vtrn1q_f64(a, b));
            vst1q_f64(to.as_mut_ptr().add(2), vtrn2q_f64(a, b));
        }
    }
}

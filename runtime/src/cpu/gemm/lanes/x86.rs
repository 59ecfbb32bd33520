//! What the vectors of x86-64 need more than one instruction for.
//!
//! `unsafe` here is the instructions themselves; each group of functions says what a caller must know.

/// The sums of the elements of vectors, whose order is written down, so that it is the same wherever they are inlined; and what the
/// baseline has instead of a fused multiply-add.
///
/// Safe on every x86-64 CPU for vectors of four `f32`, where it has AVX2 for those of that set, and AVX-512 for those of that set.
pub(super) mod halves {
    use std::arch::x86_64::{
        __m128, __m256, __m256d, __m512, _mm_add_pd, _mm_add_ps, _mm_add_sd, _mm_add_ss, _mm_cvtsd_f64,
        _mm_cvtss_f32, _mm_movehl_ps, _mm_mul_ps, _mm_shuffle_ps, _mm_unpackhi_pd, _mm256_add_ps,
        _mm256_castpd_ps, _mm256_castpd256_pd128, _mm256_castps256_ps128, _mm256_extractf128_pd,
        _mm256_extractf128_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_extractf64x4_pd,
    };

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn sum_16(x: __m512) -> f32 {
        // SAFETY: the caller says that the CPU has the instructions.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            sum_8(_mm256_add_ps(_mm512_castps512_ps256(x), high))
        }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn sum_8(x: __m256) -> f32 {
        // SAFETY: as above.
        unsafe {
            sum_4(_mm_add_ps(
                _mm256_castps256_ps128(x),
                _mm256_extractf128_ps::<1>(x),
            ))
        }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn sum_4(four: __m128) -> f32 {
        // SAFETY: as above; SSE belongs to every x86-64 CPU.
        unsafe {
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    /// `a * b + c`, rounded twice.
    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn mul_add(a: __m128, b: __m128, c: __m128) -> __m128 {
        // SAFETY: SSE belongs to every x86-64 CPU.
        unsafe { _mm_add_ps(_mm_mul_ps(a, b), c) }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn sum_4d(x: __m256d) -> f64 {
        // SAFETY: as above.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
}

/// Loads and stores of fewer elements than a vector has.
///
/// Safe where the pointer is good for `len` elements, and `len` is at most the number of lanes: on every x86-64 CPU for vectors of four
/// `f32`, where it has AVX2 for those of that set, and AVX-512 for those of that set.
pub(super) mod parts {
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
    pub(in crate::cpu::gemm) unsafe fn load_16(from: *const f32, len: usize) -> __m512 {
        // SAFETY: the caller says so; lanes beyond the mask are not read.
        unsafe { _mm512_maskz_loadu_ps(((1u32 << len) - 1) as u16, from) }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn load_8(from: *const f32, len: usize) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_maskload_ps(from, mask(len)) }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn load_4d(from: *const f64, len: usize) -> __m256d {
        // SAFETY: as above; a lane of 64 bits has two lanes of the mask.
        unsafe { _mm256_maskload_pd(from, mask(2 * len)) }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn load_4(from: *const f32, len: usize) -> __m128 {
        let mut four = [0.0; 4];
        // SAFETY: as above, and `four` has at least as many elements.
        unsafe {
            four.as_mut_ptr().copy_from_nonoverlapping(from, len);
            _mm_loadu_ps(four.as_ptr())
        }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn store_4(to: *mut f32, x: __m128, len: usize) {
        let mut four = [0.0; 4];
        // SAFETY: the caller says so, and `four` has at least as many elements.
        unsafe {
            _mm_storeu_ps(four.as_mut_ptr(), x);
            to.copy_from_nonoverlapping(four.as_ptr(), len);
        }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn store_16(to: *mut f32, x: __m512, len: usize) {
        // SAFETY: the caller says so; lanes beyond the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to, ((1u32 << len) - 1) as u16, x) }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn store_8(to: *mut f32, x: __m256, len: usize) {
        // SAFETY: as above.
        unsafe { _mm256_maskstore_ps(to, mask(len), x) }
    }

    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn store_4d(to: *mut f64, x: __m256d, len: usize) {
        // SAFETY: as above.
        unsafe { _mm256_maskstore_pd(to, mask(2 * len), x) }
    }
}

/// Squares that are turned in registers.
///
/// Safe where the CPU has AVX2 for squares of eight, and AVX-512 for those of sixteen.
#[expect(
    clippy::needless_range_loop,
    reason = "as everywhere here: an iterator's methods need not be inlined"
)]
pub(super) mod squares {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_castpd_ps, _mm256_castps_pd, _mm256_loadu_ps, _mm256_permute2f128_ps,
        _mm256_setzero_ps, _mm256_storeu_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd,
        _mm256_unpacklo_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
        _mm512_unpacklo_ps,
    };

    /// As [`turn_16`].
    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn turn_8(from: &[f32], step: usize, last: usize, to: &mut [f32]) {
        let from = &from[..7.min(last) * step + 8];
        let to = &mut to[..64];
        // SAFETY: the caller says that the CPU has the instructions. Rows lie inside `from`, whose last has eight numbers, and eight
        // columns of eight inside `to`.
        unsafe {
            let mut x: [__m256; 8] = [_mm256_setzero_ps(); 8];
            for r in 0..8 {
                x[r] = _mm256_loadu_ps(from.as_ptr().add(r.min(last) * step));
            }
            for i in 0..4 {
                let (a, b) = (x[2 * i], x[2 * i + 1]);
                (x[2 * i], x[2 * i + 1]) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            }
            let mut y = x;
            for i in 0..2 {
                for j in 0..2 {
                    let (a, b) = (_mm256_castps_pd(x[4 * i + j]), _mm256_castps_pd(x[4 * i + 2 + j]));
                    y[4 * i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                    y[4 * i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
                }
            }
            // Half `l` of `y[4 i + j]` now holds rows `4 i` to `4 i + 3` of column `4 l + j`.
            for j in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(y[j], y[4 + j]);
                let high = _mm256_permute2f128_ps::<0x31>(y[j], y[4 + j]);
                _mm256_storeu_ps(to.as_mut_ptr().add(j * 8), low);
                _mm256_storeu_ps(to.as_mut_ptr().add((4 + j) * 8), high);
            }
        }
    }

    /// Pairs of rows are interleaved, then pairs of pairs, which turns squares of four; what is left is to exchange these.
    #[inline(always)]
    pub(in crate::cpu::gemm) unsafe fn turn_16(from: &[f32], step: usize, last: usize, to: &mut [f32]) {
        let from = &from[..15.min(last) * step + 16];
        let to = &mut to[..256];
        // SAFETY: the caller says that the CPU has the instructions. Rows lie inside `from`, whose last has sixteen numbers, and
        // sixteen columns of sixteen inside `to`.
        unsafe {
            let mut x: [__m512; 16] = [_mm512_setzero_ps(); 16];
            for r in 0..16 {
                x[r] = _mm512_loadu_ps(from.as_ptr().add(r.min(last) * step));
            }
            for i in 0..8 {
                let (a, b) = (x[2 * i], x[2 * i + 1]);
                (x[2 * i], x[2 * i + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            }
            let mut y = x;
            for i in 0..4 {
                for j in 0..2 {
                    let (a, b) = (_mm512_castps_pd(x[4 * i + j]), _mm512_castps_pd(x[4 * i + 2 + j]));
                    y[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    y[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            // Lane `l` of `y[4 i + j]` now holds rows `4 i` to `4 i + 3` of column `4 l + j`.
            for j in 0..4 {
                let (a, b) = (
                    _mm512_shuffle_f32x4::<0x44>(y[j], y[4 + j]),
                    _mm512_shuffle_f32x4::<0xee>(y[j], y[4 + j]),
                );
                let (c, d) = (
                    _mm512_shuffle_f32x4::<0x44>(y[8 + j], y[12 + j]),
                    _mm512_shuffle_f32x4::<0xee>(y[8 + j], y[12 + j]),
                );
                let columns = [
                    _mm512_shuffle_f32x4::<0x88>(a, c),
                    _mm512_shuffle_f32x4::<0xdd>(a, c),
                    _mm512_shuffle_f32x4::<0x88>(b, d),
                    _mm512_shuffle_f32x4::<0xdd>(b, d),
                ];
                for l in 0..4 {
                    _mm512_storeu_ps(to.as_mut_ptr().add((4 * l + j) * 16), columns[l]);
                }
            }
        }
    }
}

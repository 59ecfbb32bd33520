//! Vectors of 16 words of 32 bits, as far as packing needs them: the bits of numbers, and pairs of bf16 numbers.

use std::mem::MaybeUninit;

use super::{BLOCK, SIDE};
use crate::cpu::gemm::method::Unit;
#[cfg(test)]
use crate::cpu::isa;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::{Avx512, Avx512Bf16};
#[cfg(any(test, target_arch = "x86_64"))]
use crate::cpu::isa::{Isa, Kernel};

/// The upper half of a word: a bf16 number.
const UPPER: u32 = 0xffff_0000;
/// Bits of a number's exponent.
const EXPONENT: u32 = 0x7f80_0000;
/// Bits of a number without its sign.
const MAGNITUDE: u32 = 0x7fff_ffff;
/// Bits of a pair of bf16 numbers without their signs.
#[cfg(target_arch = "x86_64")]
const MAGNITUDES: u32 = 0x7fff_7fff;
/// Makes a NaN quiet, so that it has a bit in the upper half.
const QUIET: u32 = 0x0040_0000;

/// Vectors of 16 words on one instruction set. As for [`Lanes`](crate::cpu::gemm::lanes::Lanes), the receiver proves that the CPU
/// has the instructions, and loops over registers are loops over indices.
pub(super) trait Words: Copy {
    /// A register.
    type Vector: Copy;

    /// Zeros.
    fn zero(self) -> Self::Vector;

    /// The bits of 16 numbers.
    fn load(self, from: &[f32; SIDE]) -> Self::Vector;

    /// Sixteen words.
    fn read(self, from: &[u32; SIDE]) -> Self::Vector;

    /// Writes the words.
    fn write(self, x: Self::Vector, to: &mut [u32; SIDE]);

    /// Writes the words as halves, the lower one first.
    fn store(self, x: Self::Vector, to: &mut [MaybeUninit<u16>; BLOCK]);

    /// Numbers rounded to bf16, to nearest even; numbers below 2^-126 become zero, NaN stays NaN.
    fn rounded(self, x: Self::Vector) -> Self::Vector;

    /// The nearest bf16 number, away from zero where there are two: what is left is as small as after [`rounded`](Self::rounded).
    /// For numbers that a [`Span`](super::Span) admits.
    fn part(self, x: Self::Vector) -> Self::Vector;

    /// Differences of numbers.
    fn minus(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;

    /// The bf16 numbers in the upper halves of 32 words, in order.
    fn along(self, low: Self::Vector, high: Self::Vector) -> Self::Vector;

    /// The bf16 numbers in the upper halves of two words each.
    fn across(self, even: Self::Vector, odd: Self::Vector) -> Self::Vector;

    /// The smaller of some words and magnitudes less one (so that zeros are largest), and the larger of others and magnitudes.
    fn span(self, ends: [Self::Vector; 2], x: Self::Vector) -> [Self::Vector; 2];

    /// The smallest of the first words and the largest of the second.
    fn ends(self, ends: [Self::Vector; 2]) -> [u32; 2];

    /// Rows become columns.
    fn transpose(self, rows: [Self::Vector; SIDE]) -> [Self::Vector; SIDE];
}

/// Vectors that round numbers to bf16 as they make pairs of them: to nearest even; numbers below 2^-126 become zeros of their sign.
#[cfg(target_arch = "x86_64")]
pub(super) trait Rounds: Copy {
    /// Sixteen numbers.
    type Numbers: Copy;
    /// Sixteen pairs.
    type Vector: Copy;

    /// Sixteen numbers.
    fn load(self, from: &[f32; SIDE]) -> Self::Numbers;

    /// Sixteen zeros.
    fn nothing(self) -> Self::Numbers;

    /// Pairs of zeros.
    fn zero(self) -> Self::Vector;

    /// Pairs of numbers that follow each other, in order.
    fn along(self, low: Self::Numbers, high: Self::Numbers) -> Self::Vector;

    /// Asks the second cache for what lies 32 numbers further: the next strip's part of a row.
    fn ask(self, numbers: &[f32; SIDE]);

    /// Pairs of numbers at the same place.
    fn across(self, even: Self::Numbers, odd: Self::Numbers) -> Self::Vector;

    /// Writes the words.
    fn write(self, x: Self::Vector, to: &mut [u32; SIDE]);

    /// Writes the words as halves, the lower one first.
    fn store(self, x: Self::Vector, to: &mut [MaybeUninit<u16>; BLOCK]);

    /// The larger of magnitudes and those of other pairs.
    fn larger(self, magnitudes: Self::Vector, pairs: Self::Vector) -> Self::Vector;

    /// The bits of the largest number of some pairs of magnitudes; infinity and NaN are larger than others.
    fn largest(self, x: Self::Vector) -> u32;

    /// Rows become columns.
    fn transpose(self, rows: [Self::Vector; SIDE]) -> [Self::Vector; SIDE];
}

/// Code over vectors of words, compiled for those of a unit: see [`run`].
pub(super) trait OnWords {
    /// What it gives back.
    type Output;

    /// The work. As for a [`Kernel`](crate::cpu::isa::Kernel), it and all that it calls must be inlined.
    #[cfg_attr(
        not(any(test, target_arch = "x86_64")),
        expect(dead_code, reason = "only x86-64 has units that multiply pairs")
    )]
    fn run<W: Words>(self, words: W) -> Self::Output;
}

/// Runs code on the vectors that come with a unit.
#[cfg_attr(
    not(any(test, target_arch = "x86_64")),
    expect(unused_variables, reason = "only x86-64 has units that multiply pairs")
)]
pub(super) fn run<K: OnWords>(unit: Unit, work: K) -> K::Output {
    match unit.vectors() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(words) => words.run(On { words, work }),
        #[cfg(test)]
        Isa::Portable => isa::run_portable(On {
            words: crate::cpu::gemm::lanes::Portable,
            work,
        }),
        other => unreachable!("no unit comes with the vectors of {other}"),
    }
}

#[cfg(any(test, target_arch = "x86_64"))]
struct On<W, K> {
    words: W,
    work: K,
}

#[cfg(any(test, target_arch = "x86_64"))]
impl<W: Words, K: OnWords> Kernel for On<W, K> {
    type Output = K::Output;

    #[inline(always)]
    fn run(self) -> K::Output {
        self.work.run(self.words)
    }
}

/// Rounds one number to bf16: see [`Words::rounded`].
#[inline(always)]
pub(super) fn rounded(bits: u32) -> u32 {
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & UPPER;
    let nan = (bits | QUIET) & UPPER;
    let normal = if bits & MAGNITUDE > EXPONENT { nan } else { nearest };
    if bits & EXPONENT == 0 { 0 } else { normal }
}

#[cfg(test)]
impl Words for crate::cpu::gemm::lanes::Portable {
    type Vector = [u32; SIDE];

    fn zero(self) -> [u32; SIDE] {
        [0; SIDE]
    }

    fn load(self, from: &[f32; SIDE]) -> [u32; SIDE] {
        from.map(f32::to_bits)
    }

    fn read(self, from: &[u32; SIDE]) -> [u32; SIDE] {
        *from
    }

    fn write(self, x: [u32; SIDE], to: &mut [u32; SIDE]) {
        *to = x;
    }

    fn store(self, x: [u32; SIDE], to: &mut [MaybeUninit<u16>; BLOCK]) {
        for (i, half) in to.iter_mut().enumerate() {
            half.write((x[i / 2] >> (i % 2 * 16)) as u16);
        }
    }

    fn rounded(self, x: [u32; SIDE]) -> [u32; SIDE] {
        x.map(rounded)
    }

    fn part(self, x: [u32; SIDE]) -> [u32; SIDE] {
        x.map(|x| x.wrapping_add(0x8000) & UPPER)
    }

    fn minus(self, x: [u32; SIDE], y: [u32; SIDE]) -> [u32; SIDE] {
        std::array::from_fn(|i| (f32::from_bits(x[i]) - f32::from_bits(y[i])).to_bits())
    }

    fn along(self, low: [u32; SIDE], high: [u32; SIDE]) -> [u32; SIDE] {
        let word = |i: usize| if i < SIDE { low[i] } else { high[i - SIDE] };
        std::array::from_fn(|p| word(2 * p) >> 16 | word(2 * p + 1) & UPPER)
    }

    fn across(self, even: [u32; SIDE], odd: [u32; SIDE]) -> [u32; SIDE] {
        std::array::from_fn(|i| even[i] >> 16 | odd[i] & UPPER)
    }

    fn span(self, [low, high]: [[u32; SIDE]; 2], x: [u32; SIDE]) -> [[u32; SIDE]; 2] {
        let magnitude = x.map(|x| x & MAGNITUDE);
        [
            std::array::from_fn(|i| low[i].min(magnitude[i].wrapping_sub(1))),
            std::array::from_fn(|i| high[i].max(magnitude[i])),
        ]
    }

    fn ends(self, [low, high]: [[u32; SIDE]; 2]) -> [u32; 2] {
        let (low, high) = (low.into_iter().min(), high.into_iter().max());
        [low.expect("sixteen words"), high.expect("sixteen words")]
    }

    fn transpose(self, rows: [[u32; SIDE]; SIDE]) -> [[u32; SIDE]; SIDE] {
        std::array::from_fn(|j| rows.map(|row| row[j]))
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
impl Rounds for crate::cpu::gemm::lanes::Portable {
    type Numbers = [f32; SIDE];
    type Vector = [u32; SIDE];

    fn load(self, from: &[f32; SIDE]) -> [f32; SIDE] {
        *from
    }

    fn nothing(self) -> [f32; SIDE] {
        [0.0; SIDE]
    }

    fn zero(self) -> [u32; SIDE] {
        [0; SIDE]
    }

    fn along(self, low: [f32; SIDE], high: [f32; SIDE]) -> [u32; SIDE] {
        Words::along(self, low.map(with_sign), high.map(with_sign))
    }

    fn ask(self, _: &[f32; SIDE]) {}

    fn across(self, even: [f32; SIDE], odd: [f32; SIDE]) -> [u32; SIDE] {
        Words::across(self, even.map(with_sign), odd.map(with_sign))
    }

    fn write(self, x: [u32; SIDE], to: &mut [u32; SIDE]) {
        *to = x;
    }

    fn store(self, x: [u32; SIDE], to: &mut [MaybeUninit<u16>; BLOCK]) {
        Words::store(self, x, to);
    }

    fn larger(self, magnitudes: [u32; SIDE], pairs: [u32; SIDE]) -> [u32; SIDE] {
        let half = |x: u32, y: u32| (x & 0xffff).max(y & 0x7fff);
        std::array::from_fn(|i| {
            let (x, y) = (magnitudes[i], pairs[i]);
            half(x, y) | half(x >> 16, y >> 16) << 16
        })
    }

    fn largest(self, x: [u32; SIDE]) -> u32 {
        let halves = x.iter().flat_map(|x| [x << 16, x & UPPER]);
        halves.max().expect("thirty-two halves")
    }

    fn transpose(self, rows: [[u32; SIDE]; SIDE]) -> [[u32; SIDE]; SIDE] {
        Words::transpose(self, rows)
    }
}

/// [`rounded`], and zeros keep their sign.
#[cfg(all(test, target_arch = "x86_64"))]
fn with_sign(x: f32) -> u32 {
    rounded(x.to_bits()) | x.to_bits() & !MAGNITUDE
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    use std::mem::MaybeUninit;

    use super::{
        Avx512, Avx512Bf16, BLOCK, EXPONENT, MAGNITUDE, MAGNITUDES, QUIET, Rounds, SIDE, UPPER, Words,
    };

    // The receiver proves that the CPU has AVX512-BF16, and with it AVX-512 F and BW. Loads are of references to 64 bytes.
    impl Rounds for Avx512Bf16 {
        type Numbers = __m512;
        type Vector = __m512i;

        #[inline(always)]
        fn load(self, from: &[f32; SIDE]) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }

        #[inline(always)]
        fn nothing(self) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        fn zero(self) -> __m512i {
            self.avx512().zero()
        }

        #[inline(always)]
        fn along(self, low: __m512, high: __m512) -> __m512i {
            // SAFETY: see above; both vectors are 64 bytes of which any bits are a value.
            unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
        }

        #[inline(always)]
        fn ask(self, numbers: &[f32; SIDE]) {
            // SAFETY: x86-64 has the instruction, a hint that may name any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(numbers.as_ptr().wrapping_add(BLOCK).cast()) };
        }

        #[inline(always)]
        fn across(self, even: __m512, odd: __m512) -> __m512i {
            // The first of the lower halves, the first of the upper ones, and so on.
            const TURNS: [u16; BLOCK] = {
                let mut turns = [0; BLOCK];
                let mut i = 0;
                while i < BLOCK {
                    turns[i] = (i / 2 + i % 2 * SIDE) as u16;
                    i += 1;
                }
                turns
            };
            let halves = Rounds::along(self, even, odd);
            // SAFETY: see above; the constant has 64 bytes.
            unsafe { _mm512_permutexvar_epi16(_mm512_loadu_si512(TURNS.as_ptr().cast()), halves) }
        }

        #[inline(always)]
        fn write(self, x: __m512i, to: &mut [u32; SIDE]) {
            self.avx512().write(x, to);
        }

        #[inline(always)]
        fn store(self, x: __m512i, to: &mut [MaybeUninit<u16>; BLOCK]) {
            self.avx512().store(x, to);
        }

        #[inline(always)]
        fn larger(self, magnitudes: __m512i, pairs: __m512i) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_max_epu16(magnitudes, _mm512_and_si512(pairs, all(MAGNITUDES))) }
        }

        #[inline(always)]
        fn largest(self, x: __m512i) -> u32 {
            // SAFETY: see above.
            unsafe {
                let low = _mm512_reduce_max_epu32(_mm512_slli_epi32::<16>(x));
                let high = _mm512_reduce_max_epu32(_mm512_and_si512(x, all(UPPER)));
                low.max(high)
            }
        }

        #[inline(always)]
        fn transpose(self, rows: [__m512i; SIDE]) -> [__m512i; SIDE] {
            self.avx512().transpose(rows)
        }
    }

    /// A word everywhere.
    ///
    /// # Safety
    /// The CPU must have AVX-512.
    #[inline(always)]
    unsafe fn all(word: u32) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    // In all of these the receiver proves that the CPU has AVX-512 F and BW. Loads and stores are of references to 64 bytes.
    impl Words for Avx512 {
        type Vector = __m512i;

        #[inline(always)]
        fn zero(self) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        fn load(self, from: &[f32; SIDE]) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn read(self, from: &[u32; SIDE]) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn write(self, x: __m512i, to: &mut [u32; SIDE]) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
        }

        #[inline(always)]
        fn store(self, x: __m512i, to: &mut [MaybeUninit<u16>; BLOCK]) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
        }

        #[inline(always)]
        fn rounded(self, x: __m512i) -> __m512i {
            // SAFETY: see above.
            unsafe {
                let is_odd = _mm512_and_si512(_mm512_srli_epi32::<16>(x), all(1));
                let nearest = _mm512_add_epi32(_mm512_add_epi32(x, all(0x7fff)), is_odd);
                let float = _mm512_castsi512_ps(x);
                let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(float, float);
                let number = _mm512_mask_or_epi32(nearest, is_nan, x, all(QUIET));
                let is_normal = _mm512_test_epi32_mask(x, all(EXPONENT));
                _mm512_maskz_and_epi32(is_normal, number, all(UPPER))
            }
        }

        #[inline(always)]
        fn part(self, x: __m512i) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_and_si512(_mm512_add_epi32(x, all(0x8000)), all(UPPER)) }
        }

        #[inline(always)]
        fn minus(self, x: __m512i, y: __m512i) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_castps_si512(_mm512_sub_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(y))) }
        }

        #[inline(always)]
        fn along(self, low: __m512i, high: __m512i) -> __m512i {
            // The odd halves of both, in order.
            const ODD: [u16; 32] = {
                let mut odd = [0; 32];
                let mut i = 0;
                while i < 32 {
                    odd[i] = 2 * i as u16 + 1;
                    i += 1;
                }
                odd
            };
            // SAFETY: see above; the constant has 64 bytes.
            unsafe { _mm512_permutex2var_epi16(low, _mm512_loadu_si512(ODD.as_ptr().cast()), high) }
        }

        #[inline(always)]
        fn across(self, even: __m512i, odd: __m512i) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(even), odd) }
        }

        #[inline(always)]
        fn span(self, [low, high]: [__m512i; 2], x: __m512i) -> [__m512i; 2] {
            // SAFETY: see above.
            unsafe {
                let magnitude = _mm512_and_si512(x, all(MAGNITUDE));
                let less = _mm512_sub_epi32(magnitude, all(1));
                [_mm512_min_epu32(low, less), _mm512_max_epu32(high, magnitude)]
            }
        }

        #[inline(always)]
        fn ends(self, [low, high]: [__m512i; 2]) -> [u32; 2] {
            // SAFETY: see above.
            unsafe { [_mm512_reduce_min_epu32(low), _mm512_reduce_max_epu32(high)] }
        }

        #[inline(always)]
        fn transpose(self, rows: [__m512i; SIDE]) -> [__m512i; SIDE] {
            let mut fours = [self.zero(); SIDE];
            let mut columns = [self.zero(); SIDE];
            // SAFETY: see above.
            unsafe {
                // Element `4 g + c`, part `l`: column `4 l + c` of rows `4 g..4 g + 4`.
                for g in 0..4 {
                    let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
                    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
                    fours[4 * g] = _mm512_unpacklo_epi64(ab, cd);
                    fours[4 * g + 1] = _mm512_unpackhi_epi64(ab, cd);
                    let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
                    fours[4 * g + 2] = _mm512_unpacklo_epi64(ab, cd);
                    fours[4 * g + 3] = _mm512_unpackhi_epi64(ab, cd);
                }
                for c in 0..4 {
                    let [p, q, r, s] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
                    // Parts 0 and 2 of each, then parts 1 and 3.
                    let (pq, rs) = (
                        _mm512_shuffle_i32x4::<0x88>(p, q),
                        _mm512_shuffle_i32x4::<0x88>(r, s),
                    );
                    columns[c] = _mm512_shuffle_i32x4::<0x88>(pq, rs);
                    columns[8 + c] = _mm512_shuffle_i32x4::<0xdd>(pq, rs);
                    let (pq, rs) = (
                        _mm512_shuffle_i32x4::<0xdd>(p, q),
                        _mm512_shuffle_i32x4::<0xdd>(r, s),
                    );
                    columns[4 + c] = _mm512_shuffle_i32x4::<0x88>(pq, rs);
                    columns[12 + c] = _mm512_shuffle_i32x4::<0xdd>(pq, rs);
                }
            }
            columns
        }
    }
}

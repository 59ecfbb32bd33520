//! Sums over places by dot products of pairs of bf16 numbers: `vdpbf16ps` of AVX512-BF16.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::{BLOCK, PairLayout, SIDE, Tile};
use crate::cpu::gemm::Block;
use crate::cpu::isa::{Avx512Bf16, Kernel};

/// Channels of the image whose sums are in registers, by one or two vectors of columns.
const ROWS: usize = 8;

/// Adds the sums of a band that is packed for vectors.
#[inline(always)]
pub(super) fn outer(
    bf16: Avx512Bf16,
    layout: &PairLayout,
    image: &[Tile],
    cotangent: &[Tile],
    sums: &mut Block<'_, f32>,
) {
    let mut row = 0;
    for col in (0..layout.columns).step_by(BLOCK) {
        let cols = BLOCK.min(layout.columns - col);
        let strip = Strip {
            _bf16: bf16,
            layout,
            image,
            cotangent,
            row,
            sums: sums.part(0..sums.rows(), col..col + cols),
        };
        match cols {
            0..=SIDE => bf16.run(Width::<1>(strip)),
            _ => bf16.run(Width::<2>(strip)),
        }
        row += layout.pairs() * layout.lines() * layout.images * cols.div_ceil(SIDE);
    }
}

/// Up to 32 columns.
struct Strip<'a, 'b> {
    /// The proof that a [`Width`] may use the instruction.
    _bf16: Avx512Bf16,
    layout: &'a PairLayout,
    image: &'a [Tile],
    cotangent: &'a [Tile],
    /// The first row of words of the strip's cotangent.
    row: usize,
    sums: Block<'b, f32>,
}

/// Those of `VECTORS` vectors of columns.
struct Width<'a, 'b, const VECTORS: usize>(Strip<'a, 'b>);

impl<const VECTORS: usize> Kernel for Width<'_, '_, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let layout = *self.0.layout;
        let lines = layout.lines() * layout.images;
        assert!(
            self.0.row + VECTORS * layout.pairs() * lines <= SIDE * self.0.cotangent.len()
                && layout.part() <= SIDE * self.0.image.len(),
            "a band is not packed"
        );
        for vector in 0..layout.vectors() {
            let channels = SIDE.min(layout.channels - vector * SIDE);
            for tap in 0..layout.taps() {
                for c in (0..channels).step_by(ROWS) {
                    let row = (vector * SIDE + c) * layout.taps() + tap;
                    self.add(layout.first(vector, tap), c, row, ROWS.min(channels - c));
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl<const VECTORS: usize> Width<'_, '_, VECTORS> {
    /// Adds the sums of eight channels of words from `c` on, where the first place's word lies in row `first`, to `rows` rows of
    /// the result from `to` on. [`run`](Kernel::run) has checked that the band is packed.
    #[inline(always)]
    fn add(&mut self, first: usize, c: usize, to: usize, rows: usize) {
        use std::arch::x86_64::{
            _mm512_add_ps, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
            _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
        };
        let layout = self.0.layout;
        let [high, wide] = layout.combs;
        let image = self.0.image.as_ptr().cast::<[u32; SIDE]>();
        let mut cotangent = self.0.cotangent.as_ptr().cast::<[u32; SIDE]>();
        // SAFETY: `_bf16` proves that the CPU has the instructions. The words of a band are `part` rows, of which those of a plane are
        // `images` times `high.len` lines of `wide.len`. An element of the window lies no further into them than `len - places`
        // along each axis, so that all places read a row of their plane, eight words of it from `c`, which is 0 or 8; the last pair
        // of an odd number of places reads the first of its two alone. The cotangent has `VECTORS` rows for each pair from `row` on.
        // Tiles are aligned to rows of 64 bytes.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
            cotangent = cotangent.add(self.0.row);
            for n in 0..layout.images {
                for line in 0..layout.lines() {
                    let start = first + (n * high.len + line) * wide.len;
                    let mut words = image.add(start).cast::<i32>().add(c);
                    for _ in 0..layout.pairs() {
                        let mut columns = [_mm512_setzero_si512(); VECTORS];
                        for v in 0..VECTORS {
                            columns[v] = _mm512_load_si512(cotangent.add(v).cast());
                        }
                        for i in 0..ROWS {
                            let x = pairs(_mm512_set1_epi32(*words.add(i)));
                            for v in 0..VECTORS {
                                sums[i][v] = _mm512_dpbf16_ps(sums[i][v], x, pairs(columns[v]));
                            }
                        }
                        cotangent = cotangent.add(VECTORS);
                        words = words.wrapping_add(2 * SIDE);
                    }
                }
            }
            let cols = self.0.sums.cols();
            for i in 0..rows {
                let row = self.0.sums.row_mut(to + i * layout.taps());
                for v in 0..VECTORS {
                    // The columns of a vector that there are: the addresses of others are not accessed.
                    let count = (cols - v * SIDE).min(SIDE);
                    let mask = (u32::MAX >> (32 - count)) as u16;
                    let at = row.as_mut_ptr().add(v * SIDE);
                    let sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), sums[i][v]);
                    _mm512_mask_storeu_ps(at, mask, sum);
                }
            }
        }
    }
}

/// Words as pairs of bf16 numbers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pairs(words: std::arch::x86_64::__m512i) -> std::arch::x86_64::__m512bh {
    // SAFETY: both are 64 bytes of which any bits are a value.
    unsafe { std::mem::transmute(words) }
}

#[cfg(not(target_arch = "x86_64"))]
impl<const VECTORS: usize> Width<'_, '_, VECTORS> {
    /// No proof of these instructions exists here.
    fn add(&mut self, _: usize, _: usize, _: usize, _: usize) {
        unreachable!("AVX512-BF16 belongs to x86-64");
    }
}

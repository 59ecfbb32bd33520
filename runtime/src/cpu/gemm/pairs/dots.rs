//! Blocks of a result by dot products of pairs of bf16 numbers: `vdpbf16ps` of AVX512-BF16.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::{SIDE, Sums, Tile};
use crate::cpu::isa::{Avx512Bf16, Kernel};

/// Rows of a tile of sums in registers, which has two vectors a row.
pub(in crate::cpu::gemm) const ROWS: usize = 8;

/// `sums = a b` for strips of one part, as far as these rows and columns go; the rest of `sums` is left as it is.
pub(super) fn multiply(bf16: Avx512Bf16, a: &[Tile], b: &[Tile], [rows, cols]: [usize; 2], sums: &mut Sums) {
    for first in (0..rows).step_by(ROWS) {
        let tall = Tall {
            _bf16: bf16,
            a,
            b,
            first,
            sums,
        };
        match cols {
            0..=16 => bf16.run(Width::<1>(tall)),
            _ => bf16.run(Width::<2>(tall)),
        }
    }
}

/// Rows `first..first + ROWS` of a block.
struct Tall<'a> {
    /// The proof that a [`Width`] may use the instruction.
    _bf16: Avx512Bf16,
    a: &'a [Tile],
    b: &'a [Tile],
    first: usize,
    sums: &'a mut Sums,
}

/// Those of `VECTORS` vectors of columns.
struct Width<'a, const VECTORS: usize>(Tall<'a>);

#[cfg(target_arch = "x86_64")]
impl<const VECTORS: usize> Kernel for Width<'_, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        use std::arch::x86_64::{
            _mm512_dpbf16_ps, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
            _mm512_store_ps,
        };
        let Tall {
            a, b, first, sums, ..
        } = self.0;
        let (half, row) = (first / SIDE, first % SIDE);
        // SAFETY: `_bf16` proves that the CPU has the instructions. Loads and stores are of 16 words of 32 bits inside a row of a
        // tile or of the sums; rows of tiles are 64 bytes long and those of sums 128, in types aligned to 64 bytes.
        unsafe {
            let mut c = [[_mm512_setzero_ps(); VECTORS]; ROWS];
            for (a, b) in a.chunks_exact(2).zip(b.chunks_exact(2)) {
                let Some(rows) = a[half].0[row..].first_chunk::<ROWS>() else {
                    break;
                };
                for p in 0..SIDE {
                    let mut columns = [_mm512_setzero_si512(); VECTORS];
                    for v in 0..VECTORS {
                        columns[v] = _mm512_load_si512(b[v].0[p].as_ptr().cast());
                    }
                    for i in 0..ROWS {
                        let x = pairs(_mm512_set1_epi32(rows[i][p].cast_signed()));
                        for v in 0..VECTORS {
                            c[i][v] = _mm512_dpbf16_ps(c[i][v], x, pairs(columns[v]));
                        }
                    }
                }
            }
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    _mm512_store_ps(sums.0[first + i][v * SIDE..].as_mut_ptr(), c[i][v]);
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
impl<const VECTORS: usize> Kernel for Width<'_, VECTORS> {
    type Output = ();

    /// No proof of these instructions exists here.
    fn run(self) {
        unreachable!("AVX512-BF16 belongs to x86-64");
    }
}

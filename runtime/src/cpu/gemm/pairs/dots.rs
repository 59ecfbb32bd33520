//! Blocks of a result by dot products of pairs of bf16 numbers: `vdpbf16ps` of AVX512-BF16.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use super::window::Spots;
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
            // By index: a call of an iterator would push the sums out of the registers, once a step.
            for step in 0..a.len().min(b.len()) / 2 {
                let b = &b[2 * step..][..2];
                let Some(rows) = a[2 * step + half].0[row..].first_chunk::<ROWS>() else {
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

/// Sums over the windows of one run of places, of images in one part: a row for each place.
pub(super) fn windows(bf16: Avx512Bf16, work: &Spots<'_>, sums: &mut [Sums]) {
    let window = Window {
        _bf16: bf16,
        work,
        sums: &mut sums[0],
    };
    match work.columns {
        0..=SIDE => bf16.run(Places::<16, 1>(window)),
        _ => bf16.run(Places::<8, 2>(window)),
    }
}

/// The windows of a run of places.
struct Window<'a> {
    /// The proof that [`Places`] may use the instruction.
    _bf16: Avx512Bf16,
    work: &'a Spots<'a>,
    sums: &'a mut Sums,
}

/// Those of `PLACES` places, and `VECTORS` vectors of columns.
struct Places<'a, const PLACES: usize, const VECTORS: usize>(Window<'a>);

#[cfg(target_arch = "x86_64")]
impl<const PLACES: usize, const VECTORS: usize> Kernel for Places<'_, PLACES, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        use std::arch::x86_64::{
            _mm512_dpbf16_ps, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
            _mm512_store_ps,
        };
        let Window { work, sums, .. } = self.0;
        assert!(
            work.are_held(PLACES) && work.have_rows(VECTORS),
            "places leave their plane"
        );
        let first = work.at[0];
        // SAFETY: `_bf16` proves that the CPU has the instructions. The plane holds the 32 numbers of each step of `PLACES` places, of
        // which the pairs that are read are some; those need not be aligned. There are `VECTORS` rows of weights for each pair, of
        // 64 bytes that are aligned to 64, one after the other; rows of sums are aligned as well.
        unsafe {
            let mut c = [[_mm512_setzero_ps(); VECTORS]; PLACES];
            let place = work.halves.as_ptr().add(first);
            let mut row = work.weights.as_ptr().cast::<[u32; SIDE]>();
            for step in work.steps {
                let from = place.add(step.at);
                for p in 0..step.pairs {
                    let mut columns = [_mm512_setzero_si512(); VECTORS];
                    for v in 0..VECTORS {
                        columns[v] = _mm512_load_si512(row.add(v).cast());
                    }
                    for i in 0..PLACES {
                        let word = from.add(i * work.step + 2 * p).cast::<i32>().read_unaligned();
                        let x = pairs(_mm512_set1_epi32(word));
                        for v in 0..VECTORS {
                            c[i][v] = _mm512_dpbf16_ps(c[i][v], x, pairs(columns[v]));
                        }
                    }
                    row = row.add(VECTORS);
                }
            }
            for i in 0..PLACES {
                for v in 0..VECTORS {
                    _mm512_store_ps(sums.0[i][v * SIDE..].as_mut_ptr(), c[i][v]);
                }
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl<const PLACES: usize, const VECTORS: usize> Kernel for Places<'_, PLACES, VECTORS> {
    type Output = ();

    /// No proof of these instructions exists here.
    fn run(self) {
        unreachable!("AVX512-BF16 belongs to x86-64");
    }
}
